//! Texts -> vectors for other programs: which model answers, how long a text may be, and how much
//! one request may bring. No request may hold the embedder for long: what does not go through the
//! passages' line, where the encoder itself takes turns, is brought in small groups.

use std::sync::Arc;
use std::time::Instant;

use super::Services;
use super::models::check_name;
use crate::error::{Error, Result};
use crate::model::encoder::{SLICE_TOKENS, unit};
use crate::model::{Encoder, TextKind};

/// Tokens of one request, as many as OpenAI takes.
const MAX_REQUEST_TOKENS: usize = 300_000;

/// Texts and what is wanted of their vectors.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// None: whichever embedder is in use.
    pub model: Option<String>,
    pub texts: Vec<String>,
    pub kind: TextKind,
    /// Leading numbers to keep (Matryoshka representation learning); none keeps all.
    pub dimension: Option<usize>,
    /// Whether a text that is too long is cut; else it is refused.
    pub truncate: bool,
    /// Whether the vectors are wanted at length 1.
    pub normalize: bool,
    /// Where the texts and the dimension stood in the request, for errors.
    pub places: Places,
}

/// JSON pointers into a request.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    pub texts: &'static str,
    pub dimension: &'static str,
}

/// The vectors, in the order of the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// `name@version`.
    pub model: String,
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that went through the model, prompts included.
    pub n_tokens: usize,
    pub embed_ms: f64,
}

impl Services {
    /// Embeds texts for another program.
    ///
    /// # Errors
    /// `model_not_found`, `invalid_dimensions`, `empty_input`, `input_too_long`,
    /// `too_many_tokens`, `embedder_busy`.
    pub async fn embed_texts(&self, wanted: Wanted) -> Result<Embedded> {
        let started = Instant::now();
        let encoder = &self.retriever.encoder;
        check_name(wanted.model.as_deref(), encoder.id())?;
        let dimension = check_dimension(&wanted, encoder.dimension())?;
        let (wanted, counts) = count(Arc::clone(encoder), wanted).await?;
        let counts = check_counts(&wanted, counts, encoder)?;
        let Wanted { texts, kind, normalize, .. } = wanted;
        let vectors = match (kind, normalize) {
            (TextKind::Passage, true) => encoder.embed(kind, texts).await?,
            _ => in_groups(encoder, kind, normalize, texts, &counts).await?,
        };
        Ok(Embedded {
            model: encoder.id().to_owned(),
            vectors: vectors.into_iter().map(|v| shorten(v, dimension, normalize)).collect(),
            n_tokens: counts.iter().sum(),
            embed_ms: started.elapsed().as_secs_f64() * 1e3,
        })
    }
}

/// The leading `dimension` numbers, at length 1 again if so wanted.
fn shorten(mut vector: Vec<f32>, dimension: usize, normalize: bool) -> Vec<f32> {
    if dimension >= vector.len() {
        return vector;
    }
    vector.truncate(dimension);
    if normalize { unit(&vector) } else { vector }
}

fn check_dimension(wanted: &Wanted, full: usize) -> Result<usize> {
    match wanted.dimension {
        None => Ok(full),
        Some(dimension) if (1..=full).contains(&dimension) => Ok(dimension),
        Some(dimension) => {
            let detail = format!("is {dimension}, not 1 to {full}, the length of the vectors");
            let place = wanted.places.dimension;
            Err(Error::invalid("invalid_dimensions", format!("{place} {detail}."))
                .with_field(place, detail))
        }
    }
}

/// Tokens of each text, counted where it holds nobody up.
async fn count(encoder: Arc<Encoder>, wanted: Wanted) -> Result<(Wanted, Vec<usize>)> {
    let count = move || {
        let of_text = |text: &String| encoder.embedded_tokens(wanted.kind, text);
        let counts = wanted.texts.iter().map(of_text).collect();
        (wanted, counts)
    };
    tokio::task::spawn_blocking(count).await.map_err(|error| Error::failed("count tokens", error))
}

/// The tokens of each text that go through the model.
fn check_counts(wanted: &Wanted, counts: Vec<usize>, encoder: &Encoder) -> Result<Vec<usize>> {
    let (place, max_tokens) = (wanted.places.texts, encoder.passage_tokens());
    let refuse = |code, detail: String| {
        Err(Error::invalid(code, format!("{place} {detail}.")).with_field(place, detail))
    };
    if let Some(index) = counts.iter().position(|n_tokens| *n_tokens == 0) {
        return refuse("empty_input", format!("has no token in text {index}, counted from 0"));
    }
    let too_long = counts.iter().position(|n_tokens| *n_tokens > max_tokens);
    if let (Some(index), false) = (too_long, wanted.truncate) {
        let n_tokens = counts[index];
        let detail = format!(
            "has {n_tokens} tokens in text {index}, counted from 0, more than the {max_tokens} \
             that the model reads; send shorter texts, or `truncate: true` to have the rest cut off"
        );
        return refuse("input_too_long", detail);
    }
    let counts: Vec<usize> = counts.into_iter().map(|n_tokens| n_tokens.min(max_tokens)).collect();
    let n_tokens: usize = counts.iter().sum();
    if n_tokens > MAX_REQUEST_TOKENS {
        let detail = format!(
            "has {n_tokens} tokens in all, more than {MAX_REQUEST_TOKENS}; send several requests"
        );
        return refuse("too_many_tokens", detail);
    }
    Ok(counts)
}

/// Embeds group after group through the queries' line, so that others get their turns.
async fn in_groups(
    encoder: &Encoder,
    kind: TextKind,
    normalize: bool,
    mut texts: Vec<String>,
    counts: &[usize],
) -> Result<Vec<Vec<f32>>> {
    let mut vectors = Vec::with_capacity(texts.len());
    while !texts.is_empty() {
        let n_texts = group(&counts[vectors.len()..]);
        let rest = texts.split_off(n_texts);
        let done = match normalize {
            true => encoder.embed(kind, texts).await?,
            false => encoder.embed_raw(kind, texts).await?,
        };
        vectors.extend(done);
        texts = rest;
    }
    Ok(vectors)
}

/// How many of the texts make up one group: at least one, then as many as the budget allows.
fn group(counts: &[usize]) -> usize {
    let mut n_tokens = 0;
    let fits = |count: &&usize| {
        n_tokens += **count;
        n_tokens <= SLICE_TOKENS
    };
    counts.iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_vectors_have_length_one_again() {
        assert_eq!(shorten(vec![3.0, 4.0, 12.0], 2, true), [0.6, 0.8]);
        assert_eq!(shorten(vec![3.0, 4.0, 12.0], 2, false), [3.0, 4.0]);
        assert_eq!(shorten(vec![3.0, 4.0], 2, true), [3.0, 4.0], "nothing was cut");
    }

    #[test]
    fn groups_keep_to_their_budget() {
        assert_eq!(group(&[1_000, 24, 1]), 2);
        assert_eq!(group(&[5_000, 1]), 1);
        assert_eq!(group(&[1; 3]), 3);
    }
}
