//! The engine on a Qdrant server, or a cluster of them, by gRPC.
//!
//! **One Qdrant collection to a collection of querent.** Qdrant advises few collections, with
//! the tenant as a payload index. But it takes the IDF of a word over a whole Qdrant collection,
//! whatever the filter: in a shared one, what one tenant writes would move the scores of
//! another, and reveal which words it uses. (The newest servers can take the IDF over a filter;
//! older ones would ignore that without a word, so nothing may hang on it.) Collections also
//! differ in dimension, and dropping one is a single call. The price is what the server spends
//! on each collection for itself, which bounds how many there can be. The tenant is in every
//! payload all the same, indexed as such, and every search is filtered by it: a second wall,
//! should a name ever be mixed up.
//!
//! With more than one shard Qdrant takes the IDF of each shard by itself, so BM25 scores differ
//! a little from those of the embedded engine.
//!
//! Searches and writes go by an alias, `<prefix>_<id>_<made at>`. A rebuild fills the next
//! generation `…_g<n>`, moves the alias in one call, which the server does atomically, and then
//! deletes the others. Writes wait until they are applied (`wait=true`), so what SQL marks as
//! indexed is indexed.
//!
//! A collection that this process has seen and that is not there any more is an error, not an
//! empty one: [`Server::check`] fails until somebody lists its points, who then knows that it
//! has to be filled again.

mod link;
mod schema;
mod translate;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qdrant_client::Qdrant;
use qdrant_client::qdrant::{
    CollectionStatus, CountPointsBuilder, CreateAlias, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, FieldType, PointId, PointsIdsList, PointsOperationResponse, Query,
    QueryPoints, ScrollPointsBuilder, UpdateStatus, UpsertPointsBuilder, VectorInput,
    WithPayloadSelector,
};
use qdrant_edge::PayloadSchemaType;

use self::link::{Link, lock, unavailable};
use self::schema::{Schema, generation, generation_number};
use super::lexical::{self, DocumentEmbedder};
use super::{BM25, DENSE, Engine, Filter, Hit, MAX_LIMIT, Point, Points, check_dense};
use crate::config::VectorsConfig;
use crate::error::{Error, Result};
use crate::store::corpus::CollectionRef;

/// Points to one call.
const BATCH: usize = 256;
/// Ids to one call.
const PAGE: u32 = 10_000;
/// Fields of metadata that get an index in one collection: callers choose the names.
const MAX_FIELD_INDEXES: usize = 16;
/// How long a new generation may build its graphs before it is searched without them.
const SETTLE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Server {
    link: Link,
    schema: Schema,
    indexes: Mutex<HashMap<i64, Arc<Index>>>,
}

/// A collection as this process knows it.
#[derive(Debug)]
struct Index {
    alias: String,
    dimension: usize,
    /// Held by whoever writes.
    gate: Mutex<()>,
    presence: Mutex<Presence>,
    /// Fields for which an index was asked for.
    fields: Mutex<HashSet<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Presence {
    /// Nothing was ever found of it: it may be empty.
    Unknown,
    Seen,
    /// It was there, and is gone.
    Lost,
}

impl Server {
    pub(super) fn new(config: &VectorsConfig) -> Result<Self> {
        if config.exposes_key() {
            tracing::warn!(
                "[vectors] api_key goes over the network in clear text; use an https:// url"
            );
        }
        let (link, schema) = (Link::new(config)?, Schema::new(config));
        Ok(Self { link, schema, indexes: Mutex::default() })
    }

    fn index(&self, collection: &CollectionRef) -> Arc<Index> {
        let mut indexes = lock(&self.indexes);
        let index = indexes.entry(collection.id()).or_insert_with(|| {
            Arc::new(Index {
                alias: self.schema.alias(collection),
                dimension: collection.dimension(),
                gate: Mutex::new(()),
                presence: Mutex::new(Presence::Unknown),
                fields: Mutex::default(),
            })
        });
        Arc::clone(index)
    }

    fn search(
        &self,
        collection: &CollectionRef,
        (using, vector): (&str, VectorInput),
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        let index = self.index(collection);
        if let Some(filter) = filter {
            self.index_fields(&index, filter);
        }
        let request = QueryPoints {
            collection_name: index.alias.clone(),
            query: Some(Query::new_nearest(vector)),
            using: Some(using.to_owned()),
            filter: Some(translate::scope(collection, filter)?),
            params: Some(self.schema.search_params()),
            limit: Some(limit.clamp(1, MAX_LIMIT) as u64),
            with_payload: Some(WithPayloadSelector::from(false)),
            timeout: Some(self.link.read_seconds()),
            ..QueryPoints::default()
        };
        let search = |client: Qdrant| async move { client.query(request).await };
        let found = index.present(self.link.read("search the index", search)?)?;
        let points = found.into_iter().flat_map(|answer| answer.result);
        let hit = |chunk_id, score| Hit { chunk_id, score };
        Ok(points
            .filter_map(|point| Some(hit(translate::chunk_id(point.id)?, point.score)))
            .collect())
    }

    /// Asks for indexes of fields that are filtered by for the first time, and does not wait:
    /// until there is one the server reads the payloads, with the same result.
    fn index_fields(&self, index: &Index, filter: &Filter) {
        for (field, field_type) in filter.fields() {
            let name = field.to_string();
            let mut known = lock(&index.fields);
            if known.len() >= MAX_FIELD_INDEXES || !known.insert(name.clone()) {
                continue;
            }
            let request =
                CreateFieldIndexCollectionBuilder::new(&index.alias, name, type_of(*field_type));
            self.link.begin("index a field", |client| async move {
                client.create_field_index(request.wait(false)).await.map(|_| ())
            });
        }
    }

    /// Makes the collection unless it is there. The caller holds the gate.
    fn ensure(&self, index: &Index) -> Result<()> {
        match *lock(&index.presence) {
            Presence::Unknown => {}
            Presence::Seen => return Ok(()),
            // Made anew it would hold what comes now and lack what was there.
            Presence::Lost => return Err(lost()),
        }
        let aliases = self
            .link
            .read("list the aliases", |client| async move { client.list_aliases().await })?;
        let mut aliases = aliases.into_iter().flat_map(|answer| answer.aliases);
        if !aliases.any(|alias| alias.alias_name == index.alias) {
            let name = self.next_generation(index)?;
            self.create(index, &name)?;
            self.point_alias(index, &name)?;
        }
        *lock(&index.presence) = Presence::Seen;
        Ok(())
    }

    fn create(&self, index: &Index, name: &str) -> Result<()> {
        let request = self.schema.create(name, index.dimension);
        let made = self.link.write("make a collection", |client| async move {
            client.create_collection(request).await
        })?;
        there(made)?;
        for request in Schema::field_indexes(name) {
            let made = self.link.write("index a field", |client| async move {
                client.create_field_index(request).await
            })?;
            there(made)?;
        }
        Ok(())
    }

    /// Makes a generation the one that is searched. For an alias that is there already, this is
    /// the move: the server replaces its target.
    fn point_alias(&self, index: &Index, name: &str) -> Result<()> {
        let request =
            CreateAlias { alias_name: index.alias.clone(), collection_name: name.to_owned() };
        let moved = self
            .link
            .write("move an alias", |client| async move { client.create_alias(request).await })?;
        there(moved).map(|_| ())
    }

    fn generations(&self, index: &Index) -> Result<Vec<u64>> {
        let listed = self.link.read("list the collections", |client| async move {
            client.list_collections().await
        })?;
        let names = listed.into_iter().flat_map(|answer| answer.collections);
        Ok(names.filter_map(|found| generation_number(&index.alias, &found.name)).collect())
    }

    fn next_generation(&self, index: &Index) -> Result<String> {
        let newest = self.generations(index)?.into_iter().max().unwrap_or(0);
        Ok(generation(&index.alias, newest + 1))
    }

    fn delete_generations(&self, index: &Index, but: Option<&str>) -> Result<()> {
        for number in self.generations(index)? {
            let name = generation(&index.alias, number);
            if but != Some(name.as_str()) {
                self.delete(name)?;
            }
        }
        Ok(())
    }

    fn delete(&self, name: String) -> Result<()> {
        let delete = |client: Qdrant| async move { client.delete_collection(name).await };
        self.link.write("delete a collection", delete).map(|_| ())
    }

    fn upsert(
        &self,
        collection: &CollectionRef,
        embedder: &DocumentEmbedder,
        name: &str,
        points: &[Point],
    ) -> Result<Option<()>> {
        let points = points.iter().map(|point| translate::point(collection, embedder, point));
        let request = UpsertPointsBuilder::new(name, points.collect::<Result<Vec<_>>>()?);
        let done = self.link.write("update the index", |client| async move {
            client.upsert_points(request.wait(true)).await
        })?;
        done.map(applied).transpose()
    }

    fn take_out(&self, name: &str, ids: &[i64]) -> Result<Option<()>> {
        let ids = ids.iter().map(|id| translate::point_id(*id)).collect::<Result<Vec<_>>>()?;
        let request = DeletePointsBuilder::new(name).points(PointsIdsList { ids }).wait(true);
        let done = self.link.write("delete from the index", |client| async move {
            client.delete_points(request).await
        })?;
        done.map(applied).transpose()
    }

    fn fill(&self, collection: &CollectionRef, name: &str, points: Points<'_>) -> Result<()> {
        let embedder = DocumentEmbedder::new(collection.average_terms())?;
        loop {
            let batch = (&mut *points).take(BATCH).collect::<Result<Vec<Point>>>()?;
            if batch.is_empty() {
                return Ok(());
            }
            there(self.upsert(collection, &embedder, name, &batch)?)?;
        }
    }

    /// Waits until the server has built its graphs. One that takes too long is searched without
    /// them, which is slower and finds the same.
    fn settle(&self, name: &str) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < SETTLE {
            let name = name.to_owned();
            let info = self.link.read("look at a collection", |client| async move {
                client.collection_info(name).await
            })?;
            let status = info.and_then(|info| info.result).map(|result| result.status());
            if status != Some(CollectionStatus::Yellow) {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Index {
    /// What the server answered; none for a collection that was never written to.
    fn present<T>(&self, answer: Option<T>) -> Result<Option<T>> {
        let mut presence = lock(&self.presence);
        match (answer, *presence) {
            (Some(answer), _) => {
                *presence = Presence::Seen;
                Ok(Some(answer))
            }
            (None, Presence::Unknown) => Ok(None),
            (None, _) => {
                *presence = Presence::Lost;
                Err(lost())
            }
        }
    }
}

impl Engine for Server {
    fn check(&self) -> Result<()> {
        // Any question that needs the key: the one for the server's health needs none.
        let name = self.schema.prefix().to_owned();
        let exists = |client: Qdrant| async move { client.collection_exists(name).await };
        there(self.link.read("ask the server", exists)?)?;
        let indexes: Vec<Arc<Index>> = lock(&self.indexes).values().cloned().collect();
        let is_lost = |index: &Arc<Index>| *lock(&index.presence) == Presence::Lost;
        if indexes.iter().any(is_lost) { Err(lost()) } else { Ok(()) }
    }

    fn apply(&self, collection: &CollectionRef, upserts: &[Point], deletes: &[i64]) -> Result<()> {
        let embedder = DocumentEmbedder::new(collection.average_terms())?;
        let index = self.index(collection);
        let _gate = lock(&index.gate);
        if upserts.is_empty() && deletes.is_empty() {
            return Ok(());
        }
        self.ensure(&index)?;
        for batch in deletes.chunks(BATCH) {
            index.present(self.take_out(&index.alias, batch)?)?;
        }
        for batch in upserts.chunks(BATCH) {
            index.present(self.upsert(collection, &embedder, &index.alias, batch)?)?;
        }
        Ok(())
    }

    fn search_dense(
        &self,
        collection: &CollectionRef,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        check_dense(vector, collection.dimension())?;
        self.search(collection, (DENSE, VectorInput::from(vector.to_vec())), filter, limit)
    }

    fn search_sparse(
        &self,
        collection: &CollectionRef,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        let terms = lexical::embed_query(text)?;
        if terms.indices.is_empty() {
            return Ok(Vec::new());
        }
        let vector = VectorInput::new_sparse(terms.indices, terms.values);
        self.search(collection, (BM25, vector), filter, limit)
    }

    fn ids(&self, collection: &CollectionRef) -> Result<Vec<i64>> {
        let index = self.index(collection);
        let (mut ids, mut offset) = (Vec::new(), None::<PointId>);
        loop {
            let mut request = ScrollPointsBuilder::new(&index.alias)
                .limit(PAGE)
                .with_payload(false)
                .with_vectors(false);
            if let Some(offset) = offset {
                request = request.offset(offset);
            }
            let page = self
                .link
                .read("list the index", |client| async move { client.scroll(request).await })?;
            let Some(page) = page else {
                // Whoever lists the points learns that none is left.
                *lock(&index.presence) = Presence::Unknown;
                return Ok(Vec::new());
            };
            *lock(&index.presence) = Presence::Seen;
            ids.extend(page.result.into_iter().filter_map(|point| translate::chunk_id(point.id)));
            offset = page.next_page_offset;
            if offset.is_none() {
                return Ok(ids);
            }
        }
    }

    fn count(&self, collection: &CollectionRef) -> Result<usize> {
        let index = self.index(collection);
        let request = CountPointsBuilder::new(&index.alias).exact(true);
        let count = |client: Qdrant| async move { client.count(request).await };
        let answer = index.present(self.link.read("count the index", count)?)?;
        let counted = answer.and_then(|answer| answer.result).map_or(0, |result| result.count);
        usize::try_from(counted).map_err(|error| Error::failed("count the index", error))
    }

    fn optimize(&self, _: &CollectionRef) -> Result<bool> {
        Ok(false)
    }

    fn rebuild(&self, collection: &CollectionRef, points: Points<'_>) -> Result<()> {
        let index = self.index(collection);
        let _gate = lock(&index.gate);
        let building = self.next_generation(&index)?;
        let built = self
            .create(&index, &building)
            .and_then(|()| self.fill(collection, &building, points))
            .and_then(|()| self.settle(&building));
        if let Err(error) = built {
            // What cannot be deleted now goes with the next rebuild.
            let _ = self.delete(building);
            return Err(error);
        }
        // After a failure here nobody knows which generation is searched, so none is deleted.
        self.point_alias(&index, &building)?;
        *lock(&index.presence) = Presence::Seen;
        lock(&index.fields).clear();
        if let Err(error) = self.delete_generations(&index, Some(&building)) {
            tracing::warn!(error = %error, "an old generation of an index is left over");
        }
        Ok(())
    }

    fn drop_collection(&self, collection: &CollectionRef) -> Result<()> {
        let index = self.index(collection);
        let _gate = lock(&index.gate);
        let alias = index.alias.clone();
        self.link
            .write("delete an alias", |client| async move { client.delete_alias(alias).await })?;
        self.delete_generations(&index, None)?;
        lock(&self.indexes).remove(&collection.id());
        Ok(())
    }
}

fn type_of(field_type: PayloadSchemaType) -> FieldType {
    match field_type {
        PayloadSchemaType::Bool => FieldType::Bool,
        PayloadSchemaType::Integer => FieldType::Integer,
        PayloadSchemaType::Float => FieldType::Float,
        PayloadSchemaType::Datetime => FieldType::Datetime,
        _ => FieldType::Keyword,
    }
}

/// A write that was only taken note of has not happened yet.
fn applied(answer: PointsOperationResponse) -> Result<()> {
    match answer.result.map(|result| result.status()) {
        Some(UpdateStatus::Completed) => Ok(()),
        status => Err(unavailable("apply a write", format!("it is left as {status:?}"))),
    }
}

/// For what this process has made itself a moment ago, or always is there.
fn there<T>(answer: Option<T>) -> Result<T> {
    answer.ok_or_else(lost)
}

fn lost() -> Error {
    unavailable("find a collection", "it is not on the server any more")
}
