//! The driver: the transport's side of a session, from the first byte to the last.

use std::{
    io, mem,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    report::{EndedBy, Report},
    shared::{End, Inner, Shared},
    task::Opened,
    transport::Transport,
};
use crate::{
    CloseCode, CloseFrame, Config, Error, ProtocolError,
    protocol::{ControlRate, Decoder, Role, Timers, random_masking_key},
};

/// Reads, writes and keeps the deadlines of one connection.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    /// `None` once it is gone.
    pub(super) transport: Option<Transport>,
    pub(super) decoder: Decoder,
    pub(super) control_rate: ControlRate,
    pub(super) timers: Timers,
    /// Received and not decoded: the beginning of a frame, or what did not fit in the inbox.
    pub(super) rest: Vec<u8>,
    /// Decoded, but waits until the handler has seen what came before it.
    pub(super) deferred: Option<Deferred>,
    /// The first failure: what the application is told.
    error: Option<Box<Error>>,
    pub(super) phase: Phase,
    pub(super) role: Role,
    pub(super) input: Input,
    /// A ping was queued and has not left.
    pub(super) ping_queued: bool,
    /// The transport takes nothing more.
    pub(super) write_failed: bool,
    pub(super) flush_pending: bool,
    pub(super) write_blocked: bool,
    timed_out: bool,
    /// Bytes received and thrown away after our Close.
    discarded: u64,
    pub(super) messages_received: u64,
    pub(super) bytes_received: u64,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Frames are decoded: open, or waiting for the peer's Close.
    Open,
    /// What is queued still leaves; nothing more is decoded.
    Flushing,
    /// Our side of the transport is being ended.
    ShuttingDown,
    /// The peer's end is waited for.
    Lingering,
    /// The transport is gone.
    Ended,
}

/// What is known of the bytes to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Input {
    /// More may be there.
    Ready,
    /// The transport will wake the session.
    Waiting,
    /// The inbox is full.
    Paused,
    /// The peer has ended its side.
    Ended,
}

/// What is handled only after the handler was polled with the messages before it, so that its
/// replies to them still leave.
#[derive(Debug)]
pub(super) enum Deferred {
    Close(Option<CloseFrame>),
    Violation(ProtocolError),
    Eof,
    Failure(io::Error),
}

impl Driver {
    pub(super) fn new(opened: Opened) -> Self {
        let Opened {
            transport,
            role,
            hooks,
            protocol,
        } = opened;
        let now = Instant::now().into_std();
        let seed = u32::from_ne_bytes(random_masking_key());
        Self {
            transport: Some(transport),
            decoder: Decoder::new(role, &hooks.config),
            control_rate: ControlRate::new(),
            timers: Timers::new(now, seed.into(), &hooks.config),
            rest: Vec::new(),
            deferred: None,
            error: None,
            phase: Phase::Open,
            role,
            input: Input::Ready,
            ping_queued: false,
            write_failed: false,
            flush_pending: false,
            write_blocked: false,
            timed_out: false,
            discarded: 0,
            messages_received: 0,
            bytes_received: 0,
            shared: Shared::new(role, hooks, protocol),
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.shared.hooks.config
    }

    pub(super) fn now() -> std::time::Instant {
        Instant::now().into_std()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Starts the closing handshake, unless it has begun.
    pub(super) fn close(&mut self, frame: &CloseFrame) {
        self.shared.lock().close(EndedBy::Local, Some(frame));
    }

    /// Closes normally where nobody receives any more.
    pub(super) fn close_if_abandoned(&mut self, handler_finished: bool) {
        let mut inner = self.shared.lock();
        if inner.is_abandoned(handler_finished) {
            inner.close(EndedBy::Local, Some(&CloseCode::NORMAL.into()));
        }
    }

    /// Handles what was decoded but had to wait for the handler.
    pub(super) fn handle_deferred(&mut self, cx: &mut Context<'_>) {
        match self.deferred.take() {
            None => {}
            Some(Deferred::Close(frame)) => self.receive_close(cx, frame),
            Some(Deferred::Violation(error)) => {
                let frame = error.close_frame();
                self.fail(cx, Error::Protocol(error), EndedBy::Violation, &frame);
            }
            Some(Deferred::Eof) => self.disconnected(cx, io::ErrorKind::UnexpectedEof.into()),
            Some(Deferred::Failure(error)) => {
                self.write_failed = true;
                self.disconnected(cx, error);
            }
        }
    }

    /// The peer's Close: it is answered (RFC 6455 §5.5.1), and nothing more is read.
    fn receive_close(&mut self, cx: &mut Context<'_>, frame: Option<CloseFrame>) {
        // Whatever failed before, the peer has ended this properly.
        self.error = None;
        let mut inner = self.shared.lock();
        inner.receive_close(frame, self.config().auto_pong);
        let observer = inner.observe_close(cx.waker());
        drop(inner);
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
        self.shared.lock().close(by, Some(frame));
        self.error.get_or_insert_with(|| Box::new(error));
        self.finish(cx);
    }

    /// The connection ends at a deadline that leaves no time for a closing handshake.
    pub(super) fn time_out(&mut self, error: Error) {
        self.timed_out = true;
        self.error.get_or_insert_with(|| Box::new(error));
        self.end();
    }

    /// The transport takes nothing more; what the peer has sent before may still say why.
    pub(super) fn write_failure(&mut self, error: io::Error) {
        self.write_failed = true;
        let mut inner = self.shared.lock();
        if !inner.outgoing.close_sent() {
            self.error.get_or_insert_with(|| Box::new(Error::Io(error)));
        }
        inner.outgoing.end();
        inner.writing = false;
        let queue = mem::take(inner.outgoing.queue_mut());
        let senders = inner.take_senders();
        drop(inner);
        drop(queue);
        senders.into_iter().for_each(Waker::wake);
        self.timers.closing(Self::now(), self.end_timeout());
    }

    /// The peer went away without a closing handshake, or in the middle of it.
    fn disconnected(&mut self, cx: &mut Context<'_>, error: io::Error) {
        let closing = self.shared.lock().outgoing.close_sent();
        if !closing {
            self.error.get_or_insert_with(|| Box::new(Error::Io(error)));
        }
        self.finish(cx);
    }

    /// Nothing more is received: the application learns it, what is queued still leaves.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Flushing;
        self.rest = Vec::new();
        self.timers.stop_open();
        let mut inner = self.shared.lock();
        inner.end = Some(match self.error.take() {
            Some(error) => End::Failed(Some(error)),
            None => End::Clean,
        });
        if !inner.outgoing.close_sent() {
            // Without a Close frame there is nothing to answer.
            inner.outgoing.end();
        }
        let receiver = inner.take_receiver(cx.waker());
        let senders = inner.take_senders();
        drop(inner);
        senders.into_iter().chain(receiver).for_each(Waker::wake);
    }

    /// Brings the end on, as far as it goes without waiting.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) {
        let drained = self.write_failed || self.is_drained();
        if self.phase == Phase::Flushing && drained {
            self.phase = if self.write_failed || self.waits_for_server() {
                Phase::Lingering
            } else {
                Phase::ShuttingDown
            };
            self.timers.closing(Self::now(), self.end_timeout());
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

    /// A client lets the server end a TCP connection first (RFC 6455 §7.1.1).
    fn waits_for_server(&self) -> bool {
        self.role == Role::Client && !self.is_multiplexed()
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.transport
            .as_ref()
            .is_some_and(Transport::is_multiplexed)
    }

    fn end_timeout(&self) -> Duration {
        if self.is_multiplexed() {
            self.config().close_timeout
        } else {
            self.config().linger
        }
    }

    /// Throws bytes away that came after the end of interest; too many of them end it all.
    pub(super) fn discard(&mut self, bytes: u64) {
        self.discarded += bytes;
        if self
            .config()
            .max_message_size
            .is_some_and(|limit| self.discarded > limit as u64)
        {
            self.end();
        }
    }

    /// Gives the transport up: everybody who waits learns it, and the report is made.
    pub(super) fn end(&mut self) {
        if mem::replace(&mut self.phase, Phase::Ended) == Phase::Ended {
            return;
        }
        let transport = self.transport.take();
        self.input = Input::Ended;
        let mut inner = self.shared.lock();
        inner.outgoing.end();
        let clean = inner.outgoing.close_received();
        if inner.end.is_none() {
            let error = self.error.take();
            inner.end = Some(if clean {
                End::Clean
            } else {
                End::Failed(error)
            });
        }
        let senders = inner.take_senders();
        let receiver = inner.take_any_receiver();
        let report = self.report(&inner);
        drop(inner);
        drop(transport);
        senders.into_iter().chain(receiver).for_each(Waker::wake);
        self.publish(&report);
    }

    fn report(&self, inner: &Inner) -> Report {
        let (outgoing, first) = (&inner.outgoing, inner.first_close.as_deref());
        let close_frame = first.and_then(|(_, frame)| frame.clone());
        let without_frame = if first.is_some() { NO_CODE } else { NO_CLOSE };
        let by_itself = if self.timed_out {
            EndedBy::Timeout
        } else {
            EndedBy::Disconnect
        };
        Report {
            ended_by: first.map_or(by_itself, |(by, _)| *by),
            close_code: close_frame
                .as_ref()
                .map_or(without_frame, |frame| frame.code().as_u16()),
            close_frame,
            clean: outgoing.close_sent() && outgoing.close_received(),
            duration: Self::now().saturating_duration_since(self.timers.start()),
            messages_received: self.messages_received,
            bytes_received: self.bytes_received,
            messages_sent: outgoing.messages,
            bytes_sent: outgoing.bytes,
        }
    }

    fn publish(&self, report: &Report) {
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

impl Drop for Driver {
    /// The session's task was dropped, with its runtime: handles and the report hook learn it.
    fn drop(&mut self) {
        self.end();
    }
}

/// What RFC 6455 §7.1.5 calls a Close frame without a code.
const NO_CODE: u16 = 1005;

/// What RFC 6455 §7.1.5 calls the lack of a Close frame.
const NO_CLOSE: u16 = 1006;
