//! The error of sending too late.

use std::fmt;

/// Nothing was queued: the closing handshake has begun on either side, or the connection has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct NotOpen;

impl fmt::Display for NotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is not open")
    }
}

impl std::error::Error for NotOpen {}
