//! The end of a connection: what is queued leaves, both sides end, everybody learns it.

use std::{
    io, mem,
    task::{Context, Poll, Waker},
    thread,
};

use bytes::BytesMut;

use super::{
    Driver, Input, Phase,
    cold::put_back_cold,
    round::{Line, Turn},
};
use crate::{
    error::Error,
    protocol::{CloseFrame, Role},
    session::{
        report::{EndedBy, SessionReport},
        shared::locked::Locked,
        traffic::Traffic,
    },
};

// The phases, and what leads from one to the next:
//
//     Open ──────────► Flushing ──────────► ShuttingDown ─────► Lingering ─────► Ended
//        the peer's Close,    all is written,       our side has       the peer's side
//        a failure, the end   nothing is left       ended              has ended
//        of the peer's side
//
// From Flushing it goes straight to Lingering if nothing can be written, or if a client lets the server
// end first, and straight to Ended if a server has read all that came. Abort, a transport that fails to
// end and the deadlines of `end_time` lead to Ended from everywhere.
impl Driver {
    /// Ends the connection at once.
    pub(super) fn abort(&mut self, line: &mut Line) {
        let aborted = io::ErrorKind::ConnectionAborted.into();
        self.cold().error.get_or_insert(Error::Io(aborted));
        self.end(line);
    }

    /// Starts the closing handshake, unless it has begun.
    pub(crate) fn close(&mut self, by: EndedBy, frame: &CloseFrame) {
        self.shared.lock_to_drive().close(self.setup(), by, frame);
        self.timers.stop_open();
        self.handler_due = true;
    }

    /// Answers the peer's Close (RFC 6455 §5.5.1), after which nothing more is read.
    pub(super) fn receive_close(&mut self, cx: &mut Context<'_>, frame: Option<CloseFrame>) {
        // Whatever failed before, the peer has ended this properly.
        self.cold().error = None;
        let mut locked = self.shared.lock_to_drive();
        locked.receive_close(self.setup(), frame);
        let observer = locked.observe_close(cx.waker());
        drop(locked);
        if let Some(waker) = observer {
            waker.wake();
        }
        self.finish(cx);
    }

    /// Fails the connection (RFC 6455 §7.1.7): the one place where that is done.
    pub(super) fn fail(
        &mut self,
        cx: &mut Context<'_>,
        error: Error,
        by: EndedBy,
        frame: &CloseFrame,
    ) {
        self.close(by, frame);
        self.cold().error.get_or_insert(error);
        self.finish(cx);
    }

    /// Ends the connection at a deadline that leaves no time for a closing handshake.
    pub(super) fn time_out(&mut self, error: Error, line: &mut Line) {
        // Unless it only ends the wait after a failure.
        let timed_out = self.phase == Phase::Open && !self.write_failed;
        let cold = self.cold();
        cold.timed_out = timed_out;
        cold.error.get_or_insert(error);
        self.end(line);
    }

    /// Ends a connection whose peer went away without a closing handshake, or in the middle of it.
    pub(super) fn disconnected(&mut self, cx: &mut Context<'_>, error: io::Error) {
        if !self.shared.lock_to_drive().close_sent() {
            self.cold().error.get_or_insert(Error::Io(error));
        }
        self.finish(cx);
    }

    /// Ends receiving: the application learns it, and what is queued still leaves.
    fn finish(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Flushing;
        self.handler_due = true;
        self.timers.stop_open();
        let error = self.cold().error.take();
        self.cold().undecoded = BytesMut::new();
        let mut locked = self.shared.lock_to_drive();
        locked.finish(error);
        let receiver = locked.take_receiver(cx.waker());
        // Nothing more can be sent, either.
        let mut waiting = locked.take_waiting(true, false);
        waiting.extend_from(locked.take_askers());
        drop(locked);
        waiting.wake();
        if let Some(waker) = receiver {
            waker.wake();
        }
        self.bound_end();
    }

    /// Brings the end on, as far as it goes without waiting.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, line: &mut Line) {
        if self.phase == Phase::Open {
            return;
        }
        if self.phase == Phase::Flushing && (self.write_failed || self.is_drained()) {
            if self.is_said_and_read(cx, line) {
                return self.end(line);
            }
            self.phase = if self.write_failed || self.waits_for_server(line) {
                Phase::Lingering
            } else {
                Phase::ShuttingDown
            };
            self.await_end(self.end_timeout(line));
        }
        if self.phase == Phase::ShuttingDown
            && let Some(transport) = &mut line.transport
        {
            match transport.poll_shutdown(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.phase = Phase::Lingering,
                Poll::Ready(Err(_)) => self.end(line),
            }
        }
        if self.phase == Phase::Lingering && self.input == Input::Ended {
            self.end(line);
        }
    }

    /// Reports whether everything queued was given to the transport.
    fn is_drained(&self) -> bool {
        self.shared.lock_to_drive().queued() == 0 && !self.flush_pending
    }

    /// Reports whether a server may drop a TCP connection at once: both sides have sent their Close frame,
    /// and nothing that came is left unread, which would be answered by a reset.
    fn is_said_and_read(&self, cx: &mut Context<'_>, line: &Line) -> bool {
        let said = {
            let locked = self.shared.lock_to_drive();
            locked.close_sent() && locked.close_received()
        };
        let transport = line.transport.as_ref();
        said && !self.write_failed
            && self.setup().role == Role::Server
            && transport.is_some_and(|transport| transport.is_read_out(cx))
    }

    /// A client lets the server end a TCP connection first (RFC 6455 §7.1.1).
    fn waits_for_server(&self, line: &Line) -> bool {
        self.setup().role == Role::Client && !line.is_multiplexed()
    }

    /// Throws bytes away that came after the end of interest; too many of them end it all.
    pub(super) fn discard(&mut self, bytes: u64, line: &mut Line) {
        let cold = self.cold();
        cold.discarded += bytes;
        if cold.discarded > MAX_DISCARD {
            self.end(line);
        }
    }

    /// Gives the transport up: everybody who waits learns it, and the report is made.
    pub(super) fn end(&mut self, line: &mut Line) {
        if mem::replace(&mut self.phase, Phase::Ended) == Phase::Ended {
            return;
        }
        let mut cold = self.cold.take();
        let last = cold.as_deref_mut();
        let (error, timed_out) =
            last.map_or((None, false), |cold| (cold.error.take(), cold.timed_out));
        self.input = Input::Ended;
        self.handler_due = true;
        self.timers.stop_all();
        let mut locked = self.shared.lock_to_drive();
        // Outside a turn it is with what is shared.
        let transport = line.transport.take().or_else(|| locked.take_transport());
        let (queue, waiting) = locked.end_all(error);
        // What may only follow a message in pieces is lost by a close; the Close itself is not.
        let unsent = queue.as_ref().is_some_and(|queue| !queue.frames.is_empty());
        let all_left = !unsent && !self.flush_pending && !self.write_failed;
        let traffic = self.traffic(&locked);
        let mut report = self.report(&locked, traffic, timed_out, all_left);
        drop(locked);
        if self.setup().on_end.is_some() {
            report.kept = self.shared.all_kept();
        }
        if let Some(entry) = &self.entry {
            entry.count(traffic);
            entry.close(&report);
        }
        drop(transport);
        waiting.wake();
        if let Some(cold) = cold {
            put_back_cold(cold);
        }
        self.publish(&report);
        // Last: it is code of others, which may panic.
        drop(queue);
    }

    /// Makes the report.
    ///
    /// `all_left` if nothing that was queued is lost, which the last thing of all, our Close, may be.
    fn report(
        &self,
        locked: &Locked,
        traffic: Traffic,
        timed_out: bool,
        all_left: bool,
    ) -> SessionReport {
        let first = locked.first_close();
        let close_frame = first.and_then(|(_, frame)| frame.clone());
        let without_frame = if first.is_some() { NO_CODE } else { NO_CLOSE };
        let by_itself = if timed_out {
            EndedBy::Timeout
        } else {
            EndedBy::Disconnect
        };
        SessionReport {
            id: self.shared.id(),
            ended_by: first.map_or(by_itself, |(by, _)| *by),
            close_code: close_frame
                .as_ref()
                .map_or(without_frame, |frame| frame.code().as_u16()),
            close_frame,
            clean: all_left && locked.close_sent() && locked.close_received(),
            duration: self.timers.age(Self::now()),
            messages_received: traffic.messages_received,
            bytes_received: traffic.bytes_received,
            messages_sent: traffic.messages_sent,
            bytes_sent: traffic.bytes_sent,
            rtt: locked.rtt(),
            compressed: self.shared.is_compressed(),
            kept: None,
        }
    }

    fn publish(&self, report: &SessionReport) {
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
        if let Some(hook) = &self.shared.setup().on_end {
            hook(report);
        }
    }

    /// Ends the session of a task that was dropped, with its runtime: handles and the report hook
    /// learn it.
    pub(crate) fn give_up(&mut self) {
        let turn = &mut Turn::default();
        self.write_last(turn);
        if self.phase == Phase::Open {
            self.abort(&mut turn.line);
        }
        self.end(&mut turn.line);
    }

    /// Writes what a client has sent, and its Close where its socket is gone, as far as the transport takes it at once.
    ///
    /// A program that ends when it has sent something drops the runtime, and this task before it was polled again.
    /// Tasks are dropped while sockets still work. On HTTP/2 the task that would write is dropped as well.
    #[cold]
    fn write_last(&mut self, turn: &mut Turn) {
        if self.phase == Phase::Ended || self.setup().role != Role::Client || thread::panicking() {
            return;
        }
        let taken = self.shared.take_transport(&mut self.shared.lock_to_drive());
        let Ok(Some(transport)) = taken else {
            return;
        };
        turn.line.transport = Some(transport);
        if let Ok(queue) = self.take_queue(turn) {
            // Nobody would poll it again.
            let cx = &mut Context::from_waker(Waker::noop());
            self.transmit(cx, queue, turn);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.give_up();
        if let Some(entry) = &self.entry {
            entry.leave();
        }
        // Last: its drop is code of others, which may panic.
        self.shared.drop_data();
    }
}

/// What RFC 6455 §7.1.5 calls a Close frame without a code.
const NO_CODE: u16 = 1005;

/// What RFC 6455 §7.1.5 calls the lack of a Close frame.
const NO_CLOSE: u16 = 1006;

/// How much a peer may go on sending that has our Close, in bytes: more than it had on its way.
const MAX_DISCARD: u64 = 128 << 20;
