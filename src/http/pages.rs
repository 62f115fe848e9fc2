//! Lists: `{"object": "list", "data": […], "has_more": …, "next": …}`.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use super::checks::{Checks, segment};
use super::extract::Query;
use crate::error::Result;
use crate::store::Page;

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;
const MAX_CURSOR_CHARS: usize = 256;

/// Which page of a list is wanted.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Most entries on the page.
    #[param(minimum = 1, maximum = 100, default = 20, required = false)]
    pub limit: usize,
    /// `next` of the page before; the first page has none.
    pub after: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// Always `list`.
    object: &'static str,
    data: Vec<T>,
    has_more: bool,
    /// To be given as `after` for the next page; null on the last one.
    next: Option<String>,
}

impl ListParams {
    pub fn read(Query(mut values): Query) -> Result<Self> {
        let mut checks = Checks::default();
        let limit = limit(&mut values, &mut checks);
        let after = values.remove("after");
        if let Some(after) = &after {
            checks.line("/after", after, MAX_CURSOR_CHARS);
        }
        for name in values.keys() {
            checks.refuse(format!("/{}", segment(name)), "is not one of limit, after");
        }
        checks.finish()?;
        Ok(Self { limit, after })
    }
}

impl<T> List<T> {
    pub fn new<S>(page: Page<S>, item: impl Fn(S) -> T) -> Self {
        Self {
            object: "list",
            data: page.items.into_iter().map(item).collect(),
            has_more: page.next.is_some(),
            next: page.next,
        }
    }
}

/// A moment on the wire.
pub fn timestamp(moment: OffsetDateTime) -> String {
    // Only years beyond 9999 cannot be written, and no clock of ours shows one.
    moment.format(&Rfc3339).unwrap_or_default()
}

fn limit(values: &mut BTreeMap<String, String>, checks: &mut Checks) -> usize {
    match values.remove("limit").map(|text| text.parse::<i64>()) {
        None => DEFAULT_LIMIT,
        Some(Ok(number)) => checks.number("/limit", Some(number), 1..=MAX_LIMIT, DEFAULT_LIMIT),
        Some(Err(_)) => {
            checks.refuse("/limit", "is not a number");
            DEFAULT_LIMIT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ListParams> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        ListParams::read(Query(pairs.iter().map(pair).collect()))
    }

    #[test]
    fn pages_have_a_default_and_a_limit() {
        assert_eq!(read(&[]).unwrap(), ListParams { limit: 20, after: None });
        let page = read(&[("limit", "100"), ("after", "1f")]).unwrap();
        assert_eq!(page, ListParams { limit: 100, after: Some("1f".into()) });
    }

    #[test]
    fn odd_parameters_are_named() {
        let huge = "9".repeat(40);
        let long = "x".repeat(257);
        for (name, value) in [
            ("limit", "0"),
            ("limit", "101"),
            ("limit", "-1"),
            ("limit", "ten"),
            ("limit", ""),
            ("limit", huge.as_str()),
            ("after", ""),
            ("after", "a\0b"),
            ("after", long.as_str()),
            ("offset", "3"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.fields[0].pointer, format!("/{name}"), "{name}={value}");
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let list = |next: Option<&str>| {
            let page = Page { items: vec![1, 2], next: next.map(str::to_owned) };
            serde_json::to_string(&List::new(page, |n| n * 10)).unwrap()
        };
        assert_eq!(list(None), r#"{"object":"list","data":[10,20],"has_more":false,"next":null}"#);
        assert_eq!(
            list(Some("b")),
            r#"{"object":"list","data":[10,20],"has_more":true,"next":"b"}"#
        );
    }
}
