//! What waits for the engine, and what it has not answered.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use super::{
    backplane::{Publish, Ticket},
    envelope::Letter,
    node_id::NodeId,
    number::Number,
    settings::ClusterSettings,
    topic::Topic,
    waste::Waste,
};

/// The queue of envelopes, in the order in which they leave.
///
/// They leave in batches of at most 256 and 256 KiB; at most 4 batches and 1 MiB are unanswered.
/// What was unanswered when the connection broke leaves first on the next one, in its old order.
#[derive(Debug, Default)]
pub(super) struct EngineQueue {
    waiting: VecDeque<QueuedEnvelope>,
    /// What has left, by ticket; answered ones in the middle stay until those before them are.
    sent: VecDeque<QueuedEnvelope>,
    /// What has left since the connection came, as long as some of it is unanswered.
    batches: VecDeque<EngineBatch>,
    /// The last of the batches can still grow.
    open: bool,
    /// The bytes of all that is waiting or unanswered.
    bytes: usize,
    /// The bytes of what is unanswered.
    unanswered: usize,
    last_ticket: u64,
}

#[derive(Debug)]
struct QueuedEnvelope {
    ticket: Ticket,
    topic: Topic,
    letter: Letter,
    number: Number,
    since: Instant,
    /// The caller wants to be told what becomes of it.
    awaited: bool,
    answered: bool,
    /// Some of its time does not count.
    forgiven: bool,
}

#[derive(Debug)]
struct EngineBatch {
    last: Ticket,
    /// How many are in it, and their bytes.
    envelopes: usize,
    bytes: usize,
    unanswered: usize,
    since: Instant,
}

/// What left the queue, and whether the caller wants to be told.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) ticket: Ticket,
    pub(super) awaited: bool,
}

impl EngineQueue {
    /// Reports whether an envelope of so many bytes fits.
    pub(super) fn has_room(&self, len: usize, settings: &ClusterSettings) -> bool {
        self.bytes.saturating_add(len) <= settings.max_queue && self.len() < settings.max_queued
    }

    /// Adds an envelope behind all others.
    pub(super) fn push(
        &mut self,
        topic: &Topic,
        letter: Letter,
        number: Number,
        awaited: bool,
        now: Instant,
    ) -> Ticket {
        let ticket = self.next_ticket();
        self.bytes += letter.len();
        self.waiting.push_back(QueuedEnvelope {
            ticket,
            topic: topic.clone(),
            letter,
            number,
            since: now,
            awaited,
            answered: false,
            forgiven: false,
        });
        ticket
    }

    /// Returns a ticket that was given to nothing else.
    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Begins a batch and returns its first envelope, unless too much is unanswered.
    pub(super) fn begin(&mut self, node: NodeId, now: Instant) -> Option<Publish> {
        self.open = false;
        self.drop_answered();
        if !self.may_begin() {
            return None;
        }
        self.batches.push_back(EngineBatch {
            last: Ticket(0),
            envelopes: 0,
            bytes: 0,
            unanswered: 0,
            since: now,
        });
        self.open = true;
        self.take(node)
    }

    /// Reports whether a batch may begin.
    pub(super) fn may_begin(&self) -> bool {
        let unanswered = self.batches.iter().filter(|batch| batch.unanswered > 0);
        self.may_leave() && unanswered.count() < MAX_BATCHES
    }

    /// Returns the next envelope of the batch that was begun; `None` where it ends.
    pub(super) fn more(&mut self, node: NodeId) -> Option<Publish> {
        let batch = self.batches.back().filter(|_| self.open)?;
        let len = self.waiting.front()?.letter.len();
        if batch.envelopes >= BATCH || batch.bytes + len > BATCH_BYTES || !self.may_leave() {
            self.open = false;
            return None;
        }
        self.take(node)
    }

    /// Reports whether there is a next envelope, and room for it among the unanswered.
    ///
    /// One alone may be of any size.
    fn may_leave(&self) -> bool {
        self.waiting.front().is_some_and(|next| {
            self.unanswered == 0 || self.unanswered + next.letter.len() <= MAX_UNANSWERED
        })
    }

    fn take(&mut self, node: NodeId) -> Option<Publish> {
        let next = self.waiting.pop_front()?;
        let batch = self.batches.back_mut()?;
        let len = next.letter.len();
        batch.last = next.ticket;
        batch.envelopes += 1;
        batch.bytes += len;
        batch.unanswered += 1;
        self.unanswered += len;
        let publish = Publish {
            topic: next.topic.clone(),
            head: next.letter.head(node, next.number),
            payload: next.letter.payload.clone(),
            ticket: next.ticket,
        };
        self.sent.push_back(next);
        Some(publish)
    }

    /// Takes the answer to an envelope; `None` where none is waited for.
    pub(super) fn answered(&mut self, ticket: Ticket, waste: &mut Waste) -> Option<Gone> {
        let place = self.sent.binary_search_by_key(&ticket, |sent| sent.ticket);
        let sent = &mut self.sent[place.ok()?];
        if mem::replace(&mut sent.answered, true) {
            return None;
        }
        let gone = sent.gone();
        let len = sent.letter.len();
        waste.payloads.push(mem::take(&mut sent.letter.payload));
        self.bytes -= len;
        self.unanswered -= len;
        while self.sent.front().is_some_and(|sent| sent.answered) {
            self.sent.pop_front();
        }
        self.leave_batch(ticket);
        Some(gone)
    }

    fn leave_batch(&mut self, ticket: Ticket) {
        let place = self.batches.partition_point(|batch| batch.last < ticket);
        if let Some(batch) = self.batches.get_mut(place) {
            batch.unanswered -= 1;
        }
        self.drop_answered();
    }

    /// Forgets the oldest batches of which all is answered, but not one that can still grow.
    fn drop_answered(&mut self) {
        let open = usize::from(self.open);
        while self.batches.len() > open
            && self
                .batches
                .front()
                .is_some_and(|batch| batch.unanswered == 0)
        {
            self.batches.pop_front();
        }
    }

    /// Puts what is unanswered in front again: the connection is gone.
    pub(super) fn lost(&mut self) {
        self.open = false;
        self.batches.clear();
        self.unanswered = 0;
        for sent in self.sent.drain(..).rev().filter(|sent| !sent.answered) {
            self.waiting.push_front(sent);
        }
    }

    /// Lets a time until now not count as waiting, once for each envelope.
    pub(super) fn forgive(&mut self, time: Duration, now: Instant) {
        let waiting = self.waiting.iter_mut();
        for waiting in waiting.filter(|waiting| !waiting.forgiven) {
            waiting.forgiven = true;
            let since = waiting.since.checked_add(time);
            waiting.since = since.unwrap_or(now).min(now);
        }
    }

    /// Drops the next envelope that has waited for `most`.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        most: Duration,
        waste: &mut Waste,
    ) -> Option<Gone> {
        let next = self.waiting.front()?;
        if now.saturating_duration_since(next.since) < most {
            return None;
        }
        self.give_up(waste)
    }

    /// Drops the next envelope.
    pub(super) fn give_up(&mut self, waste: &mut Waste) -> Option<Gone> {
        let next = self.waiting.pop_front()?;
        self.bytes -= next.letter.len();
        let gone = next.gone();
        waste.payloads.push(next.letter.payload);
        Some(gone)
    }

    /// Returns how many envelopes are waiting or unanswered.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    /// Reports whether nothing is waiting, and nothing unanswered.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of all that is waiting or unanswered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how many envelopes are unanswered.
    pub(super) fn in_flight(&self) -> usize {
        self.batches.iter().map(|batch| batch.unanswered).sum()
    }

    /// Returns the number of the oldest envelope that is waiting or unanswered.
    pub(super) fn oldest(&self) -> Option<Ticket> {
        let oldest = self.sent.front().or_else(|| self.waiting.front())?;
        Some(oldest.ticket)
    }

    /// Returns since when the oldest envelope has waited.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting.front().map(|next| next.since)
    }

    /// Returns when the oldest batch began that is not answered.
    pub(super) fn unanswered_since(&self) -> Option<Instant> {
        let mut batches = self.batches.iter();
        let oldest = batches.find(|batch| batch.unanswered > 0)?;
        Some(oldest.since)
    }
}

impl QueuedEnvelope {
    fn gone(&self) -> Gone {
        Gone {
            ticket: self.ticket,
            awaited: self.awaited,
        }
    }
}

/// How many envelopes a batch may have.
const BATCH: usize = 256;

/// How many bytes a batch may have, unless it is one envelope alone.
const BATCH_BYTES: usize = 256 << 10;

/// How many batches may be unanswered.
const MAX_BATCHES: usize = 4;

/// How many bytes may be unanswered, unless it is one envelope alone.
const MAX_UNANSWERED: usize = 1 << 20;

#[cfg(test)]
mod tests;
