//! What members of a group get.

use crate::protocol::{CloseFrame, Outbound, PreparedMessage};

/// The argument of [`Groups::broadcast`](crate::Groups::broadcast): a message, and whether slow members may miss it.
///
/// Everything that can be [sent](Outbound) becomes one by `into`.
///
/// ```
/// use tower_websocket::{Groups, Sender, groups::Broadcast};
///
/// async fn typing(rooms: &Groups, room: &str, from: &Sender) {
///     let typing = Broadcast::new(r#"{"typing":true}"#).droppable(16 << 10);
///     rooms.broadcast_except(room, typing, from).await;
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broadcast {
    pub(super) message: PreparedMessage,
    pub(super) droppable: Option<usize>,
}

impl Broadcast {
    /// Creates a broadcast of a message; `broadcast(&key, message)` is the same.
    #[must_use]
    pub fn new(message: impl Into<Outbound>) -> Self {
        Self {
            message: message.into().into(),
            droppable: None,
        }
    }

    /// Drops the message for each connection that has more than this many bytes queued.
    ///
    /// Use it for messages that are not missed, such as "is typing". They are counted as
    /// [dropped](super::Delivery::dropped). Such a message never waits beside a full queue, never has another
    /// message dropped, and closes no connection, whatever the [policy](super::SlowMember). With 0 it goes only to
    /// connections with nothing queued at all: a broadcast just before is enough to miss it. Default: it is not droppable.
    ///
    /// Other nodes of a cluster get it as any other message, and none of this holds there yet: it may close a member
    /// that is slow there, or take the place of the message that waits for one.
    #[must_use]
    pub fn droppable(mut self, queued_bytes: usize) -> Self {
        self.droppable = Some(queued_bytes);
        self
    }
}

impl<M: Into<Outbound>> From<M> for Broadcast {
    fn from(message: M) -> Self {
        Self::new(message)
    }
}

/// What members get.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A message.
    Message(Broadcast),
    /// A Close frame: they leave, too.
    Close(CloseFrame),
}
