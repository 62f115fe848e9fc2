//! Many completions at once from a model in the hand, without a thread of its own: for evaluation
//! while training, and for the samples that reward training learns from. A prompt's tokens are
//! computed once for all its completions; a row that has ended leaves the batch.

use std::collections::VecDeque;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::qwen::kernel::read;
use super::qwen::{Qwen, RowCache, Segment, SharedCache};
use super::sampling::{Sampler, Sampling};
use crate::error::{Error, Result};

/// Rows computed together.
const MAX_ROWS: usize = 64;
/// Prompts are computed together up to this many tokens.
const PREFILL_TOKENS: usize = 2_048;

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
    let mut waiting: VecDeque<_> = prompts.iter().enumerate().collect();
    loop {
        rows.extend(joining(model, rows.len(), &mut waiting, options)?);
        rows = rows.into_iter().filter_map(|row| unended(row, options, &mut done)).collect();
        if rows.is_empty() {
            if waiting.is_empty() {
                break;
            }
            continue;
        }
        step(model, &mut rows)?;
    }
    Ok(done.into_iter().map(|group| group.into_iter().flatten().collect()).collect())
}

/// The completions of as many waiting prompts as there is room for beside `n_rows`, with the first
/// token of each drawn.
fn joining(
    model: &Qwen,
    mut n_rows: usize,
    waiting: &mut VecDeque<(usize, &Vec<u32>)>,
    options: &RolloutOptions,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (mut prompts, mut n_tokens) = (Vec::new(), 0);
    while let Some((prompt_idx, prompt)) = waiting.front().copied() {
        if n_rows > 0 && n_rows + options.n_completions > MAX_ROWS {
            break;
        }
        if n_tokens > 0 && n_tokens + prompt.len() > PREFILL_TOKENS {
            rows.extend(start(model, &std::mem::take(&mut prompts), options)?);
            n_tokens = 0;
        }
        waiting.pop_front();
        n_rows += options.n_completions;
        n_tokens += prompt.len();
        prompts.push((prompt_idx, prompt.as_slice()));
    }
    if !prompts.is_empty() {
        rows.extend(start(model, &prompts, options)?);
    }
    Ok(rows)
}

/// Computes prompts in one packed pass, and draws the first token of each of their completions.
fn start(model: &Qwen, prompts: &[(usize, &[u32])], options: &RolloutOptions) -> Result<Vec<Row>> {
    for (_, prompt) in prompts {
        n_most(model, prompt, options)?;
    }
    let mut caches = prompts
        .iter()
        .map(|(_, prompt)| model.new_cache(prompt.len()))
        .collect::<Result<Vec<RowCache>>>()?;
    let mut segments: Vec<Segment<'_>> = prompts
        .iter()
        .zip(&mut caches)
        .map(|((_, prompt), cache)| Segment { n_tokens: prompt.len(), cache: Some(cache) })
        .collect();
    let tokens: Vec<u32> = prompts.iter().flat_map(|(_, prompt)| prompt.iter().copied()).collect();
    let hidden = model.forward(&tokens, &mut segments)?;
    drop(segments);
    let ends = prompts.iter().scan(0, |end, (_, prompt)| {
        *end += prompt.len() as u32;
        Some(*end - 1)
    });
    let ends = Tensor::new(ends.collect::<Vec<u32>>(), hidden.device())?;
    let mut rows = Vec::with_capacity(prompts.len() * options.n_completions);
    for ((prompt_idx, prompt), cache) in prompts.iter().zip(caches) {
        let (cache, n_most) = (cache.into_shared()?, n_most(model, prompt, options)?);
        for completion_idx in 0..options.n_completions {
            rows.push(Row::new(*prompt_idx, completion_idx, &cache, n_most, options)?);
        }
    }
    let scores = model.logits(&hidden.index_select(&ends, 0)?)?;
    draw(&scores, &mut rows, options.n_completions)?;
    Ok(rows)
}

/// Tokens that there is room for after a prompt.
fn n_most(model: &Qwen, prompt: &[u32], options: &RolloutOptions) -> Result<usize> {
    let window = model.config().window;
    let n_most = options.max_new_tokens.min(window.saturating_sub(prompt.len()));
    if prompt.is_empty() || n_most == 0 {
        return Err(Error::invalid(
            "model_input",
            format!(
                "a prompt of {} tokens leaves nothing to complete in a window of {window}",
                prompt.len()
            ),
        ));
    }
    Ok(n_most)
}

impl Row {
    /// A completion of which nothing is drawn yet.
    fn new(
        prompt_idx: usize,
        completion_idx: usize,
        prompt: &SharedCache,
        n_most: usize,
        options: &RolloutOptions,
    ) -> Result<Self> {
        let seed = options.sampling.seed
            ^ ((prompt_idx as u64) << 20 | completion_idx as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ok(Self {
            prompt_idx,
            completion_idx,
            cache: prompt.row(n_most)?,
            next: 0,
            next_log_prob: 0.0,
            n_most,
            completion: Completion::default(),
            sampler: Sampler::new(Sampling { seed, ..options.sampling }),
        })
    }
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
    draw(&model.logits(&hidden)?, rows, 1)
}

/// Draws each row's next token. `scores`: `[rows / n_together, vocab]`, each for `n_together` rows
/// that follow one another.
fn draw(scores: &Tensor, rows: &mut [Row], n_together: usize) -> Result<()> {
    let n_vocab = scores.dim(1)?;
    // In f32 whatever the model computes in.
    let scores = scores.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
    read([&scores], |[scores]| {
        rows.par_iter_mut().enumerate().for_each(|(index, row)| {
            let scores = &scores[index / n_together * n_vocab..][..n_vocab];
            (row.next, row.next_log_prob) = row.sampler.draw_with_log_prob(scores);
        });
    })?;
    Ok(())
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
