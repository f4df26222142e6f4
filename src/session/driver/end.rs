//! The end of a connection: what is queued leaves, both sides end, everybody learns it.

use std::{
    mem,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{Driver, Input, Phase};
use crate::{
    protocol::{Role, SENDING_FLOOR},
    session::{
        report::{EndedBy, Report},
        shared::locked::Inner,
        transport::Transport,
    },
};

/// How far the end was when its time began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndWatch {
    /// When its first time began.
    first: Instant,
    since: Instant,
    /// What was queued then, in bytes.
    queued: usize,
    /// What was thrown away until then, in bytes.
    discarded: u64,
}

impl EndWatch {
    fn new(now: Instant) -> Self {
        Self {
            first: now,
            since: now,
            queued: 0,
            discarded: 0,
        }
    }
}

impl Driver {
    /// Nothing more is received: the application learns it, what is queued still leaves.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Flushing;
        self.news = true;
        self.timers.stop_open();
        let error = self.cold().error.take();
        self.cold().rest = BytesMut::new();
        let mut inner = self.shared.lock();
        let clean = error.is_none();
        inner.end(error, clean);
        if !inner.outgoing.close_sent() {
            // Without a Close frame there is nothing to answer.
            inner.outgoing.end();
        }
        let receiver = inner.take_receiver(cx.waker());
        // Those who wait to send cannot any more.
        let waiting = inner.take_waiting(true, false);
        drop(inner);
        waiting.wake();
        if let Some(waker) = receiver {
            waker.wake();
        }
        self.bound_end();
    }

    /// What is queued may leave slowly, but not for ever: each 14 KiB have another second.
    pub(super) fn bound_end(&mut self) {
        if !self.timers.is_closing() {
            let queued = self.shared.lock().outgoing.queued();
            let timeout = self.drain_timeout(queued);
            self.timers.bound_end(Self::now(), timeout);
            self.watch_end(queued);
        }
    }

    /// How long what is queued has to leave.
    fn drain_timeout(&self, queued: usize) -> Duration {
        let config = self.config();
        let patience = config
            .close_timeout
            .saturating_add(config.write_timeout.unwrap_or_default());
        patience.saturating_add(Duration::from_secs(queued as u64 / SENDING_FLOOR))
    }

    /// Waits for nothing but the end from now on.
    pub(super) fn await_end(&mut self, timeout: Duration) {
        self.timers.closing(Self::now(), timeout);
        self.cold().end = None;
        let queued = self.shared.lock().outgoing.queued();
        self.watch_end(queued);
    }

    /// Remembers how far the end is, to see later whether it has come nearer.
    fn watch_end(&mut self, queued: usize) {
        let now = Self::now();
        let cold = self.cold();
        let discarded = cold.discarded;
        let watch = cold.end.get_or_insert_with(|| EndWatch::new(now));
        (watch.since, watch.queued, watch.discarded) = (now, queued, discarded);
    }

    /// Decides, when the time for the end is over, whether it gets more; reports whether it does.
    ///
    /// It does while the end comes nearer: what is queued leaves, at half the speed of the slowest
    /// line at least, which bounds the time; or the peer is still sending, at that speed, what it
    /// had begun before it could see our Close. A connection that is dropped with such bytes unread
    /// is reset, and a reset takes our Close away from a peer that has not read it yet.
    pub(super) fn prolong_end(&mut self, cx: &mut Context<'_>) -> bool {
        // The write that is tried once more begins a watch of its own.
        let Some(watch) = self.cold().end else {
            return false;
        };
        if self.write_anyway(cx) && self.write_failed {
            // The end has got another deadline with that.
            return true;
        }
        let now = Self::now();
        let queued = self.shared.lock().outgoing.queued();
        let limit = self.config().close_timeout.saturating_mul(MOST_TERMS);
        let discarded = self.cold().discarded;
        let floor = (now - watch.since).as_secs().saturating_mul(SENDING_FLOOR);
        let left = watch.queued.saturating_sub(queued) as u64;
        let came = discarded - watch.discarded;
        if left > 0 && queued == 0 && self.timers.is_closing() {
            // The Close has left just now, and its answer has a time of its own.
            return true;
        }
        let timeout = if left > 0 && (queued == 0 || left >= floor / 2) {
            self.drain_timeout(queued)
        } else if came > 0 && came >= floor && now - watch.first < limit {
            self.end_timeout()
        } else {
            return false;
        };
        self.timers.bound_end(now, timeout);
        self.watch_end(queued);
        true
    }

    /// Brings the end on, as far as it goes without waiting.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::Open {
            return;
        }
        if self.phase == Phase::Flushing && (self.write_failed || self.is_drained()) {
            if self.is_said_and_read(cx) {
                return self.end();
            }
            self.phase = if self.write_failed || self.waits_for_server() {
                Phase::Lingering
            } else {
                Phase::ShuttingDown
            };
            self.await_end(self.end_timeout());
        }
        if self.phase == Phase::ShuttingDown
            && let Some(transport) = &mut self.transport
        {
            match transport.poll_shutdown(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.phase = Phase::Lingering,
                Poll::Ready(Err(_)) => self.end(),
            }
        }
        if self.phase == Phase::Lingering && self.input == Input::Ended {
            self.end();
        }
    }

    /// Whether everything queued was given to the transport.
    fn is_drained(&self) -> bool {
        self.shared.lock().outgoing.queued() == 0 && !self.flush_pending
    }

    /// Whether a server may drop a TCP connection at once: both sides have sent their Close frame,
    /// and nothing that came is left unread, which would be answered by a reset.
    fn is_said_and_read(&self, cx: &mut Context<'_>) -> bool {
        let said = {
            let inner = self.shared.lock();
            inner.outgoing.close_sent() && inner.outgoing.close_received()
        };
        let transport = self.transport.as_ref();
        said && !self.write_failed
            && self.decoder.role() == Role::Server
            && transport.is_some_and(|transport| transport.is_read_out(cx))
    }

    /// A client lets the server end a TCP connection first (RFC 6455 §7.1.1).
    fn waits_for_server(&self) -> bool {
        self.decoder.role() == Role::Client && !self.is_multiplexed()
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.transport
            .as_ref()
            .is_some_and(Transport::is_multiplexed)
    }

    pub(super) fn end_timeout(&self) -> Duration {
        if self.is_multiplexed() {
            self.config().close_timeout
        } else {
            self.config().linger
        }
    }

    /// Throws bytes away that came after the end of interest; too many of them end it all.
    pub(super) fn discard(&mut self, bytes: u64) {
        let cold = self.cold();
        cold.discarded += bytes;
        if cold.discarded > MAX_DISCARD {
            self.end();
        }
    }

    /// Gives the transport up: everybody who waits learns it, and the report is made.
    pub(super) fn end(&mut self) {
        if mem::replace(&mut self.phase, Phase::Ended) == Phase::Ended {
            return;
        }
        let transport = self.transport.take();
        let cold = self.cold.take().map(|cold| *cold).unwrap_or_default();
        self.input = Input::Ended;
        self.news = true;
        self.timers.stop_all();
        let mut inner = self.shared.lock();
        let waiting = inner.end_all();
        let queue = inner.outgoing.clear();
        // A flush must not call it written.
        let lost = queue.as_ref().is_some_and(|queue| !queue.is_empty());
        inner.writing |= lost;
        let clean = inner.outgoing.close_received();
        inner.end(cold.error, clean);
        // What may only follow a message in pieces is lost by a close; the Close itself is not.
        let unsent = queue.as_ref().is_some_and(|queue| !queue.frames.is_empty());
        let all_left = !unsent && !self.flush_pending && !self.write_failed;
        let report = self.report(&inner, cold.timed_out, all_left);
        let traffic = self.traffic(&inner);
        drop(inner);
        if let Some(entry) = self.shared.entry() {
            entry.count(traffic);
            entry.close(&report);
        }
        drop(transport);
        waiting.wake();
        self.publish(&report);
        // Last: it is code of others, which may panic.
        drop(queue);
    }

    /// Makes the report; `all_left` where nothing that was queued is lost, which the last thing of
    /// all, our Close, may be.
    fn report(&self, inner: &Inner, timed_out: bool, all_left: bool) -> Report {
        let (outgoing, first) = (&inner.outgoing, inner.first_close());
        let close_frame = first.and_then(|(_, frame)| frame.clone());
        let without_frame = if first.is_some() { NO_CODE } else { NO_CLOSE };
        let by_itself = if timed_out {
            EndedBy::Timeout
        } else {
            EndedBy::Disconnect
        };
        Report {
            id: self.shared.id(),
            ended_by: first.map_or(by_itself, |(by, _)| *by),
            close_code: close_frame
                .as_ref()
                .map_or(without_frame, |frame| frame.code().as_u16()),
            close_frame,
            clean: all_left && outgoing.close_sent() && outgoing.close_received(),
            duration: self.timers.age(Self::now()),
            messages_received: self.messages_received,
            bytes_received: self.bytes_received,
            messages_sent: outgoing.messages,
            bytes_sent: outgoing.bytes,
        }
    }

    fn publish(&self, report: &Report) {
        if let Some(span) = self.shared.span() {
            span.record("close_code", report.close_code);
        }
        tracing::debug!(
            ended_by = ?report.ended_by,
            close_code = report.close_code,
            clean = report.clean,
            duration = ?report.duration,
            messages_received = report.messages_received,
            messages_sent = report.messages_sent,
            "websocket session ended"
        );
        if let Some(hook) = &self.shared.hooks.on_end {
            hook(report);
        }
    }
}

impl Driver {
    /// The session's task was dropped, with its runtime: handles and the report hook learn it.
    pub(crate) fn give_up(&mut self) {
        if self.phase == Phase::Open {
            self.abort();
        }
        self.end();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.give_up();
        if let Some(entry) = self.shared.entry() {
            entry.leave();
        }
    }
}

/// What RFC 6455 §7.1.5 calls a Close frame without a code.
const NO_CODE: u16 = 1005;

/// What RFC 6455 §7.1.5 calls the lack of a Close frame.
const NO_CLOSE: u16 = 1006;

/// How often the wait for the end may last `close_timeout` while the peer goes on sending.
const MOST_TERMS: u32 = 6;

/// How much a peer may go on sending that has our Close, in bytes: more than it had on its way.
const MAX_DISCARD: u64 = 128 << 20;
