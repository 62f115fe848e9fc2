//! What a setting may be, and the sentence for one that is not.

use std::fmt;

use crate::error::{Error, Result};

pub(super) fn validate_sampling(temperature: f64, top_p: f64, max_new_tokens: usize) -> Result<()> {
    positive("temperature", temperature)?;
    share("top_p", top_p)?;
    count("max_new_tokens", max_new_tokens)
}

pub(super) fn positive(name: &str, value: f64) -> Result<()> {
    demand(name, value, value.is_finite() && value > 0.0, "a positive number")
}

pub(super) fn at_least_zero(name: &str, value: f64) -> Result<()> {
    demand(name, value, value.is_finite() && value >= 0.0, "0 or a positive number")
}

pub(super) fn share(name: &str, value: f64) -> Result<()> {
    demand(name, value, value > 0.0 && value <= 1.0, "above 0 and at most 1")
}

pub(super) fn count(name: &str, value: usize) -> Result<()> {
    demand(name, value, value >= 1, "1 or more")
}

pub(super) fn demand(
    name: &str,
    value: impl fmt::Display,
    is_met: bool,
    may_be: &str,
) -> Result<()> {
    if is_met { Ok(()) } else { refuse(format!("{name} is {value}; it has to be {may_be}")) }
}

pub(super) fn refuse<T>(sentence: String) -> Result<T> {
    Err(Error::invalid("reinforce_options", sentence))
}
