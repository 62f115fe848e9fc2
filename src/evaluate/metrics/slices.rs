//! Any figure over all records and over parts of them: by kind of ambiguity, by language, by what
//! else the records are labelled with.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a record is, by axis: `{"language": "zh", "ambiguity": "ellipsis"}`. A record without a
/// label on an axis is in no slice of that axis.
pub type Labels = BTreeMap<String, String>;

/// All records, or those with one label. Written as `all` and `axis=label`; all come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Slice {
    All,
    Labelled { axis: String, label: String },
}

/// Records by slice, in their order.
#[derive(Debug, Clone)]
pub struct Slices<'a, R> {
    parts: BTreeMap<Slice, Vec<&'a R>>,
}

/// A mean and how many values it is of, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    pub mean: f64,
    pub n: usize,
}

impl<'a, R> Slices<'a, R> {
    /// All records, and one slice for each label that any of them has.
    pub fn of<L>(records: &'a [R], labels: L) -> Self
    where
        L: Fn(&'a R) -> &'a Labels,
    {
        let mut parts = BTreeMap::from([(Slice::All, records.iter().collect())]);
        for record in records {
            for (axis, label) in labels(record) {
                let slice = Slice::labelled(axis, label);
                parts.entry(slice).or_insert_with(Vec::new).push(record);
            }
        }
        Self { parts }
    }

    /// Every slice with its records; only [`Slice::All`] can be empty.
    pub fn iter(&self) -> impl Iterator<Item = (&Slice, &[&'a R])> {
        self.parts.iter().map(|(slice, records)| (slice, records.as_slice()))
    }

    /// A figure of each slice's records together, such as the BLEU of a corpus.
    pub fn map<T>(&self, mut figure: impl FnMut(&[&'a R]) -> T) -> BTreeMap<Slice, T> {
        self.iter().map(|(slice, records)| (slice.clone(), figure(records))).collect()
    }

    /// The mean of a figure of single records. A record without a value is not counted, and a slice
    /// without any value is left out.
    pub fn means(&self, value: impl Fn(&'a R) -> Option<f64>) -> BTreeMap<Slice, Mean> {
        let mean = |records: &[&'a R]| Mean::of(records.iter().filter_map(|record| value(record)));
        let means = self.iter().map(|(slice, records)| (slice.clone(), mean(records)));
        means.filter_map(|(slice, mean)| Some((slice, mean?))).collect()
    }
}

impl Slice {
    pub fn labelled(axis: impl Into<String>, label: impl Into<String>) -> Self {
        Self::Labelled { axis: axis.into(), label: label.into() }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Labelled { axis, label } => write!(f, "{axis}={label}"),
        }
    }
}

impl From<Slice> for String {
    fn from(slice: Slice) -> Self {
        slice.to_string()
    }
}

/// The inverse of `Display` for axes without a `=`. Text without one is `all`.
impl From<String> for Slice {
    fn from(text: String) -> Self {
        match text.split_once('=') {
            Some((axis, label)) => Self::labelled(axis, label),
            None => Self::All,
        }
    }
}

impl Mean {
    /// `None` of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (sum, n) = values.into_iter().fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
        (n > 0).then(|| Self { mean: sum / n as f64, n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(language: &str, kind: Option<&str>, value: Option<f64>) -> (Labels, Option<f64>) {
        let language = Some(("language".to_owned(), language.to_owned()));
        let kind = kind.map(|kind| ("ambiguity".to_owned(), kind.to_owned()));
        (language.into_iter().chain(kind).collect(), value)
    }

    #[test]
    fn each_label_is_a_slice_and_missing_values_are_not_counted() {
        let records = [
            record("zh", Some("ellipsis"), Some(1.0)),
            record("en", Some("ellipsis"), Some(0.0)),
            record("en", None, Some(0.5)),
            record("fr", Some("vague"), None),
        ];
        let slices = Slices::of(&records, |record| &record.0);
        let means = slices.means(|record| record.1);
        let written: Vec<_> =
            means.iter().map(|(slice, mean)| (slice.to_string(), mean.mean, mean.n)).collect();
        let expected = [
            ("all", 0.5, 3),
            ("ambiguity=ellipsis", 0.5, 2),
            ("language=en", 0.25, 2),
            ("language=zh", 1.0, 1),
        ];
        assert_eq!(written, expected.map(|(name, mean, n)| (name.to_owned(), mean, n)));
        let counts = slices.map(<[_]>::len);
        assert_eq!((counts.len(), counts[&Slice::labelled("language", "fr")]), (6, 1));
    }

    #[test]
    fn slices_are_keys_of_json_objects() {
        let counts = BTreeMap::from([(Slice::labelled("language", "a=b"), 1), (Slice::All, 2)]);
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(json, r#"{"all":2,"language=a=b":1}"#);
        assert_eq!(serde_json::from_str::<BTreeMap<Slice, i32>>(&json).unwrap(), counts);
    }

    #[test]
    fn no_records_still_have_the_slice_of_all() {
        let slices = Slices::of(&[], |record: &(Labels, Option<f64>)| &record.0);
        assert_eq!(slices.map(<[_]>::len), BTreeMap::from([(Slice::All, 0)]));
        assert!(slices.means(|record| record.1).is_empty());
    }
}
