//! From what is sent to what is queued: as it is, compressed, or encoded before.

use std::{ptr, sync::Arc};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    Shared,
    locked::Locked,
    waiters::{Asleep, Queued},
};
use crate::{
    error::TrySendError,
    lock::LockGuard,
    protocol::{Encoded, Outbound, PreparedMessage},
    session::setup::Setup,
};

/// A message as most connections are sent it: encoded before, neither compressed nor masked.
///
/// To be made for a few connections, of which all are there as long as this is.
pub(crate) struct Plain<'a> {
    message: &'a PreparedMessage,
    /// The length of the message.
    len: usize,
    /// The settings of the connection that was asked last.
    setup: *const Setup,
    /// What goes to a connection with these settings.
    frames: Option<&'a Bytes>,
}

impl<'a> Plain<'a> {
    pub(crate) fn new(message: &'a PreparedMessage) -> Self {
        Self {
            message,
            len: message.message().len(),
            setup: ptr::null(),
            frames: None,
        }
    }

    /// Returns what goes to a connection with these settings, if that has been encoded.
    #[inline]
    fn frames(&mut self, setup: &Arc<Setup>) -> Option<&'a Bytes> {
        if self.setup != Arc::as_ptr(setup) {
            self.find_frames(setup);
        }
        self.frames
    }

    #[cold]
    fn find_frames(&mut self, setup: &Arc<Setup>) {
        let encoder = setup.encoder();
        self.setup = Arc::as_ptr(setup);
        self.frames = if encoder.masks() {
            None
        } else {
            self.message.plain_if_made(&encoder)
        };
    }
}

impl Shared {
    /// Queues what is to be sent, on a connection that was open when `locked` was locked. What it
    /// gives has to be finished outside all locks.
    ///
    /// # Errors
    ///
    /// Gives it back when the connection was closed while it was compressed.
    #[inline(always)]
    pub(super) fn queue_on(
        &self,
        mut locked: LockGuard<'_, Locked>,
        outbound: Outbound,
    ) -> Result<Queued, Outbound> {
        if self.compressing().is_some() || outbound.is_prepared() {
            drop(locked);
            return self.queue_encoded(outbound);
        }
        Ok(locked.queue(&self.setup, outbound.into_message()))
    }

    /// Encodes a message for many connections, unless this one would compress or mask it.
    pub(crate) fn prepare(&self, prepared: &PreparedMessage) {
        let encoder = self.setup.encoder();
        if self.compressing().is_none() && !encoder.masks() {
            prepared.plain(&encoder, &self.setup.config.memory_budget);
        }
    }

    /// Queues a message where that takes nothing but a place in the queue; reports whether it has. `asleep` is
    /// told, under the lock, where the session runs, if the caller has to write for it or to wake it.
    ///
    /// Nothing is encoded, woken or dropped here, so that it can be called under a group's lock.
    #[inline(always)]
    pub(crate) fn try_queue_plain(
        &self,
        plain: &mut Plain<'_>,
        asleep: impl FnOnce(Option<&Handle>),
    ) -> bool {
        let Some(frames) = plain.frames(&self.setup) else {
            return false;
        };
        if self.compressing().is_some() {
            return false;
        }
        let mut locked = self.lock();
        let empty = locked.queued() == 0;
        let queued = locked.queue_frames(plain.len, frames, &self.setup.config);
        if queued && self.promise(&locked, empty) {
            asleep(locked.runtime());
        }
        queued
    }

    /// Queues a message for many connections if there is room. Gives the session, which the caller has to write for or
    /// to wake, if that has to be.
    pub(crate) fn try_queue_prepared(
        &self,
        prepared: &PreparedMessage,
    ) -> Result<Option<Asleep>, TrySendError> {
        let locked = self.lock();
        if !locked.is_open() {
            return Err(TrySendError::Closed(prepared.into()));
        }
        if locked.is_full(&self.setup.config) {
            return Err(TrySendError::Full(prepared.into()));
        }
        drop(locked);
        let queued = self.encode_and_queue(prepared.into(), |locked, encoded| {
            let empty = locked.queued() == 0;
            let copied = locked.add_encoded(&self.setup, encoded);
            let asleep = self.promise(locked, empty);
            let runtime = locked.runtime().cloned();
            (asleep.then_some(Asleep { runtime }), copied)
        });
        // Outside the lock.
        let (asleep, copied) = queued.map_err(TrySendError::Closed)?;
        drop(copied);
        Ok(asleep)
    }

    /// Queues what may have to be compressed, or was encoded before.
    fn queue_encoded(&self, outbound: Outbound) -> Result<Queued, Outbound> {
        self.encode_and_queue(outbound, |locked, encoded| {
            locked.queue_encoded(&self.setup, encoded)
        })
    }

    fn encode_and_queue<T>(
        &self,
        outbound: Outbound,
        queue: impl FnOnce(&mut Locked, &mut Encoded) -> T,
    ) -> Result<T, Outbound> {
        let encoder = self.setup.encoder();
        let agreed = self.agreed.as_ref();
        let compressing = agreed.and_then(|agreed| agreed.compresses(&outbound, &self.setup));
        let mut guard = compressing.and_then(|compressing| compressing.lock());
        // A message that is sent piece by piece has the context: others do without.
        let taken = guard.as_ref().is_some_and(|context| context.is_none());
        let shape = compressing
            .filter(|_| !taken)
            .map(|compressing| compressing.shape);
        let context = guard.as_mut().and_then(|context| context.as_mut());

        let budget = &self.setup.config.memory_budget;
        let mut encoded = outbound.encode(&encoder, shape, context, budget);
        let Some(mut locked) = self.lock_open() else {
            return Err(encoded.into_outbound());
        };
        let queued = queue(&mut locked, &mut encoded);
        drop(locked);
        drop(guard);
        Ok(queued)
    }

    /// Locks an open connection.
    fn lock_open(&self) -> Option<LockGuard<'_, Locked>> {
        let locked = self.lock();
        locked.is_open().then_some(locked)
    }
}
