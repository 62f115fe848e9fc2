//! Public sets in the forms in which their publishers, or people who converted them, give them.

use std::path::Path;

use super::suite::Suite;
use crate::error::{Error, Result};

/// Reads a set by its form.
///
/// # Errors
/// `set_form`, `set_damaged`.
pub fn open(form: &str, _data: &Path) -> Result<Suite> {
    Err(Error::invalid("set_form", form))
}
