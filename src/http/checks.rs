//! Gathering what is wrong with a request, field by field, so that a caller learns all of it at
//! once.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::{Error, Result};

/// Fields that one answer names; a caller with more mistakes finds the rest the next time.
const MAX_FIELDS: usize = 20;

/// The mistakes found so far, as (pointer, detail); a detail completes "the field …".
#[derive(Debug, Default)]
pub struct Checks {
    fields: Vec<(String, String)>,
}

impl Checks {
    pub fn refuse(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.fields.len() < MAX_FIELDS {
            self.fields.push((pointer.into(), detail.into()));
        }
    }

    /// A text of at most `max_chars`, without NUL, which databases and tokenizers disagree about.
    pub fn text(&mut self, pointer: &str, text: &str, max_chars: usize) {
        let n_chars = text.chars().count();
        if n_chars > max_chars {
            self.refuse(pointer, format!("has {n_chars} characters, more than {max_chars}"));
        }
        if text.contains('\0') {
            self.refuse(pointer, "contains the character U+0000");
        }
    }

    /// A short text such as a name or a title: not blank, no control characters.
    pub fn line(&mut self, pointer: &str, text: &str, max_chars: usize) {
        if text.trim().is_empty() {
            self.refuse(pointer, "is empty");
        } else if text.chars().any(char::is_control) {
            self.refuse(pointer, "contains a control character");
        } else {
            self.text(pointer, text, max_chars);
        }
    }

    /// A number within its range, or the default when there is none.
    pub fn number<N>(
        &mut self,
        pointer: &str,
        value: Option<i64>,
        range: RangeInclusive<N>,
        default: N,
    ) -> N
    where
        N: Copy + Display + PartialOrd + TryFrom<i64>,
    {
        let Some(value) = value else { return default };
        if let Ok(number) = N::try_from(value)
            && range.contains(&number)
        {
            return number;
        }
        let (least, most) = (range.start(), range.end());
        self.refuse(pointer, format!("is {value}, not {least} to {most}"));
        default
    }

    /// `Invalid` with every mistake, if there are any.
    pub fn finish(self) -> Result<()> {
        let Some((pointer, detail)) = self.fields.first() else { return Ok(()) };
        let rest = match self.fields.len() - 1 {
            0 => String::new(),
            1 => " (and 1 more mistake)".to_owned(),
            n_more => format!(" (and {n_more} more mistakes)"),
        };
        let error = Error::invalid("invalid_request", format!("{pointer} {detail}{rest}"));
        let fields = self.fields.into_iter();
        Err(fields.fold(error, |error, (pointer, detail)| error.with_field(pointer, detail)))
    }
}

/// A key as one segment of a JSON pointer (RFC 6901).
pub fn segment(key: &str) -> String {
    let shown: String = key.chars().take(80).collect();
    shown.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named() {
        let mut checks = Checks::default();
        checks.text("/query", "问题", 1);
        checks.text("/locale", "a\0", 5);
        checks.line("/name", " \t", 5);
        let n: usize = checks.number("/top_k", Some(-1), 1..=100, 10);
        assert_eq!(n, 10);
        let error = checks.finish().unwrap_err();
        let pointers: Vec<&str> = error.fields.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/query", "/locale", "/name", "/top_k"]);
        assert_eq!(error.message, "/query has 2 characters, more than 1 (and 3 more mistakes)");
    }

    #[test]
    fn good_values_pass() {
        let mut checks = Checks::default();
        checks.text("/query", "多行\n也可以", 8);
        checks.line("/name", "客户 画像", 8);
        assert_eq!(checks.number("/top_k", Some(100), 1..=100_usize, 10), 100);
        assert_eq!(checks.number("/top_k", None, 1..=100_usize, 10), 10);
        assert!(checks.finish().is_ok());
    }

    #[test]
    fn mistakes_are_counted_up_to_a_limit() {
        let mut checks = Checks::default();
        for index in 0..1_000 {
            checks.refuse(format!("/documents/{index}"), "is wrong");
        }
        assert_eq!(checks.finish().unwrap_err().fields.len(), MAX_FIELDS);
    }

    #[test]
    fn pointers_escape_their_keys() {
        assert_eq!(segment("a/b~c"), "a~1b~0c");
        assert_eq!(segment(&"长".repeat(500)).chars().count(), 80);
    }
}
