//! Request -> rewrite -> retrieve -> answer. Retrieval with the raw query starts beside the
//! rewrite; whatever fails on the way, the person's own words are searched with.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tracing::field::Empty;

use super::question::{
    ContextAnswer, Found, MatchedBy, Mode, Passage, Question, RewriteTimings, Rewritten, Search,
    SearchTimings, Step, StepListener,
};
use super::requests::Remembered;
use super::{Services, measure};
use crate::error::{Error, Kind, Result};
use crate::retrieve::context::{PassageText, context};
use crate::retrieve::{Leg, Lists, Probe, Ranked, Scope};
use crate::rewrite::conversation::{
    Conversation, Glossary, Role, SearchKind, SearchQuery, Sense, Term, Turn,
};
use crate::rewrite::{self, Answer, Gate, GateFinding, Heard, Options};
use crate::store::glossary::GlossaryTerm;
use crate::store::{DATABASE_UNAVAILABLE, Recalled, TenantId, new_id};

/// Longest query in characters.
const MAX_QUERY_CHARS: usize = 8_000;

impl Services {
    /// Rewrites a question within its own deadline.
    ///
    /// # Errors
    /// `query_missing`, `query_too_long`, `collection_not_found`.
    pub async fn rewrite(&self, tenant: &TenantId, question: Question) -> Result<Rewritten> {
        self.rewrite_heard(tenant, question, None).await
    }

    /// [`Self::rewrite`] with its steps told to a listener.
    pub async fn rewrite_heard(
        &self,
        tenant: &TenantId,
        question: Question,
        listener: Option<StepListener<'_>>,
    ) -> Result<Rewritten> {
        let asked = with_query(question)?;
        let rewritten = self.rewritten_question(tenant, asked.clone(), listener).await?;
        self.requests.remember(Remembered::of_rewrite(tenant, &asked, &rewritten));
        Ok(rewritten)
    }

    #[tracing::instrument(target = "otel", name = "rewrite", skip_all, fields(
        gen_ai.operation.name = "chat", gen_ai.request.model = Empty, querent.rewrite.action = Empty,
        gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty
    ))]
    async fn rewritten_question(
        &self,
        tenant: &TenantId,
        question: Question,
        listener: Option<StepListener<'_>>,
    ) -> Result<Rewritten> {
        let started = Instant::now();
        let options = options(&question, started);
        let collection = question.collection.clone();
        let Recalled { value: mut conversation, is_fresh } =
            self.conversation(tenant, question).await?;
        if let (Some(collection), true) = (collection, options.gate != Gate::Never) {
            self.hold_senses(tenant, &collection, &mut conversation, options.deadline).await;
        }
        let query = conversation.query.clone();
        let key = self.cache_key(tenant, &conversation, options);
        if let Some(answer) = self.rewrites.get(&key).await {
            if let Some(listener) = listener {
                let (reason, issues) = (answer.outcome.reason, answer.outcome.issues.clone());
                let finding = GateFinding { reason, issues, asks_model: false };
                listener(Step::Rewriting(Heard::Gate(finding)));
            }
            let rewritten = self.rewritten(query, &answer, true, started);
            return Ok(measure::rewritten(noted(rewritten, is_fresh)));
        }
        let rewriter = self.rewriter.as_deref();
        let tell = listener.map(|listener| move |heard| listener(Step::Rewriting(heard)));
        let tell = tell.as_ref().map(|tell| tell as rewrite::Listener<'_>);
        let answer = Arc::new(rewrite::rewrite(conversation, options, rewriter, tell).await);
        if answer.degraded.is_empty() {
            self.rewrites.insert(key, Arc::clone(&answer)).await;
        }
        Ok(measure::rewritten(noted(self.rewritten(query, &answer, false, started), is_fresh)))
    }

    /// Rewrites and retrieves.
    ///
    /// # Errors
    /// Those of [`Self::rewrite`], and `collection_missing`, `invalid_filter`. An index that is
    /// gone is none: nothing is found then, and `degraded` says why. Nor is a database that is
    /// gone: passages that were found lately are found then.
    pub async fn search(&self, tenant: &TenantId, search: Search) -> Result<Found> {
        self.search_heard(tenant, search, None).await
    }

    /// [`Self::search`] with its steps told to a listener.
    #[tracing::instrument(target = "otel", name = "search", skip_all, fields(
        gen_ai.operation.name = "retrieval", gen_ai.data_source.id = search.question.collection,
        gen_ai.retrieval.documents = Empty
    ))]
    pub async fn search_heard(
        &self,
        tenant: &TenantId,
        search: Search,
        listener: Option<StepListener<'_>>,
    ) -> Result<Found> {
        let started = Instant::now();
        let scope = self.scope(tenant, &search).await?;
        let (scope, is_fresh) = (scope.value.as_ref(), scope.is_fresh);
        let question = with_query(search.question.clone())?;
        let asked = question.clone();
        let raw_probe =
            [Probe { query: 0, text: question.query.clone(), weight: 1.0, by_meaning: true }];
        let (rewritten, raw) = tokio::join!(
            async {
                let rewritten = self.rewritten_question(tenant, question, listener).await;
                (rewritten, started.elapsed())
            },
            async {
                let mut raw = self.probe(scope, &raw_probe).await?;
                if let Some(listener) = listener {
                    let ranked = self.rank(scope, &mut raw, search.top_k).await?;
                    listener(Step::RawResults(ranked.into_iter().map(passage).collect()));
                }
                Ok::<Lists, Error>(raw)
            },
        );
        let (rewritten, rewrite_time) = (rewritten.0?, rewritten.1);
        if let Some(listener) = listener {
            listener(Step::Rewritten(Box::new(rewritten.clone())));
        }
        let (queries, mut lists) = self.widen(scope, &rewritten, raw?).await?;
        let ranked_at = Instant::now();
        // A reranker may bring up what is behind the results that are wanted.
        let n_ranked = match search.rerank {
            true => search.top_k.max(self.retriever.n_rerank_candidates()),
            false => search.top_k,
        };
        let mut ranked = self.rank(scope, &mut lists, n_ranked).await?;
        lists.search_time += ranked_at.elapsed();
        let rerank_time = self.rerank(&search, &rewritten, &mut ranked, &mut lists).await;
        ranked.truncate(search.top_k);
        let results: Vec<Passage> = ranked.into_iter().map(passage).collect();
        let context = search.include_context.then(|| self.context(&results, search.context_tokens));
        let mut degraded = rewritten.degraded.clone();
        lists.degraded.extend((!is_fresh).then_some(DATABASE_UNAVAILABLE));
        for code in lists.degraded {
            if !degraded.iter().any(|known| known == code) {
                degraded.push(code.to_owned());
            }
        }
        let found = measure::found(Found {
            id: new_id("se"),
            rewritten,
            queries,
            results,
            context,
            degraded,
            timings: SearchTimings {
                rewrite_ms: milliseconds(rewrite_time),
                embed_ms: milliseconds(lists.embed_time),
                search_ms: milliseconds(lists.search_time),
                rerank_ms: milliseconds(rerank_time),
                total_ms: milliseconds(started.elapsed()),
            },
        });
        self.requests.remember(Remembered::of_search(tenant, &asked, &found));
        Ok(found)
    }

    /// The raw query's lists joined by those of the search queries. The raw query keeps a smaller
    /// weight beside a rewrite: it is the net below a rewrite that went wrong.
    async fn widen(
        &self,
        scope: Option<&Scope>,
        rewritten: &Rewritten,
        mut raw: Lists,
    ) -> Result<(Vec<SearchQuery>, Lists)> {
        let mut queries = rewritten.outcome.search.clone();
        let place = queries.iter().position(|query| query.text == rewritten.query);
        let raw_idx = place.unwrap_or(queries.len());
        if place.is_none() {
            queries.push(SearchQuery {
                text: rewritten.query.clone(),
                kind: SearchKind::Semantic,
                weight: self.config.retrieval.raw_weight,
            });
        }
        for list in &mut raw.lists {
            list.query = raw_idx;
            list.weight *= queries[raw_idx].weight;
        }
        let probes: Vec<Probe> = queries
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != raw_idx)
            .map(|(index, query)| Probe {
                query: index,
                text: query.text.clone(),
                weight: query.weight,
                by_meaning: query.kind == SearchKind::Semantic,
            })
            .collect();
        if !probes.is_empty() {
            let more = self.probe(scope, &probes).await?;
            raw.lists.extend(more.lists);
            raw.degraded.extend(more.degraded);
            raw.embed_time += more.embed_time;
            raw.search_time += more.search_time;
        }
        Ok((queries, raw))
    }

    /// Reranks where that is wanted and possible; a failure leaves the order and a code.
    async fn rerank(
        &self,
        search: &Search,
        rewritten: &Rewritten,
        ranked: &mut [Ranked],
        lists: &mut Lists,
    ) -> Duration {
        if !search.rerank {
            return Duration::ZERO;
        }
        let started = Instant::now();
        if let Err(error) = self.retriever.rerank(&rewritten.outcome.standalone, ranked).await {
            tracing::warn!(error = %error, "reranking left out");
            lists.degraded.push("rerank_unavailable");
        }
        started.elapsed()
    }

    fn context(&self, results: &[Passage], budget_tokens: usize) -> ContextAnswer {
        let passages: Vec<PassageText> = results
            .iter()
            .map(|passage| PassageText {
                chunk_id: passage.chunk_id.clone(),
                title: passage.title.clone().unwrap_or_default(),
                text: passage.text.clone(),
            })
            .collect();
        let encoder = &self.retriever.encoder;
        let text = context(&passages, budget_tokens, &|text| encoder.count_tokens(text));
        ContextAnswer { text: text.text, citations: text.citations }
    }

    /// The question as the rewriter takes it, with the collection's glossary.
    async fn conversation(
        &self,
        tenant: &TenantId,
        question: Question,
    ) -> Result<Recalled<Conversation>> {
        let terms = match &question.collection {
            None => Recalled { value: Vec::new(), is_fresh: true },
            Some(collection) => self.store().recall_glossary(tenant, collection).await?,
        };
        let glossary = Glossary { terms: terms.value.into_iter().map(term).collect() };
        let turns = question.messages.into_iter().map(|(role, text)| Turn { role, text });
        let conversation = Conversation {
            query: question.query,
            turns: turns.collect(),
            now: question.now,
            locale: question.locale,
            facts: question.facts,
            glossary: Arc::new(glossary),
            held_senses: BTreeMap::new(),
        };
        Ok(Recalled { value: conversation, is_fresh: terms.is_fresh })
    }

    /// Everything that an answer depends on. The clock counts by days, as the date rules do.
    fn cache_key(
        &self,
        tenant: &TenantId,
        conversation: &Conversation,
        options: Options,
    ) -> [u8; 32] {
        let rewriter = self.rewriter.as_ref().map_or("", |rewriter| rewriter.id());
        let day = conversation.now.map(|now| now.date());
        let whole = (
            (tenant.as_str(), rewriter, &conversation.query, &conversation.turns),
            (&conversation.facts, &conversation.glossary, &conversation.held_senses),
            (&conversation.locale, day),
            (std::mem::discriminant(&options.gate), options.max_variants),
        );
        let mut key = Fingerprint::default();
        whole.hash(&mut key);
        key.0.finalize().into()
    }

    fn rewritten(
        &self,
        query: String,
        answer: &Answer,
        cache_hit: bool,
        started: Instant,
    ) -> Rewritten {
        let (spent, usage) =
            if cache_hit { Default::default() } else { (answer.spent, answer.usage) };
        Rewritten {
            id: new_id("rw"),
            query,
            outcome: answer.outcome.clone(),
            model: self.models(),
            cache_hit,
            degraded: answer.degraded.iter().map(|code| (*code).to_owned()).collect(),
            timings: RewriteTimings {
                gate_ms: spent.gate_ms,
                generate_ms: spent.generate_ms,
                check_ms: spent.check_ms,
                total_ms: milliseconds(started.elapsed()),
            },
            usage,
        }
    }
}

/// `Hash` with SHA-256: nobody can make two questions of one key, and a long conversation costs
/// microseconds. `Hash` itself sees to it that different parts never run together.
#[derive(Default)]
struct Fingerprint(Sha256);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not asked for: the key is the whole digest.
    fn finish(&self) -> u64 {
        0
    }
}

/// Says so where the database could not be asked for the glossary.
fn noted(mut rewritten: Rewritten, is_fresh: bool) -> Rewritten {
    rewritten.degraded.extend((!is_fresh).then(|| DATABASE_UNAVAILABLE.to_owned()));
    rewritten
}

fn options(question: &Question, started: Instant) -> Options {
    Options {
        gate: match question.mode {
            Mode::Auto => Gate::Auto,
            Mode::Always => Gate::Always,
            Mode::Never => Gate::Never,
        },
        max_variants: question.max_variants,
        deadline: started + Duration::from_millis(question.max_rewrite_ms),
    }
}

/// The question with its query: the last message, when that is the user's and no query is given.
fn with_query(mut question: Question) -> Result<Question> {
    let last_is_user = question.messages.last().is_some_and(|(role, _)| *role == Role::User);
    if question.query.trim().is_empty() && last_is_user {
        question.query = question.messages.pop().map(|(_, text)| text).unwrap_or_default();
    }
    let n_chars = question.query.chars().count();
    if question.query.trim().is_empty() {
        return Err(Error::invalid("query_missing", "there is no query to rewrite")
            .with_field("/query", "give `query`, or a last message by the user"));
    }
    if n_chars > MAX_QUERY_CHARS {
        let message = format!("a query of {n_chars} characters is over {MAX_QUERY_CHARS}");
        return Err(Error::new(Kind::TooLarge, "query_too_long", message.clone())
            .with_field("/query", message));
    }
    Ok(question)
}

fn term(term: GlossaryTerm) -> Term {
    let senses = term.senses.into_iter();
    Term {
        id: term.id,
        term: term.term,
        aliases: term.aliases,
        senses: senses
            .map(|sense| Sense { id: sense.id, label: sense.label, definition: sense.definition })
            .collect(),
    }
}

fn passage(ranked: Ranked) -> Passage {
    let chunk = ranked.chunk;
    Passage {
        document_id: chunk.document_id,
        chunk_id: format!("ck_{}", chunk.id),
        title: chunk.heading.or(chunk.title),
        uri: chunk.uri,
        text: chunk.text,
        span: chunk.span,
        metadata: chunk.metadata,
        score: ranked.score,
        matched_by: ranked
            .matched_by
            .into_iter()
            .map(|found| MatchedBy {
                query: found.query,
                leg: match found.leg {
                    Leg::Dense => "dense",
                    Leg::Sparse => "sparse",
                    Leg::Rerank => "rerank",
                },
                rank: found.rank,
                score: found.score,
            })
            .collect(),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
