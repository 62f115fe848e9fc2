//! From files to an objective: read, split, tokenised, counted.

use std::path::PathBuf;

use super::report::{DryRun, Lengths};
use super::tokens::{Sequences, Texts};
use super::{SearchedCollection, TrainRequest, reward};
use crate::error::{Error, Result};
use crate::model::{ModelFolder, TextKind, files};
use crate::train::batches::Batches;
use crate::train::checkpoint::BestBy;
use crate::train::contrastive::{PassageRow, Passages, RetrievalSet};
use crate::train::data::{self, Dataset, Pair, Portion, ReadReport, Rows, Task};
use crate::train::objective::Objective;
use crate::train::options::Method;
use crate::train::preference::{JudgedRow, Judgements, PairRow, Pairs, class_weights};
use crate::train::sequence::Sequence;
use crate::train::sft::{Sft, SftRow};

/// Longest sequence where neither the settings nor the model's window say less.
const MAX_TOKENS: usize = 1_024;
/// Samples that a dry run shows.
pub(super) const N_SAMPLES: usize = 3;

/// A run before its first step.
pub struct Prepared {
    pub objective: Box<dyn Objective>,
    pub dry_run: DryRun,
    pub best_by: BestBy,
    /// The share of old rows comes from here on, among the objective's rows.
    pub n_new: usize,
    /// Of the model, all rows and the Fisher file: what a run may be gone on with.
    pub inputs_sha256: String,
}

/// Rows on both sides, and what became of the files.
pub(super) struct Sides {
    pub train: Rows,
    pub validation: Rows,
    pub old: Rows,
    report: ReadReport,
}

/// Reads and tokenises what the request names.
///
/// # Errors
/// `data_…` and `train_data` for rows that cannot be used, `model_…` for a folder that cannot,
/// `train_options`.
pub fn prepare(request: &TrainRequest) -> Result<Prepared> {
    request.options.check(request.method)?;
    let folder = ModelFolder::open(&request.model)?;
    let sides = read(request)?;
    let max_tokens = max_tokens(request, &folder)?;
    let rejected: Vec<String> = sides.report.rejected.iter().map(ToString::to_string).collect();
    let mut dry_run = DryRun {
        n_train: sides.train.len() + sides.old.len(),
        n_validation: sides.validation.len(),
        n_rejected: rejected.len(),
        n_duplicates: sides.report.n_duplicates,
        max_tokens,
        data_sha256: sides.report.sha256.clone(),
        rejected,
        notes: sides.report.notes.clone(),
        ..DryRun::default()
    };
    let mut n_new = sides.train.len();
    let (objective, greater_is_better, metric) = match request.method {
        Method::Infonce => {
            let objective;
            (objective, n_new) = passages(request, &folder, sides, max_tokens, &mut dry_run)?;
            (objective, true, "eval_ndcg@10".to_owned())
        }
        Method::Grpo | Method::Ppo => {
            let objective;
            (objective, n_new) =
                reward::prompts(request, &folder, sides, max_tokens, &mut dry_run)?;
            let metric = match &request.collection {
                Some(_) => format!("eval_ndcg@{}", request.options.rewards.k),
                None => "eval_reward".to_owned(),
            };
            (objective, true, metric)
        }
        _ => {
            let objective = answers(request, &folder, sides, max_tokens, &mut dry_run)?;
            (objective, false, "eval_loss".to_owned())
        }
    };
    dry_run.lengths = Lengths::of(objective.lengths());
    let batches = Batches::plan(&*objective, n_new, &request.options, request.method)?;
    dry_run.steps_per_epoch = batches.per_epoch();
    let best_by = BestBy { metric, greater_is_better };
    let inputs_sha256 = inputs_sha256(request, &folder, &dry_run)?;
    Ok(Prepared { objective, dry_run, best_by, n_new, inputs_sha256 })
}

fn inputs_sha256(request: &TrainRequest, folder: &ModelFolder, dry_run: &DryRun) -> Result<String> {
    let fisher = match &request.fisher {
        Some(path) => files::sha256(&fs_err::read(path)?),
        None => String::new(),
    };
    let searched = request.collection.as_ref().map(SearchedCollection::fingerprint);
    let searched = searched.unwrap_or_default();
    let parts = [files::fingerprint(folder)?, dry_run.data_sha256.clone(), fisher, searched];
    Ok(files::sha256(parts.join(" ").as_bytes()))
}

pub(super) fn read(request: &TrainRequest) -> Result<Sides> {
    let task = match request.method {
        Method::Sft => Task::Sft,
        Method::Dpo => Task::Preference,
        Method::Kto => Task::Kto,
        Method::Infonce => Task::Contrastive,
        Method::Grpo | Method::Ppo => Task::Reward,
    };
    let read = |files: &[PathBuf]| data::read(files, task, &request.read);
    let Dataset { rows, mut report } = read(&request.data)?;
    let mut others = |files: &[PathBuf]| match files {
        [] => Ok(Rows::none(task)),
        files => {
            let Dataset { rows, report: other } = read(files)?;
            report.n_duplicates += other.n_duplicates;
            report.rejected.extend(other.rejected);
            report.notes.extend(other.notes);
            report.sha256 = files::sha256(format!("{} {}", report.sha256, other.sha256).as_bytes());
            Ok::<Rows, Error>(rows)
        }
    };
    let (old, given) = (others(&request.old_data)?, others(&request.validation)?);
    let share = request.options.validation_share;
    if !given.is_empty() || share == 0.0 || rows.len() < 2 {
        return Ok(Sides { train: rows, validation: given, old, report });
    }
    match data::split(rows.clone(), Portion::Share(share), request.options.seed) {
        Ok((train, validation)) => Ok(Sides { train, validation, old, report }),
        Err(error) if error.code == "data_split" => {
            let advice = "nothing is measured; name rows by --validation to measure on";
            report.notes.push(format!("{error}; {advice}"));
            Ok(Sides { train: rows, validation: Rows::none(task), old, report })
        }
        Err(error) => Err(error),
    }
}

pub(super) fn max_tokens(request: &TrainRequest, folder: &ModelFolder) -> Result<usize> {
    let device = crate::model::device::cpu();
    let window = folder.config(&device)?.window;
    let passage_tokens = match request.method {
        Method::Infonce => folder.card()?.passage_tokens,
        _ => MAX_TOKENS,
    };
    match request.options.max_tokens {
        0 => Ok(window.min(passage_tokens)),
        asked if asked < 8 => Err(Error::invalid(
            "train_options",
            format!("max_tokens is {asked}; no prompt fits beside an answer, give at least 8"),
        )),
        asked if asked > window => Err(Error::invalid(
            "train_options",
            format!("max_tokens is {asked}, but the model's window is {window}; give at most that"),
        )),
        asked => Ok(asked),
    }
}

/// The objectives of language models.
fn answers(
    request: &TrainRequest,
    folder: &ModelFolder,
    sides: Sides,
    max_tokens: usize,
    dry_run: &mut DryRun,
) -> Result<Box<dyn Objective>> {
    let mut sequences = Sequences::open(folder, max_tokens)?;
    let options = &request.options;
    let Sides { train, validation, old, .. } = sides;
    let objective: Box<dyn Objective> = match (train, validation, old) {
        (Rows::Completions(train), Rows::Completions(validation), Rows::Completions(old)) => {
            let mut rows = |rows: Vec<data::Completion>| -> Result<Vec<SftRow>> {
                let row = |row: &data::Completion| {
                    let sequence = sequences.of(&row.prompt, &row.answer, &row.source)?;
                    Ok(SftRow { sequence, source: row.source.clone() })
                };
                rows.iter().map(row).collect()
            };
            let validation = rows(validation)?;
            let mut train = rows(train)?;
            train.extend(rows(old)?);
            sample(dry_run, &sequences, train.iter().map(|row| vec![&row.sequence]))?;
            Box::new(Sft {
                train,
                validation,
                micro_batch_tokens: options.micro_batch_tokens,
                n_generated: options.n_generated,
                stop_tokens: sequences.tokenizer.stop_tokens().to_vec(),
            })
        }
        (Rows::Preferences(train), Rows::Preferences(validation), Rows::Preferences(old)) => {
            let mut rows = |rows: Vec<data::Preference>| -> Result<Vec<PairRow>> {
                let row = |row: &data::Preference| {
                    let chosen = sequences.of(&row.prompt, &row.chosen, &row.source)?;
                    let rejected = sequences.of(&row.prompt, &row.rejected, &row.source)?;
                    Ok(PairRow { chosen, rejected, source: row.source.clone() })
                };
                rows.iter().map(row).collect()
            };
            let validation = rows(validation)?;
            let mut train = rows(train)?;
            train.extend(rows(old)?);
            sample(dry_run, &sequences, train.iter().map(|row| vec![&row.chosen, &row.rejected]))?;
            let tokens = options.micro_batch_tokens;
            Box::new(Pairs::new(options.dpo.clone(), train, validation, tokens)?)
        }
        (Rows::Judged(train), Rows::Judged(validation), Rows::Judged(old)) => {
            let mut rows = |rows: Vec<data::Judged>| -> Result<Vec<JudgedRow>> {
                let row = |row: &data::Judged| {
                    let sequence = sequences.of(&row.prompt, &row.answer, &row.source)?;
                    let (desirable, source) = (row.desirable, row.source.clone());
                    Ok(JudgedRow { sequence, desirable, source })
                };
                rows.iter().map(row).collect()
            };
            let validation = rows(validation)?;
            let mut train = rows(train)?;
            train.extend(rows(old)?);
            sample(dry_run, &sequences, train.iter().map(|row| vec![&row.sequence]))?;
            let mut kto = options.kto.clone();
            let is_default = kto.desirable_weight == 1.0 && kto.undesirable_weight == 1.0;
            if options.kto_automatic_weights && is_default {
                let n_desirable = train.iter().filter(|row| row.desirable).count();
                (kto.desirable_weight, kto.undesirable_weight) =
                    class_weights(n_desirable, train.len() - n_desirable);
            }
            let tokens = options.micro_batch_tokens;
            Box::new(Judgements::new(kto, train, validation, tokens, max_tokens)?)
        }
        _ => return Err(Error::internal("the rows are not of the method's kind")),
    };
    dry_run.n_cut = sequences.n_cut;
    Ok(objective)
}

/// Shows the first rows as the model sees them, special tokens written out.
fn sample<'a>(
    dry_run: &mut DryRun,
    sequences: &Sequences,
    rows: impl Iterator<Item = Vec<&'a Sequence>>,
) -> Result<()> {
    for row in rows.take(N_SAMPLES) {
        let mut text = String::new();
        for sequence in row {
            let (prompt, answer) = sequence.tokens.split_at(sequence.n_prompt);
            let shown = |tokens| sequences.tokenizer.decode_whole(tokens);
            text += &format!("{}【{}】\n", shown(prompt)?, shown(answer)?);
        }
        dry_run.samples.push(text.trim_end().to_owned());
    }
    Ok(())
}

/// The objective of an embedder, and how many of its rows are new.
fn passages(
    request: &TrainRequest,
    folder: &ModelFolder,
    sides: Sides,
    max_tokens: usize,
    dry_run: &mut DryRun,
) -> Result<(Box<dyn Objective>, usize)> {
    let texts = Texts::open(folder, max_tokens)?;
    let (Rows::Pairs(train), Rows::Pairs(validation), Rows::Pairs(old)) =
        (sides.train, sides.validation, sides.old)
    else {
        return Err(Error::internal("the rows are not of the method's kind"));
    };
    let rows = |pairs: &[Pair]| -> Result<Vec<PassageRow>> {
        let rows = pairs.iter().map(|pair| texts.rows(pair, request.options.n_negatives));
        Ok(rows.collect::<Result<Vec<_>>>()?.concat())
    };
    let mut train = rows(&train)?;
    let n_new = train.len();
    for row in train.iter().take(N_SAMPLES) {
        let [query, positive] =
            [&row.query, &row.positive].map(|it| texts.tokens.shown(&it.tokens));
        dry_run.samples.push(format!("{}\n-> {}", query?, positive?));
    }
    train.extend(rows(&old)?);
    dry_run.n_cut = texts.n_cut.get();
    let validation = retrieval_set(&texts, &validation)?;
    let (infonce, mining) = (request.options.infonce.clone(), request.options.mining.clone());
    let tokens = request.options.micro_batch_tokens;
    let objective = Passages::new(infonce, mining, train, validation, tokens)?;
    Ok((Box::new(objective), n_new))
}

/// The pairs' queries among all their passages, each passage once.
fn retrieval_set(texts: &Texts, pairs: &[Pair]) -> Result<RetrievalSet> {
    let mut set = RetrievalSet::default();
    let mut places = std::collections::HashMap::new();
    for pair in pairs {
        set.queries.push(texts.of(TextKind::Query, &pair.query)?);
        let mut place = |text: &String| -> Result<usize> {
            if let Some(place) = places.get(text) {
                return Ok(*place);
            }
            set.passages.push(texts.of(TextKind::Passage, text)?);
            places.insert(text.clone(), set.passages.len() - 1);
            Ok(set.passages.len() - 1)
        };
        for negative in &pair.negatives {
            place(negative)?;
        }
        let relevant = pair.positives.iter().map(&mut place).collect::<Result<_>>()?;
        set.relevant.push(relevant);
    }
    Ok(set)
}
