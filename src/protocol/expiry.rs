//! What a deadline that passed means.

use super::{CloseCode, CloseFrame, Utf8Bytes};

/// A deadline that passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expiry {
    /// It is time for a ping.
    Ping,
    /// No byte came for [`Config::ping_timeout`](crate::Config::ping_timeout) after a ping.
    PeerSilent,
    /// A frame took longer than [`Config::frame_timeout`](crate::Config::frame_timeout).
    Frame,
    /// Nothing could be written for [`Config::write_timeout`](crate::Config::write_timeout).
    Write,
    /// The peer did not end the connection within [`Config::close_timeout`](crate::Config::close_timeout).
    Close,
    /// No message came or left for [`Config::idle_timeout`](crate::Config::idle_timeout).
    Idle,
    /// No message came within [`Config::first_message_timeout`](crate::Config::first_message_timeout).
    FirstMessage,
    /// The connection is older than [`Config::max_lifetime`](crate::Config::max_lifetime).
    Lifetime,
}

impl Expiry {
    /// Returns what the peer is told if the connection ends by this.
    pub(crate) fn close_frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Ping | Self::PeerSilent => (CloseCode::INTERNAL_ERROR, "no sign of life"),
            Self::Frame => (CloseCode::POLICY_VIOLATION, "frame took too long"),
            Self::Write => (CloseCode::POLICY_VIOLATION, "nothing was read for too long"),
            Self::Close => (CloseCode::POLICY_VIOLATION, "closing took too long"),
            Self::Idle => (CloseCode::GOING_AWAY, "idle"),
            Self::FirstMessage => (CloseCode::POLICY_VIOLATION, "first message took too long"),
            Self::Lifetime => (CloseCode::GOING_AWAY, "lifetime is over"),
        };
        CloseFrame::new(code, Utf8Bytes::from_static(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_by_a_deadline_has_its_close_code() {
        for (expiry, code) in [
            (Expiry::PeerSilent, CloseCode::INTERNAL_ERROR),
            (Expiry::Frame, CloseCode::POLICY_VIOLATION),
            (Expiry::FirstMessage, CloseCode::POLICY_VIOLATION),
            (Expiry::Idle, CloseCode::GOING_AWAY),
            (Expiry::Lifetime, CloseCode::GOING_AWAY),
        ] {
            assert_eq!(expiry.close_frame().code(), code, "{expiry:?}");
        }
    }
}
