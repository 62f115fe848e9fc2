//! Many completions at once from a model in the hand, without a thread of its own: for evaluation
//! while training, and for the samples that reward training learns from. A prompt's tokens are
//! computed once for all its completions; a row that has ended leaves the batch.

use candle_core::{DType, Tensor};

use super::qwen::{Qwen, RowCache, Segment};
use super::sampling::{Sampler, Sampling};
use crate::error::{Error, Result};

/// Rows computed together.
const MAX_ROWS: usize = 64;

/// How completions are drawn.
#[derive(Debug, Clone)]
pub struct RolloutOptions {
    pub max_new_tokens: usize,
    /// The seed is taken apart for each prompt and each of its completions.
    pub sampling: Sampling,
    pub n_completions: usize,
    pub stop_tokens: Vec<u32>,
}

/// One completion.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completion {
    /// New tokens without the stop token.
    pub tokens: Vec<u32>,
    /// The stop token that it ended with; none where it was cut for its length.
    pub end: Option<u32>,
    /// ln of each token's probability at the temperature that it was drawn with (1 for greedy
    /// ones), before `top_k` and `top_p`; the stop token's is the last where it ended with one.
    pub log_probs: Vec<f32>,
}

struct Row {
    prompt_idx: usize,
    completion_idx: usize,
    cache: RowCache,
    next: u32,
    next_log_prob: f32,
    /// Tokens that there is room for.
    n_most: usize,
    completion: Completion,
    sampler: Sampler,
}

/// `n_completions` for each prompt, in the order of the prompts. The same seed gives the same
/// completions, whatever else is in the batch.
///
/// # Errors
/// `model_input` for an empty prompt, or one that leaves no room. A completion that reaches the
/// window's end is cut there.
pub fn complete(
    model: &Qwen,
    prompts: &[Vec<u32>],
    options: &RolloutOptions,
) -> Result<Vec<Vec<Completion>>> {
    let mut done: Vec<Vec<Option<Completion>>> =
        prompts.iter().map(|_| vec![None; options.n_completions]).collect();
    let mut rows: Vec<Row> = Vec::new();
    let mut waiting = prompts.iter().enumerate();
    loop {
        while rows.len() + options.n_completions <= MAX_ROWS.max(options.n_completions) {
            let Some((prompt_idx, prompt)) = waiting.next() else { break };
            rows.extend(start(model, prompt_idx, prompt, options)?);
        }
        rows = rows.into_iter().filter_map(|row| unended(row, options, &mut done)).collect();
        if rows.is_empty() {
            if waiting.len() == 0 {
                break;
            }
            continue;
        }
        step(model, &mut rows)?;
    }
    Ok(done.into_iter().map(|group| group.into_iter().flatten().collect()).collect())
}

/// Computes a prompt once, and draws the first token of each of its completions.
fn start(
    model: &Qwen,
    prompt_idx: usize,
    prompt: &[u32],
    options: &RolloutOptions,
) -> Result<Vec<Row>> {
    let n_most = options.max_new_tokens.min(model.config().window.saturating_sub(prompt.len()));
    if prompt.is_empty() || n_most == 0 {
        return Err(Error::invalid(
            "model_input",
            format!(
                "a prompt of {} tokens leaves nothing to complete in a window of {}",
                prompt.len(),
                model.config().window
            ),
        ));
    }
    let capacity = prompt.len() + n_most;
    let mut cache = model.new_cache(capacity)?;
    let segment = Segment { n_tokens: prompt.len(), cache: Some(&mut cache) };
    let hidden = model.forward(prompt, &mut [segment])?;
    let last = hidden.narrow(0, prompt.len() - 1, 1)?;
    let scores = scores(model, &last)?;
    (0..options.n_completions)
        .map(|completion_idx| {
            let seed = options.sampling.seed
                ^ ((prompt_idx as u64) << 20 | completion_idx as u64)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut sampler = Sampler::new(Sampling { seed, ..options.sampling });
            let next = sampler.draw(&scores);
            Ok(Row {
                prompt_idx,
                completion_idx,
                cache: cache.fork(capacity)?,
                next,
                next_log_prob: sampler.log_prob(&scores, next),
                n_most,
                completion: Completion::default(),
                sampler,
            })
        })
        .collect()
}

/// Takes in the token that was drawn; a row that ends by it is put among the done ones.
fn unended(
    mut row: Row,
    options: &RolloutOptions,
    done: &mut [Vec<Option<Completion>>],
) -> Option<Row> {
    row.completion.end = options.stop_tokens.contains(&row.next).then_some(row.next);
    row.completion.log_probs.push(row.next_log_prob);
    if row.completion.end.is_none() {
        row.completion.tokens.push(row.next);
    }
    if row.completion.end.is_some() || row.completion.tokens.len() >= row.n_most {
        done[row.prompt_idx][row.completion_idx] = Some(row.completion);
        return None;
    }
    Some(row)
}

/// Computes every row's next token in one packed pass.
fn step(model: &Qwen, rows: &mut [Row]) -> Result<()> {
    let tokens: Vec<u32> = rows.iter().map(|row| row.next).collect();
    let mut segments: Vec<Segment<'_>> =
        rows.iter_mut().map(|row| Segment { n_tokens: 1, cache: Some(&mut row.cache) }).collect();
    let hidden: Tensor = model.forward(&tokens, &mut segments)?;
    drop(segments);
    let n_vocab = model.config().vocab_size;
    let scores = scores(model, &hidden)?;
    for (row, scores) in rows.iter_mut().zip(scores.chunks_exact(n_vocab)) {
        row.next = row.sampler.draw(scores);
        row.next_log_prob = row.sampler.log_prob(scores, row.next);
    }
    Ok(())
}

/// Next-token scores, flat, in f32 whatever the model computes in.
fn scores(model: &Qwen, hidden: &Tensor) -> Result<Vec<f32>> {
    Ok(model.logits(hidden)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::model::ModelFolder;
    use crate::model::qwen::ScoreOptions;

    fn model() -> Qwen {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/qwen3-tiny");
        ModelFolder::open(Path::new(dir)).unwrap().load_qwen(&Device::Cpu).unwrap()
    }

    fn options(n_completions: usize, temperature: f32) -> RolloutOptions {
        let sampling = Sampling { temperature, seed: 3, ..Sampling::default() };
        RolloutOptions { max_new_tokens: 12, sampling, n_completions, stop_tokens: vec![309] }
    }

    #[test]
    fn completions_are_those_of_each_prompt_alone() {
        let model = model();
        let prompts: Vec<Vec<u32>> = (0..90).map(|n| vec![308, 10 + n, 70 + n % 7]).collect();
        let together = complete(&model, &prompts, &options(1, 0.0)).unwrap();
        for (prompt, group) in prompts.iter().zip(&together).step_by(13) {
            let alone = complete(&model, std::slice::from_ref(prompt), &options(1, 0.0)).unwrap();
            assert_eq!(alone[0][0].tokens, group[0].tokens);
        }
    }

    #[test]
    fn a_group_has_unlike_completions_and_the_seed_repeats_them() {
        let model = model();
        let prompts = vec![vec![308, 20, 30], vec![308, 40]];
        let groups = complete(&model, &prompts, &options(4, 1.0)).unwrap();
        assert_eq!(groups, complete(&model, &prompts, &options(4, 1.0)).unwrap());
        assert!(groups.iter().all(|group| group.len() == 4));
        assert!(groups[0].iter().any(|completion| completion != &groups[0][0]));
    }

    #[test]
    fn log_probs_are_those_of_the_training_path_at_the_temperature() {
        let model = model();
        let prompt = vec![308, 20, 30];
        let groups = complete(&model, std::slice::from_ref(&prompt), &options(3, 0.7)).unwrap();
        for completion in &groups[0] {
            let mut answer = completion.tokens.clone();
            answer.extend(completion.end);
            assert_eq!(completion.log_probs.len(), answer.len());
            let tokens = [prompt.clone(), answer.clone()].concat();
            let inputs = &tokens[..tokens.len() - 1];
            let hidden = model.hidden(inputs, &[inputs.len()]).unwrap();
            let scored = hidden.narrow(0, prompt.len() - 1, answer.len()).unwrap();
            let options = ScoreOptions { temperature: f64::from(0.7f32), statistics: false };
            let scores = model.score(&scored, &answer, &options).unwrap();
            for (drawn, trained) in completion.log_probs.iter().zip(&scores.log_probs) {
                assert!((drawn - trained).abs() < 1e-4, "{drawn} and {trained}");
            }
        }
    }

    #[test]
    fn a_completion_ends_at_the_window_and_a_prompt_that_fills_it_is_refused() {
        let model = model();
        let window = model.config().window;
        let groups = complete(&model, &[vec![20; window - 2]], &options(1, 0.0)).unwrap();
        assert!(groups[0][0].tokens.len() <= 2);
        for prompt in [vec![20; window], Vec::new()] {
            let error = complete(&model, &[prompt], &options(1, 0.0)).unwrap_err();
            assert_eq!(error.code, "model_input");
        }
    }
}
