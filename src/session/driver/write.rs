//! The driver's writing side.

use std::{
    io, mem,
    task::{Context, Poll},
};

use bytes::Buf;

use super::{
    Driver, Phase,
    round::{Line, Turn},
};
use crate::{
    error::Error,
    protocol::{SendQueue, Unsent},
    session::{
        loan::CORK,
        report::EndedBy,
        scratch,
        shared::{locked::Locked, waiters::Wakers},
        transport::Transport,
    },
};

/// The session was ended from outside.
pub(super) struct Aborted;

/// What has come of writing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    /// It was the last thing to do: the turn has ended with it.
    TurnOver,
    /// Something else may be left to do.
    More,
    /// The handler may have waited for room that there is now.
    HandlerWaits,
}

impl Driver {
    /// Takes what is queued, where it can be written; before, closes normally where nobody receives
    /// any more.
    ///
    /// # Errors
    ///
    /// The session was aborted; nothing is done then.
    // In every round, and once more where a task is dropped, which is no reason for a call each round.
    #[inline(always)]
    pub(super) fn take_queue(&self, turn: &mut Turn) -> Result<Option<Box<Unsent>>, Aborted> {
        let mut locked = self.shared.lock_to_drive();
        let sent = turn.loan.as_deref_mut().map(|loan| &mut loan.sent);
        let flushed = locked.end_loan(self.setup(), sent);
        if locked.is_aborted() {
            drop(locked);
            return Err(Aborted);
        }
        if let Some(code) = locked.abandoned(self.handler_finished) {
            locked.close(self.setup(), EndedBy::Local, &code.into());
        }
        if self.write_failed || self.phase == Phase::Ended {
            drop(locked);
            return Ok(None);
        }
        let queue = locked.take_queue(self.config());
        drop(locked);
        drop(flushed);
        Ok(queue)
    }

    /// Writes what was taken, as far as the transport takes it.
    #[inline(always)]
    pub(super) fn transmit(
        &mut self,
        cx: &mut Context<'_>,
        queue: Option<Box<Unsent>>,
        turn: &mut Turn,
    ) -> Written {
        let mut written = Written::More;
        self.write_blocked = false;
        // Once a round: senders in other threads may fill the queue as fast as it is written.
        if let Some(mut queue) = queue {
            let queued = queue.frames.len();
            match self.write(cx, &mut queue.frames, &mut turn.line) {
                Poll::Ready(Ok(())) => written = self.written(cx, queue, turn),
                Poll::Ready(Err(error)) => {
                    self.count_sent(&mut self.shared.lock_to_drive(), turn);
                    self.write_failure(error, &turn.line);
                }
                Poll::Pending => written = self.put_back(cx, queue, queued, turn),
            }
        }
        self.flush(cx, &mut turn.line);
        written
    }

    /// Writes until all is written, the transport takes nothing more or the turn has written enough.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut SendQueue,
        line: &mut Line,
    ) -> Poll<io::Result<()>> {
        let Some(transport) = &mut line.transport else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if queue.len() >= CORK {
            transport.bound_unsent();
        }
        let mut progress = false;
        while queue.has_remaining() {
            if progress && line.budget.is_spent() {
                self.timers.write_done();
                return Poll::Pending;
            }
            match transport.poll_write(cx, queue) {
                Poll::Ready(Ok(written)) => {
                    progress = true;
                    line.budget.spend(0, written);
                    if self.timers.written(written, Self::now) {
                        transport.bound_unsent();
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.wait_for_write(progress, line);
                    return Poll::Pending;
                }
            }
        }
        self.flush_pending = transport.needs_flush();
        Poll::Ready(Ok(()))
    }

    /// Takes note of what others have written since the last round.
    #[inline]
    pub(super) fn count_flushed(&mut self, bytes: usize, line: &mut Line) {
        if bytes > 0
            && self.timers.written(bytes, Self::now)
            && let Some(transport) = &mut line.transport
        {
            transport.bound_unsent();
        }
    }

    /// The transport takes nothing for now; its time starts with the last progress.
    fn wait_for_write(&mut self, progress: bool, line: &Line) {
        self.write_blocked = true;
        if progress || !self.timers.is_write_waiting() {
            let config = self.shared.config();
            let stalls_for = line.transport.as_ref().map_or(0, Transport::stalls_for);
            self.timers.write_waits(Self::now(), stalls_for, config);
        }
    }

    /// Writes once more what the transport did not take, before it is given up; reports whether
    /// something has left.
    pub(super) fn write_anyway(&mut self, cx: &mut Context<'_>, line: &mut Line) -> bool {
        if self.write_failed {
            return false;
        }
        let queue = self.shared.lock_to_drive().take_queue(self.config());
        let (Some(mut queue), Some(transport)) = (queue, &mut line.transport) else {
            return false;
        };
        let queued = queue.frames.len();
        let result = transport.poll_write_anyway(cx, &mut queue.frames);
        if let Poll::Ready(Err(error)) = result {
            self.write_failure(error, line);
            return true;
        }
        let left = queued - queue.frames.len();
        let _much = self.timers.written(left, Self::now);
        if queue.frames.is_empty() {
            self.flush_pending = transport.needs_flush();
            self.written(cx, queue, &mut Turn::default());
        } else {
            self.put_back(cx, queue, queued, &mut Turn::default());
            self.wait_for_write(left > 0, line);
        }
        left > 0
    }

    /// Everything taken was written.
    ///
    /// Where that was the last thing to do the turn ends under the same lock, though deadlines are
    /// still to be kept: one that passes begins another round.
    #[inline(always)]
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        mut queue: Box<Unsent>,
        turn: &mut Turn,
    ) -> Written {
        self.timers.write_done();
        let shared = &*self.shared;
        let config = shared.config();
        if mem::take(&mut self.ping_queued) {
            self.timers.ping_written(Self::now(), config);
        }
        let mut locked = shared.lock_to_drive();
        self.count_sent(&mut locked, turn);
        // What was queued meanwhile has not left, and the Close frame may be among it.
        let all_left = locked.queued() == 0;
        let close_left = all_left && locked.close_sent() && self.phase == Phase::Open;
        let waiting = locked.written(shared.setup(), &mut queue);
        let close_timeout = config.close_timeout;
        let open = self.phase == Phase::Open;
        let last = if open && waiting.as_ref().is_none_or(Wakers::is_empty) {
            self.end_turn(locked, turn)
        } else {
            // Before anybody is woken.
            drop(locked);
            false
        };
        if close_left && !mem::replace(&mut self.cold().close_written, true) {
            self.await_end(close_timeout);
        }
        match &mut turn.loan {
            Some(loan) => loan.put_back_queue(queue),
            None => scratch::put_back_queue(queue),
        }
        if last {
            return Written::TurnOver;
        }
        wake_others(waiting, cx)
    }

    /// Counts what the handler has sent without the lock.
    #[inline]
    fn count_sent(&self, locked: &mut Locked, turn: &mut Turn) {
        if let Some(loan) = &mut turn.loan {
            locked.count_sent(&mut loan.sent);
        }
    }

    /// The transport takes nothing more; what the peer has sent before may still say why.
    pub(super) fn write_failure(&mut self, error: io::Error, line: &Line) {
        self.write_failed = true;
        self.handler_due = true;
        let mut locked = self.shared.lock_to_drive();
        let closing = locked.close_sent();
        let (queue, waiting) = locked.lose();
        drop(locked);
        drop(queue);
        waiting.wake();
        if !closing {
            self.cold().error.get_or_insert(Error::Io(error));
        }
        self.await_end(self.end_timeout(line));
    }

    /// The rest of what was `queued` goes in front of what came meanwhile.
    fn put_back(
        &mut self,
        cx: &mut Context<'_>,
        rest: Box<Unsent>,
        queued: usize,
        turn: &mut Turn,
    ) -> Written {
        let left = queued - rest.frames.len();
        let mut locked = self.shared.lock_to_drive();
        self.count_sent(&mut locked, turn);
        let waiting = locked.put_back(self.setup(), rest, left);
        let closing = locked.close_sent();
        drop(locked);
        if closing {
            self.bound_end();
        }
        wake_others(waiting, cx)
    }

    /// Flushes once more, before the transport is given up; reports whether it was of use.
    pub(super) fn flush_anyway(&mut self, cx: &mut Context<'_>, line: &mut Line) -> bool {
        let pending = self.flush_pending;
        self.flush(cx, line);
        pending && !self.flush_pending
    }

    fn flush(&mut self, cx: &mut Context<'_>, line: &mut Line) {
        if !self.flush_pending || self.write_failed {
            return;
        }
        let Some(transport) = &mut line.transport else {
            return;
        };
        match transport.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.flush_pending = false;
                if !self.write_blocked {
                    self.timers.write_done();
                }
            }
            Poll::Ready(Err(error)) => self.write_failure(error, line),
            Poll::Pending => self.wait_for_write(false, line),
        }
    }
}

/// Wakes those who waited, outside the lock; who runs in this turn anyway is not woken.
fn wake_others(waiting: Option<Wakers>, cx: &Context<'_>) -> Written {
    if waiting.is_some_and(|waiting| waiting.wake_others(cx)) {
        Written::HandlerWaits
    } else {
        Written::More
    }
}
