//! The core's end of a connection to an engine.

use std::{collections::HashSet, fmt, mem, sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::task::yield_now;

use super::{
    backplane::{BackplaneError, Command, Lost, Ticket},
    hub::{Hub, Later, NodeCore},
    interest::STRETCH,
    topic::Topic,
};

/// A node's end of one connection to an engine.
///
/// A [`Backplane`](super::Backplane) does what the line commands, and reports to it what happens; see there for an
/// example.
pub struct Line {
    hub: Arc<Hub>,
    /// The last command was about many topics.
    was_long: bool,
}

impl Line {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            was_long: false,
        }
    }

    /// Reports that there is a connection.
    ///
    /// From now on there are [commands](Self::next), first those that subscribe to all topics of the node.
    pub fn connected(&mut self) {
        self.hub.with(|state, now| state.core.connected(now));
    }

    /// Sets how many bytes an envelope may have on this connection.
    ///
    /// Default: what the engine has [promised](super::Promises::max_envelope).
    pub fn set_max_envelope(&mut self, bytes: usize) {
        self.hub.with(|state, _| state.core.set_max_envelope(bytes));
    }

    /// Returns all topics of the node, for an engine that takes no subscriptions one by one.
    ///
    /// Their commands come all the same, and have to be answered.
    #[must_use]
    pub fn interest(&mut self) -> Vec<Topic> {
        let (mut all, mut end) = (Vec::new(), usize::MAX);
        while end > 0 {
            // The lock is released again and again: there may be many.
            let (topics, start) = self
                .hub
                .with_quickly(|state| state.core.interest_before(end));
            all.extend(topics);
            end = start;
        }
        let mut known = HashSet::with_capacity(all.len());
        all.retain(|topic| known.insert(topic.clone()));
        all
    }

    /// Returns a topic of the node itself, which is always wanted.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(super) fn own_topic(&mut self) -> Topic {
        self.hub.with_quickly(|state| state.core.own_topic())
    }

    /// Waits for a command.
    ///
    /// A command to publish begins a batch: see [`try_next`](Self::try_next). While 4 batches
    /// or 1 MiB are unanswered, there are no further commands to publish. One envelope alone may be larger.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Command {
        if mem::take(&mut self.was_long) {
            yield_now().await;
        }
        loop {
            match self.hub.next_command() {
                Ok(Some(command)) => {
                    // One after the other would be long, and hold up other tasks.
                    self.was_long =
                        matches!(command, Command::Subscribe(_) | Command::Unsubscribe(_));
                    return command;
                }
                Ok(None) => self.hub.commands.notified().await,
                Err(Later) => yield_now().await,
            }
        }
    }

    /// Returns the next envelope to publish, if it fits into the same batch of 256 envelopes or 256 KiB.
    pub fn try_next(&mut self) -> Option<Command> {
        self.hub.with_quickly(|state| state.core.poll_more())
    }

    /// Reports that envelopes of these topics arrive from now on.
    pub fn subscribed(&mut self, topics: &[Topic]) {
        self.in_stretches(topics, |core, topics, now| core.subscribed(topics, now));
    }

    /// Reports that envelopes of these topics do not arrive, while the connection is sound.
    pub fn unsubscribed(&mut self, topics: &[Topic], why: Lost) {
        self.in_stretches(topics, |core, topics, now| {
            core.unsubscribed(topics, why, now);
        });
    }

    /// Tells the core something of topics, and releases the lock again and again: there may be many.
    fn in_stretches(&mut self, topics: &[Topic], tell: impl Fn(&mut NodeCore, &[Topic], Instant)) {
        let mut rest = topics;
        loop {
            let (topics, behind) = rest.split_at(rest.len().min(STRETCH));
            self.hub
                .with(|state, now| tell(&mut state.core, topics, now));
            rest = behind;
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Reports the engine's answer to an envelope that was published.
    ///
    /// An envelope that the engine refused is not sent again. One that is never answered is sent again on the next connection.
    pub fn published(&mut self, ticket: Ticket, result: Result<(), BackplaneError>) {
        self.hub
            .with(|state, _| state.core.published(ticket, result));
    }

    /// As [`published`](Self::published), of many at once.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(super) fn all_published(
        &mut self,
        answers: impl IntoIterator<Item = (Ticket, Result<(), BackplaneError>)>,
    ) {
        self.hub.with(|state, _| {
            for (ticket, result) in answers {
                state.core.published(ticket, result);
            }
        });
    }

    /// Reports that anything came from the engine.
    ///
    /// It is for an engine that neither [echoes](super::Promises::echoes) nor [confirms](super::Promises::confirms).
    pub fn alive(&mut self) {
        self.hub.with(|state, now| state.core.alive(now));
    }

    /// Returns the inlet for envelopes that arrive.
    #[must_use]
    pub fn inlet(&self) -> Inlet {
        Inlet {
            hub: self.hub.clone(),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// The inlet through which a [`Backplane`](super::Backplane) hands in envelopes.
///
/// It is cheap to clone, for callbacks.
#[derive(Clone)]
pub struct Inlet {
    hub: Arc<Hub>,
}

impl Inlet {
    /// Hands in an envelope: `topic` is what [`Topic::as_bytes`] returned.
    ///
    /// It never waits, and never fails: an envelope that is malformed, known already or too much is dropped and
    /// [counted](super::ClusterCounters). It keeps `envelope`, and what shares its memory, until the envelope is
    /// delivered.
    pub fn receive(&self, topic: &[u8], envelope: Bytes) {
        self.hub.receive(topic, envelope);
    }

    /// Reports whether half of what may wait for delivery does, or more.
    #[cfg(feature = "redis")]
    pub(super) fn is_half_full(&self) -> bool {
        self.hub.is_half_full()
    }
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet").finish_non_exhaustive()
    }
}
