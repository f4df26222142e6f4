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
    /// The topic of the key is too long for a cluster: 512 bytes at most.
    LongKey {
        /// Its length, in bytes.
        len: usize,
    },
    /// A group here with another key has the same topic in the cluster.
    TopicTaken,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection has ended"),
            Self::AlreadyMember => f.write_str("the connection is in the group already"),
            Self::LongKey { len } => {
                write!(f, "the topic of the key has {len} bytes, more than 512")
            }
            Self::TopicTaken => f.write_str("another group has the same topic"),
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
