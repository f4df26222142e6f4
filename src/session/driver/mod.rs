//! The driver: the transport's side of a session, from the first byte to the last.

mod deadlines;
mod end;
mod memory;
mod read;
pub(super) mod turn;
mod write;

use std::{io, mem, sync::Arc, task::Context, time::Duration};

use bytes::BytesMut;
use tokio::time::Instant;

use self::end::EndWatch;
use super::{
    registry::connections::Entry,
    report::{EndedBy, Hooks},
    scratch,
    shared::Shared,
    task::Opened,
    transport::Transport,
};
use crate::{
    CloseFrame, Config, Error, ProtocolError,
    memory::Account,
    protocol::{ControlRate, DecoderState, Timers, random_masking_key},
};

/// Reads, writes and keeps the deadlines of one connection.
///
/// Small, because every idle connection has one: what is rarely there is in `cold`.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    /// `None` once it is gone.
    pub(super) transport: Option<Transport>,
    pub(super) decoder: DecoderState,
    pub(super) timers: Timers,
    pub(super) cold: Option<Box<Cold>>,
    pub(super) messages_received: u64,
    pub(super) bytes_received: u64,
    pub(super) control_rate: ControlRate,
    pub(super) phase: Phase,
    pub(super) input: Input,
    /// A ping was queued and has not left.
    pub(super) ping_queued: bool,
    /// The transport takes nothing for now.
    pub(super) write_blocked: bool,
    /// The transport takes nothing more.
    pub(super) write_failed: bool,
    pub(super) flush_pending: bool,
    /// The handler may find something changed, and has not been polled since.
    pub(super) news: bool,
    /// The one sleep of the session is set for a deadline, and will wake it.
    pub(super) armed: bool,
}

/// What an idle connection does not have.
#[derive(Debug, Default)]
pub(super) struct Cold {
    /// Received and not decoded: the beginning of a frame, or what did not fit in the inbox.
    pub(super) rest: BytesMut,
    /// How far the application was with what came before `deferred`, when last looked at.
    before: Progress,
    /// Decoded, but waits until the handler has seen what came before it.
    pub(super) deferred: Option<Deferred>,
    /// The first failure: what the application is told.
    pub(super) error: Option<Error>,
    /// Our Close was written while the peer's was not there.
    pub(super) close_written: bool,
    /// Bytes received and thrown away after our Close.
    pub(super) discarded: u64,
    /// Present once the end is waited for.
    pub(super) end: Option<EndWatch>,
    /// A deadline ended the connection.
    pub(super) timed_out: bool,
    /// What is held of the memory budget, where that is anything.
    pub(super) account: Option<Account>,
    /// When to look again whether what is waited for has come: memory, or who receives in another task.
    pub(super) look: Option<std::time::Instant>,
    /// Since when nothing is read, because others need the memory.
    pub(super) stopped: Option<std::time::Instant>,
    /// The first byte that is not read because of that. It comes behind `rest`.
    pub(super) ahead: Option<u8>,
}

/// How far the application is with what came before the end.
#[derive(Debug, Default)]
struct Progress {
    /// The events that it has not taken.
    undelivered: usize,
    /// What it has sent: messages and their bytes, which may come in pieces.
    sent: u64,
    /// The rounds that were given to its sending alone.
    rounds: u8,
    /// A receiver in another task has been given time.
    patient: bool,
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
            read,
            role,
            hooks,
            agreed,
        } = opened;
        let mut decoder = DecoderState::new(role);
        if let Some(params) = agreed.deflate_params() {
            decoder.set_deflate(params);
        }
        let seed = u32::from_ne_bytes(random_masking_key());
        let mut driver = Self {
            transport: Some(transport),
            decoder,
            timers: Timers::new(Self::now(), seed.into(), &hooks.config),
            cold: None,
            messages_received: 0,
            bytes_received: 0,
            control_rate: ControlRate::default(),
            phase: Phase::Open,
            input: Input::Ready,
            ping_queued: false,
            write_blocked: false,
            write_failed: false,
            flush_pending: false,
            news: false,
            armed: false,
            shared: Shared::new(role, hooks, agreed),
        };
        if !read.is_empty() {
            // As after a pause: it is decoded before anything is read.
            driver.bytes_received = read.len() as u64;
            driver.input = Input::Paused;
            driver.keep_rest(BytesMut::from(read));
        }
        let draining = |entry: &Entry| entry.open(&driver.shared).cloned();
        if let Some(frame) = driver.shared.entry().and_then(draining) {
            driver.close(EndedBy::Local, &frame);
        }
        driver
    }

    /// What an idle connection does not have, to be put in.
    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_with(scratch::take_cold)
    }

    /// How much was received and not decoded, in bytes.
    pub(super) fn rest_len(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.rest.len())
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.cold.as_ref().map_or(&[], |cold| &cold.rest)
    }

    /// The transport, and where bytes go that are taken in without being decoded.
    pub(super) fn transport_and_rest(&mut self) -> (Option<&mut Transport>, &mut BytesMut) {
        (
            self.transport.as_mut(),
            &mut self.cold.get_or_insert_default().rest,
        )
    }

    pub(super) fn has_deferred(&self) -> bool {
        self.cold
            .as_ref()
            .is_some_and(|cold| cold.deferred.is_some())
    }

    /// Takes what was not decoded, to decode it in place.
    pub(super) fn take_rest(&mut self) -> BytesMut {
        self.cold
            .as_mut()
            .map(|cold| mem::take(&mut cold.rest))
            .unwrap_or_default()
    }

    /// Keeps what was not decoded, and no memory where that is nothing.
    pub(super) fn keep_rest(&mut self, rest: BytesMut) {
        if !rest.is_empty() {
            self.cold().rest = rest;
        } else if let Some(cold) = &mut self.cold {
            cold.rest = BytesMut::new();
            self.forget_cold();
        }
    }

    /// Keeps no memory for what is not there.
    pub(super) fn forget_cold(&mut self) {
        let forgotten = self.cold.take_if(|cold| {
            let ending = cold.deferred.is_some() || cold.error.is_some() || cold.end.is_some();
            let memory = cold.account.is_some() || cold.stopped.is_some();
            !ending && !memory && cold.rest.is_empty() && cold.discarded == 0
        });
        if let Some(cold) = forgotten {
            scratch::put_back_cold(cold);
        }
    }

    /// Whether the application is at what came before the end: its replies leave first.
    ///
    /// It is while it takes messages, and for a few rounds while it sends. Who receives in another
    /// task has a moment to come back for more.
    pub(super) fn is_catching_up(&mut self, handler_finished: bool) -> bool {
        let (undelivered, sent, away) = {
            let mut inner = self.shared.lock();
            // No sender has to let the session write first now.
            inner.yielded = true;
            let outgoing = &inner.outgoing;
            let sent = outgoing.messages + outgoing.bytes;
            // Who has closed sends no more replies, and without a message there is none.
            let replies = self.messages_received > 0 && !outgoing.close_sent();
            let away = replies && inner.receiver_is_away(handler_finished);
            (inner.inbox_len(), sent, away)
        };
        let before = &mut self.cold().before;
        let takes = undelivered < before.undelivered;
        let sends = sent > before.sent && before.rounds < MAX_ROUNDS;
        before.rounds += u8::from(sends);
        (before.undelivered, before.sent) = (undelivered, sent);
        if !away {
            if mem::take(&mut before.patient) {
                self.cold().look = None;
            }
            return takes || sends;
        }
        if !mem::replace(&mut before.patient, true) {
            self.look_again(Self::now(), PATIENCE);
        }
        takes || sends || self.is_patient()
    }

    /// Whether what was deferred waits for somebody in another task, who will wake the session.
    pub(super) fn is_patient(&self) -> bool {
        let patient = |cold: &Cold| cold.before.patient && cold.look.is_some();
        self.cold.as_deref().is_some_and(patient)
    }

    /// Whether the handler may find something changed since it was last polled.
    pub(super) fn take_news(&mut self) -> bool {
        mem::take(&mut self.news)
    }

    pub(super) fn config(&self) -> &Config {
        &self.shared.hooks.config
    }

    pub(super) fn hooks(&self) -> &Hooks {
        &self.shared.hooks
    }

    pub(super) fn now() -> std::time::Instant {
        Instant::now().into_std()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Ends the connection at once.
    pub(super) fn abort(&mut self) {
        let aborted = io::ErrorKind::ConnectionAborted.into();
        self.cold().error.get_or_insert(Error::Io(aborted));
        self.end();
    }

    /// Starts the closing handshake, unless it has begun.
    pub(super) fn close(&mut self, by: EndedBy, frame: &CloseFrame) {
        self.shared.lock().close(self.hooks(), by, frame);
        self.news = true;
    }

    /// Handles what was decoded but had to wait for the handler.
    pub(super) fn handle_deferred(&mut self, cx: &mut Context<'_>) {
        match self.cold().deferred.take() {
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
        self.cold().error = None;
        let mut inner = self.shared.lock();
        inner.receive_close(self.hooks(), frame);
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
        self.close(by, frame);
        self.cold().error.get_or_insert(error);
        self.finish(cx);
    }

    /// The connection ends at a deadline that leaves no time for a closing handshake.
    pub(super) fn time_out(&mut self, error: Error) {
        // Unless it only ends the wait after a failure.
        let timed_out = self.phase == Phase::Open && !self.write_failed;
        let cold = self.cold();
        cold.timed_out = timed_out;
        cold.error.get_or_insert(error);
        self.end();
    }

    /// The transport takes nothing more; what the peer has sent before may still say why.
    pub(super) fn write_failure(&mut self, error: io::Error) {
        self.write_failed = true;
        self.news = true;
        let mut inner = self.shared.lock();
        let closing = inner.outgoing.close_sent();
        let (queue, waiting) = inner.lose();
        drop(inner);
        drop(queue);
        waiting.wake();
        if !closing {
            self.cold().error.get_or_insert(Error::Io(error));
        }
        self.await_end(self.end_timeout());
    }

    /// The peer went away without a closing handshake, or in the middle of it.
    fn disconnected(&mut self, cx: &mut Context<'_>, error: io::Error) {
        let closing = self.shared.lock().outgoing.close_sent();
        if !closing {
            self.cold().error.get_or_insert(Error::Io(error));
        }
        self.finish(cx);
    }
}

/// How long the end waits for a receiver that is about to come back.
const PATIENCE: Duration = Duration::from_millis(10);

/// How many rounds the end waits for a handler that sends, and takes nothing.
const MAX_ROUNDS: u8 = 16;
