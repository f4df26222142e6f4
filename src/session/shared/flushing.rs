//! What is known of others who write for a session.

use std::sync::atomic::Ordering::Relaxed;

use crate::sync::atomic::{AtomicBool, AtomicU16};

/// How others write for the session.
///
/// Read and changed under the lock alone: it lies beside it, where there is room for it, and not inside.
///
/// | flag | set by | cleared by | read by |
/// |---|---|---|---|
/// | `promised` | who queues something for many, and does not wake the session, which is idle | who keeps the promise; the driver, when a round begins | both |
/// | `able` | the same: it can be written without the session | as `promised` | who keeps the promise |
/// | `flushing` | who writes for the session, with the transport it takes | the same, when it puts that back | the driver, which waits for it |
/// | `driver_waits` | the driver, which finds the transport taken | who puts it back, and wakes the driver | the same |
///
/// Invariant: while `promised`, the session is on somebody's list.
#[derive(Default)]
pub(super) struct Flushing {
    pub(super) promised: AtomicBool,
    pub(super) able: AtomicBool,
    pub(super) flushing: AtomicBool,
    pub(super) driver_waits: AtomicBool,
    /// How much was written since the driver's last round, in bytes: what is written at once, at most.
    pub(super) written: AtomicU16,
}

impl Flushing {
    /// Takes back what was promised; reports whether something was.
    #[inline]
    pub(super) fn take_promise(&self) -> bool {
        let promised = self.promised.load(Relaxed);
        self.promised.store(false, Relaxed);
        promised
    }
}
