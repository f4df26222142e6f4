//! What can go wrong where JSON is sent or received.

use std::{error::Error as StdError, fmt};

use super::invalid::InvalidJson;
use crate::error::Error;

/// The reason why no JSON was received or sent: the connection, or the message alone.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "it is the connection or the message"
)]
pub enum JsonError {
    /// The connection can no longer be used.
    Connection(Error),
    /// A message that is not the expected JSON, or a value that has no JSON; the connection stays open.
    Invalid(InvalidJson),
}

impl JsonError {
    /// Reports whether only this message is at fault, so that the next one may be received or sent.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(_) => f.write_str("the connection has failed"),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl StdError for JsonError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            Self::Invalid(error) => error.source(),
        }
    }
}

impl From<Error> for JsonError {
    fn from(error: Error) -> Self {
        Self::Connection(error)
    }
}

impl From<InvalidJson> for JsonError {
    fn from(error: InvalidJson) -> Self {
        Self::Invalid(error)
    }
}
