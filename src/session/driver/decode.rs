//! The driver's decoding: from bytes to what the application is given.

use std::task::Context;

use bytes::BytesMut;

use super::{
    Driver, Input,
    cold::Deferred,
    pace::Quota,
    round::{Budget, Snapshot},
};
use crate::{
    protocol::{Decoded, Event, Limits},
    session::shared::{answers::Answered, inbox::Inbox},
};

impl Driver {
    /// Decodes until the input ends, the inbox is full, or something has to wait for the handler.
    ///
    /// Reports whether it has ended before that, with events of the size of a `batch` or because the
    /// turn has decompressed enough.
    pub(super) fn decode(
        &mut self,
        buffer: &mut BytesMut,
        decoded: &mut Option<Box<Inbox>>,
        snapshot: &Snapshot,
        batch: usize,
        budget: &mut Budget,
    ) -> bool {
        if self.has_message_rate(snapshot) {
            return self.decode_at_rate(buffer, decoded, snapshot, batch, budget);
        }
        let quota = Quota::default();
        self.decode_within(buffer, decoded, snapshot, batch, budget, quota)
    }

    /// As [`decode`](Self::decode), and no more messages than the quota allows.
    #[inline(always)]
    pub(super) fn decode_within(
        &mut self,
        buffer: &mut BytesMut,
        decoded: &mut Option<Box<Inbox>>,
        snapshot: &Snapshot,
        batch: usize,
        budget: &mut Budget,
        quota: Quota,
    ) -> bool {
        let limits = Limits::new(self.config());
        let streaming = self.config().streaming;
        let decoded = decoded.get_or_insert_with(Inbox::take);
        while !self.has_deferred() {
            let waiting = snapshot.inbox + decoded.size();
            let full = !snapshot.closing && !self.shared.has_room_beside(waiting);
            if full || quota.is_used_up(self.incoming.messages()) {
                // The rest comes before anything that is read.
                self.input = Input::Paused;
                break;
            }
            if decoded.size() >= batch {
                return true;
            }
            let (room, closing) = (&mut budget.inflated, snapshot.closing);
            match self.incoming.decode(&limits, buffer, room, closing) {
                Ok(None) => return budget.decodes_no_more(),
                Ok(Some(_)) if quota.is_exceeded(self.incoming.messages()) => {
                    self.defer(Deferred::Violation(quota.flood()));
                }
                Ok(Some(event @ (Decoded::Event(Event::Message(_)) | Decoded::Piece(_)))) => {
                    budget.spend(1, 0);
                    decoded.push(event);
                }
                Ok(Some(Decoded::Event(event))) => {
                    if let Some(event) = self.take_control(event, snapshot, waiting) {
                        budget.spend(1, 0);
                        decoded.push(Decoded::Event(event));
                    }
                }
                Err(error) => self.defer(Deferred::Violation(error)),
            }
            // Without input only a message that is streamed can go on: there may be more of it to
            // decompress.
            if buffer.is_empty() && !streaming {
                break;
            }
        }
        false
    }

    /// Does what a control frame asks for; gives it back if the application is to see it.
    #[inline(never)]
    fn take_control(&mut self, event: Event, snapshot: &Snapshot, waiting: usize) -> Option<Event> {
        if let Event::Close(frame) = event {
            self.defer(Deferred::Close(frame));
            return None;
        }
        let (now, setup) = (Self::now(), self.shared.setup());
        let (incoming, timers) = (&mut self.incoming, &mut self.timers);
        let mut locked = self.shared.lock_to_drive();
        let received = locked.receive_control(&event, incoming, timers, now, setup);
        let answered = match &event {
            Event::Pong(payload) => locked.answer_ping(payload, now),
            _ => Answered::default(),
        };
        drop(locked);
        if let (Some(time), Some(entry)) = (answered.time, &self.entry) {
            entry.measure(time);
        }
        answered.wake();
        if let Err(error) = received {
            self.defer(Deferred::Violation(error));
            return None;
        }
        // After our Close reading goes on however full it is: what does not fit is answered and not shown.
        let fits = !snapshot.closing || self.shared.has_room_beside(waiting);
        (snapshot.observed && fits).then_some(event)
    }

    /// Hands decoded events to the application, all at once.
    pub(super) fn deliver(&mut self, cx: &mut Context<'_>, decoded: Box<Inbox>) {
        if decoded.is_empty() {
            return decoded.put_back();
        }
        let (receiver, spent) = self.shared.lock_to_drive().deliver(decoded, cx.waker());
        if let Some(inbox) = spent {
            inbox.put_back();
        }
        if let Some(waker) = receiver {
            waker.wake();
        }
    }
}
