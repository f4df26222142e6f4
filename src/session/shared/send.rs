//! What is sent: how it comes to the queue, and how the driver takes it from there.

use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    Shared,
    locked::{Lent, Locked},
    wait_list::Ticket,
    waiters::{Queued, Wakers},
};
use crate::{
    config::Config,
    error::{Error, TrySendError},
    protocol::{Encoded, Message, NotOpen, Outbound, Outgoing, Unsent},
    session::{
        loan::{self, CORK},
        scratch,
        setup::Setup,
    },
    sync,
};

impl Shared {
    /// Queues a message unless too much waits; see `Sender::send`.
    #[inline(always)]
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        outbound: &mut Option<Outbound>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<(), Error>> {
        let mut locked = self.lock();
        if !locked.is_open() {
            return Poll::Ready(Err(Error::Closed));
        }
        if locked.is_full(&self.setup.config) {
            let len = outbound.as_ref().map_or(0, Outbound::len);
            return Self::wait_for_room(locked, cx, ticket, len);
        }
        if locked.queued() >= CORK && !mem::replace(&mut locked.yielded, true) {
            // The session writes before it polls the handler again.
            drop(locked);
            sync::yield_task(cx);
            return Poll::Pending;
        }
        let Some(outbound) = outbound.take() else {
            return Poll::Ready(Ok(()));
        };
        let queued = self.queue_on(locked, outbound).map(Queued::finish);
        Poll::Ready(queued.map_err(|_closed| Error::Closed))
    }

    /// Sends a message from the session's own handler, without the lock; reports whether it has. What is
    /// left in `outbound` then is to be dropped.
    #[inline]
    pub(crate) fn send_lent(&self, outbound: &mut Outbound) -> bool {
        if self.is_touched() {
            return false;
        }
        match loan::send(self.address(), outbound) {
            Some(copied) => {
                drop(copied);
                true
            }
            None => false,
        }
    }

    pub(crate) fn try_send(&self, mut outbound: Outbound) -> Result<(), TrySendError> {
        if self.send_lent(&mut outbound) {
            return Ok(());
        }
        self.try_queue(outbound).map(Queued::finish)
    }

    /// Queues a message if there is room; what it gives has to be finished.
    fn try_queue(&self, outbound: Outbound) -> Result<Queued, TrySendError> {
        let locked = self.lock();
        if !locked.is_open() {
            return Err(TrySendError::Closed(outbound));
        }
        if locked.is_full(&self.setup.config) {
            return Err(TrySendError::Full(outbound));
        }
        self.queue_on(locked, outbound)
            .map_err(TrySendError::Closed)
    }

    pub(crate) fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.update(|locked| locked.ping(&self.setup, payload))
    }

    pub(crate) fn pong(&self, payload: &[u8]) -> Result<(), Error> {
        self.update(|locked| locked.pong(&self.setup, payload))
    }

    /// Queues a message, for which there was room when that was asked.
    pub(crate) fn queue(&self, mut outbound: Outbound) -> Result<(), Error> {
        if self.send_lent(&mut outbound) {
            return Ok(());
        }
        let locked = self.lock();
        if !locked.is_open() {
            return Err(Error::Closed);
        }
        let queued = self.queue_on(locked, outbound).map(Queued::finish);
        queued.map_err(|_closed| Error::Closed)
    }
}

impl Locked {
    /// Queues a message on an open connection.
    #[inline]
    pub(super) fn queue(&mut self, setup: &Setup, message: Message) -> Queued {
        self.adopt_queue();
        // The caller has seen, under the same lock, that the connection is open.
        let copied = self.outgoing.message(&setup.encoder(), message);
        Queued::new(self.take_driver(), copied.ok().flatten())
    }

    /// Queues what was encoded; as [`queue`](Self::queue).
    pub(super) fn queue_encoded(&mut self, setup: &Setup, encoded: &mut Encoded) -> Queued {
        let copied = self.add_encoded(setup, encoded);
        Queued::new(self.take_driver(), copied)
    }

    /// Queues what was encoded, and wakes nobody. Gives what was copied, to be dropped outside the lock.
    pub(super) fn add_encoded(&mut self, setup: &Setup, encoded: &mut Encoded) -> Option<Bytes> {
        self.adopt_queue();
        encoded.queue(&mut self.outgoing, &setup.encoder())
    }

    /// Queues a message of `len` bytes that was encoded before, where that takes nothing but a place in the queue;
    /// reports whether it has.
    #[inline]
    pub(super) fn queue_frames(&mut self, len: usize, frames: &Bytes, config: &Config) -> bool {
        !self.taken_full
            && self
                .outgoing
                .frames_at_once(len, frames, config, scratch::take_queue)
    }

    /// Takes one of the thread's spare queues, if it has none.
    #[inline]
    fn adopt_queue(&mut self) {
        if self.outgoing.needs_queue() {
            self.outgoing.adopt(scratch::take_queue());
        }
    }

    /// The same, where something will be queued: none is left to a connection that is closing.
    pub(super) fn adopt_queue_if_open(&mut self) {
        if self.is_open() {
            self.adopt_queue();
        }
    }

    /// Puts what the handler was lent a queue for in front of what was queued meanwhile.
    pub(crate) fn take_over(&mut self, setup: &Setup, sent: &mut Outgoing) {
        self.pings_behind(sent.queued());
        self.outgoing.take_over(&setup.encoder(), sent);
    }

    /// Notes that the handler may send to a queue of its own.
    #[inline]
    pub(crate) fn begin_loan(&mut self) {
        self.lent = Lent::Queue;
    }

    /// Notes that it may not any more, and takes what it has `sent` so. Gives those who waited for all to be
    /// written, where nothing is left.
    #[inline]
    pub(crate) fn end_loan(
        &mut self,
        setup: &Setup,
        sent: Option<&mut Outgoing>,
    ) -> Option<Wakers> {
        if self.lent == Lent::Nothing {
            return None;
        }
        if let Some(sent) = sent {
            self.take_over(setup, sent);
        }
        self.lent = Lent::Nothing;
        let flushed = self.queued_in_all() == 0 && !self.writing;
        if !self.waiters.as_ref()?.have_senders() {
            return None;
        }
        Some(self.take_waiting(false, flushed))
    }

    /// Reports whether the handler may send to a queue of its own.
    #[inline]
    pub(crate) fn lends_queue(&self) -> bool {
        self.is_open()
            && self.queued() == 0
            && !self.writing
            && !self.outgoing.is_streaming()
            && self.known_ending().is_none()
    }

    /// Takes what can be written, if anything is there: it has to be [written](Self::written),
    /// [put back](Self::put_back) or [lost](Self::lose).
    pub(crate) fn take_queue(&mut self, config: &Config) -> Option<Box<Unsent>> {
        let full = self.outgoing.is_full(config);
        let queue = self.outgoing.take_queue();
        self.taken_full |= full && queue.is_some();
        self.writing |= queue.is_some();
        self.pings_writing();
        queue
    }

    pub(crate) fn ping(&mut self, setup: &Setup, payload: &[u8]) -> Result<(), Error> {
        self.adopt_queue_if_open();
        let ping = self.outgoing.ping(&setup.encoder(), payload);
        ping.map_err(|NotOpen| Error::Closed)
    }

    pub(crate) fn pong(&mut self, setup: &Setup, payload: &[u8]) -> Result<(), Error> {
        self.adopt_queue_if_open();
        let pong = self.outgoing.pong(&setup.encoder(), payload);
        pong.map_err(|NotOpen| Error::Closed)
    }

    /// Takes note that a queue was written, and answers the ping that waited for that. Gives those
    /// who waited for it.
    #[inline]
    pub(crate) fn written(&mut self, setup: &Setup, queue: &mut Unsent) -> Option<Wakers> {
        self.writing = false;
        self.taken_full = false;
        self.lent = Lent::Nothing;
        self.yielded = false;
        self.pings_written();
        self.outgoing.written(&setup.encoder(), queue);
        let flushed = self.outgoing.queued() == 0;
        self.take_able(setup, flushed)
    }

    /// Puts back what could not be written, after `left` bytes were. Gives those who waited for
    /// room, if there is some now.
    pub(crate) fn put_back(
        &mut self,
        setup: &Setup,
        rest: Box<Unsent>,
        left: usize,
    ) -> Option<Wakers> {
        self.writing = false;
        self.taken_full = false;
        self.lent = Lent::Nothing;
        let progress = left > 0;
        self.yielded &= !progress;
        self.pings_put_back(left, rest.frames.len());
        self.outgoing.put_back(&setup.encoder(), rest, left);
        // Without progress there is no room that was not there before.
        if progress {
            self.take_able(setup, false)
        } else {
            None
        }
    }

    /// Counts what the handler has sent to a queue of its own, which was written or is put back.
    #[inline]
    pub(crate) fn count_sent(&mut self, sent: &mut Outgoing) {
        self.outgoing.count_sent(sent);
    }

    /// The transport takes nothing more: what was queued is lost. Gives it, and who waited for it.
    pub(crate) fn lose(&mut self) -> (Option<Box<Unsent>>, Wakers) {
        self.writing = true;
        self.lent = Lent::Nothing;
        self.outgoing.end();
        (self.outgoing.clear(), self.take_waiting(true, true))
    }
}
