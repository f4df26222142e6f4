//! Writing for an idle session, from where something was queued for many.
//!
//! A session that is woken to write a few bytes is a task that is scheduled, a poll of its handler and two looks at
//! its socket. Who has queued something for many connections writes for those that are idle instead, if that takes
//! one system call and nobody has to wait.
//!
//! **Who has the transport writes, and who has the queue has the transport.** The transport lies in [`Locked`] while
//! nobody has it. It is taken under the lock, by the driver for a turn, or here for one write (`flushing`), and put
//! back under the lock. So two threads never write at once, and nothing is in two places.
//!
//! What may happen at the same time, in the order of the lock:
//!
//! 1. *The driver's turn begins after the promise, and before it is kept.* The round clears `promised` and `idle`, and
//!    the turn writes what is queued. Whoever comes to keep the promise finds nothing to do. If the turn has ended
//!    by then, and something was promised again, it is kept now, and its own keeper finds nothing.
//! 2. *The driver's turn begins while somebody writes.* It finds no transport, notes `driver_waits`, leaves its
//!    waker and ends without having polled the handler. Who writes sees the note under the lock under which the
//!    transport is put back, and wakes it: either it has noted before, or it finds the transport.
//! 3. *The driver comes back for the transport when a deadline has passed*, though its turn has ended with what was
//!    written: as 2; its alarm is still due when it is woken. A promise that is kept at that moment finds no transport
//!    and no `flushing`, and wakes the session.
//! 4. *Something is sent before the promise is kept.* It wakes the session, which is not idle any more: 1. It comes
//!    behind in the same queue.
//! 5. *Something is sent while somebody writes*, a Close perhaps. It goes to the queue that is left in `Locked`,
//!    and wakes the session: 2. What could not be written is put back in front of it.
//! 6. *Another broadcast comes while somebody writes.* It is promised that the session is woken, since the transport
//!    is not there (`able`); its keeper does that, whether or not the transport is back.
//! 7. *Two keep a promise at once* (members of two groups, or twice on a list): `promised` is taken under the lock, by one.
//! 8. *The session ends while somebody writes.* A turn cannot: it waits (2). A task that is dropped with its runtime can:
//!    everybody is told, and who writes finds that it is over, and drops transport and rest. `writing` stays set: what was
//!    under way is not called written.
//! 9. *`flush` is asked for while somebody writes.* `writing` says that not all is written; it is woken with what comes of it.
//! 10. *The handler is polled, with a queue lent to it (`lent`).* Only in a turn, in which `idle` is false: nothing is
//!     written here. A turn ends its loan before it sets `idle`, under the same lock. Hence what was lent is never
//!     behind what is written here.
//!
//! What wakes the session instead: a stream that is not plain TCP, a socket that takes nothing more (the driver, which
//! has to keep the deadline, meets that again), an error (the same), and [`MOST`]. Pings, pongs and a Close are never
//! among what is written here: who queues one wakes the driver, which is not idle then. So nothing here has a
//! deadline or is timed.

use std::{sync::atomic::Ordering::Relaxed, task::Waker};

use super::{Shared, locked::Locked, waiters::Woken};
use crate::{
    protocol::Unsent,
    session::{scratch, transport::Transport},
};

impl Shared {
    /// Promises an idle session, whose queue was `empty`, to write what was queued, or to wake it. Reports whether that
    /// is new: the promise has to be kept, once.
    #[inline]
    pub(super) fn promise(&self, locked: &Locked, empty: bool) -> bool {
        let flushing = &self.flushing;
        if !locked.idle || flushing.promised.load(Relaxed) {
            return false;
        }
        let transport = locked.transport.as_ref();
        // What is in the queue of an idle session waits for its transport, and has a deadline.
        let able = empty && transport.is_some_and(Transport::writes_at_once);
        flushing.promised.store(true, Relaxed);
        flushing.able.store(able, Relaxed);
        true
    }

    /// Writes what was queued for an idle session with a promise, or wakes the session where it has to write
    /// itself. Nothing is done where something else has woken it since.
    pub(crate) fn flush_now(&self) {
        // In the driver's stead: what it lends, it lends in a turn.
        let mut locked = self.lock_to_drive();
        if !self.flushing.take_promise() || !locked.idle {
            return;
        }
        let Some((mut transport, mut queue)) = self.take_to_flush(&mut locked) else {
            let driver = locked.take_driver();
            drop(locked);
            return wake(driver);
        };
        drop(locked);
        let queued = queue.frames.len();
        let all = transport.try_write(&mut queue.frames);
        self.flushed(transport, queue, queued, all);
    }

    /// Takes transport and queue, where what was promised can be written here.
    #[inline]
    fn take_to_flush(&self, locked: &mut Locked) -> Option<(Transport, Box<Unsent>)> {
        let total = usize::from(self.flushing.written.load(Relaxed)) + locked.queued();
        if !self.flushing.able.load(Relaxed) || total > MOST {
            return None;
        }
        let transport = locked.transport.take()?;
        let Some(queue) = locked.take_queue(&self.setup.config) else {
            // Then there is nothing to do, which the session finds out by itself.
            locked.transport = Some(transport);
            return None;
        };
        self.flushing.flushing.store(true, Relaxed);
        Some((transport, queue))
    }

    /// Puts back what was taken to write, of which `queued` bytes were there before.
    #[inline]
    fn flushed(&self, transport: Transport, mut queue: Box<Unsent>, queued: usize, all: bool) {
        let left = queued - queue.frames.len();
        let mut locked = self.lock_to_drive();
        let flushing = &self.flushing;
        flushing.flushing.store(false, Relaxed);
        if locked.is_over() {
            drop(locked);
            drop(transport);
            // It may be somebody's bytes.
            return drop(queue);
        }
        locked.transport = Some(transport);
        // No more than `MOST`, which was asked when it was taken.
        let total = flushing.written.load(Relaxed) + left as u16;
        flushing.written.store(total, Relaxed);
        let (waiting, spent) = if all {
            let waiting = locked.written(&self.setup, &mut queue);
            (waiting, Some(queue))
        } else {
            (locked.put_back(&self.setup, queue, left), None)
        };
        let waits = flushing.driver_waits.load(Relaxed);
        flushing.driver_waits.store(false, Relaxed);
        let driver = if waits {
            // Its next round does not need to be told, whatever comes until then.
            locked.idle = false;
            locked.driver.take()
        } else if locked.queued() > 0 {
            locked.take_driver()
        } else {
            None
        };
        drop(locked);
        wake(driver);
        // Those that waited for room, or for all to be written.
        drop(waiting);
        if let Some(queue) = spent {
            scratch::put_back_queue(queue);
        }
    }

    /// Wakes a session for which something was queued with a promise, unless something has since.
    pub(crate) fn wake_promised(&self) {
        let mut locked = self.lock_to_drive();
        let driver = match self.flushing.take_promise() {
            true => locked.take_driver(),
            false => None,
        };
        drop(locked);
        wake(driver);
    }

    /// Takes the transport for the driver's turn, in which it needs no promise. `Err` where somebody else has it, who
    /// wakes the driver then.
    #[inline]
    pub(crate) fn take_transport(&self, locked: &mut Locked) -> Result<Option<Transport>, Taken> {
        let transport = locked.take_transport();
        if transport.is_none() && self.flushing.flushing.load(Relaxed) {
            self.flushing.driver_waits.store(true, Relaxed);
            return Err(Taken);
        }
        Ok(transport)
    }

    /// Takes back what was promised, as the driver's turn has begun, and how much was written since this was asked, in
    /// bytes.
    #[inline]
    pub(crate) fn take_flushed(&self, _locked: &mut Locked) -> usize {
        self.flushing.promised.store(false, Relaxed);
        let written = self.flushing.written.load(Relaxed);
        self.flushing.written.store(0, Relaxed);
        written.into()
    }
}

/// Somebody else has the transport.
pub(crate) struct Taken;

/// Wakes a session, outside the lock. Others are to be written for after it.
fn wake(driver: Option<Waker>) {
    if let Some(driver) = driver {
        Woken(driver).wake();
    }
}

/// How much is written between two rounds of the driver, in bytes, as it takes a second of the slowest line.
///
/// The driver measures by what was written how long an answer may be on its way, and whether the kernel is to
/// keep less. It learns this much late, not more. What is larger costs more to copy than a turn.
const MOST: usize = 14 << 10;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
