//! How pongs are timed, and how to wait for one.

use std::{
    mem,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    Shared,
    locked::Locked,
    pings::{Asker, Payload, Ping, Pings, Place},
    waiters::{Waiters, Wakers, wake},
};
use crate::{
    error::Error,
    protocol::{Rtt, random},
    session::setup::Setup,
};

/// What a pong has answered.
#[derive(Default)]
pub(crate) struct Answered {
    /// How long that took, where it was a ping that is timed.
    pub(crate) time: Option<Duration>,
    /// To be woken, and to be dropped, outside the lock.
    waiting: Wakers,
    spent: Option<Box<Waiters>>,
}

impl Answered {
    /// Wakes those who waited for it, outside the lock.
    pub(crate) fn wake(self) {
        self.waiting.wake();
        drop(self.spent);
    }
}

impl Shared {
    /// Sends a ping, unless that was done, and waits for its answer.
    pub(crate) fn poll_ping(
        &self,
        cx: &mut Context<'_>,
        payload: &mut Option<Payload>,
    ) -> Poll<Result<Duration, Error>> {
        let mut locked = self.lock();
        let Some(sent) = *payload else {
            if !locked.is_open() {
                return Poll::Ready(Err(Error::Closed));
            }
            // It is taken: no waker is dropped under the lock.
            let asker = Asker::Waiting(cx.waker().clone());
            let sent = locked.ping_timed(&self.setup, asker);
            let driver = locked.take_driver();
            drop(locked);
            wake(driver);
            return match sent {
                Ok(sent) => {
                    *payload = Some(sent);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            };
        };
        let (poll, before) = locked.poll_answer(sent, cx);
        let spent = locked.forget_pings();
        drop(locked);
        drop((before, spent));
        if poll.is_ready() {
            // Nothing is left of it.
            *payload = None;
        }
        poll
    }

    /// Waits for an answer no more.
    pub(crate) fn forget_ping(&self, payload: Payload) {
        let mut locked = self.lock();
        let asker = locked.pings().and_then(|pings| pings.remove(payload));
        let spent = locked.forget_pings();
        drop(locked);
        drop((asker, spent));
    }

    /// Returns the round-trip time, where one was measured.
    pub(crate) fn rtt(&self) -> Option<Rtt> {
        self.look().rtt()
    }
}

impl Locked {
    /// Sends a ping of the session's own, whose answer is timed.
    pub(crate) fn ping_to_measure(&mut self, setup: &Setup) -> Result<(), Error> {
        self.ping_timed(setup, Asker::Session)?;
        if let Some(pings) = self.pings() {
            pings.forget_oldest();
        }
        Ok(())
    }

    fn ping_timed(&mut self, setup: &Setup, asker: Asker) -> Result<Payload, Error> {
        let payload = random();
        self.ping(setup, &payload)?;
        let place = Place::Queued(self.outgoing.queued());
        let pings = self.waiters().pings.get_or_insert_default();
        pings.0.push(Ping {
            payload,
            place,
            asker,
        });
        Ok(payload)
    }

    /// Takes the answer to a ping; the waker of the one who asks may change, and the one before it is given.
    fn poll_answer(
        &mut self,
        payload: Payload,
        cx: &Context<'_>,
    ) -> (Poll<Result<Duration, Error>>, Option<Waker>) {
        let Some(pings) = self.pings() else {
            return (Poll::Ready(Err(Error::Closed)), None);
        };
        let ping = pings.0.iter_mut().find(|ping| ping.payload == payload);
        match ping.map(|ping| &mut ping.asker) {
            Some(Asker::Told(time)) => {
                let time = *time;
                pings.remove(payload);
                (Poll::Ready(Ok(time)), None)
            }
            Some(Asker::Waiting(waker)) if waker.will_wake(cx.waker()) => (Poll::Pending, None),
            Some(Asker::Waiting(waker)) => {
                let before = mem::replace(waker, cx.waker().clone());
                (Poll::Pending, Some(before))
            }
            Some(Asker::Session | Asker::Nobody) | None => (Poll::Ready(Err(Error::Closed)), None),
        }
    }

    /// Takes a pong into account.
    pub(crate) fn answer_ping(&mut self, payload: &[u8], now: Instant) -> Answered {
        let mut answered = Answered::default();
        if let Ok(payload) = payload.try_into()
            && let Some(pings) = self.pings()
        {
            let mut waiting = vec![];
            answered.time = pings.answer(payload, now, &mut waiting);
            answered.waiting.extend(waiting);
            answered.spent = self.forget_pings();
        }
        if let Some(time) = answered.time {
            self.round_trips.add(time);
        }
        answered
    }

    /// Notes that the queue is taken to be written.
    #[inline]
    pub(super) fn pings_writing(&mut self) {
        if let Some(pings) = self.pings() {
            pings.take_writing();
        }
    }

    /// Notes that all was written that was taken.
    #[inline]
    pub(super) fn pings_written(&mut self) {
        if let Some(pings) = self.pings() {
            pings.leave(usize::MAX, 0);
        }
    }

    /// Notes that so much was written of what was taken, and that the rest is put back.
    #[inline]
    pub(super) fn pings_put_back(&mut self, left: usize, rest: usize) {
        if let Some(pings) = self.pings() {
            pings.leave(left, rest);
        }
    }

    /// Notes that so many bytes are put in front of the queue.
    #[inline]
    pub(super) fn pings_behind(&mut self, bytes: usize) {
        if let Some(pings) = self.pings() {
            pings.wait_behind(bytes);
        }
    }

    /// Nothing more is received: gives those who wait for an answer.
    pub(crate) fn take_askers(&mut self) -> Wakers {
        let mut wakers = Wakers::default();
        if let Some(pings) = self.pings() {
            for ping in &mut pings.0 {
                // Those who were told may still look.
                if !matches!(ping.asker, Asker::Told(_))
                    && let Asker::Waiting(waker) = mem::replace(&mut ping.asker, Asker::Nobody)
                {
                    wakers.push(waker);
                }
            }
            pings.0.retain(|ping| matches!(ping.asker, Asker::Told(_)));
        }
        wakers
    }

    /// Returns the round-trip time, where one was measured.
    pub(crate) fn rtt(&self) -> Option<Rtt> {
        self.round_trips.get()
    }

    #[inline]
    fn pings(&mut self) -> Option<&mut Pings> {
        self.waiters.as_mut()?.pings.as_deref_mut()
    }

    /// Keeps no memory where no ping is left; gives what is to be dropped outside the lock.
    fn forget_pings(&mut self) -> Option<Box<Waiters>> {
        let waiters = self.waiters.as_mut()?;
        waiters.pings.take_if(|pings| pings.0.is_empty());
        self.waiters.take_if(|waiters| waiters.is_unused())
    }
}
