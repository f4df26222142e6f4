//! What an idle connection does not have, and no memory for.

use std::{cell::Cell, mem, time::Instant};

use bytes::BytesMut;

use super::{
    Driver,
    deferred::{Deferred, Progress},
    end_time::EndWatch,
};
use crate::{error::Error, memory::Account, pool};

/// What is there only for a while, or at the end.
#[derive(Default)]
pub(super) struct Cold {
    /// Received and not decoded: the beginning of a frame, or what did not fit in the inbox.
    pub(super) undecoded: BytesMut,
    /// How far the application was with what came before `deferred`, when last looked at.
    pub(super) before: Progress,
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
    pub(super) look: Option<Instant>,
    /// Since when nothing is read, because others need the memory.
    pub(super) stopped: Option<Instant>,
    /// The first byte that is not read because of that. It comes behind `undecoded`.
    pub(super) ahead: Option<u8>,
}

impl Driver {
    /// Returns what an idle connection does not have, to put something in.
    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_with(take_cold)
    }

    /// Returns how much was received and not decoded, in bytes.
    pub(super) fn undecoded_len(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.undecoded.len())
    }

    pub(super) fn undecoded(&self) -> &[u8] {
        self.cold.as_ref().map_or(&[], |cold| &cold.undecoded)
    }

    /// Takes what was not decoded, to decode it in place.
    pub(super) fn take_undecoded(&mut self) -> BytesMut {
        self.cold
            .as_mut()
            .map(|cold| mem::take(&mut cold.undecoded))
            .unwrap_or_default()
    }

    /// Keeps what was not decoded, and no memory where that is nothing.
    pub(super) fn keep_undecoded(&mut self, undecoded: BytesMut) {
        if !undecoded.is_empty() {
            self.cold().undecoded = undecoded;
        } else if let Some(cold) = &mut self.cold {
            cold.undecoded = BytesMut::new();
            self.forget_cold();
        }
    }

    /// Keeps no memory for what is not there.
    pub(super) fn forget_cold(&mut self) {
        let forgotten = self.cold.take_if(|cold| {
            let ending = cold.deferred.is_some() || cold.error.is_some() || cold.end.is_some();
            let memory = cold.account.is_some() || cold.stopped.is_some();
            !ending && !memory && cold.undecoded.is_empty() && cold.discarded == 0
        });
        if let Some(cold) = forgotten {
            put_back_cold(cold);
        }
    }
}

/// Takes the thread's spare place for what a connection rarely has, or makes one.
fn take_cold() -> Box<Cold> {
    pool::take(&COLD).unwrap_or_default()
}

/// Gives the place back to the thread.
fn put_back_cold(mut cold: Box<Cold>) {
    *cold = Cold::default();
    pool::put_back(&COLD, Some(cold));
}

thread_local! {
    static COLD: Cell<Option<Box<Cold>>> = const { Cell::new(None) };
}
