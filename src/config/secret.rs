//! A setting that is never shown: not by `Debug`, not by `querent doctor`, not in an error.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What stands in place of a secret.
const HIDDEN: &str = "(hidden)";

/// A key or a token; empty when there is none.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn shown(&self) -> &'static str {
        if self.is_empty() { "" } else { HIDDEN }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_but_never_shown() {
        let secret: Secret = serde_json::from_str("\"canary\"").unwrap();
        assert_eq!(secret.expose(), "canary");
        let shown = format!("{secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert!(shown.contains(HIDDEN) && !shown.contains("canary"), "{shown}");
        assert_eq!(format!("{:?}", Secret::default()), "\"\"");
    }
}
