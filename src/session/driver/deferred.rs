//! What waits until the handler has seen what came before it, so that its replies still leave.

use std::{io, mem, task::Context, time::Duration};

use super::{
    Driver,
    cold::{Cold, Deferred},
};
use crate::{error::Error, session::report::EndedBy};

impl Driver {
    pub(super) fn has_deferred(&self) -> bool {
        let deferred = |cold: &Cold| cold.deferred.is_some();
        self.cold.as_deref().is_some_and(deferred)
    }

    /// Reports whether the transport has said something behind what was read and not decoded.
    pub(super) fn has_behind(&self) -> bool {
        let behind = |cold: &Cold| cold.behind.is_some();
        self.cold.as_deref().is_some_and(behind)
    }

    /// Takes what the transport has said behind what was read and not decoded, as it is all decoded.
    #[inline]
    pub(super) fn take_behind(&mut self) -> Option<Deferred> {
        self.cold.as_mut()?.behind.take()
    }

    /// Keeps something until the handler has seen what came before it.
    pub(super) fn defer(&mut self, deferred: Deferred) {
        self.cold().deferred = Some(deferred);
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

    /// Notes how far the application is with what came before the end.
    ///
    /// A receiver in another task gets a moment to come back for more.
    pub(super) fn note_progress(&mut self) {
        let mut locked = self.shared.lock_to_drive();
        locked.let_no_sender_yield();
        let undelivered = locked.inbox_len();
        let (messages, bytes) = locked.sent();
        let sent = messages + bytes;
        // An application that has closed sends no more replies, and without a message there is none.
        let replies = self.incoming.messages() > 0 && !locked.close_sent();
        let away = replies && locked.receiver_is_away(self.handler_finished);
        drop(locked);

        let before = &mut self.cold().before;
        let takes = undelivered < before.undelivered;
        let sends = sent > before.sent && before.rounds < MAX_ROUNDS;
        before.rounds += u8::from(sends);
        (before.undelivered, before.sent) = (undelivered, sent);
        before.moved = takes || sends;
        match (away, mem::replace(&mut before.patient, away)) {
            (true, false) => self.look_again(Self::now(), PATIENCE),
            (false, true) => self.cold().look = None,
            _ => {}
        }
    }

    /// Notes that the handler has just taken messages that were not in the inbox: it is at them.
    pub(super) fn note_taken(&mut self, messages: u32) {
        self.cold().before.undelivered += messages as usize;
    }

    /// Reports whether the application is at what came before the end: its replies leave first.
    ///
    /// It is while it takes messages, for a few rounds while it only sends, and while a receiver in
    /// another task may come back.
    pub(super) fn is_catching_up(&self) -> bool {
        let moved = |cold: &Cold| cold.before.moved;
        self.cold.as_deref().is_some_and(moved) || self.is_patient()
    }

    /// Reports whether the end waits for a receiver in another task, which will wake the session.
    pub(super) fn is_patient(&self) -> bool {
        let patient = |cold: &Cold| cold.before.patient && cold.look.is_some();
        self.cold.as_deref().is_some_and(patient)
    }
}

/// How long the end waits for a receiver that is about to come back.
const PATIENCE: Duration = Duration::from_millis(10);

/// How many rounds the end waits for a handler that sends, and takes nothing.
const MAX_ROUNDS: u8 = 16;
