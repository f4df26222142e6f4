//! What an idle connection does not have, and no memory for.

use std::{cell::Cell, io, time::Instant};

use bytes::BytesMut;

use crate::{
    error::Error,
    memory::Account,
    pool,
    protocol::{CloseFrame, ProtocolError, Rates},
};

/// What is there only for a while, or at the end.
#[derive(Default)]
pub(super) struct Cold {
    /// Received and not decoded: the beginning of a frame, or what did not fit in the inbox.
    pub(super) undecoded: BytesMut,
    /// How far the application was with what came before `deferred`, when last looked at.
    pub(super) before: Progress,
    /// Decoded, but waits until the handler has seen what came before it.
    pub(super) deferred: Option<Deferred>,
    /// What the transport said behind what was read and not decoded: its end, or its failure.
    pub(super) behind: Option<Deferred>,
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
    pub(super) look: Option<Instant>,
    /// Since when nothing is read, because others need the memory.
    pub(super) stopped: Option<Instant>,
    /// The first byte that is not read because of that. It comes behind `undecoded`.
    pub(super) ahead: Option<u8>,
    /// What was used up of the rates, where there are any and something came.
    pub(super) pace: Option<Box<Pace>>,
}

/// How a connection keeps its rates.
#[derive(Default)]
pub(super) struct Pace {
    pub(super) rates: Rates,
    /// How much at the end of `undecoded` was read ahead, and takes its share of the rate when it is decoded.
    pub(super) ahead: usize,
    /// Until when nothing is read: no more than the rates allow.
    pub(super) until: Option<Instant>,
}

/// What is handled only after the handler was polled with the messages before it.
#[derive(Debug)]
pub(super) enum Deferred {
    Close(Option<CloseFrame>),
    Violation(ProtocolError),
    Eof,
    Failure(io::Error),
}

/// How far the application is with what came before.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The events that it has not taken.
    pub(super) undelivered: usize,
    /// What it has sent: messages and their bytes, which may come in pieces.
    pub(super) sent: u64,
    /// The rounds that were given to its sending alone.
    pub(super) rounds: u8,
    /// It has taken or sent something since it was looked at before.
    pub(super) moved: bool,
    /// A receiver in another task has been given time.
    pub(super) patient: bool,
}

/// How far the end was when its time began.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndWatch {
    /// When its first time began.
    pub(super) first: Instant,
    pub(super) since: Instant,
    /// What was queued then, in bytes.
    pub(super) queued: usize,
    /// What was thrown away until then, in bytes.
    pub(super) discarded: u64,
}

impl EndWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            first: now,
            since: now,
            queued: 0,
            discarded: 0,
        }
    }
}

impl Cold {
    /// Reports whether there is nothing in it to remember.
    pub(super) fn is_spent(&self) -> bool {
        self.is_bytes_alone() && self.undecoded.is_empty() && self.pace.is_none()
    }

    /// Reports whether there is nothing in it but what was not decoded.
    pub(super) fn is_bytes_alone(&self) -> bool {
        let failed = self.error.is_some() || self.behind.is_some();
        let ending = failed || self.deferred.is_some() || self.end.is_some();
        let memory = self.account.is_some() || self.stopped.is_some();
        !ending && !memory && self.discarded == 0
    }
}

/// Takes the thread's spare place for what a connection rarely has, or makes one.
pub(super) fn take_cold() -> Box<Cold> {
    pool::take(&COLD).unwrap_or_default()
}

/// Gives the place back to the thread.
pub(super) fn put_back_cold(mut cold: Box<Cold>) {
    *cold = Cold::default();
    pool::put_back(&COLD, Some(cold));
}

thread_local! {
    static COLD: Cell<Option<Box<Cold>>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_with_rates_takes_what_the_settings_say() {
        let both = size_of::<Cold>() + size_of::<Pace>();
        assert!(both <= 500, "{both} bytes");
    }
}
