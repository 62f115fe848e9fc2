//! Texts ordered by how well they answer a query, for other programs: by the reranker where one is
//! configured, else by the angle between the embedder's vectors.

use std::sync::Arc;
use std::time::Instant;

use super::Services;
use super::models::{Scorer, check_name};
use crate::error::{Error, Result};
use crate::model::{Encoder, Reranker, TextKind};

/// Texts given to the reranker at once, so that others get their turns between.
const GROUP_TEXTS: usize = 8;
/// Nearest that a probability may come to 0 or 1 before its logarithm is taken.
const PROBABILITY_MARGIN: f32 = 1e-6;

/// A query and texts to order by it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// None: whichever model is in use.
    pub model: Option<String>,
    pub query: String,
    pub texts: Vec<String>,
    /// Texts are cut to this many tokens.
    pub max_text_tokens: Option<usize>,
    /// Whether what is too long for the model is cut; else it is refused.
    pub truncate: bool,
    /// JSON pointer to the texts in the request, for errors.
    pub place: &'static str,
}

/// The texts, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Reranked {
    /// `name@version`.
    pub model: String,
    pub ranked: Vec<Scored>,
    /// Tokens of the texts, and of the query once for each.
    pub n_tokens: usize,
    pub rerank_ms: f64,
}

/// One text's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Into the texts of the request.
    pub index: usize,
    /// 0 to 1.
    pub score: f32,
    /// The logit of a reranker, the cosine of the embedder's vectors.
    pub raw: f32,
}

impl Services {
    /// Orders texts by a query. A blank text answers nothing: it comes last, with score 0.
    ///
    /// # Errors
    /// `model_not_found`, `input_too_long`, `reranker_busy`, `embedder_busy`.
    pub async fn rerank_texts(&self, wanted: Wanted) -> Result<Reranked> {
        let started = Instant::now();
        let scorer = self.scorer();
        check_name(wanted.model.as_deref(), &scorer.id)?;
        let encoder = &self.retriever.encoder;
        let (wanted, counts) = prepare(Arc::clone(encoder), wanted).await?;
        check_counts(&wanted, &counts, &scorer)?;
        let Wanted { query, texts, .. } = wanted;
        let is_blank: Vec<bool> = texts.iter().map(|text| text.trim().is_empty()).collect();
        let asked = texts.into_iter().zip(&is_blank).filter(|(_, blank)| !**blank);
        let asked: Vec<String> = asked.map(|(text, _)| text).collect();
        let scores = match &self.retriever.reranker {
            Some(reranker) => by_reranker(reranker, query, asked).await?,
            None => by_angle(encoder, query, asked).await?,
        };
        let ranked = rank(&is_blank, scores, self.retriever.reranker.is_some());
        Ok(Reranked {
            model: scorer.id,
            ranked,
            n_tokens: counts.query * counts.texts.len() + counts.texts.iter().sum::<usize>(),
            rerank_ms: started.elapsed().as_secs_f64() * 1e3,
        })
    }
}

/// Tokens by the embedder's tokenizer, which may differ a little from the reranker's.
struct Counts {
    query: usize,
    texts: Vec<usize>,
}

/// Cuts the texts as the request says and counts, where it holds nobody up.
async fn prepare(encoder: Arc<Encoder>, mut wanted: Wanted) -> Result<(Wanted, Counts)> {
    let prepare = move || {
        if let Some(max_tokens) = wanted.max_text_tokens {
            for text in &mut wanted.texts {
                let end = encoder.cut(text, max_tokens).len();
                text.truncate(end);
            }
        }
        let query = encoder.embedded_tokens(TextKind::Query, &wanted.query);
        let of_text = |text: &String| encoder.embedded_tokens(TextKind::Passage, text);
        let texts = wanted.texts.iter().map(of_text).collect();
        (wanted, Counts { query, texts })
    };
    tokio::task::spawn_blocking(prepare).await.map_err(|error| Error::failed("count tokens", error))
}

fn check_counts(wanted: &Wanted, counts: &Counts, scorer: &Scorer) -> Result<()> {
    let place = wanted.place;
    let max_tokens = scorer.max_tokens;
    let refuse = |place: &str, detail: String| {
        Err(Error::invalid("input_too_long", format!("{place} {detail}."))
            .with_field(place, detail))
    };
    if wanted.truncate {
        return Ok(());
    }
    if counts.query > max_tokens {
        let n_tokens = counts.query;
        return refuse("/query", format!("has {n_tokens} tokens, more than {max_tokens}"));
    }
    let beside = if scorer.is_reranker { counts.query } else { 0 };
    match counts.texts.iter().position(|n_tokens| n_tokens + beside > max_tokens) {
        None => Ok(()),
        Some(index) => {
            let n_tokens = counts.texts[index] + beside;
            let detail = format!("has {n_tokens} tokens in text {index}, more than {max_tokens}");
            refuse(place, detail)
        }
    }
}

/// The probability that each text answers the query.
async fn by_reranker(
    reranker: &Reranker,
    query: String,
    mut texts: Vec<String>,
) -> Result<Vec<f32>> {
    let mut scores = Vec::with_capacity(texts.len());
    while !texts.is_empty() {
        let rest = texts.split_off(texts.len().min(GROUP_TEXTS));
        scores.extend(reranker.score(query.clone(), texts).await?);
        texts = rest;
    }
    Ok(scores)
}

/// The cosine of each text's vector with the query's.
async fn by_angle(encoder: &Encoder, query: String, texts: Vec<String>) -> Result<Vec<f32>> {
    let (queries, texts) = tokio::try_join!(
        encoder.embed(TextKind::Query, vec![query]),
        encoder.embed(TextKind::Passage, texts)
    )?;
    let query = queries.into_iter().next().unwrap_or_default();
    // Both are of length 1, so the product is the cosine.
    let cosine = |text: &Vec<f32>| query.iter().zip(text).map(|(a, b)| a * b).sum::<f32>();
    Ok(texts.iter().map(cosine).collect())
}

/// Puts the scores of the texts that are not blank in their places and orders all.
fn rank(is_blank: &[bool], scores: Vec<f32>, are_probabilities: bool) -> Vec<Scored> {
    let mut scores = scores.into_iter();
    let mut place = |(index, blank): (usize, &bool)| {
        let least = if are_probabilities { 0.0 } else { -1.0 };
        let found = if *blank { least } else { scores.next().unwrap_or(least) };
        // Not a number means that the model found nothing to say.
        let found = if found.is_nan() { least } else { found };
        match are_probabilities {
            true => Scored { index, score: found.clamp(0.0, 1.0), raw: logit(found) },
            false => {
                let cosine = found.clamp(-1.0, 1.0);
                Scored { index, score: f32::midpoint(cosine, 1.0), raw: cosine }
            }
        }
    };
    let mut ranked: Vec<Scored> = is_blank.iter().enumerate().map(&mut place).collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
    ranked
}

fn logit(probability: f32) -> f32 {
    let within = probability.clamp(PROBABILITY_MARGIN, 1.0 - PROBABILITY_MARGIN);
    (within / (1.0 - within)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_become_scores_and_blank_texts_come_last() {
        let ranked = rank(&[false, true, false, false], vec![-0.5, 1.0, -0.5], false);
        let found: Vec<(usize, f32)> = ranked.iter().map(|r| (r.index, r.score)).collect();
        assert_eq!(found, [(2, 1.0), (0, 0.25), (3, 0.25), (1, 0.0)]);
        assert_eq!(ranked[1].raw, -0.5);
    }

    #[test]
    fn probabilities_stay_and_their_logits_are_finite() {
        let ranked = rank(&[false; 4], vec![0.5, 1.0, f32::NAN, 0.9], true);
        let order: Vec<usize> = ranked.iter().map(|r| r.index).collect();
        assert_eq!(order, [1, 3, 0, 2]);
        assert!(ranked.iter().all(|r| r.raw.is_finite() && (0.0..=1.0).contains(&r.score)));
        assert_eq!(ranked[2].raw, 0.0);
    }
}
