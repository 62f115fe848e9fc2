//! Rows of questions as the prompts of a method by reward, with their judge.

use std::sync::Arc;

use super::TrainRequest;
use super::collection::Searches;
use super::judge::RetrievalJudge;
use super::prepare::{N_SAMPLES, Sides};
use super::report::DryRun;
use super::tokens::{Sequences, conversation};
use crate::error::{Error, Result};
use crate::model::{ChatTokenizer, ModelFolder};
use crate::rewrite::conversation::Conversation;
use crate::rewrite::folding::Folding;
use crate::train::data::{Asked, Prompt, Rows};
use crate::train::objective::Objective;
use crate::train::options::Method;
use crate::train::reinforce::{Grpo, Ppo, PromptRow, Prompts, Watchdog};

/// The objective of a method by reward, and how many of its rows are new.
///
/// # Errors
/// `train_options` without a collection where a reward needs one, `train_data` without rows that
/// can be judged.
pub(super) fn prompts(
    request: &TrainRequest,
    folder: &ModelFolder,
    sides: Sides,
    max_tokens: usize,
    dry_run: &mut DryRun,
) -> Result<(Box<dyn Objective>, usize)> {
    let options = &request.options;
    let (prompts, n_new) = judged(request, folder, sides, max_tokens, dry_run)?;
    let watchdog = Watchdog::new(options.watchdog.clone())?;
    let objective: Box<dyn Objective> = match request.method {
        Method::Ppo => Box::new(Ppo::new(options.ppo.clone(), prompts, watchdog)?),
        _ => Box::new(Grpo::new(options.grpo.clone(), prompts, watchdog)?),
    };
    Ok((objective, n_new))
}

/// The prompts with their judge, and how many of the rows are new.
///
/// # Errors
/// Those of [`prompts`].
pub(super) fn judged(
    request: &TrainRequest,
    folder: &ModelFolder,
    sides: Sides,
    max_tokens: usize,
    dry_run: &mut DryRun,
) -> Result<(Prompts, usize)> {
    let options = &request.options;
    let searches = searches(request)?;
    let (Rows::Asked(train), Rows::Asked(validation), Rows::Asked(old)) =
        (sides.train, sides.validation, sides.old)
    else {
        return Err(Error::internal("the rows are not of the method's kind"));
    };
    let max_new_tokens = match request.method {
        Method::Ppo => options.ppo.max_new_tokens,
        _ => options.grpo.max_new_tokens,
    };
    if max_new_tokens >= max_tokens {
        return Err(Error::invalid(
            "train_options",
            format!(
                "max_new_tokens is {max_new_tokens} and max_tokens {max_tokens}: no prompt fits \
                 before an answer; lower the one, or raise the other"
            ),
        ));
    }
    let mut reading = Reading {
        request,
        sequences: Sequences::open(folder, max_tokens)?,
        max_new_tokens,
        max_tokens,
        dry_run,
    };
    let (mut rows, mut cases) = reading.rows(train)?;
    let n_new = rows.len();
    if n_new == 0 {
        return Err(Error::invalid(
            "train_data",
            "no row is left to train on: none names a document of the collection in `relevant`",
        ));
    }
    let (old_rows, old_cases) = reading.rows(old)?;
    rows.extend(old_rows);
    cases.extend(old_cases);
    let (validation, validation_cases) = reading.rows(validation)?;
    reading.show(&rows)?;
    reading.dry_run.n_train = rows.len();
    reading.dry_run.n_validation = validation.len();
    let tokenizer = Arc::new(ChatTokenizer::load(folder)?);
    let stop_tokens = tokenizer.stop_tokens().to_vec();
    let rewards = options.rewards.clone();
    let judge = RetrievalJudge::new(rewards, tokenizer, searches, cases, validation_cases)?;
    let prompts = Prompts {
        train: rows,
        validation,
        stop_tokens,
        judge: Box::new(judge),
        n_new,
        micro_batch_tokens: options.micro_batch_tokens,
        seed: options.seed,
    };
    Ok((prompts, n_new))
}

fn searches(request: &TrainRequest) -> Result<Option<Searches>> {
    let rewards = &request.options.rewards;
    if rewards.needs_reranker() {
        return Err(Error::invalid(
            "train_options",
            "rewards.weights names `reranker`, which no run of this command has; leave it out",
        ));
    }
    match &request.collection {
        Some(collection) => Ok(Some(Searches::new(collection.clone(), rewards.depth))),
        None if !rewards.needs_search() => Ok(None),
        None => Err(Error::invalid(
            "train_options",
            format!(
                "{} judges by searching; name a collection by --collection, or files of passages \
                 by --corpus, or give rewards.weights without a search",
                request.method.name()
            ),
        )),
    }
}

/// A question for the judge; a restoring model's answers are put back in its characters.
pub(super) struct Case {
    pub row: Asked,
    pub conversation: Conversation,
    pub folding: Option<Folding>,
}

struct Reading<'a> {
    request: &'a TrainRequest,
    sequences: Sequences,
    max_new_tokens: usize,
    max_tokens: usize,
    dry_run: &'a mut DryRun,
}

impl Reading<'_> {
    /// Prompts, and the same rows for the judge. Rows whose documents the collection lacks are
    /// left out and told.
    fn rows(&mut self, rows: Vec<Asked>) -> Result<(Vec<PromptRow>, Vec<Case>)> {
        let (mut prompts, mut cases) = (Vec::new(), Vec::new());
        for mut row in rows {
            if let Some(collection) = &self.request.collection {
                let mut known = Vec::new();
                for id in std::mem::take(&mut row.relevant) {
                    if !known.contains(&id) && collection.has(&id)? {
                        known.push(id);
                    }
                }
                if known.is_empty() {
                    let why = "the collection has none of the documents that `relevant` names";
                    self.reject(&row, why);
                    continue;
                }
                row.relevant = known;
            }
            let (history, query) = (row.history.clone(), row.query.clone());
            let conversation = conversation(&history, &query);
            let prompt = Prompt::Rewrite { history, query };
            let folding = self.sequences.folding(&prompt);
            let tokens = self.sequences.prompt(&prompt, self.max_new_tokens)?;
            let room = self.max_tokens - self.max_new_tokens;
            if tokens.len() > room {
                let n_tokens = tokens.len();
                self.reject(&row, &format!("its prompt has {n_tokens} tokens, over {room}"));
                continue;
            }
            prompts.push(PromptRow { prompt: tokens, source: row.source.clone() });
            cases.push(Case { row, conversation, folding });
        }
        Ok((prompts, cases))
    }

    fn reject(&mut self, row: &Asked, why: &str) {
        let (file, line) = (&row.source.file, row.source.line);
        self.dry_run.rejected.push(format!("{file}:{line}: {why}"));
        self.dry_run.n_rejected += 1;
    }

    fn show(&mut self, rows: &[PromptRow]) -> Result<()> {
        for row in rows.iter().take(N_SAMPLES) {
            self.dry_run.samples.push(self.sequences.tokenizer.decode_whole(&row.prompt)?);
        }
        Ok(())
    }
}
