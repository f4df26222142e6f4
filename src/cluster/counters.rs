//! What a node counts.

use std::time::Duration;

use super::malformed::EnvelopeError;

/// What has happened so far, and how it is now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClusterCounters {
    /// Whether all that is wanted is subscribed, but for what the engine denies. For a moment after that, 2.25
    /// seconds at most, envelopes are kept still, until other nodes are back.
    pub connected: bool,
    /// How often the connection to the engine came back.
    pub reconnects: u64,
    /// Live nodes, this one among them.
    pub nodes: u64,
    /// Envelopes that were queued for the engine, without heartbeats. Those of [counts](crate::Groups::count) are
    /// among them: a question, and an answer to each of others.
    ///
    /// Each is confirmed, expired or rejected in the end.
    pub published: u64,
    /// Their bytes.
    pub published_bytes: u64,
    /// Envelopes that the engine has; of an engine that does not confirm, those that it was given.
    pub confirmed: u64,
    /// Envelopes that were refused or given up.
    pub refused: Refusals,
    /// Envelopes that came.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Envelopes of this node that came back to it.
    pub own_echoes: u64,
    /// Envelopes that had come before, or that a later one had overtaken; second answers to a question.
    pub doubles: u64,
    /// How often some were missing.
    pub gaps: u64,
    /// How many were missing. An alarm belongs on this.
    pub lost: u64,
    /// Envelopes that were dropped because too much waited for delivery here, or in the send queue of the
    /// connection they were for; questions of a node that asked too much, or when too many answers waited.
    pub overrun: u64,
    /// Envelopes that were dropped as malformed.
    pub malformed: MalformedCounters,
    /// Envelopes for groups without a member here, and for connections that are not here; questions and
    /// answers of who is no live node, and answers that nobody waits for.
    pub uninterested: u64,
    /// Closes of other nodes that were not obeyed.
    pub closes_ignored: u64,
    /// Topics of groups with a member here, and the node's own two.
    pub topics_wanted: u64,
    /// Topics whose envelopes arrive.
    pub topics_subscribed: u64,
    /// Bytes that wait for the engine or its answer.
    pub queued_bytes: u64,
    /// Envelopes that wait for the engine's answer.
    pub in_flight: u64,
    /// Bytes that wait for delivery here.
    pub inbound_bytes: u64,
    /// How long the last own heartbeat took to come back.
    pub round_trip: Option<Duration>,
    /// The longest time of the last minute or two.
    pub max_round_trip: Option<Duration>,
}

/// Envelopes that were not sent, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusals {
    /// There was no connection for too long.
    pub down: u64,
    /// Too much waited.
    pub full: u64,
    /// The message was too large.
    pub too_large: u64,
    /// It waited for too long.
    pub expired: u64,
    /// The engine refused it.
    pub rejected: u64,
}

/// Envelopes that were dropped as malformed, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct MalformedCounters {
    /// Longer than a message may be here.
    pub too_large: u64,
    /// Shorter than what they should hold.
    pub truncated: u64,
    /// Of another version.
    pub version: u64,
    /// Of an unknown kind.
    pub kind: u64,
    /// With a number that no sender gives.
    pub number: u64,
    /// Of a kind that belongs to another topic.
    pub misplaced: u64,
    /// Text that is not UTF-8.
    pub utf8: u64,
    /// No payload of a Close frame.
    pub close: u64,
    /// No heartbeat.
    pub alive: u64,
    /// No question of a node to all others, and no answer to one.
    pub question: u64,
}

impl MalformedCounters {
    pub(super) fn count(&mut self, reason: EnvelopeError) {
        *match reason {
            EnvelopeError::TooLarge => &mut self.too_large,
            EnvelopeError::Truncated => &mut self.truncated,
            EnvelopeError::Version => &mut self.version,
            EnvelopeError::Kind => &mut self.kind,
            EnvelopeError::Number => &mut self.number,
            EnvelopeError::Misplaced => &mut self.misplaced,
            EnvelopeError::Utf8 => &mut self.utf8,
            EnvelopeError::Close => &mut self.close,
            EnvelopeError::Alive => &mut self.alive,
            EnvelopeError::Question => &mut self.question,
        } += 1;
    }
}
