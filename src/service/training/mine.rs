//! Preference data from retrieval: answers drawn from a model, ranked by what they find.

use std::path::PathBuf;

use super::TrainRequest;
use super::prepare::{max_tokens, read};
use super::report::DryRun;
use super::reward;
use crate::error::{Error, Kind, Result};
use crate::model::sampling::Sampling;
use crate::model::{ModelFolder, device};
use crate::train::data::{Asked, Rows};
use crate::train::policy::Policy;
use crate::train::reinforce::{Draw, Prompts};
use crate::train::reward::mine::{
    Candidate, JudgedBy, JudgedRecord, MineOptions, PreferenceRecord, mean_reward, pairs, verdicts,
};

/// Prompts whose answers are drawn together.
const BATCH_ROWS: usize = 16;
/// Pairs for DPO and its kin, and verdicts for KTO.
const PAIRS: &str = "pairs.jsonl";
const JUDGED: &str = "judged.jsonl";

/// What is mined from what: the request of a training by GRPO, whose options say how answers are
/// drawn and judged. Nothing is trained.
#[derive(Debug, Clone)]
pub struct MineRequest {
    pub train: TrainRequest,
    pub options: MineOptions,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mined {
    pub n_prompts: usize,
    pub n_pairs: usize,
    pub n_judged: usize,
    /// Answers whose worth could not be found out.
    pub n_failed: usize,
    pub mean_reward: f64,
    pub written: Vec<PathBuf>,
}

/// Draws answers to every row, and writes `<out>/pairs.jsonl` and `<out>/judged.jsonl`; `each` is
/// called with the number of rows done.
///
/// # Errors
/// `mine_options`, those of reading and of the judge, and of files.
pub fn mine_preferences(request: &MineRequest, mut each: impl FnMut(usize)) -> Result<Mined> {
    request.options.validate()?;
    let train = &request.train;
    train.options.check(train.method)?;
    let folder = ModelFolder::open(&train.model)?;
    let sides = read(train)?;
    let Rows::Asked(rows) = sides.train.clone() else {
        return Err(Error::internal("the rows are not of the method's kind"));
    };
    let mut dry_run = DryRun::default();
    let max_tokens = max_tokens(train, &folder)?;
    let (mut prompts, n_rows) = reward::judged(train, &folder, sides, max_tokens, &mut dry_run)?;
    for line in &dry_run.rejected {
        tracing::warn!("{line}");
    }
    let device = device::best()?;
    let dtype = device::training_dtype(&device, train.options.bf16);
    let model = folder.load_trainable(false, dtype, &device)?;
    let policy = Policy::new(model, None, false, train.options.seed)?;
    let grpo = &train.options.grpo;
    let mut drawn: Vec<Vec<Candidate>> = Vec::with_capacity(n_rows);
    let indices: Vec<usize> = (0..n_rows).collect();
    for chunk in indices.chunks(BATCH_ROWS) {
        let seed = train.options.seed.wrapping_add(chunk[0] as u64);
        let (temperature, top_p) = (grpo.temperature as f32, grpo.top_p as f32);
        let draw = Draw {
            sampling: Sampling { temperature, top_k: grpo.top_k, top_p, seed },
            n_completions: grpo.n_generations,
            max_new_tokens: grpo.max_new_tokens,
        };
        let samples = prompts.draw(&policy, chunk, draw)?;
        let candidates = samples.judgements.iter().zip(&samples.answers).map(|(it, answer)| {
            let n_tokens = answer.sequence.n_answer();
            Candidate { text: it.text.clone(), reward: it.total, n_tokens }
        });
        let candidates: Vec<Candidate> = candidates.collect();
        drawn.extend(candidates.chunks(grpo.n_generations).map(<[Candidate]>::to_vec));
        each(chunk.len());
    }
    write(request, &matching(rows, &prompts), &drawn)
}

/// The rows that became prompts, in their order.
fn matching(rows: Vec<Asked>, prompts: &Prompts) -> Vec<Asked> {
    let mut sources = prompts.train.iter().map(|row| &row.source).peekable();
    rows.into_iter()
        .filter(|row| sources.next_if(|source| **source == row.source).is_some())
        .collect()
}

fn write(request: &MineRequest, rows: &[Asked], drawn: &[Vec<Candidate>]) -> Result<Mined> {
    let options = &request.options;
    let Some(all) = mean_reward(drawn.iter().flatten()) else {
        return Err(Error::new(
            Kind::Unavailable,
            "mine_unjudged",
            format!(
                "none of the rewrites of {} questions could be judged, as the searches failed; \
                 nothing is written",
                drawn.len()
            ),
        ));
    };
    let (mut of_pairs, mut of_judged) = (String::new(), String::new());
    let (mut n_pairs, mut n_judged) = (0, 0);
    for (row, candidates) in rows.iter().zip(drawn) {
        let (history, query) = (&row.history, &row.query);
        let reward = |idx: usize| candidates[idx].reward.unwrap_or_default();
        for (chosen, rejected) in pairs(candidates, options) {
            let record = PreferenceRecord {
                history: history.clone(),
                query: query.clone(),
                chosen: candidates[chosen].text.clone(),
                rejected: candidates[rejected].text.clone(),
                chosen_reward: reward(chosen),
                rejected_reward: reward(rejected),
            };
            of_pairs += &format!("{}\n", serde_json::to_string(&record)?);
            n_pairs += 1;
        }
        let mean = match options.judged_by {
            JudgedBy::AllMean => all,
            JudgedBy::PromptMean => mean_reward(candidates).unwrap_or(all),
        };
        for (idx, desirable) in verdicts(candidates, mean, options) {
            let record = JudgedRecord {
                history: history.clone(),
                query: query.clone(),
                rewrite: candidates[idx].text.clone(),
                desirable,
                reward: reward(idx),
            };
            of_judged += &format!("{}\n", serde_json::to_string(&record)?);
            n_judged += 1;
        }
    }
    let out = &request.train.out;
    fs_err::create_dir_all(out)?;
    let written = [(PAIRS, of_pairs), (JUDGED, of_judged)];
    let written = written.into_iter().map(|(name, text)| {
        let path = out.join(name);
        // Whole or not at all.
        let unfinished = out.join(format!(".{name}"));
        fs_err::write(&unfinished, text)?;
        fs_err::rename(&unfinished, &path)?;
        Ok(path)
    });
    Ok(Mined {
        n_prompts: drawn.len(),
        n_pairs,
        n_judged,
        n_failed: drawn.iter().flatten().filter(|it| it.reward.is_none()).count(),
        mean_reward: all,
        written: written.collect::<Result<_>>()?,
    })
}
