//! A lock whose poisoning means nothing.
//!
//! Code that holds a [`Lock`] keeps three rules, so that no thread waits long for it and no panic leaves
//! half a change behind:
//!
//! - it is held for a few instructions, that of a group's members for as many as it takes to queue a message for
//!   60 of them, never over a read, a write, an encoding or an `.await`;
//! - no code of the application or the runtime runs under it: wakers are taken out and woken later, and
//!   payloads, wakers and hooks are dropped later;
//! - of two locks the compressor's comes before the connection's, and a group's before its members' and
//!   their connections'.

use std::sync::{PoisonError, TryLockError};

use crate::sync::{Mutex, MutexGuard};

/// Has the lock until it is dropped.
pub(crate) type LockGuard<'a, T> = MutexGuard<'a, T>;

/// A mutex that is taken whether or not a thread has panicked with it.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits until no other thread has it, and takes it.
    #[inline]
    pub(crate) fn lock(&self) -> LockGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it unless another thread has it.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
