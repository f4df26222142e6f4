//! How far the connection to the engine is.

use std::time::{Duration, Instant};

/// How far the connection to the engine is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LinkState {
    /// There is none, since some time. `is_down` once that was so for long enough that nothing is
    /// kept any more.
    Away { since: Instant, is_down: bool },
    /// It is there, since some time; what is wanted is being subscribed.
    Subscribing { since: Instant },
    /// All is subscribed; other nodes are given some time for the same. `is_last` once no more is given.
    Settling {
        since: Instant,
        until: Instant,
        is_last: bool,
    },
    /// Envelopes leave.
    Ready,
}

impl LinkState {
    /// Reports whether there is no connection.
    pub(super) fn is_away(self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// Reports whether there is none for longer than envelopes are kept.
    pub(super) fn is_down(self, now: Instant, most: Duration) -> bool {
        match self {
            Self::Away { is_down: true, .. } => true,
            Self::Away { since, .. } => now.saturating_duration_since(since) >= most,
            _ => false,
        }
    }

    /// Reports whether there is a connection, and what is kept does not leave yet.
    pub(super) fn holds_back(self) -> bool {
        matches!(self, Self::Subscribing { .. } | Self::Settling { .. })
    }

    /// Reports whether what is wanted is being subscribed.
    pub(super) fn is_subscribing(self) -> bool {
        matches!(self, Self::Subscribing { .. })
    }

    /// Reports whether all that was wanted is subscribed.
    pub(super) fn is_settled(self) -> bool {
        matches!(self, Self::Settling { .. } | Self::Ready)
    }

    /// Returns when it has to be looked at.
    pub(super) fn due(self, most: Duration) -> Option<Instant> {
        match self {
            Self::Away { since, is_down } => {
                let down = since.checked_add(most);
                down.filter(|_| !is_down)
            }
            Self::Settling { until, .. } => Some(until),
            Self::Subscribing { .. } | Self::Ready => None,
        }
    }
}
