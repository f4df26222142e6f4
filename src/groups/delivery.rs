//! What becomes of a broadcast.

use std::num::NonZeroUsize;

use crate::{
    protocol::{CloseCode, CloseFrame},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The policy for a member of a group whose send queue is full.
///
/// The queue is limited by [`Config::max_send_queue`](crate::Config::max_send_queue) and
/// [`Config::max_send_messages`](crate::Config::max_send_messages).
///
/// What is in the queue leaves first, whatever the policy: 1 MiB of older messages by default. If
/// only the newest matters, make the queue short: `max_send_messages(1)`. Whatever the policy,
/// the connection ends if the transport takes nothing for
/// [`Config::write_timeout`](crate::Config::write_timeout) (10 seconds).
///
/// ```
/// use std::num::NonZeroUsize;
/// use tower_websocket::{CloseCode, Groups, groups::SlowMember};
///
/// const HUNDRED: NonZeroUsize = NonZeroUsize::new(100).unwrap();
///
/// let rooms: Groups = Groups::builder()
///     .slow_members(|room: &String| match room.as_str() {
///         "prices" => SlowMember::Conflate,    // only the latest matters
///         "cursors" => SlowMember::DropNewest, // a lost one does not matter
///         "log" => SlowMember::DropOldest(HUNDRED),
///         _ => SlowMember::Close((CloseCode::TRY_AGAIN_LATER, "too slow").into()),
///     })
///     .build();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SlowMember {
    /// The member is closed, and leaves the group.
    ///
    /// It is the default, with code 1013 and "too slow to keep up".
    Close(CloseFrame),
    /// The member does not get the message.
    DropNewest,
    /// This many of the latest messages, of whatever size, wait for the member beside its queue.
    ///
    /// Older ones are dropped. The messages share their bytes with those of other members.
    DropOldest(NonZeroUsize),
    /// The latest message waits for the member beside its queue.
    ///
    /// Use it for states of which only the newest is of interest.
    Conflate,
}

impl Default for SlowMember {
    fn default() -> Self {
        Self::Close((CloseCode::TRY_AGAIN_LATER, "too slow to keep up").into())
    }
}

impl SlowMember {
    /// Returns how many messages may wait beside a full queue.
    pub(super) fn kept(&self) -> usize {
        match self {
            Self::Close(_) | Self::DropNewest => 0,
            Self::DropOldest(kept) => kept.get(),
            Self::Conflate => 1,
        }
    }
}

/// The outcome of a broadcast, in members of this node.
///
/// If this message replaced an older one, the member counts as both [`sent`](Self::sent) and
/// [`dropped`](Self::dropped). A closing member is not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// Members for which the message was queued, or waits beside a full queue.
    pub sent: u64,
    /// Members for which a message was dropped: this one, or an older one that waited.
    pub dropped: u64,
    /// Members that were closed, because they were too slow or because the caller closes the group.
    pub closed: u64,
    /// The outcome on other nodes, as far as it is known.
    ///
    /// In [totals](crate::Groups::totals) it is always [`Local`](crate::cluster::Remote::Local).
    #[cfg(feature = "cluster")]
    pub remote: crate::cluster::Remote,
}

impl Delivery {
    pub(super) fn add(&mut self, more: Self) {
        self.sent += more.sent;
        self.dropped += more.dropped;
        self.closed += more.closed;
    }
}

/// The sum of all deliveries.
#[derive(Debug, Default)]
pub(super) struct Totals {
    sent: AtomicU64,
    dropped: AtomicU64,
    closed: AtomicU64,
}

impl Totals {
    pub(super) fn add(&self, delivery: Delivery) {
        self.sent.fetch_add(delivery.sent, Relaxed);
        self.dropped.fetch_add(delivery.dropped, Relaxed);
        self.closed.fetch_add(delivery.closed, Relaxed);
    }

    pub(super) fn sum(&self) -> Delivery {
        Delivery {
            sent: self.sent.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            closed: self.closed.load(Relaxed),
            ..Delivery::default()
        }
    }
}
