//! What the core has to tell.

use std::time::{Duration, Instant};

use super::{
    alive::Load,
    backplane::{BackplaneError, Ticket},
    counts::Tally,
    node_id::NodeId,
    question::QuestionId,
    topic::Topic,
};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum CoreEvent {
    /// All that is wanted is subscribed; `after` how long without a connection, if there was one
    /// before.
    Connected { after: Option<Duration> },
    /// There is no connection any more.
    Disconnected,
    /// A node was heard for the first time, or again after it had left.
    NodeJoined(NodeId),
    /// A node said that it leaves, or was not heard for three of its intervals.
    NodeLeft(NodeId),
    /// A topic of which the caller awaited that is subscribed.
    Subscribed(Topic),
    /// The engine does not permit subscribing to these topics; they are tried again.
    Denied(Vec<Topic>),
    /// What became of an envelope that was to be confirmed.
    Published(Ticket, Result<(), Unpublished>),
    /// What others have answered to a question: nothing more is waited for.
    Counted(QuestionId, Tally),
}

/// Why an envelope that was queued is not with the engine.
#[derive(Clone, Debug)]
pub(crate) enum Unpublished {
    /// It waited for too long. If it was on its way when a connection broke, other nodes may have it.
    Expired,
    /// The engine refused it.
    Rejected(BackplaneError),
}

/// The outcome of a message for other nodes, as far as it is known when it is sent.
///
/// ```
/// use tower_websocket::{Groups, cluster::Remote};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let rooms: Groups = Groups::new(); // without a cluster
/// let delivery = rooms.broadcast("lobby", "hello").await;
/// assert_eq!(delivery.remote, Remote::Local);
/// assert!(!delivery.remote.is_refused());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Remote {
    /// No other node gets it: there is no cluster.
    #[default]
    Local,
    /// It is queued for the engine.
    Queued,
    /// It is kept until there is a connection, for 5 seconds by default.
    Waiting,
    /// Refused: there was no connection for too long.
    Down,
    /// Refused: too many messages wait.
    Full,
    /// Refused: it is larger than a message may be.
    TooLarge,
}

impl Remote {
    /// Reports whether other nodes do not get the message.
    #[must_use]
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Down | Self::Full | Self::TooLarge)
    }
}

impl Silence {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Unanswered => "it left something unanswered",
            Self::NoEcho => "none of the own heartbeats came back for three intervals",
        }
    }
}

/// Why a connection is of no more use, though it did not break.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Silence {
    /// The engine left something unanswered for 3 seconds.
    Unanswered,
    /// None of the own heartbeats came back for three intervals.
    NoEcho,
}

/// A node, as of its last heartbeat.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// The number of the node.
    pub id: NodeId,
    /// The name of the node, for people.
    pub name: Box<str>,
    /// How many connections the node has, of those that are attached.
    pub connections: u32,
    /// How many groups have members on the node.
    pub groups: u32,
    /// Whether the node takes no new connections.
    pub draining: bool,
    /// The time at which the node was started, as far as this node's clock goes back.
    pub started: Option<Instant>,
    /// The time at which the node was heard last.
    pub last_seen: Instant,
}

impl Node {
    pub(super) fn new(
        id: NodeId,
        name: Box<str>,
        load: Load,
        started: Option<Instant>,
        last_seen: Instant,
    ) -> Self {
        Self {
            id,
            name,
            connections: load.connections,
            groups: load.groups,
            draining: load.draining,
            started,
            last_seen,
        }
    }
}
