//! Hashes of rows: to find duplicates, to tell data sets apart, and to split them so that nothing
//! of the one part is in the other.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::rows::{Asked, Completion, Judged, Pair, Preference, Prompt, Role, Row, Rows};
use crate::error::{Error, Result};

/// The first half of a SHA-256.
pub type Digest = [u8; 16];

/// How many rows are set aside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Portion {
    /// Of all rows: from 0 to less than 1.
    Share(f64),
    /// This many rows.
    Count(usize),
}

/// A row's content, without where it came from.
trait Content {
    fn write(&self, hash: &mut Fingerprint);

    /// What a row shares with those that must be on the same side of a split: where its
    /// conversation begins; or its query and its positives, for pairs.
    fn ties(&self) -> Vec<Digest>;
}

/// A hash of texts that cannot be mistaken for other texts with other borders.
#[derive(Default)]
struct Fingerprint(Sha256);

/// Splits into rows to train on and rows to validate with, each in the order given. Rows with
/// equal prompts, the answers of one conversation, and pairs with a common query or a common
/// positive stay together, so that the portion is met as nearly as that allows and never passed.
/// It depends on the rows and the seed alone.
///
/// # Errors
/// `data_split` when the portion is none, or one part would be empty.
pub fn split(rows: Rows, portion: Portion, seed: u64) -> Result<(Rows, Rows)> {
    let n_wanted = n_wanted(rows.len(), portion)?;
    let n_rows = rows.len();
    let (train, validation) = match rows {
        Rows::Completions(rows) => both(rows, n_wanted, seed, Rows::Completions),
        Rows::Preferences(rows) => both(rows, n_wanted, seed, Rows::Preferences),
        Rows::Judged(rows) => both(rows, n_wanted, seed, Rows::Judged),
        Rows::Pairs(rows) => both(rows, n_wanted, seed, Rows::Pairs),
        Rows::Asked(rows) => both(rows, n_wanted, seed, Rows::Asked),
    };
    if n_wanted > 0 && validation.is_empty() {
        return Err(refusal(format!(
            "{n_wanted} of {n_rows} rows cannot be set aside: the rows share their prompts or passages and must stay together"
        )));
    }
    Ok((train, validation))
}

/// SHA-256 over the contents of the rows in their order, hexadecimal.
pub fn sha256(rows: &Rows) -> String {
    let mut hash = Fingerprint::default();
    match rows {
        Rows::Completions(rows) => rows.iter().for_each(|row| row.write(&mut hash)),
        Rows::Preferences(rows) => rows.iter().for_each(|row| row.write(&mut hash)),
        Rows::Judged(rows) => rows.iter().for_each(|row| row.write(&mut hash)),
        Rows::Pairs(rows) => rows.iter().for_each(|row| row.write(&mut hash)),
        Rows::Asked(rows) => rows.iter().for_each(|row| row.write(&mut hash)),
    }
    hash.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row's digest: equal for equal contents.
pub(super) fn digest(row: &Row) -> Digest {
    let mut hash = Fingerprint::default();
    match row {
        Row::Completion(row) => row.write(&mut hash),
        Row::Preference(row) => row.write(&mut hash),
        Row::Judged(row) => row.write(&mut hash),
        Row::Pair(row) => row.write(&mut hash),
        Row::Asked(row) => row.write(&mut hash),
    }
    hash.digest()
}

fn n_wanted(n_rows: usize, portion: Portion) -> Result<usize> {
    let n_wanted = match portion {
        Portion::Count(n_wanted) => n_wanted,
        Portion::Share(share) if (0.0..1.0).contains(&share) => {
            // At least one row of a share above 0, and all but one at most.
            let n_wanted = (share * n_rows as f64).round() as usize;
            n_wanted.max(usize::from(share > 0.0)).min(n_rows.saturating_sub(1))
        }
        Portion::Share(share) => {
            return Err(refusal(format!(
                "the share to set aside is {share}; it must be from 0 to less than 1"
            )));
        }
    };
    if n_wanted > 0 && n_wanted >= n_rows {
        return Err(refusal(format!(
            "{n_wanted} rows cannot be set aside of {n_rows}: none would be left to train on"
        )));
    }
    Ok(n_wanted)
}

fn refusal(message: String) -> Error {
    Error::invalid("data_split", message)
}

fn both<T: Content>(
    rows: Vec<T>,
    n_wanted: usize,
    seed: u64,
    wrap: fn(Vec<T>) -> Rows,
) -> (Rows, Rows) {
    let is_validation = set_aside(&rows, n_wanted, seed);
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (row, is_validation) in rows.into_iter().zip(is_validation) {
        if is_validation { validation.push(row) } else { train.push(row) }
    }
    (wrap(train), wrap(validation))
}

/// Which rows are set aside: whole families in the order of their hashes, while there is room.
fn set_aside<T: Content>(rows: &[T], n_wanted: usize, seed: u64) -> Vec<bool> {
    let mut order: Vec<(Digest, Vec<usize>)> =
        families(rows).into_iter().map(|(tie, members)| (seeded(tie, seed), members)).collect();
    order.sort_unstable();
    let mut is_validation = vec![false; rows.len()];
    let mut room = n_wanted;
    for (_, members) in order {
        if members.len() <= room {
            room -= members.len();
            members.into_iter().for_each(|idx| is_validation[idx] = true);
        }
    }
    is_validation
}

fn seeded(tie: Digest, seed: u64) -> Digest {
    let mut hash = Fingerprint::default();
    hash.0.update(seed.to_le_bytes());
    hash.0.update(tie);
    hash.digest()
}

/// The rows that must stay together, each family with the least of its ties.
fn families<T: Content>(rows: &[T]) -> Vec<(Digest, Vec<usize>)> {
    let mut parents: Vec<usize> = (0..rows.len()).collect();
    let mut first_with = HashMap::new();
    let ties: Vec<Vec<Digest>> = rows.iter().map(Content::ties).collect();
    for (idx, tie) in
        ties.iter().enumerate().flat_map(|(idx, ties)| ties.iter().map(move |tie| (idx, tie)))
    {
        let other = *first_with.entry(*tie).or_insert(idx);
        let (root, other) = (root(&mut parents, idx), root(&mut parents, other));
        parents[root.max(other)] = root.min(other);
    }
    let mut families: HashMap<usize, (Digest, Vec<usize>)> = HashMap::new();
    for (idx, ties) in ties.iter().enumerate() {
        let least = ties.iter().min().copied().unwrap_or_default();
        let family = families.entry(root(&mut parents, idx)).or_insert_with(|| (least, Vec::new()));
        family.0 = family.0.min(least);
        family.1.push(idx);
    }
    families.into_values().collect()
}

/// The head of a row's family; the path to it is halved on the way.
fn root(parents: &mut [usize], mut idx: usize) -> usize {
    while parents[idx] != idx {
        parents[idx] = parents[parents[idx]];
        idx = parents[idx];
    }
    idx
}

impl Fingerprint {
    /// Takes in a text with its length, so that borders count.
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    fn texts(&mut self, texts: &[String]) {
        self.0.update((texts.len() as u64).to_le_bytes());
        texts.iter().for_each(|text| self.text(text));
    }

    fn mark(&mut self, mark: u8) {
        self.0.update([mark]);
    }

    fn prompt(&mut self, prompt: &Prompt) {
        match prompt {
            Prompt::Chat(turns) => {
                self.mark(b'c');
                self.0.update((turns.len() as u64).to_le_bytes());
                for turn in turns {
                    self.mark(letter(turn.role));
                    self.text(&turn.text);
                }
            }
            Prompt::Rewrite { history, query } => {
                self.mark(b'r');
                self.texts(history);
                self.text(query);
            }
            Prompt::Text(text) => {
                self.mark(b't');
                self.text(text);
            }
        }
    }

    fn digest(self) -> Digest {
        let mut digest = [0; 16];
        digest.copy_from_slice(&self.0.finalize()[..16]);
        digest
    }
}

fn letter(role: Role) -> u8 {
    match role {
        Role::System => b's',
        Role::User => b'u',
        Role::Assistant => b'a',
        Role::Tool => b't',
    }
}

fn tie(mark: u8, text: &str) -> Digest {
    let mut hash = Fingerprint::default();
    hash.mark(mark);
    hash.text(text);
    hash.digest()
}

/// Where the conversation of a prompt begins: its first turn that is not the system's.
fn beginning(prompt: &Prompt) -> Digest {
    let text = match prompt {
        Prompt::Chat(turns) => {
            let first = turns.iter().find(|turn| turn.role != Role::System);
            first.map_or("", |turn| &turn.text)
        }
        Prompt::Rewrite { history, query } => history.first().unwrap_or(query),
        Prompt::Text(text) => text,
    };
    tie(b'p', text)
}

impl Content for Completion {
    fn write(&self, hash: &mut Fingerprint) {
        hash.prompt(&self.prompt);
        hash.text(&self.answer);
    }

    fn ties(&self) -> Vec<Digest> {
        vec![beginning(&self.prompt)]
    }
}

impl Content for Preference {
    fn write(&self, hash: &mut Fingerprint) {
        hash.prompt(&self.prompt);
        hash.text(&self.chosen);
        hash.text(&self.rejected);
    }

    fn ties(&self) -> Vec<Digest> {
        vec![beginning(&self.prompt)]
    }
}

impl Content for Judged {
    fn write(&self, hash: &mut Fingerprint) {
        hash.prompt(&self.prompt);
        hash.text(&self.answer);
        hash.mark(u8::from(self.desirable));
    }

    fn ties(&self) -> Vec<Digest> {
        vec![beginning(&self.prompt)]
    }
}

impl Content for Asked {
    fn write(&self, hash: &mut Fingerprint) {
        hash.texts(&self.history);
        hash.text(&self.query);
        hash.texts(&self.relevant);
        hash.mark(self.is_complete.map_or(2, u8::from));
    }

    fn ties(&self) -> Vec<Digest> {
        let first = tie(b'p', self.history.first().unwrap_or(&self.query));
        std::iter::once(first).chain(self.relevant.iter().map(|id| tie(b'd', id))).collect()
    }
}

impl Content for Pair {
    fn write(&self, hash: &mut Fingerprint) {
        hash.text(&self.query);
        hash.texts(&self.positives);
        hash.texts(&self.negatives);
    }

    fn ties(&self) -> Vec<Digest> {
        let positives = self.positives.iter().map(|passage| tie(b'd', passage));
        std::iter::once(tie(b'p', &self.query)).chain(positives).collect()
    }
}

#[cfg(test)]
mod tests;
