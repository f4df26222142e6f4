//! From what is sent to what is queued: as it is, compressed, or encoded before.

use super::{
    Shared,
    locked::Locked,
    waiters::{Asleep, Queued},
};
use crate::{
    error::TrySendError,
    lock::LockGuard,
    protocol::{Encoded, Outbound, PreparedMessage},
};

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

    /// Queues a message for many connections if there is room, under one lock where it leaves as it
    /// is. Gives the session, which the caller has to write for or to wake, if that has to be.
    pub(crate) fn try_queue_prepared(
        &self,
        prepared: &PreparedMessage,
    ) -> Result<Option<Asleep>, TrySendError> {
        let encoder = self.setup.encoder();
        if self.compressing().is_some() || encoder.masks() {
            return self.try_queue_anyhow(prepared);
        }
        let frames = prepared.plain(&encoder, &self.setup.config.memory_budget);
        let mut locked = self.lock();
        if let Some(frames) = frames
            && locked.is_open()
            && !locked.is_full(&self.setup.config)
        {
            let asleep = self.promise(&locked);
            locked.add_frames(prepared.message().len(), frames);
            return Ok(asleep);
        }
        drop(locked);
        self.try_queue_anyhow(prepared)
    }

    fn try_queue_anyhow(&self, prepared: &PreparedMessage) -> Result<Option<Asleep>, TrySendError> {
        let locked = self.lock();
        if !locked.is_open() {
            return Err(TrySendError::Closed(prepared.into()));
        }
        if locked.is_full(&self.setup.config) {
            return Err(TrySendError::Full(prepared.into()));
        }
        drop(locked);
        let queued = self.encode_and_queue(prepared.into(), |locked, encoded| {
            let asleep = self.promise(locked);
            (asleep, locked.add_encoded(&self.setup, encoded))
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
