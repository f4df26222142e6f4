//! What a deadline that passed means.

use super::{
    close::{CloseCode, CloseFrame},
    utf8::Utf8Bytes,
};

/// What a timer that ran out means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expiry {
    /// It is time for a ping.
    Ping,
    /// A deadline of the peer's has passed.
    Passed(Deadline),
}

/// A deadline that has passed: the content of [`Error::Timeout`](crate::Error::Timeout).
///
/// [`Error::close_code`](crate::Error::close_code) lists the code that each of them closes with.
///
/// ```
/// use tower_websocket::{CloseCode, Deadline, Error};
///
/// for (deadline, code) in [
///     (Deadline::Idle, Some(CloseCode::GOING_AWAY)),
///     (Deadline::Lifetime, Some(CloseCode::GOING_AWAY)),
///     (Deadline::FirstMessage, Some(CloseCode::POLICY_VIOLATION)),
///     (Deadline::PeerSilent, Some(CloseCode::INTERNAL_ERROR)),
///     (Deadline::Write, None), // nothing can be sent
/// ] {
///     assert_eq!(Error::Timeout(deadline).close_code(), code);
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Deadline {
    /// No byte arrived for [`Config::ping_timeout`](crate::Config::ping_timeout) after a ping.
    PeerSilent,
    /// A frame took longer than [`Config::frame_timeout`](crate::Config::frame_timeout).
    Frame,
    /// Nothing could be written for [`Config::write_timeout`](crate::Config::write_timeout).
    Write,
    /// The peer did not end the connection within [`Config::close_timeout`](crate::Config::close_timeout).
    Close,
    /// No message was received or sent for [`Config::idle_timeout`](crate::Config::idle_timeout).
    Idle,
    /// No message arrived within [`Config::first_message_timeout`](crate::Config::first_message_timeout).
    FirstMessage,
    /// The connection is older than [`Config::max_lifetime`](crate::Config::max_lifetime).
    Lifetime,
}

/// What a connection does when a deadline has passed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// It starts the closing handshake.
    Close(CloseFrame),
    /// It fails: the Close frame still leaves, and nothing more is received.
    Fail(CloseFrame),
    /// It ends at once: what was queued is lost.
    GiveUp,
}

impl Deadline {
    /// Returns what the connection does, with what the peer is told if it is told anything.
    pub(crate) fn outcome(self) -> Outcome {
        let close = |code| CloseFrame::new(code, Utf8Bytes::from_static(self.reason()));
        match self {
            Self::PeerSilent => Outcome::Fail(close(CloseCode::INTERNAL_ERROR)),
            Self::Frame => Outcome::Fail(close(CloseCode::POLICY_VIOLATION)),
            Self::FirstMessage => Outcome::Close(close(CloseCode::POLICY_VIOLATION)),
            Self::Idle | Self::Lifetime => Outcome::Close(close(CloseCode::GOING_AWAY)),
            Self::Write | Self::Close => Outcome::GiveUp,
        }
    }

    /// Returns the code that the peer is told, if it is told anything.
    pub(crate) fn close_code(self) -> Option<CloseCode> {
        match self.outcome() {
            Outcome::Close(frame) | Outcome::Fail(frame) => Some(frame.code()),
            Outcome::GiveUp => None,
        }
    }

    /// Returns what is said of a connection that ends by this.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::PeerSilent => "no sign of life",
            Self::Frame => "frame took too long",
            Self::Write => "nothing was read for too long",
            Self::Close => "closing took too long",
            Self::Idle => "idle",
            Self::FirstMessage => "first message took too long",
            Self::Lifetime => "lifetime is over",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deadline_has_its_outcome_and_its_close_code() {
        let code = |frame: CloseFrame| Some(frame.code());
        for (expiry, outcome, expected) in [
            (
                Deadline::PeerSilent,
                "fail",
                Some(CloseCode::INTERNAL_ERROR),
            ),
            (Deadline::Frame, "fail", Some(CloseCode::POLICY_VIOLATION)),
            (Deadline::Write, "give up", None),
            (Deadline::Close, "give up", None),
            (Deadline::Idle, "close", Some(CloseCode::GOING_AWAY)),
            (
                Deadline::FirstMessage,
                "close",
                Some(CloseCode::POLICY_VIOLATION),
            ),
            (Deadline::Lifetime, "close", Some(CloseCode::GOING_AWAY)),
        ] {
            let found = match expiry.outcome() {
                Outcome::Close(frame) => ("close", code(frame)),
                Outcome::Fail(frame) => ("fail", code(frame)),
                Outcome::GiveUp => ("give up", None),
            };
            assert_eq!(found, (outcome, expected), "{expiry:?}");
        }
    }
}
