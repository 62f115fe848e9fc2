//! The calls of Qdrant's gRPC that querent makes. All others are refused.

use std::sync::{Arc, Mutex};

use ::qdrant_client::qdrant::alias_operations::Action;
use ::qdrant_client::qdrant::collections_server::Collections;
use ::qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use ::qdrant_client::qdrant::points_server::Points;
use ::qdrant_client::qdrant::query::Variant;
use ::qdrant_client::qdrant::*;
use tonic::{Request, Response, Status};

use super::world::{Collection, World, number};

/// Points to a page, whatever limit is asked for, so that paging is seen.
const PAGE: usize = 7;

#[derive(Clone)]
pub struct StandIn {
    pub world: Arc<Mutex<World>>,
}

type Outcome<T> = Result<Response<T>, Status>;

impl StandIn {
    /// Notes a call, lets it wait, and looks at its key. Like a careless server it repeats a
    /// wrong key in its refusal.
    async fn enter<T>(&self, method: &str, on: &str, request: &Request<T>) -> Result<(), Status> {
        let (delay, key) = {
            let mut world = self.world.lock().unwrap();
            world.calls.push(format!("{method} {on}"));
            (world.delay, world.key.clone())
        };
        tokio::time::sleep(delay).await;
        let given = request.metadata().get("api-key").map_or("", |key| key.to_str().unwrap());
        if given == key {
            return Ok(());
        }
        Err(Status::unauthenticated(format!("Invalid API key {given}")))
    }

    fn wrote(&self, wait: Option<bool>) -> Response<PointsOperationResponse> {
        let is_applied = wait == Some(true) && !self.world.lock().unwrap().only_acknowledges;
        let status = if is_applied { UpdateStatus::Completed } else { UpdateStatus::Acknowledged };
        let result = UpdateResult { operation_id: Some(1), status: status.into() };
        Response::new(PointsOperationResponse { result: Some(result), ..Default::default() })
    }
}

fn done() -> Response<CollectionOperationResponse> {
    Response::new(CollectionOperationResponse { result: true, time: 0.0 })
}

/// Implements a service by the calls that are written out; the others are refused.
macro_rules! service {
    ($service:ident { $($written:tt)* } refuses {
        $($name:ident: $request:ident => $answer:ident,)*
    }) => {
        #[tonic::async_trait]
        impl $service for StandIn {
            $($written)*
            $(async fn $name(&self, _: Request<$request>) -> Outcome<$answer> {
                Err(Status::unimplemented(stringify!($name)))
            })*
        }
    };
}

service! { Points {
    async fn upsert(&self, request: Request<UpsertPoints>) -> Outcome<PointsOperationResponse> {
        self.enter("upsert", &request.get_ref().collection_name, &request).await?;
        let request = request.into_inner();
        {
            let mut world = self.world.lock().unwrap();
            let collection = world.find(&request.collection_name)?;
            for point in request.points {
                collection.points.insert(number(point.id.as_ref().unwrap()), point);
            }
        }
        Ok(self.wrote(request.wait))
    }

    async fn delete(&self, request: Request<DeletePoints>) -> Outcome<PointsOperationResponse> {
        self.enter("delete", &request.get_ref().collection_name, &request).await?;
        let request = request.into_inner();
        {
            let mut world = self.world.lock().unwrap();
            let collection = world.find(&request.collection_name)?;
            let selector = request.points.unwrap().points_selector_one_of.unwrap();
            let PointsSelectorOneOf::Points(list) = selector else {
                return Err(Status::unimplemented("deleting by filter"));
            };
            for id in &list.ids {
                collection.points.remove(&number(id));
            }
        }
        Ok(self.wrote(request.wait))
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Outcome<PointsOperationResponse> {
        self.enter("create_field_index", &request.get_ref().collection_name, &request).await?;
        let request = request.into_inner();
        let mut world = self.world.lock().unwrap();
        world.find(&request.collection_name)?.fields.push(request.field_name);
        drop(world);
        Ok(self.wrote(request.wait))
    }

    async fn scroll(&self, request: Request<ScrollPoints>) -> Outcome<ScrollResponse> {
        self.enter("scroll", &request.get_ref().collection_name, &request).await?;
        let request = request.into_inner();
        let mut world = self.world.lock().unwrap();
        let collection = world.find(&request.collection_name)?;
        let start = request.offset.as_ref().map_or(0, number);
        let limit = PAGE.min(request.limit.unwrap_or(10) as usize);
        let mut ids = collection.points.range(start..).map(|(id, _)| PointId::from(*id));
        let page = ids.by_ref().take(limit);
        let result = page.map(|id| RetrievedPoint { id: Some(id), ..Default::default() }).collect();
        let next_page_offset = ids.next();
        Ok(Response::new(ScrollResponse { next_page_offset, result, ..Default::default() }))
    }

    async fn count(&self, request: Request<CountPoints>) -> Outcome<CountResponse> {
        self.enter("count", &request.get_ref().collection_name, &request).await?;
        let mut world = self.world.lock().unwrap();
        let count = world.find(&request.get_ref().collection_name)?.points.len() as u64;
        let result = Some(CountResult { count });
        Ok(Response::new(CountResponse { result, ..Default::default() }))
    }

    async fn query(&self, request: Request<QueryPoints>) -> Outcome<QueryResponse> {
        self.enter("query", &request.get_ref().collection_name, &request).await?;
        let request = request.into_inner();
        let mut world = self.world.lock().unwrap();
        let collection = world.find(&request.collection_name)?;
        let Some(Variant::Nearest(vector)) = request.query.unwrap().variant else {
            return Err(Status::unimplemented("other queries than the nearest"));
        };
        let result = collection.search(
            &request.using.unwrap(),
            &vector.variant.unwrap(),
            request.filter.as_ref(),
            request.limit.unwrap() as usize,
        );
        Ok(Response::new(QueryResponse { result, ..Default::default() }))
    }
} refuses {
    get: GetPoints => GetResponse,
    update_vectors: UpdatePointVectors => PointsOperationResponse,
    delete_vectors: DeletePointVectors => PointsOperationResponse,
    set_payload: SetPayloadPoints => PointsOperationResponse,
    overwrite_payload: SetPayloadPoints => PointsOperationResponse,
    delete_payload: DeletePayloadPoints => PointsOperationResponse,
    clear_payload: ClearPayloadPoints => PointsOperationResponse,
    delete_field_index: DeleteFieldIndexCollection => PointsOperationResponse,
    create_vector_name: CreateVectorNameRequest => PointsOperationResponse,
    delete_vector_name: DeleteVectorNameRequest => PointsOperationResponse,
    search: SearchPoints => SearchResponse,
    search_batch: SearchBatchPoints => SearchBatchResponse,
    search_groups: SearchPointGroups => SearchGroupsResponse,
    recommend: RecommendPoints => RecommendResponse,
    recommend_batch: RecommendBatchPoints => RecommendBatchResponse,
    recommend_groups: RecommendPointGroups => RecommendGroupsResponse,
    discover: DiscoverPoints => DiscoverResponse,
    discover_batch: DiscoverBatchPoints => DiscoverBatchResponse,
    update_batch: UpdateBatchPoints => UpdateBatchResponse,
    query_batch: QueryBatchPoints => QueryBatchResponse,
    query_groups: QueryPointGroups => QueryGroupsResponse,
    facet: FacetCounts => FacetResponse,
    search_matrix_pairs: SearchMatrixPoints => SearchMatrixPairsResponse,
    search_matrix_offsets: SearchMatrixPoints => SearchMatrixOffsetsResponse,
} }

service! { Collections {
    async fn get(
        &self,
        request: Request<GetCollectionInfoRequest>,
    ) -> Outcome<GetCollectionInfoResponse> {
        self.enter("get", &request.get_ref().collection_name, &request).await?;
        let mut world = self.world.lock().unwrap();
        world.find(&request.get_ref().collection_name)?;
        let status = CollectionStatus::Green.into();
        let result = Some(CollectionInfo { status, ..Default::default() });
        Ok(Response::new(GetCollectionInfoResponse { result, time: 0.0 }))
    }

    async fn list(
        &self,
        request: Request<ListCollectionsRequest>,
    ) -> Outcome<ListCollectionsResponse> {
        self.enter("list", "", &request).await?;
        let world = self.world.lock().unwrap();
        let names = world.collections.keys().cloned();
        let collections = names.map(|name| CollectionDescription { name }).collect();
        Ok(Response::new(ListCollectionsResponse { collections, time: 0.0 }))
    }

    async fn create(
        &self,
        request: Request<CreateCollection>,
    ) -> Outcome<CollectionOperationResponse> {
        self.enter("create", &request.get_ref().collection_name, &request).await?;
        let made_with = request.into_inner();
        let mut world = self.world.lock().unwrap();
        let name = made_with.collection_name.clone();
        if world.collections.contains_key(&name) || world.aliases.contains_key(&name) {
            return Err(Status::already_exists(format!("Collection `{name}` already exists!")));
        }
        let collection =
            Collection { made_with, points: Default::default(), fields: Vec::new() };
        world.collections.insert(name, collection);
        Ok(done())
    }

    async fn delete(
        &self,
        request: Request<DeleteCollection>,
    ) -> Outcome<CollectionOperationResponse> {
        self.enter("drop", &request.get_ref().collection_name, &request).await?;
        let name = request.into_inner().collection_name;
        let mut world = self.world.lock().unwrap();
        world.aliases.retain(|_, target| *target != name);
        let result = world.collections.remove(&name).is_some();
        Ok(Response::new(CollectionOperationResponse { result, time: 0.0 }))
    }

    async fn update_aliases(
        &self,
        request: Request<ChangeAliases>,
    ) -> Outcome<CollectionOperationResponse> {
        self.enter("update_aliases", "", &request).await?;
        let mut world = self.world.lock().unwrap();
        for operation in request.into_inner().actions {
            match operation.action.unwrap() {
                Action::CreateAlias(alias) => {
                    if !world.collections.contains_key(&alias.collection_name) {
                        return Err(Status::not_found("no collection for the alias"));
                    }
                    world.aliases.insert(alias.alias_name, alias.collection_name);
                }
                Action::DeleteAlias(alias) => {
                    world.aliases.remove(&alias.alias_name);
                }
                Action::RenameAlias(_) => return Err(Status::unimplemented("renaming")),
            }
        }
        Ok(done())
    }

    async fn list_aliases(
        &self,
        request: Request<ListAliasesRequest>,
    ) -> Outcome<ListAliasesResponse> {
        self.enter("list_aliases", "", &request).await?;
        let world = self.world.lock().unwrap();
        let all = world.aliases.clone().into_iter();
        let aliases = all.map(|(alias_name, collection_name)| {
            AliasDescription { alias_name, collection_name }
        });
        Ok(Response::new(ListAliasesResponse { aliases: aliases.collect(), time: 0.0 }))
    }

    async fn collection_exists(
        &self,
        request: Request<CollectionExistsRequest>,
    ) -> Outcome<CollectionExistsResponse> {
        self.enter("collection_exists", "", &request).await?;
        let mut world = self.world.lock().unwrap();
        let exists = world.find(&request.get_ref().collection_name).is_ok();
        let result = Some(CollectionExists { exists });
        Ok(Response::new(CollectionExistsResponse { result, time: 0.0 }))
    }
} refuses {
    update: UpdateCollection => CollectionOperationResponse,
    list_collection_aliases: ListCollectionAliasesRequest => ListAliasesResponse,
    collection_cluster_info: CollectionClusterInfoRequest => CollectionClusterInfoResponse,
    update_collection_cluster_setup:
        UpdateCollectionClusterSetupRequest => UpdateCollectionClusterSetupResponse,
    create_shard_key: CreateShardKeyRequest => CreateShardKeyResponse,
    delete_shard_key: DeleteShardKeyRequest => DeleteShardKeyResponse,
    list_shard_keys: ListShardKeysRequest => ListShardKeysResponse,
} }
