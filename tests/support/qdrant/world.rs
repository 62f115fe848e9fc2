//! What the stand-in holds, and how it scores: cosine, and terms weighted by their IDF.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    CreateCollection, Filter, PointId, PointStruct, ScoredPoint, SparseVector, vector, vector_input,
};
use tonic::Status;

use super::filter;

#[derive(Default)]
pub struct World {
    pub key: String,
    pub delay: Duration,
    /// Refuse the next writes as only taken note of.
    pub only_acknowledges: bool,
    pub calls: Vec<String>,
    pub collections: BTreeMap<String, Collection>,
    pub aliases: HashMap<String, String>,
}

pub struct Collection {
    pub made_with: CreateCollection,
    pub points: BTreeMap<u64, PointStruct>,
    /// Names of the fields that are indexed.
    pub fields: Vec<String>,
}

/// What a point is worth to a query; none when it has no such vector.
type Score<'a> = Box<dyn Fn(&PointStruct) -> Option<f32> + 'a>;

impl World {
    /// A collection by name or alias.
    pub fn find(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let target = self.aliases.get(name).cloned().unwrap_or_else(|| name.to_owned());
        self.collections
            .get_mut(&target)
            .ok_or_else(|| Status::not_found(format!("Collection `{name}` doesn't exist!")))
    }
}

impl Collection {
    pub fn search(
        &self,
        using: &str,
        query: &vector_input::Variant,
        scope: Option<&Filter>,
        limit: usize,
    ) -> Vec<ScoredPoint> {
        let score: Score<'_> = match query {
            vector_input::Variant::Dense(wanted) => Box::new(move |point| {
                let vector::Vector::Dense(own) = vector_of(point, using)? else { return None };
                Some(cosine(&wanted.data, &own.data))
            }),
            vector_input::Variant::Sparse(wanted) => {
                let weighted = self.weigh(using, wanted);
                Box::new(move |point| {
                    let vector::Vector::Sparse(own) = vector_of(point, using)? else { return None };
                    shared(&weighted, own)
                })
            }
            other => panic!("the stand-in has no query like {other:?}"),
        };
        let matching = self.points.values().filter(|point| filter::matches(point, scope));
        let mut found: Vec<ScoredPoint> = matching
            .filter_map(|point| {
                let (id, score) = (point.id.clone(), score(point)?);
                Some(ScoredPoint { id, score, ..ScoredPoint::default() })
            })
            .collect();
        found.sort_by(|left, right| right.score.total_cmp(&left.score));
        found.truncate(limit);
        found
    }

    /// The terms of a query with the weights that they have in this collection.
    fn weigh(&self, using: &str, wanted: &SparseVector) -> HashMap<u32, f32> {
        let all: Vec<&SparseVector> = self
            .points
            .values()
            .filter_map(|point| match vector_of(point, using)? {
                vector::Vector::Sparse(own) => Some(own),
                _ => None,
            })
            .collect();
        let n = all.len() as f32;
        let weigh = |(term, weight): (&u32, &f32)| {
            let df = all.iter().filter(|own| own.indices.contains(term)).count() as f32;
            (*term, weight * ((n - df + 0.5) / (df + 0.5) + 1.0).ln())
        };
        wanted.indices.iter().zip(&wanted.values).map(weigh).collect()
    }
}

pub fn number(id: &PointId) -> u64 {
    match id.point_id_options {
        Some(PointIdOptions::Num(number)) => number,
        _ => panic!("{id:?} is not a number"),
    }
}

fn vector_of<'a>(point: &'a PointStruct, name: &str) -> Option<&'a vector::Vector> {
    match point.vectors.as_ref()?.vectors_options.as_ref()? {
        VectorsOptions::Vectors(named) => named.vectors.get(name)?.vector.as_ref(),
        VectorsOptions::Vector(_) => None,
    }
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(left, right) / (dot(left, left).sqrt() * dot(right, right).sqrt())
}

/// The score of the terms that both have; none when they share none.
fn shared(weighted: &HashMap<u32, f32>, own: &SparseVector) -> Option<f32> {
    let terms = own.indices.iter().zip(&own.values);
    let common: Vec<f32> =
        terms.filter_map(|(term, value)| Some(weighted.get(term)? * value)).collect();
    if common.is_empty() { None } else { Some(common.iter().sum()) }
}
