//! Why a connection did not join a group.

use std::{error::Error, fmt};

/// The reasons for which a connection does not join a group.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_websocket::{WebSocket, protocol::Role};
/// # let (here, there) = tokio::io::duplex(4096);
/// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
/// use tower_websocket::{Groups, groups::JoinError};
///
/// let rooms: Groups = Groups::builder().max_groups_per_connection(1).build();
/// let sender = server.sender();
/// let _lobby = rooms.join("lobby".to_owned(), &sender)?;
///
/// let again = rooms.join("lobby".to_owned(), &sender);
/// assert_eq!(again.err(), Some(JoinError::AlreadyMember));
/// let another = rooms.join("kitchen".to_owned(), &sender);
/// assert_eq!(another.err(), Some(JoinError::TooManyGroups { limit: 1 }));
///
/// server.abort();
/// server.closed().await;
/// let late = rooms.join("kitchen".to_owned(), &sender);
/// assert_eq!(late.err(), Some(JoinError::Closed));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JoinError {
    /// The connection has ended.
    ///
    /// A connection that is closing may still join.
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
