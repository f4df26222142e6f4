//! From a broadcast to the queue, and from there to the engine.

use std::time::Instant;

use super::{Core, Leaving};
use crate::cluster::{
    alive::Alive,
    backplane::{BackplaneError, Command, Publish, Ticket},
    envelope::{Carried, Letter, OVERHEAD},
    events::{CoreEvent, Remote, Unpublished},
    link::LinkState,
    number::Number,
    outgoing::Gone,
    topic::Topic,
};

impl<G: Clone> Core<G> {
    /// Queues something for other nodes, or says why not.
    ///
    /// Either way it uses a number up, so that the others learn that it is missing.
    pub(crate) fn publish(&mut self, topic: &Topic, carried: &Carried, now: Instant) -> Remote {
        match self.queue(topic, carried, false, now) {
            Ok(_) => self.remote(),
            Err(refused) => refused,
        }
    }

    /// Queues something for other nodes, of which [`CoreEvent::Published`] tells what became of it.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub(crate) fn publish_confirmed(
        &mut self,
        topic: &Topic,
        carried: &Carried,
        now: Instant,
    ) -> Result<(Ticket, Remote), Remote> {
        let ticket = self.queue(topic, carried, true, now)?;
        Ok((ticket, self.remote()))
    }

    /// Reports whether something waits to be sent.
    pub(crate) fn has_waiting(&self) -> bool {
        self.outgoing.waiting_since().is_some()
    }

    fn remote(&self) -> Remote {
        if self.link == LinkState::Ready {
            Remote::Queued
        } else {
            Remote::Waiting
        }
    }

    fn queue(
        &mut self,
        topic: &Topic,
        carried: &Carried,
        awaited: bool,
        now: Instant,
    ) -> Result<Ticket, Remote> {
        let number = self.numbers.next(topic, &mut self.waste);
        self.check(carried.payload_len(), carried.len(), now)?;
        let letter = Letter::from(carried);
        Ok(self.enqueue(topic, letter, number, awaited, now))
    }

    /// Queues something of this node itself, which has no number: nobody misses it.
    pub(super) fn queue_own(
        &mut self,
        topic: &Topic,
        letter: Letter,
        now: Instant,
    ) -> Result<Ticket, Remote> {
        self.check(letter.payload.len(), letter.len(), now)?;
        Ok(self.enqueue(topic, letter, Number::default(), false, now))
    }

    fn enqueue(
        &mut self,
        topic: &Topic,
        letter: Letter,
        number: Number,
        awaited: bool,
        now: Instant,
    ) -> Ticket {
        self.counters.published += 1;
        self.counters.published_bytes += letter.len() as u64;
        self.outgoing.push(topic, letter, number, awaited, now)
    }

    fn check(&mut self, payload: usize, len: usize, now: Instant) -> Result<(), Remote> {
        let most = self.settings.max_message_size;
        let refused = &mut self.counters.refused;
        if payload > most || len > self.promises.max_envelope {
            refused.too_large += 1;
            return Err(Remote::TooLarge);
        }
        if self.leaving.is_some() || self.link.is_down(now, self.settings.max_wait) {
            refused.down += 1;
            return Err(Remote::Down);
        }
        if !self.outgoing.has_room(len, &self.settings) {
            refused.full += 1;
            return Err(Remote::Full);
        }
        Ok(())
    }

    /// Returns what the connection is to do next; a batch that was begun ends.
    pub(crate) fn poll_command(&mut self, now: Instant) -> Option<Command> {
        if self.link.is_away() {
            return None;
        }
        self.look_at_clock(now);
        self.settle(now);
        // A node that leaves has no use for topics, but has to get so far that envelopes leave.
        if (self.leaving.is_none() || self.link.is_subscribing())
            && let Some(command) = self.interest.poll(now)
        {
            return Some(command);
        }
        if let Some(leaving) = self.leaving {
            return self.poll_leaving(leaving, now);
        }
        if !self.link.is_settled() {
            return None;
        }
        if let Some(beat) = self.poll_beat(now) {
            return Some(self.publish_now(beat));
        }
        if self.link != LinkState::Ready {
            return None;
        }
        self.expire(now);
        let publish = self.outgoing.begin(self.id, now)?;
        Some(self.publish_now(publish))
    }

    /// Reports whether [`poll_command`](Self::poll_command) may have something.
    ///
    /// Not while it has nothing: who waits for it would be woken at once, again and again.
    pub(crate) fn has_command(&self) -> bool {
        if self.link.is_away() {
            return false;
        }
        let is_ready = self.link == LinkState::Ready;
        let Some(leaving) = self.leaving else {
            let has_beat = self.link.is_settled() && self.beats.is_due();
            let may_publish = is_ready && self.outgoing.may_begin();
            return self.interest.has_command() || has_beat || may_publish;
        };
        let may_ask = self.link.is_subscribing() && self.interest.has_command();
        let has_last_word = !leaving.has_said || self.own_unanswered.is_none();
        let is_next = self.outgoing.is_empty() && has_last_word;
        leaving.is_over || may_ask || is_ready && (self.outgoing.may_begin() || is_next)
    }

    /// Returns what more fits into the batch that was begun.
    pub(crate) fn poll_more(&mut self) -> Option<Command> {
        if self.link != LinkState::Ready {
            return None;
        }
        let publish = self.outgoing.more(self.id)?;
        Some(self.publish_now(publish))
    }

    fn publish_now(&mut self, publish: Publish) -> Command {
        if !self.promises.confirms {
            // Nothing more will be said of it.
            self.published(publish.ticket, Ok(()));
        }
        Command::Publish(publish)
    }

    /// Takes the engine's answer to something published.
    pub(crate) fn published(&mut self, ticket: Ticket, result: Result<(), BackplaneError>) {
        if self
            .own_unanswered
            .take_if(|(own, _)| *own == ticket)
            .is_some()
        {
            if result.is_err() {
                self.beats.refused();
            } else if self.beats.was_refused() && self.watches_echoes() {
                self.beats.accepted(self.interval());
            }
            self.waste.errors.extend(result.err());
            return;
        }
        let Some(gone) = self.outgoing.answered(ticket, &mut self.waste) else {
            self.waste.errors.extend(result.err());
            return;
        };
        let result = match result {
            Ok(()) => {
                self.counters.confirmed += 1;
                Ok(())
            }
            Err(error) => {
                self.counters.refused.rejected += 1;
                Err(Unpublished::Rejected(error))
            }
        };
        self.tell(gone, result);
    }

    /// Gives up what has waited for too long.
    ///
    /// While a new connection is being made use of nothing is: that time does not count.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.link.holds_back() {
            return;
        }
        let most = self.settings.max_wait;
        while let Some(gone) = self.outgoing.expire(now, most, &mut self.waste) {
            self.counters.refused.expired += 1;
            self.tell(gone, Err(Unpublished::Expired));
        }
    }

    /// Gives up all that is kept: there was no connection for too long.
    pub(super) fn expire_all(&mut self) {
        while let Some(gone) = self.outgoing.give_up(&mut self.waste) {
            self.counters.refused.expired += 1;
            self.tell(gone, Err(Unpublished::Expired));
        }
    }

    fn tell(&mut self, gone: Gone, result: Result<(), Unpublished>) {
        if gone.awaited {
            self.events
                .push_back(CoreEvent::Published(gone.ticket, result));
        } else if let Err(Unpublished::Rejected(error)) = result {
            self.waste.errors.push(error);
        }
    }

    fn poll_beat(&mut self, now: Instant) -> Option<Publish> {
        let nodes = self.nodes.len() + 1;
        let least = self.settings.heartbeat;
        let beat = self.beats.poll(now, least, nodes, &mut self.chance);
        let (number, interval) = beat?;
        let letter = Letter::alive(&Alive {
            interval,
            age: now.saturating_duration_since(self.start),
            load: self.load,
            asks: self.link.holds_back(),
            name: self.settings.name.clone(),
        });
        let publish = self.own_publish(letter, number);
        // With short intervals others follow before the first is seen to be unanswered.
        self.own_unanswered.get_or_insert((publish.ticket, now));
        Some(publish)
    }

    /// Returns something of this node itself; it overtakes what is queued, and is not sent again.
    fn own_publish(&mut self, letter: Letter, number: Number) -> Publish {
        let ticket = self.outgoing.next_ticket();
        Publish {
            topic: self.own.all(),
            head: letter.head(self.id, number),
            payload: letter.payload,
            ticket,
        }
    }

    fn poll_leaving(&mut self, leaving: Leaving, now: Instant) -> Option<Command> {
        if leaving.is_over || leaving.deadline <= now {
            self.end();
            return Some(Command::Leave);
        }
        if self.link != LinkState::Ready {
            return None;
        }
        self.expire(now);
        if let Some(publish) = self.outgoing.begin(self.id, now) {
            return Some(self.publish_now(publish));
        }
        if !self.outgoing.is_empty() {
            return None;
        }
        if !leaving.has_said {
            self.leaving = Some(Leaving {
                has_said: true,
                ..leaving
            });
            let number = self.beats.number();
            let publish = self.own_publish(Letter::leaving(), number);
            self.own_unanswered = Some((publish.ticket, now));
            return Some(self.publish_now(publish));
        }
        if self.own_unanswered.is_some() {
            return None;
        }
        self.end();
        Some(Command::Leave)
    }

    /// Ends to leave.
    pub(super) fn end(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.is_over = true;
        }
    }
}

/// A message with the largest head has to be taken by others, whose limit is the same.
const _: () = assert!(OVERHEAD == 32);
