//! From an envelope to what is delivered here.

use std::time::Instant;

use bytes::Bytes;

use super::Core;
use crate::cluster::{
    alive::Alive,
    envelope::{Carried, EnvelopeHeader, HEADER, Kind, OVERHEAD},
    incoming::{Inbound, Target},
    malformed::EnvelopeError,
    spelling::Spelling,
};

/// What came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Came {
    /// A heartbeat of another node, with which a deadline may have come nearer.
    Beat,
    /// A question of another node, to be [taken](Core::take_asked).
    Question,
    /// Anything else.
    Other,
}

impl<G: Clone> Core<G> {
    /// Takes what came: never waits, and counts what is no good or too much. It is somebody's, to be dropped
    /// where no lock is held.
    pub(crate) fn receive(
        &mut self,
        topic: &[u8],
        envelope: &Bytes,
        now: impl Fn() -> Instant,
    ) -> Came {
        self.counters.received += 1;
        self.counters.received_bytes += envelope.len() as u64;
        self.take(topic, envelope, now).unwrap_or_else(|reason| {
            self.counters.malformed.count(reason);
            Came::Other
        })
    }

    fn take(
        &mut self,
        topic: &[u8],
        envelope: &Bytes,
        now: impl Fn() -> Instant,
    ) -> Result<Came, EnvelopeError> {
        if envelope.len() > self.settings.max_message_size.saturating_add(OVERHEAD) {
            return Err(EnvelopeError::TooLarge);
        }
        let header = EnvelopeHeader::decode(envelope)?;
        if header.node == Some(self.id) {
            self.counters.own_echoes += 1;
            if header.kind == Kind::Alive {
                self.beats.echo(header.number, self.interval(), now());
            }
            return Ok(Came::Other);
        }
        if header.kind.is_of_nodes() {
            return self.take_own(topic, &header, &envelope[HEADER..], now());
        }
        self.take_carried(topic, &header, envelope)?;
        Ok(Came::Other)
    }

    /// Takes what nodes say to each other.
    fn take_own(
        &mut self,
        topic: &[u8],
        header: &EnvelopeHeader,
        body: &[u8],
        now: Instant,
    ) -> Result<Came, EnvelopeError> {
        let entry = self.interest.get_mut(&Spelling::new(topic));
        if !entry.is_some_and(|entry| belongs(header.kind, entry.target().as_ref())) {
            return Err(EnvelopeError::Misplaced);
        }
        if header.kind.is_talk() {
            return self.take_talk(header, body, now);
        }
        self.take_beat(header, body, now)?;
        Ok(Came::Beat)
    }

    fn take_beat(
        &mut self,
        header: &EnvelopeHeader,
        body: &[u8],
        now: Instant,
    ) -> Result<(), EnvelopeError> {
        let node = header.node.ok_or(EnvelopeError::Alive)?;
        let event = if header.kind == Kind::Alive {
            let alive = Alive::decode(body)?;
            // Among many all would answer all.
            if alive.asks && self.nodes.len() < MOST_ANSWERING {
                self.beats.answer(now);
            }
            self.nodes.alive(node, header.number, alive, now)
        } else {
            let event = self.nodes.leaving(node, header.number, now);
            if event.is_some() {
                self.expect_no_answer(node, now);
            }
            event
        };
        self.events.extend(event);
        self.settle(now);
        Ok(())
    }

    fn take_carried(
        &mut self,
        topic: &[u8],
        header: &EnvelopeHeader,
        envelope: &Bytes,
    ) -> Result<(), EnvelopeError> {
        let second = self.second;
        let topic = &Spelling::new(topic);
        let Some(entry) = self.interest.get_mut(topic) else {
            self.counters.uninterested += 1;
            return Ok(());
        };
        if !belongs(header.kind, entry.target().as_ref()) {
            return Err(EnvelopeError::Misplaced);
        }
        let missed = match header.node {
            Some(node) => entry.seen.judge(node, header.number),
            None => Some(0),
        };
        let Some(missed) = missed else {
            self.counters.doubles += 1;
            return Ok(());
        };
        let len = envelope.len();
        let carried = Carried::decode(header, envelope.slice(HEADER..))?;
        let is_alive = |node| self.nodes.is_alive(node);
        if entry.is_wanted() && !self.incoming.has_room(len) {
            self.counters.overrun += 1;
            if let Some(node) = header.node {
                entry.seen.skip(node, header.number, second, is_alive);
            }
            return Ok(());
        }
        if let Some(node) = header.node {
            entry.seen.take(node, header.number, second, is_alive);
        }
        self.counters.gaps += u64::from(missed > 0);
        self.counters.lost += missed;
        let Some(target) = entry.target().map(Target::cloned) else {
            self.counters.uninterested += 1;
            return Ok(());
        };
        self.push(topic, header, target, missed, carried, len);
        Ok(())
    }

    fn push(
        &mut self,
        topic: &Spelling<'_>,
        header: &EnvelopeHeader,
        target: Target<G>,
        missed: u64,
        carried: Carried,
        len: usize,
    ) {
        let is_obeyed = !header.kind.is_close() || self.settings.remote_close;
        if !is_obeyed {
            self.counters.closes_ignored += 1;
            if missed == 0 {
                return;
            }
        }
        let Some(topic) = self.interest.topic(topic) else {
            return;
        };
        let delivery = Inbound {
            topic: topic.clone(),
            target,
            from: header.node,
            missed,
            carried: is_obeyed.then_some(carried),
        };
        self.incoming.push(len, delivery);
    }

    /// Takes something that is to be delivered: its topic gives nothing more before
    /// [`delivered`](Self::delivered) was called.
    pub(crate) fn poll_delivery(&mut self) -> Option<Inbound<G>> {
        self.incoming.poll()
    }

    /// Reports whether [`poll_delivery`](Self::poll_delivery) may have something.
    pub(crate) fn has_delivery(&self) -> bool {
        self.incoming.is_ready()
    }

    /// Reports whether half of what may wait for delivery does, or more.
    #[cfg(feature = "redis")]
    pub(crate) fn is_half_full(&self) -> bool {
        self.incoming.bytes() >= self.settings.max_inbound / 2
    }

    /// Notes that what was taken of a topic is delivered, or that its group is gone.
    pub(crate) fn delivered(&mut self, topic: &super::Topic) {
        self.incoming.delivered(topic);
    }

    /// As [`delivered`](Self::delivered), and takes what is next of the same topic.
    pub(crate) fn next_of(&mut self, topic: &super::Topic) -> Option<Inbound<G>> {
        self.incoming.next_of(topic)
    }

    /// Counts something for a connection that is not here.
    pub(crate) fn count_unheard(&mut self) {
        self.counters.uninterested += 1;
    }

    /// Counts something for a connection with a full queue.
    pub(crate) fn count_overrun(&mut self) {
        self.counters.overrun += 1;
    }

    /// Notes the time, as far as it matters to who was heard when: at each command and each deadline, heartbeats
    /// among them.
    pub(super) fn look_at_clock(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.start).as_secs();
        self.second = u32::try_from(age).unwrap_or(u32::MAX);
    }
}

/// Reports whether envelopes of a kind may come to such a topic.
fn belongs<G>(kind: Kind, target: Option<&Target<G>>) -> bool {
    match kind {
        Kind::Text | Kind::Binary | Kind::Close => {
            matches!(target, None | Some(Target::Group(_)))
        }
        Kind::TextTo | Kind::BinaryTo | Kind::CloseConnection | Kind::Answer => {
            matches!(target, Some(Target::Node))
        }
        Kind::Alive | Kind::Leaving | Kind::Question => matches!(target, Some(Target::All)),
    }
}

/// Among so many nodes and more, none answers those that ask who is there.
const MOST_ANSWERING: usize = 100;
