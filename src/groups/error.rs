//! Why a connection did not join a group.

use std::{error::Error, fmt};

/// Why a connection did not join a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// The connection has ended. One that is closing may still join.
    Closed,
    /// The connection is in the group already.
    AlreadyMember,
    /// The connection is in as many groups as it may be.
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection has ended"),
            Self::AlreadyMember => f.write_str("the connection is in the group already"),
            Self::TooManyGroups { limit } => {
                write!(
                    f,
                    "the connection is in {limit} groups, the most it may be in"
                )
            }
        }
    }
}

impl Error for JoinError {}
