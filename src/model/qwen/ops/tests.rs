//! Each pass against the composition of candle's own operations, and each backward pass against
//! finite differences of its forward pass.

use candle_core::{DType, Device, Tensor};

use super::*;

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(0f32, 1f32, shape, &Device::Cpu).unwrap()
}

fn gap(left: &Tensor, right: &Tensor) -> f32 {
    assert_eq!(left.shape(), right.shape());
    let wide = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
    let gap = (wide(left) - wide(right)).unwrap().abs().unwrap();
    gap.max_all().unwrap().to_scalar().unwrap()
}

fn assert_close(left: &Tensor, right: &Tensor) {
    assert!(gap(left, right) < 2e-5, "{}", gap(left, right));
}

fn inner(left: &Tensor, right: &Tensor) -> f64 {
    let product =
        (left.to_dtype(DType::F64).unwrap() * right.to_dtype(DType::F64).unwrap()).unwrap();
    product.sum_all().unwrap().to_scalar().unwrap()
}

/// Holds the gradients `d` by the inputs `x` of `f` to finite differences along random directions,
/// for the loss `Σ seed ∘ f(x)`.
fn assert_gradients(x: &[&Tensor], d: &[&Tensor], seed: &Tensor, f: impl Fn(&[Tensor]) -> Tensor) {
    const STEP: f64 = 4e-3;
    for (index, d) in d.iter().enumerate() {
        let direction = random(x[index].dims());
        let loss = |step: f64| {
            let mut moved: Vec<Tensor> = x.iter().map(|x| (*x).clone()).collect();
            moved[index] = (x[index] + (&direction * step).unwrap()).unwrap();
            inner(&f(&moved), seed)
        };
        let expected = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
        let found = inner(d, &direction);
        let scale = inner(d, d).sqrt().max(1.0);
        assert!(
            (expected - found).abs() < 1e-2 * scale,
            "input {index}: {found} is not {expected}"
        );
    }
}

fn bf16(x: &Tensor) -> Tensor {
    x.to_dtype(DType::BF16).unwrap()
}

/// In bf16, with 8 bits of precision, results may differ by this share of the largest number.
fn assert_close_in_bf16(wide: &Tensor, narrow: &Tensor) {
    let largest: f32 = wide.abs().unwrap().max_all().unwrap().to_scalar().unwrap();
    assert!(gap(wide, narrow) < 0.03 * largest, "{} of {largest}", gap(wide, narrow));
}

#[test]
fn exp_is_exact_to_the_last_places() {
    for step in -8_000..8_000 {
        let x = step as f32 * 0.0105;
        let (expected, found) = (f64::from(x).exp(), f64::from(kernel::exp(x)));
        assert!((found / expected - 1.0).abs() < 3e-7, "e^{x} is {expected}, not {found}");
    }
    assert_eq!(kernel::exp(0.0), 1.0);
    assert_eq!(kernel::exp(f32::NEG_INFINITY), 0.0);
    assert_eq!(kernel::exp(f32::INFINITY), f32::INFINITY);
    assert!(kernel::exp(f32::NAN).is_nan());
}

#[test]
fn rms_norm_and_its_gradients() {
    let (x, weight, seed) = (random(&[700, 32]), random(&[32]), random(&[700, 32]));
    assert_close(
        &rms_norm(&x, &weight, 1e-6).unwrap(),
        &candle_nn::ops::rms_norm_slow(&x, &weight, 1e-6).unwrap(),
    );
    let (d_x, d_weight) = rms_norm_backward(&x, &weight, 1e-6, &seed, true).unwrap();
    let d_weight = d_weight.unwrap();
    assert_gradients(&[&x, &weight], &[&d_x, &d_weight], &seed, |x| {
        rms_norm(&x[0], &x[1], 1e-6).unwrap()
    });
    let composed = rms_norm_backward(&bf16(&x), &bf16(&weight), 1e-6, &bf16(&seed), true).unwrap();
    assert_close_in_bf16(&d_x, &composed.0);
    assert_close_in_bf16(&d_weight, &composed.1.unwrap());
    let narrow = rms_norm(&bf16(&x), &bf16(&weight), 1e-6).unwrap();
    assert_eq!(narrow.dtype(), DType::BF16);
    assert_close_in_bf16(&rms_norm(&x, &weight, 1e-6).unwrap(), &narrow);
    assert!(rms_norm_backward(&x, &weight, 1e-6, &seed, false).unwrap().1.is_none());
}

#[test]
fn rope_and_its_gradient() {
    let (x, seed) = (random(&[5, 3, 8]), random(&[5, 3, 8]));
    let angles = random(&[5, 4]);
    let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
    let batched = x.transpose(0, 1).unwrap().unsqueeze(0).unwrap().contiguous().unwrap();
    let slow = candle_nn::rotary_emb::rope_slow(&batched, &cos, &sin).unwrap();
    let slow = slow.squeeze(0).unwrap().transpose(0, 1).unwrap().contiguous().unwrap();
    assert_close(&rope(&x, &cos, &sin).unwrap(), &slow);
    let d_x = rope_backward(&seed, &cos, &sin).unwrap();
    assert_gradients(&[&x], &[&d_x], &seed, |x| rope(&x[0], &cos, &sin).unwrap());
    assert_close_in_bf16(&d_x, &rope_backward(&bf16(&seed), &cos, &sin).unwrap());
}

#[test]
fn swiglu_and_its_gradients() {
    let (gate, up, seed) = (random(&[90, 70]), random(&[90, 70]), random(&[90, 70]));
    let slow = (gate.silu().unwrap() * &up).unwrap();
    assert_close(&swiglu(&gate, &up).unwrap(), &slow);
    let (d_gate, d_up) = swiglu_backward(&gate, &up, &seed).unwrap();
    assert_gradients(&[&gate, &up], &[&d_gate, &d_up], &seed, |x| swiglu(&x[0], &x[1]).unwrap());
    let narrow = swiglu_backward(&bf16(&gate), &bf16(&up), &bf16(&seed)).unwrap();
    assert_close_in_bf16(&d_gate, &narrow.0);
    assert_close_in_bf16(&d_up, &narrow.1);
}

#[test]
fn packed_attention_and_its_gradients() {
    let lengths = [1, 7, 19];
    let (q, k, v) = (random(&[27, 4, 8]), random(&[27, 2, 8]), random(&[27, 2, 8]));
    let (out, log_sums) = packed_attention(&q, &k, &v, &lengths).unwrap();
    let row = |x: &Tensor, start, n| x.narrow(0, start, n).unwrap().contiguous().unwrap();
    for (start, n) in [(0, 1), (1, 7), (8, 19)] {
        let alone = causal_attention(&row(&q, start, n), &row(&k, start, n), &row(&v, start, n));
        assert_close(&row(&out, start, n), &alone);
    }
    let seed = random(&[27, 4, 8]);
    let record = AttentionRecord { q: &q, k: &k, v: &v, out: &out, log_sums: &log_sums };
    let (d_q, d_k, d_v) = attention_backward(&record, &seed, &lengths).unwrap();
    assert_gradients(&[&q, &k, &v], &[&d_q, &d_k, &d_v], &seed, |x| {
        packed_attention(&x[0], &x[1], &x[2], &lengths).unwrap().0
    });

    let (q, k, v) = (bf16(&q), bf16(&k), bf16(&v));
    let (narrow, narrow_sums) = packed_attention(&q, &k, &v, &lengths).unwrap();
    assert_close_in_bf16(&out, &narrow);
    assert_close_in_bf16(&log_sums, &narrow_sums);
    let record = AttentionRecord { q: &q, k: &k, v: &v, out: &narrow, log_sums: &narrow_sums };
    let composed = attention_backward(&record, &bf16(&seed), &lengths).unwrap();
    for (wide, narrow) in [(&d_q, &composed.0), (&d_k, &composed.1), (&d_v, &composed.2)] {
        assert_close_in_bf16(wide, narrow);
    }
}

fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let parts = vec![(k.clone(), v.clone())];
    cached_attention(q, &[AttendedRow { n_queries: q.dim(0).unwrap(), parts }]).unwrap()
}

#[test]
fn a_query_sees_the_cache_before_it_and_nothing_behind_it() {
    let (q, k, v) = (random(&[3, 2, 8]), random(&[9, 2, 8]), random(&[9, 2, 8]));
    let out = causal_attention(&q, &k, &v);
    assert_close(&out, &attention::composed::attend(&q, &k, &v).unwrap().0);
    let first = |x: &Tensor, n| x.narrow(0, 0, n).unwrap().contiguous().unwrap();
    let alone = causal_attention(&first(&q, 1), &first(&k, 7), &first(&v, 7));
    assert_close(&first(&out, 1), &alone);
}

#[test]
fn rows_over_keys_in_parts_are_each_row_over_all_of_its_keys() {
    // More products than one thread takes.
    let (q, k, v) = (random(&[70, 4, 32]), random(&[90, 2, 32]), random(&[90, 2, 32]));
    let part = |x: &Tensor, start, n| x.narrow(0, start, n).unwrap();
    let parts = |cuts: &[(usize, usize)]| {
        cuts.iter().map(|(start, n)| (part(&k, *start, *n), part(&v, *start, *n))).collect()
    };
    let rows = [
        AttendedRow { n_queries: 1, parts: parts(&[(0, 40), (40, 7)]) },
        AttendedRow { n_queries: 3, parts: parts(&[(0, 40), (60, 30)]) },
        AttendedRow { n_queries: 66, parts: parts(&[(0, 90)]) },
    ];
    let out = cached_attention(&q, &rows).unwrap();
    let mut start = 0;
    for row in &rows {
        let whole = |pick: fn(&(Tensor, Tensor)) -> &Tensor| {
            Tensor::cat(&row.parts.iter().map(pick).collect::<Vec<_>>(), 0).unwrap()
        };
        let (k, v) = (whole(|part| &part.0), whole(|part| &part.1));
        let q = part(&q, start, row.n_queries);
        let alone = attention::composed::attend(&q, &k, &v).unwrap().0;
        assert_close(&part(&out, start, row.n_queries), &alone);
        start += row.n_queries;
    }
    let narrow = |part: &(Tensor, Tensor)| (bf16(&part.0), bf16(&part.1));
    let narrow = rows.each_ref().map(|row| AttendedRow {
        n_queries: row.n_queries,
        parts: row.parts.iter().map(narrow).collect(),
    });
    assert_close_in_bf16(&out, &cached_attention(&bf16(&q), &narrow).unwrap());
    assert!(cached_attention(&part(&q, 0, 69), &rows).is_err());
}

fn log_softmax(hidden: &Tensor, weight: &Tensor, temperature: f64) -> Tensor {
    let logits = (hidden.matmul(&weight.t().unwrap()).unwrap() / temperature).unwrap();
    candle_nn::ops::log_softmax(&logits, 1).unwrap()
}

/// `[2, n]`: log-probabilities of the targets, and entropies.
fn slow_scores(hidden: &Tensor, weight: &Tensor, targets: &[u32], temperature: f64) -> Tensor {
    let all = log_softmax(hidden, weight, temperature);
    let ids = Tensor::new(targets, &Device::Cpu).unwrap().unsqueeze(1).unwrap();
    let own = all.gather(&ids, 1).unwrap().squeeze(1).unwrap();
    let entropy = (all.exp().unwrap() * &all).unwrap().sum(1).unwrap().neg().unwrap();
    Tensor::stack(&[own, entropy], 0).unwrap()
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

#[test]
fn scores_and_their_gradients() {
    let (hidden, weight) = (random(&[40, 16]), random(&[130, 16]));
    let targets: Vec<u32> = (0..40).map(|index| index * 3).collect();
    let options = ScoreOptions { temperature: 0.7, statistics: true };
    let slow = slow_scores(&hidden, &weight, &targets, 0.7);
    let scores = score(&hidden, &weight, &targets, &options).unwrap();
    assert_close(&vector(&scores.log_probs), &slow.get(0).unwrap());
    assert_close(&vector(&scores.entropies), &slow.get(1).unwrap());
    assert_eq!(scores.is_best.iter().filter(|best| **best).count(), {
        let best = log_softmax(&hidden, &weight, 0.7).argmax(1).unwrap().to_vec1::<u32>().unwrap();
        best.iter().zip(&targets).filter(|(best, target)| best == target).count()
    });
    let seed = random(&[2, 40]);
    let seeds = seed.to_vec2::<f32>().unwrap();
    let asked = ScoreSeeds { log_probs: &seeds[0], entropies: Some(&seeds[1]) };
    let mut d_weight = Tensor::zeros((130, 16), DType::F32, &Device::Cpu).unwrap();
    let (_, d_hidden) =
        score_with_gradient(&hidden, &weight, &targets, &options, asked, Some(&mut d_weight))
            .unwrap();
    assert_gradients(&[&hidden, &weight], &[&d_hidden, &d_weight], &seed, |x| {
        slow_scores(&x[0], &x[1], &targets, 0.7)
    });
    let mut narrow_weight = Tensor::zeros((130, 16), DType::F32, &Device::Cpu).unwrap();
    let (narrow, narrow_hidden) = score_with_gradient(
        &bf16(&hidden),
        &bf16(&weight),
        &targets,
        &options,
        asked,
        Some(&mut narrow_weight),
    )
    .unwrap();
    assert_close_in_bf16(&vector(&scores.log_probs), &vector(&narrow.log_probs));
    assert_close_in_bf16(&d_hidden, &narrow_hidden);
    assert_close_in_bf16(&d_weight, &narrow_weight);
}

#[test]
fn an_impossible_token_makes_no_gradient_that_is_no_number() {
    let hidden = Tensor::new(&[[200f32, 0.0]], &Device::Cpu).unwrap();
    let weight = Tensor::new(&[[1f32, 0.0], [-1.0, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
    let options = ScoreOptions { temperature: 1.0, statistics: true };
    let seeds = ScoreSeeds { log_probs: &[1.0], entropies: Some(&[1.0]) };
    let (scores, d) = score_with_gradient(&hidden, &weight, &[1], &options, seeds, None).unwrap();
    assert_eq!(scores.log_probs, [-400.0]);
    assert!(scores.entropies[0].abs() < 1e-6);
    assert!(d.to_vec2::<f32>().unwrap()[0].iter().all(|value| value.is_finite()));
}

#[test]
fn scores_of_nothing_are_nothing_and_wrong_targets_are_refused() {
    let (weight, options) = (random(&[130, 16]), ScoreOptions::default());
    let none = Tensor::zeros((0, 16), DType::F32, &Device::Cpu).unwrap();
    assert!(score(&none, &weight, &[], &options).unwrap().log_probs.is_empty());
    let error = score(&random(&[1, 16]), &weight, &[130], &options).unwrap_err();
    assert!(error.to_string().contains("target 130 is outside the vocabulary of 130"), "{error}");
    assert!(score(&random(&[1, 16]), &weight, &[1, 2], &options).is_err());
}

#[test]
fn sums_are_made_in_place_and_rows_may_come_twice() {
    let mut sum = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
    let seen_by_others = sum.clone();
    let x = Tensor::new(&[[1f32, 1.0], [10.0, 10.0]], &Device::Cpu).unwrap();
    add_in_place(&mut sum, &x).unwrap();
    add_rows_in_place(&mut sum, &[1, 1], &x).unwrap();
    assert_eq!(seen_by_others.to_vec2::<f32>().unwrap(), [[2.0, 3.0], [24.0, 25.0]]);
    assert!(add_rows_in_place(&mut sum, &[1, 2], &x).is_err());
}
