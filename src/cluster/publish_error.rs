//! Why the engine does not have a message.

use std::{error::Error, fmt};

use super::{
    backplane::BackplaneError,
    events::{Remote, Unpublished},
};

/// The reasons why the engine does not have a message that was to be confirmed.
///
/// [`broadcast_confirmed`](crate::Groups::broadcast_confirmed) returns it. Members of this node have got the message.
///
/// ```
/// use tower_websocket::{Groups, cluster::PublishError};
///
/// async fn announce(rooms: &Groups, text: &str) {
///     match rooms.broadcast_confirmed("news", text).await {
///         Ok(delivery) => println!("{} members here have it, and so has the engine", delivery.sent),
///         Err(PublishError::Down | PublishError::Full | PublishError::Expired) => {
///             eprintln!("only members of this node have it: try again later");
///         }
///         Err(PublishError::TooLarge | PublishError::Rejected(_)) => eprintln!("it cannot be sent"),
///         Err(other) => eprintln!("{other}"), // such as `PublishError::Left`
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// There was no connection for too long.
    Down,
    /// Too many messages waited.
    Full,
    /// The message is larger than a message may be.
    TooLarge,
    /// The message waited for too long.
    ///
    /// If it was on its way when a connection broke, other nodes may have it.
    Expired,
    /// The engine refused the message.
    Rejected(BackplaneError),
    /// The node has left the cluster meanwhile.
    Left,
}

impl PublishError {
    /// Returns why something was refused.
    pub(super) fn refused(remote: Remote) -> Self {
        match remote {
            Remote::Full => Self::Full,
            Remote::TooLarge => Self::TooLarge,
            // The others are no refusals.
            Remote::Down | Remote::Local | Remote::Queued | Remote::Waiting => Self::Down,
        }
    }
}

impl From<Unpublished> for PublishError {
    fn from(reason: Unpublished) -> Self {
        match reason {
            Unpublished::Expired => Self::Expired,
            Unpublished::Rejected(error) => Self::Rejected(error),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "there was no connection to the engine for too long",
            Self::Full => "too much waits for the engine",
            Self::TooLarge => "the message is too large for other nodes",
            Self::Expired => "the message waited for the engine for too long",
            Self::Rejected(_) => "the engine refused the message",
            Self::Left => "the node has left the cluster",
        })
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(error) => Some(error),
            _ => None,
        }
    }
}
