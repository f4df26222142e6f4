//! What the crate's own module of this name gives, of `loom`.

pub(crate) use loom::sync::atomic;

use atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

/// As the standard library's: what is set is seen by whoever sees that it is.
pub(crate) struct OnceLock<T> {
    is_set: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self {
            is_set: AtomicBool::new(false),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if !self.is_set.load(Acquire) {
            return None;
        }
        self.value.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        match self.value.set(value) {
            Ok(()) => {
                self.is_set.store(true, Release);
                Ok(())
            }
            Err(value) => {
                // It waits for whoever came before.
                while !self.is_set.load(Acquire) {
                    loom::thread::yield_now();
                }
                Err(value)
            }
        }
    }
}
