//! Queries -> ranked passages, and documents -> chunks. Asks the encoder and the index, fuses by
//! rank, collapses duplicates, reranks where a model is configured. Knows no conversations: what
//! it searches with is given to it.

pub mod chunk;
pub mod context;
pub mod fuse;
pub mod parse;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::model::{Encoder, Reranker, TextKind};
use crate::store::corpus::{ChunkRow, Collection};
use crate::store::vectors::{Filter, Hit, INDEX_UNAVAILABLE, Vectors};
use crate::store::{Recalled, Store, TenantId};
pub use fuse::{Fused, Leg, Match, RankedList};

/// The weights of fusion and how much is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    pub rrf_k: f32,
    pub dense: f32,
    pub sparse: f32,
    /// Passages taken from each list.
    pub candidates: usize,
    /// Most passages of one document among the results.
    pub per_document: usize,
    /// Passages given to the reranker.
    pub rerank_candidates: usize,
}

/// What retrieval works with.
#[derive(Clone)]
pub struct Retriever {
    pub store: Store,
    pub vectors: Arc<Vectors>,
    pub encoder: Arc<Encoder>,
    pub reranker: Option<Arc<Reranker>>,
    pub weights: Weights,
}

/// Where to look.
#[derive(Clone)]
pub struct Scope {
    pub tenant: TenantId,
    pub collection: Collection,
    pub filter: Option<Filter>,
}

/// One text to search with.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Its index among the search queries of the request.
    pub query: usize,
    pub text: String,
    pub weight: f32,
    /// Keywords are matched by words alone, questions by meaning too.
    pub by_meaning: bool,
}

impl Probe {
    /// A whole question that is searched with alone.
    pub fn question(text: impl Into<String>) -> Self {
        Self { query: 0, text: text.into(), weight: 1.0, by_meaning: true }
    }
}

/// The lists that probes came back with, and what it took.
#[derive(Debug, Default)]
pub struct Lists {
    pub lists: Vec<RankedList>,
    pub embed_time: Duration,
    pub search_time: Duration,
    /// Codes of legs that failed, for example `dense_unavailable`.
    pub degraded: Vec<&'static str>,
}

/// A passage with its place.
#[derive(Debug, Clone)]
pub struct Ranked {
    pub chunk: ChunkRow,
    pub score: f32,
    pub matched_by: Vec<Match>,
}

impl Retriever {
    /// Searches with every probe, dense and sparse. A leg that fails leaves the other one and a
    /// code behind. Where no leg is left the index is gone, which is a code too (then nothing
    /// is found), or at fault, which is an error.
    pub async fn probe(&self, scope: &Scope, probes: &[Probe]) -> Result<Lists> {
        let mut lists = Lists::default();
        let started = Instant::now();
        let by_meaning: Vec<&Probe> =
            probes.iter().filter(|probe| probe.by_meaning && self.weights.dense > 0.0).collect();
        let texts = by_meaning.iter().map(|probe| probe.text.clone()).collect();
        let vectors = match self.encoder.embed(TextKind::Query, texts).await {
            Ok(vectors) => vectors,
            Err(error) => {
                tracing::warn!(error = %error, "dense retrieval left out");
                lists.degraded.push("dense_unavailable");
                Vec::new()
            }
        };
        lists.embed_time = started.elapsed();
        let started = Instant::now();
        let jobs = self.jobs(probes, by_meaning.into_iter().zip(vectors));
        let (vectors, scope, limit) =
            (Arc::clone(&self.vectors), scope.clone(), self.weights.candidates);
        let found = tokio::task::spawn_blocking(move || run(&vectors, &scope, jobs, limit))
            .await
            .map_err(|source| Error::failed("search", source))?;
        lists.search_time = started.elapsed();
        let mut last_error: Option<Error> = None;
        for list in found {
            match list {
                Ok(list) => lists.lists.push(list),
                // A fault of ours is not to be hidden behind a leg that was only gone.
                Err(error) if error.kind == Kind::Unavailable && last_error.is_some() => {}
                Err(error) => last_error = Some(error),
            }
        }
        match last_error {
            Some(error) if lists.lists.is_empty() && error.kind == Kind::Unavailable => {
                tracing::warn!(error = %error, "searching without the index");
                lists.degraded.push(INDEX_UNAVAILABLE);
                Ok(lists)
            }
            Some(error) if lists.lists.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!(error = %error, "a search leg failed");
                lists.degraded.push("index_degraded");
                Ok(lists)
            }
            None => Ok(lists),
        }
    }

    /// The chunks that share the most words with a text, best first.
    ///
    /// # Errors
    /// `index_unreadable`, `index_unavailable`, and faults of the database.
    pub async fn by_words(&self, scope: &Scope, text: &str, limit: usize) -> Result<Vec<ChunkRow>> {
        let (vectors, of_search, text) =
            (Arc::clone(&self.vectors), scope.clone(), text.to_owned());
        let hits = tokio::task::spawn_blocking(move || {
            let (index, filter) = (of_search.collection.index(), of_search.filter.as_ref());
            vectors.search_sparse(&of_search.tenant, &index, &text, filter, limit)
        })
        .await
        .map_err(|source| Error::failed("search", source))??;
        let ids: Vec<i64> = hits.into_iter().map(|hit| hit.chunk_id).collect();
        Ok(self.store.recall_chunks(&scope.tenant, &scope.collection, &ids).await?.value)
    }

    fn jobs<'a>(
        &self,
        probes: &[Probe],
        dense: impl Iterator<Item = (&'a Probe, Vec<f32>)>,
    ) -> Vec<Job> {
        let sparse = probes.iter().map(|probe| Job {
            query: probe.query,
            weight: probe.weight * self.weights.sparse,
            wanted: Wanted::Sparse(probe.text.clone()),
        });
        let dense = dense.map(|(probe, vector)| Job {
            query: probe.query,
            weight: probe.weight * self.weights.dense,
            wanted: Wanted::Dense(vector),
        });
        sparse.chain(dense).collect()
    }

    /// Fuses lists into the best `top_k` passages, each text once, no document more often than
    /// the configuration says. While the database is gone, of those whose text is known.
    pub async fn rank(
        &self,
        scope: &Scope,
        lists: &[RankedList],
        top_k: usize,
    ) -> Result<Recalled<Vec<Ranked>>> {
        let fused = fuse::reciprocal_rank_fusion(lists, self.weights.rrf_k);
        // Duplicates and capped documents fall away, so more are looked at than wanted.
        let ids: Vec<i64> = fused.iter().take(top_k * 3 + 20).map(|fused| fused.chunk_id).collect();
        let rows = self.store.recall_chunks(&scope.tenant, &scope.collection, &ids).await?;
        let is_fresh = rows.is_fresh;
        let mut rows: HashMap<i64, ChunkRow> =
            rows.value.into_iter().map(|row| (row.id, row)).collect();
        let ranked = self.arrange(fused, &rows).into_iter().filter_map(|fused| {
            let chunk = rows.remove(&fused.chunk_id)?;
            Some(Ranked { chunk, score: fused.score, matched_by: fused.matched_by })
        });
        Ok(Recalled { value: ranked.take(top_k).collect(), is_fresh })
    }

    /// Fused chunks in the order in which they are answered, those without a row left out.
    fn arrange(&self, fused: Vec<Fused>, rows: &HashMap<i64, ChunkRow>) -> Vec<Fused> {
        let known = fused.into_iter().filter(|fused| rows.contains_key(&fused.chunk_id)).collect();
        let text_of = |id: i64| rows.get(&id).map(|row| row.text.clone());
        let distinct = fuse::collapse_duplicates(known, &text_of);
        let document_of = |id: i64| rows.get(&id).map(|row| row.document_id.clone());
        fuse::per_document_cap(distinct, document_of, self.weights.per_document)
    }

    /// For each search, which is one or more probes, the documents that it answers with, best first,
    /// at most `depth` chunks deep. `rows` keeps the chunks between calls, as searches come back to
    /// the same ones: reward training makes thousands.
    ///
    /// # Errors
    /// Those of the index and the database; a leg that is left out is one here, since a judgement
    /// by half a search would be another one.
    pub async fn documents(
        &self,
        scope: &Scope,
        searches: &[Vec<Probe>],
        depth: usize,
        rows: &mut HashMap<i64, ChunkRow>,
    ) -> Result<Vec<Vec<String>>> {
        let of_search = |(query, probes): (usize, &Vec<Probe>)| -> Vec<Probe> {
            probes.iter().map(|probe| Probe { query, ..probe.clone() }).collect()
        };
        let probes: Vec<Probe> = searches.iter().enumerate().flat_map(of_search).collect();
        let found = self.probe(scope, &probes).await?;
        if let Some(code) = found.degraded.first() {
            let message = format!("the search is incomplete: {code}");
            return Err(Error::new(Kind::Unavailable, "search_degraded", message));
        }
        let mut lists: Vec<Vec<RankedList>> = searches.iter().map(|_| Vec::new()).collect();
        for list in found.lists {
            lists[list.query].push(list);
        }
        let fused: Vec<Vec<Fused>> = lists
            .iter()
            .map(|lists| fuse::reciprocal_rank_fusion(lists, self.weights.rrf_k))
            .map(|mut fused| {
                // As many as `rank` looks at.
                fused.truncate(depth * 3 + 20);
                fused
            })
            .collect();
        let mut unknown: Vec<i64> = fused.iter().flatten().map(|fused| fused.chunk_id).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|id| !rows.contains_key(id));
        let found = self.store.chunks_by_ids(&scope.tenant, &scope.collection.name, &unknown);
        rows.extend(found.await?.into_iter().map(|row| (row.id, row)));
        let document = |fused: Fused| rows.get(&fused.chunk_id).map(|row| row.document_id.clone());
        let of_search = |fused| {
            let arranged = self.arrange(fused, rows).into_iter().take(depth);
            let mut documents: Vec<String> = arranged.filter_map(document).collect();
            let mut seen = HashSet::new();
            documents.retain(|id| seen.insert(id.clone()));
            documents
        };
        Ok(fused.into_iter().map(of_search).collect())
    }

    /// How many of the best passages a reranker looks at; 0 without one.
    pub fn n_rerank_candidates(&self) -> usize {
        if self.reranker.is_some() { self.weights.rerank_candidates } else { 0 }
    }

    /// Puts the first passages in the order of the reranker's scores, when there is one. False
    /// when there is none.
    pub async fn rerank(&self, query: &str, ranked: &mut [Ranked]) -> Result<bool> {
        let Some(reranker) = &self.reranker else { return Ok(false) };
        let n_candidates = ranked.len().min(self.weights.rerank_candidates);
        let head = &mut ranked[..n_candidates];
        let texts = head.iter().map(|passage| passage.chunk.text.clone()).collect();
        let scores = reranker.score(query.to_owned(), texts).await?;
        for (passage, score) in head.iter_mut().zip(&scores) {
            passage.score = *score;
        }
        head.sort_by(|left, right| right.score.total_cmp(&left.score));
        for (position, passage) in head.iter_mut().enumerate() {
            let (rank, score) = (position + 1, passage.score);
            passage.matched_by.push(Match { query: 0, leg: Leg::Rerank, rank, score });
        }
        Ok(true)
    }
}

struct Job {
    query: usize,
    weight: f32,
    wanted: Wanted,
}

enum Wanted {
    Dense(Vec<f32>),
    Sparse(String),
}

fn run(vectors: &Vectors, scope: &Scope, jobs: Vec<Job>, limit: usize) -> Vec<Result<RankedList>> {
    let index = scope.collection.index();
    let filter = scope.filter.as_ref();
    let search = |job: Job| {
        let (leg, hits) = match &job.wanted {
            Wanted::Dense(vector) => {
                (Leg::Dense, vectors.search_dense(&scope.tenant, &index, vector, filter, limit)?)
            }
            Wanted::Sparse(text) => {
                (Leg::Sparse, vectors.search_sparse(&scope.tenant, &index, text, filter, limit)?)
            }
        };
        let hits = hits.into_iter().map(|Hit { chunk_id, score }| (chunk_id, score)).collect();
        Ok(RankedList { query: job.query, leg, weight: job.weight, hits })
    };
    jobs.into_iter().map(search).collect()
}
