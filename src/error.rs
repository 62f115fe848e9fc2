//! One error for every room: a kind that is ours (never HTTP's), a stable code
//! that clients may match on, a sentence for the person, and the cause for the log.

use std::error::Error as StdError;
use std::fmt;

/// What sort of failure happened. `http/problem.rs` alone turns a kind into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The caller sent something that cannot be used.
    Invalid,
    /// A file, a folder or a model that was named is there, but cannot be used.
    Unusable,
    /// No key, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// A good key without the scope that the operation needs.
    Forbidden,
    /// The thing named does not exist for this tenant.
    NotFound,
    /// The thing named exists already, or is in a state that forbids the call.
    Conflict,
    /// The input is over a limit; the message names the limit and the setting.
    TooLarge,
    /// A well-formed input of a type that is not served.
    Unsupported,
    /// Too much work is waiting; the caller should come back.
    Busy,
    /// A part that the call needs is not there at present.
    Unavailable,
    /// A deadline passed.
    Timeout,
    /// A fault of ours. The message never reaches a client.
    Internal,
}

/// One offending field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer to the field, for example `/messages/0/role`.
    pub pointer: String,
    /// What is wrong with it, with the value.
    pub detail: String,
}

/// The error of every room. `message` says what happened, with which value, and what to do.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub code: &'static str,
    pub message: String,
    pub fields: Vec<FieldError>,
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), fields: Vec::new(), source: None }
    }

    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, code, message)
    }

    /// What was found in files is no wrong usage of the program; settings that cannot work are.
    pub fn of_input(self) -> Self {
        let kind = match self.kind {
            Kind::Invalid if !self.code.ends_with("_options") && self.code != "replay_empty" => {
                Kind::Unusable
            }
            kind => kind,
        };
        Self { kind, ..self }
    }

    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, code, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "internal", message)
    }

    /// An internal failure with its cause; `doing` completes "failed to …".
    pub fn failed(doing: &str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::internal(format!("failed to {doing}")).caused_by(source)
    }

    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn with_field(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.fields.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        let mut cause = self.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(source) = cause {
            write!(formatter, ": {source}")?;
            cause = source.source();
        }
        Ok(())
    }
}

impl StdError for Error {}

macro_rules! internal_from {
    ($($source:ty => $doing:literal),+ $(,)?) => {
        $(impl From<$source> for Error {
            fn from(source: $source) -> Self {
                Self::failed($doing, source)
            }
        })+
    };
}

internal_from! {
    candle_core::Error => "compute",
    std::io::Error => "read or write a file",
    serde_json::Error => "read or write JSON",
}
