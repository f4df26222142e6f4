//! What a node counts.

use std::time::Duration;

use super::malformed::EnvelopeError;

/// What a node has counted so far, and its current state.
///
/// ```
/// use tower_websocket::cluster::Cluster;
///
/// /// For an alarm: what is wrong now, and what was lost so far.
/// fn report(cluster: &Cluster) -> String {
///     let counters = cluster.counters();
///     format!(
///         "connected: {}, nodes: {}, lost: {}, refused: {}, malformed: {}, waiting: {} bytes",
///         counters.connected,
///         counters.nodes,
///         counters.lost,
///         counters.refused.down + counters.refused.full + counters.refused.expired,
///         counters.malformed.truncated + counters.malformed.version,
///         counters.queued_bytes + counters.inbound_bytes,
///     )
/// }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClusterCounters {
    /// Whether all topics of this node are subscribed, except those that the engine denies.
    ///
    /// After that, envelopes are still kept for a moment, 2.25 seconds at most, until other nodes are back.
    pub connected: bool,
    /// How often the connection to the engine was made again.
    pub reconnects: u64,
    /// Live nodes, including this one.
    pub nodes: u64,
    /// Envelopes that were queued for the engine, without heartbeats.
    ///
    /// Each is confirmed, expired or rejected in the end. Those of [counts](crate::Groups::count) are
    /// included: a question, and an answer to each question of other nodes.
    pub published: u64,
    /// Bytes of the [published](Self::published) envelopes.
    pub published_bytes: u64,
    /// Envelopes that the engine has confirmed; if it does not confirm, those that were written to it.
    pub confirmed: u64,
    /// Envelopes that were refused or given up, by reason.
    pub refused: Refusals,
    /// Envelopes that have arrived.
    pub received: u64,
    /// Bytes of the [received](Self::received) envelopes.
    pub received_bytes: u64,
    /// Envelopes of this node that came back to it.
    pub own_echoes: u64,
    /// Envelopes that had arrived before, or that a later one had overtaken; second answers to a question.
    pub doubles: u64,
    /// How often envelopes were missing.
    pub gaps: u64,
    /// How many envelopes were missing: set an alarm on this.
    pub lost: u64,
    /// Envelopes that were dropped because too many waited.
    ///
    /// They waited for delivery here, or in the send queue of the connection that they were for. Questions of a node that
    /// asked too much count as well, and those that came when too many answers waited.
    pub overrun: u64,
    /// Envelopes that were dropped as malformed.
    pub malformed: MalformedCounters,
    /// Envelopes for groups without a member here, and for connections that are not here.
    ///
    /// Questions and answers of a sender that is no live node count as well, and answers that are not waited for, or no
    /// longer.
    pub uninterested: u64,
    /// Commands of other nodes to close a connection that were not obeyed.
    pub closes_ignored: u64,
    /// Topics of groups with a member here, and the two topics of the node itself.
    pub topics_wanted: u64,
    /// Topics whose envelopes arrive.
    pub topics_subscribed: u64,
    /// Bytes that wait for the engine or its answer.
    pub queued_bytes: u64,
    /// Envelopes that wait for the engine's answer.
    pub in_flight: u64,
    /// Bytes that wait for delivery here.
    pub inbound_bytes: u64,
    /// How long the node's last heartbeat took to come back.
    pub round_trip: Option<Duration>,
    /// The longest round trip of the last minute or two.
    pub max_round_trip: Option<Duration>,
}

/// Envelopes that were not sent, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusals {
    /// There was no connection for too long.
    pub down: u64,
    /// Too many messages waited.
    pub full: u64,
    /// The message was too large.
    pub too_large: u64,
    /// The message waited for too long.
    pub expired: u64,
    /// The engine refused the message.
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
    /// With a number that no sender uses.
    pub number: u64,
    /// Of a kind that belongs to another topic.
    pub misplaced: u64,
    /// Text that is not UTF-8.
    pub utf8: u64,
    /// A close whose payload is not that of a Close frame.
    pub close: u64,
    /// A heartbeat that cannot be read.
    pub alive: u64,
    /// A question to all nodes, or an answer to one, that cannot be read.
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
