//! Measures of rankings, as trec_eval (and so pytrec_eval and BEIR) defines them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// What a search returned for one query, best first and each document once, and what it should
/// have: the gain of every relevant document. A gain of 0 or less means irrelevant.
#[derive(Debug, Clone, Copy)]
pub struct Ranking<'a, D> {
    pub ranked: &'a [D],
    pub relevant: &'a HashMap<D, f64>,
}

impl<D: Eq + Hash> Ranking<'_, D> {
    /// nDCG@k: Σ gain/log2(1 + rank) over the first k, by that of the best order. Gains are linear.
    pub fn ndcg(&self, k: usize) -> f64 {
        let mut best: Vec<f64> = self.gains().collect();
        best.sort_by(|left, right| right.total_cmp(left));
        let found = self.ranked.iter().map(|document| self.gain(document));
        ratio(discounted(found.take(k)), discounted(best.into_iter().take(k)))
    }

    /// The share of the relevant documents that are among the first k.
    pub fn recall(&self, k: usize) -> f64 {
        ratio(self.hits().take_while(|(rank, _)| *rank <= k).count() as f64, self.n_relevant())
    }

    /// 1/rank of the first relevant document if that is at most k, else 0. trec_eval's `recip_rank`
    /// has no k: give the list's length.
    pub fn reciprocal_rank(&self, k: usize) -> f64 {
        match self.hits().next() {
            Some((rank, _)) if rank <= k => (rank as f64).recip(),
            _ => 0.0,
        }
    }

    /// Average precision: the precision at each relevant document found, by the number of all
    /// relevant ones.
    pub fn average_precision(&self) -> f64 {
        let precisions = self.hits().map(|(rank, n_found)| n_found as f64 / rank as f64);
        ratio(precisions.sum(), self.n_relevant())
    }

    /// (rank, relevant documents up to it) of each relevant document found.
    fn hits(&self) -> impl Iterator<Item = (usize, usize)> {
        let ranks = (1..).zip(self.ranked).filter(|(_, document)| self.gain(document) > 0.0);
        ranks.zip(1..).map(|((rank, _), n_found)| (rank, n_found))
    }

    fn gain(&self, document: &D) -> f64 {
        self.relevant.get(document).copied().unwrap_or(0.0).max(0.0)
    }

    fn gains(&self) -> impl Iterator<Item = f64> {
        self.relevant.values().copied().filter(|gain| *gain > 0.0)
    }

    fn n_relevant(&self) -> f64 {
        self.gains().count() as f64
    }
}

/// Means over queries. A query with no relevant document cannot be measured and is counted apart.
#[derive(Debug, Clone, Default)]
pub struct RankingMeans {
    sums: BTreeMap<String, f64>,
    n_measured: usize,
    n_without_relevant: usize,
}

impl RankingMeans {
    /// Takes in a query: `ndcg@10`, `mrr@10`, `map`, and `recall@k` for each of `recall_ks`.
    pub fn add<D: Eq + Hash>(&mut self, ranking: &Ranking<'_, D>, recall_ks: &[usize]) {
        if ranking.gains().next().is_none() {
            self.n_without_relevant += 1;
            return;
        }
        self.n_measured += 1;
        let mut add = |name: String, value: f64| *self.sums.entry(name).or_default() += value;
        add("ndcg@10".to_owned(), ranking.ndcg(10));
        add("mrr@10".to_owned(), ranking.reciprocal_rank(10));
        add("map".to_owned(), ranking.average_precision());
        for k in recall_ks {
            add(format!("recall@{k}"), ranking.recall(*k));
        }
    }

    /// The means by name; empty before the first query.
    pub fn means(&self) -> BTreeMap<String, f64> {
        let n = self.n_measured as f64;
        self.sums.iter().map(|(name, sum)| (name.clone(), sum / n)).collect()
    }

    pub fn n_measured(&self) -> usize {
        self.n_measured
    }

    pub fn n_without_relevant(&self) -> usize {
        self.n_without_relevant
    }
}

/// The places of the `k` largest similarities, best first, equal ones in their order. NaN comes
/// last.
pub fn best_places(similarities: &[f32], k: usize) -> Vec<usize> {
    let order = |left: &usize, right: &usize| {
        let (a, b) = (similarities[*left], similarities[*right]);
        let by_value = b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
        if by_value == Ordering::Equal { left.cmp(right) } else { by_value }
    };
    let mut places: Vec<usize> = (0..similarities.len()).collect();
    if k < places.len() {
        places.select_nth_unstable_by(k, order);
        places.truncate(k);
    }
    places.sort_unstable_by(order);
    places
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    (2..).zip(gains).map(|(place, gain)| gain / f64::from(place).log2()).sum()
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    #[derive(serde::Deserialize)]
    struct Ranked {
        ranked: Vec<u64>,
        relevant: HashMap<u64, f64>,
        measures: BTreeMap<String, f64>,
    }

    #[test]
    fn measures_equal_trec_eval() {
        let mut means = RankingMeans::default();
        let rows: Vec<Ranked> = fixture("/ranking");
        for row in &rows {
            let ranking = Ranking { ranked: &row.ranked, relevant: &row.relevant };
            let expected = |name: &str| row.measures.get(name).copied().unwrap_or(0.0);
            let found = [
                (ranking.ndcg(5), "ndcg_cut_5"),
                (ranking.ndcg(10), "ndcg_cut_10"),
                (ranking.recall(5), "recall_5"),
                (ranking.recall(10), "recall_10"),
                (ranking.average_precision(), "map"),
                (ranking.reciprocal_rank(row.ranked.len()), "recip_rank"),
            ];
            for (value, name) in found {
                assert!(
                    (value - expected(name)).abs() < 1e-10,
                    "{name}: {value}, not {}",
                    expected(name)
                );
            }
            means.add(&ranking, &[5]);
        }
        let mean = rows.iter().filter_map(|row| row.measures.get("recall_5")).sum::<f64>()
            / rows.len() as f64;
        assert!(mean > 0.0 && (means.means()["recall@5"] - mean).abs() < 1e-10);
        means.add(&Ranking { ranked: &[1], relevant: &HashMap::from([(1, 0.0)]) }, &[5]);
        assert_eq!((means.n_measured(), means.n_without_relevant()), (rows.len(), 1));
        assert!((means.means()["recall@5"] - mean).abs() < 1e-10);
    }

    #[test]
    fn a_late_answer_has_no_reciprocal_rank() {
        let ranked: Vec<u32> = (0..20).collect();
        let relevant = HashMap::from([(10, 1.0)]);
        let ranking = Ranking { ranked: &ranked, relevant: &relevant };
        assert_eq!((ranking.reciprocal_rank(10), ranking.reciprocal_rank(11)), (0.0, 1.0 / 11.0));
    }

    #[test]
    fn best_places_keep_order_among_equals() {
        let similarities = [0.5, f32::NAN, 0.9, 0.5, f32::NEG_INFINITY, 0.9];
        assert_eq!(best_places(&similarities, 3), [2, 5, 0]);
        assert_eq!(best_places(&similarities, 99), [2, 5, 0, 3, 4, 1]);
        assert!(best_places(&[], 3).is_empty());
    }
}
