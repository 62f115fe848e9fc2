//! Rows of text as the tokens that the model is served with.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::{Error, Result};
use crate::model::files::ModelCard;
use crate::model::{
    ChatTokenizer, EmbeddingTokens, ModelFolder, PromptForm, TemplateMessage, TextKind,
};
use crate::rewrite::conversation::{Conversation, Glossary, Role, Turn};
use crate::rewrite::folding::Folding;
use crate::rewrite::prompt;
use crate::train::contrastive::{PassageRow, Text};
use crate::train::data::{self, Pair, Prompt, RowSource};
use crate::train::sequence::Sequence;

/// Turns rows for a language model into sequences.
pub struct Sequences {
    pub tokenizer: ChatTokenizer,
    card: ModelCard,
    max_tokens: usize,
    end: u32,
    /// Sequences that had to be cut.
    pub n_cut: usize,
}

impl Sequences {
    pub fn open(folder: &ModelFolder, max_tokens: usize) -> Result<Self> {
        let tokenizer = ChatTokenizer::load(folder)?;
        let end = tokenizer.end_of_answer()?;
        Ok(Self { tokenizer, card: folder.card()?, max_tokens, end, n_cut: 0 })
    }

    /// The prompt and the answer with the end of its turn.
    ///
    /// # Errors
    /// `train_data` naming the row, when the model's template does not take it or its answer is
    /// empty.
    pub fn of(&mut self, prompt: &Prompt, answer: &str, source: &RowSource) -> Result<Sequence> {
        let at_row = |error: Error| {
            let (file, line) = (&source.file, source.line);
            Error::invalid("train_data", format!("{file}:{line}: {error}"))
        };
        let folding = self.folding(prompt);
        let folded = folding.as_ref().map(|folding| folding.folded(answer));
        let answer = folded.as_deref().unwrap_or(answer);
        let mut answer = self.tokenizer.encode(&self.tokenizer.neutralise_turns(answer))?;
        answer.push(self.end);
        let prompt = self.prompt(prompt, answer.len()).map_err(at_row)?;
        if prompt.is_empty() {
            return Err(at_row(Error::invalid("train_data", "the prompt is empty")));
        }
        let (sequence, is_cut) = Sequence::joined(&prompt, &answer, self.max_tokens);
        self.n_cut += usize::from(is_cut);
        Ok(sequence)
    }

    /// The prompt alone, with room for an answer of `n_answer` tokens.
    ///
    /// # Errors
    /// `model_template` when the model's folder has no template that takes it.
    pub fn prompt(&self, prompt: &Prompt, n_answer: usize) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Text(text) => self.tokenizer.encode(text),
            Prompt::Chat(turns) => {
                let messages: Vec<TemplateMessage> =
                    turns.iter().map(|turn| self.message(turn)).collect();
                self.tokenizer.encode(&self.tokenizer.render(&messages)?)
            }
            Prompt::Rewrite { history, query } => {
                let mut conversation = conversation(history, query);
                if let Some(folding) = self.folding(prompt) {
                    conversation = folding.fold(&conversation);
                }
                let room = self.max_tokens.saturating_sub(n_answer);
                prompt::tokens(&conversation, &self.card, room, &self.tokenizer)
            }
        }
    }

    /// As the server has it: a restoring model reads simplified characters alone.
    pub fn folding(&self, prompt: &Prompt) -> Option<Folding> {
        let Prompt::Rewrite { history, query } = prompt else { return None };
        let folds = self.card.prompt == PromptForm::Restore;
        folds.then(|| Folding::of(&conversation(history, query))).flatten()
    }

    fn message(&self, turn: &data::Turn) -> TemplateMessage {
        let role = match turn.role {
            data::Role::System => "system",
            data::Role::User => "user",
            data::Role::Assistant => "assistant",
            data::Role::Tool => "tool",
        };
        let content = self.tokenizer.neutralise_turns(&turn.text);
        TemplateMessage { role: role.to_owned(), content }
    }
}

/// A history without roles: the turn before the query was the assistant's, and so on in turns.
pub fn conversation(history: &[String], query: &str) -> Conversation {
    let roles = [Role::Assistant, Role::User].into_iter().cycle();
    let mut turns: Vec<Turn> = history
        .iter()
        .rev()
        .zip(roles)
        .map(|(text, role)| Turn { role, text: text.clone() })
        .collect();
    turns.reverse();
    Conversation {
        query: query.to_owned(),
        turns,
        now: None,
        locale: None,
        facts: Default::default(),
        glossary: Glossary::default().into(),
        held_senses: Default::default(),
    }
}

/// Turns texts for an embedder into tokens.
pub struct Texts {
    pub tokens: EmbeddingTokens,
    /// Texts that had to be cut.
    pub n_cut: Cell<usize>,
}

impl Texts {
    pub fn open(folder: &ModelFolder, max_tokens: usize) -> Result<Self> {
        let tokens = EmbeddingTokens::open(folder, max_tokens)?;
        Ok(Self { tokens, n_cut: Cell::new(0) })
    }

    pub fn of(&self, kind: TextKind, text: &str) -> Result<Text> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let (tokens, is_cut) = self.tokens.tokens(kind, text)?;
        self.n_cut.set(self.n_cut.get() + usize::from(is_cut));
        Ok(Text { tokens, hash: hasher.finish() })
    }

    /// A row for each positive passage, with the pair's first `n_negatives` negatives.
    pub fn rows(&self, pair: &Pair, n_negatives: usize) -> Result<Vec<PassageRow>> {
        let query = self.of(TextKind::Query, &pair.query)?;
        let negatives: Vec<Text> = pair
            .negatives
            .iter()
            .take(n_negatives)
            .map(|text| self.of(TextKind::Passage, text))
            .collect::<Result<_>>()?;
        let row = |positive: &String| {
            Ok(PassageRow {
                query: query.clone(),
                positive: self.of(TextKind::Passage, positive)?,
                negatives: negatives.clone(),
                source: pair.source.clone(),
            })
        };
        pair.positives.iter().map(row).collect()
    }
}
