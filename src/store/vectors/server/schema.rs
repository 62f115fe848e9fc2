//! How a collection of querent is named and laid out on the server.

use qdrant_client::qdrant::quantization_config::Quantization as Compression;
use qdrant_client::qdrant::{
    BinaryQuantizationBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    Distance, FieldType, KeywordIndexParamsBuilder, Modifier, QuantizationSearchParams,
    QuantizationType, ScalarQuantizationBuilder, SearchParams, SparseIndexConfigBuilder,
    SparseVectorParamsBuilder, SparseVectorsConfigBuilder, StrictModeConfig, VectorParamsBuilder,
    VectorsConfigBuilder,
};

use super::super::{BM25, DENSE, GRAPH_BEAM};
use super::translate::{DOCUMENT_ID, TENANT};
use crate::config::{Quantization, VectorsConfig};
use crate::store::corpus::CollectionRef;

/// The share of values that scalar quantization keeps apart; the rest are outliers.
const QUANTILE: f32 = 0.99;

#[derive(Debug)]
pub(super) struct Schema {
    prefix: String,
    shards: u32,
    replicas: u32,
    quantization: Quantization,
    on_disk: bool,
}

impl Schema {
    pub(super) fn new(config: &VectorsConfig) -> Self {
        Self {
            prefix: config.prefix.clone(),
            shards: config.shards,
            replicas: config.replicas,
            quantization: config.quantization,
            on_disk: config.on_disk,
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The alias that everything but a rebuild goes by. The moment of making keeps two
    /// databases apart that use one server and have not been given prefixes of their own.
    pub(super) fn alias(&self, collection: &CollectionRef) -> String {
        format!("{}_{}_{}", self.prefix, collection.id(), collection.created_at())
    }

    pub(super) fn create(&self, name: &str, dimension: usize) -> CreateCollectionBuilder {
        let mut dense = VectorParamsBuilder::new(dimension as u64, Distance::Cosine);
        let mut terms = SparseVectorParamsBuilder::default().modifier(Modifier::Idf);
        if self.on_disk {
            dense = dense.on_disk(true);
            terms = terms.index(SparseIndexConfigBuilder::default().on_disk(true));
        }
        if let Some(compression) = self.compression() {
            dense = dense.quantization_config(compression);
        }
        let mut vectors = VectorsConfigBuilder::default();
        vectors.add_named_vector_params(DENSE, dense);
        let mut sparse_vectors = SparseVectorsConfigBuilder::default();
        sparse_vectors.add_named_vector_params(BM25, terms);
        CreateCollectionBuilder::new(name)
            .vectors_config(vectors)
            .sparse_vectors_config(sparse_vectors)
            .shard_number(self.shards)
            .replication_factor(self.replicas)
            .on_disk_payload(self.on_disk)
            // Filters are checked and bounded before they get here; a server that is strict by
            // default would refuse those on fields that have no index yet.
            .strict_mode_config(StrictModeConfig {
                enabled: Some(false),
                ..StrictModeConfig::default()
            })
    }

    /// Indexes of the fields that searches and people look for from the beginning.
    pub(super) fn field_indexes(name: &str) -> [CreateFieldIndexCollectionBuilder; 2] {
        let keyword = |field: &str| {
            CreateFieldIndexCollectionBuilder::new(name, field, FieldType::Keyword).wait(true)
        };
        let tenant = KeywordIndexParamsBuilder::default().is_tenant(true);
        [keyword(TENANT).field_index_params(tenant), keyword(DOCUMENT_ID)]
    }

    pub(super) fn search_params(&self) -> SearchParams {
        let oversampling = match self.quantization {
            Quantization::None => None,
            Quantization::Scalar => Some(1.5),
            Quantization::Binary => Some(3.0),
        };
        SearchParams {
            hnsw_ef: Some(GRAPH_BEAM as u64),
            quantization: oversampling.map(|oversampling| QuantizationSearchParams {
                ignore: None,
                rescore: Some(true),
                oversampling: Some(oversampling),
            }),
            ..SearchParams::default()
        }
    }

    /// Compressed vectors stay in memory: they are what makes vectors on disk fast enough.
    fn compression(&self) -> Option<Compression> {
        match self.quantization {
            Quantization::None => None,
            Quantization::Scalar => {
                let scalar = ScalarQuantizationBuilder::default()
                    .r#type(QuantizationType::Int8.into())
                    .quantile(QUANTILE)
                    .always_ram(true);
                Some(Compression::Scalar(scalar.build()))
            }
            Quantization::Binary => {
                Some(Compression::Binary(BinaryQuantizationBuilder::new(true).build()))
            }
        }
    }
}

/// A generation of a collection: each rebuild makes the next.
pub(super) fn generation(alias: &str, number: u64) -> String {
    format!("{alias}_g{number}")
}

/// The number of a generation of this alias; none for other collections.
pub(super) fn generation_number(alias: &str, name: &str) -> Option<u64> {
    name.strip_prefix(alias)?.strip_prefix("_g")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{generation, generation_number};

    #[test]
    fn generations_belong_to_one_alias() {
        assert_eq!(generation_number("querent_7_99", &generation("querent_7_99", 12)), Some(12));
        for other in ["querent_7_991_g1", "querent_7_99", "querent_7_99_gx", "x_querent_7_99_g1"] {
            assert_eq!(generation_number("querent_7_99", other), None, "{other}");
        }
    }
}
