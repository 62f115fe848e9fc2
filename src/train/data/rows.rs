//! The rows that the trainers take, whatever form they were written in.

use std::sync::Arc;

/// Where a row came from: for reports, and for the log of a bad batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowSource {
    pub file: Arc<str>,
    /// 1-based line of a JSONL file, or the 1-based index in a JSON array.
    pub line: usize,
}

/// Who says a turn. A call of a function is an assistant's turn, its result a tool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// One turn of a chat. The text is shared, because every answer of a long chat becomes a row of
/// its own whose prompt repeats what came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub role: Role,
    pub text: Arc<str>,
}

/// What comes before the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Turns for the model's chat template; never empty. An answer ends them only where answers
    /// may follow one another (`consecutive_roles`).
    Chat(Vec<Turn>),
    /// A conversation to restore, history oldest first: this project's own rows.
    Rewrite { history: Vec<String>, query: String },
    /// A prompt that is rendered already: the answer follows it without a template.
    Text(String),
}

/// A prompt with the answer to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub prompt: Prompt,
    pub answer: String,
    pub source: RowSource,
}

/// A prompt with a better and a worse answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    pub prompt: Prompt,
    pub chosen: String,
    pub rejected: String,
    pub source: RowSource,
}

/// A prompt with one answer and the verdict on it, as KTO takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub prompt: Prompt,
    pub answer: String,
    pub desirable: bool,
    pub source: RowSource,
}

/// A query with passages as they are embedded: `title\ntext`, or the text alone without a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub query: String,
    /// At least one.
    pub positives: Vec<String>,
    /// None of them equal to a positive.
    pub negatives: Vec<String>,
    pub source: RowSource,
}

/// A conversation with what answers it, to be rewritten and judged by what is then found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub history: Vec<String>,
    pub query: String,
    /// Ids of the documents that answer; empty where nothing is searched for.
    pub relevant: Vec<String>,
    /// Whether the query needs no rewriting, where that is known.
    pub is_complete: Option<bool>,
    pub source: RowSource,
}

/// The rows of one training, all of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    Completions(Vec<Completion>),
    Preferences(Vec<Preference>),
    Judged(Vec<Judged>),
    Pairs(Vec<Pair>),
    Asked(Vec<Asked>),
}

/// What the rows are for; it decides which forms fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Sft,
    /// DPO and its kin.
    Preference,
    Kto,
    Contrastive,
    /// GRPO, PPO, and pairs mined from retrieval.
    Reward,
}

/// One row before it joins its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    Completion(Completion),
    Preference(Preference),
    Judged(Judged),
    Pair(Pair),
    Asked(Asked),
}

impl Task {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sft => "SFT",
            Self::Preference => "preference",
            Self::Kto => "KTO",
            Self::Contrastive => "contrastive",
            Self::Reward => "reward",
        }
    }
}

impl Rows {
    /// No rows, of the kind that the task takes.
    pub fn none(task: Task) -> Self {
        match task {
            Task::Sft => Self::Completions(Vec::new()),
            Task::Preference => Self::Preferences(Vec::new()),
            Task::Kto => Self::Judged(Vec::new()),
            Task::Contrastive => Self::Pairs(Vec::new()),
            Task::Reward => Self::Asked(Vec::new()),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Completions(rows) => rows.len(),
            Self::Preferences(rows) => rows.len(),
            Self::Judged(rows) => rows.len(),
            Self::Pairs(rows) => rows.len(),
            Self::Asked(rows) => rows.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a row of the same kind, and says whether it was one.
    pub(super) fn push(&mut self, row: Row) -> bool {
        match (self, row) {
            (Self::Completions(rows), Row::Completion(row)) => rows.push(row),
            (Self::Preferences(rows), Row::Preference(row)) => rows.push(row),
            (Self::Judged(rows), Row::Judged(row)) => rows.push(row),
            (Self::Pairs(rows), Row::Pair(row)) => rows.push(row),
            (Self::Asked(rows), Row::Asked(row)) => rows.push(row),
            _ => return false,
        }
        true
    }
}

impl Row {
    pub(super) fn source(&self) -> &RowSource {
        match self {
            Self::Completion(row) => &row.source,
            Self::Preference(row) => &row.source,
            Self::Judged(row) => &row.source,
            Self::Pair(row) => &row.source,
            Self::Asked(row) => &row.source,
        }
    }
}
