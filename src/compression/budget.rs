//! The memory that context takeover may take.

use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The memory that connections may take together.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self {
            limit: limit.unwrap_or(usize::MAX),
            taken: Arc::default(),
        }
    }

    /// Returns the limit; `None` if there is none.
    pub(crate) fn limit(&self) -> Option<usize> {
        Some(self.limit).filter(|limit| *limit < usize::MAX)
    }

    /// Takes memory for what every connection needs.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.reserve_below(bytes, self.limit)
    }

    /// Takes memory for what only makes things faster; half of the limit is kept for the rest.
    pub(crate) fn reserve_luxury(&self, bytes: usize) -> Option<Reservation> {
        self.reserve_below(bytes, self.limit / 2)
    }

    fn reserve_below(&self, bytes: usize, limit: usize) -> Option<Reservation> {
        let reserve = |taken: usize| {
            taken
                .checked_add(bytes)
                .filter(|&together| together <= limit)
        };
        // Relaxed: the number guards no other memory.
        self.taken.fetch_update(Relaxed, Relaxed, reserve).ok()?;
        Some(Reservation {
            taken: self.taken.clone(),
            bytes,
        })
    }
}

/// Memory that was taken from a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_given_up_to_its_limit_and_comes_back() {
        let budget = Budget::new(Some(100));
        let first = budget.reserve(60);
        assert!(first.is_some());
        assert!(budget.reserve(41).is_none());
        let second = budget.reserve(40);
        assert!(second.is_some() && budget.reserve(1).is_none());
        drop(first);
        assert!(budget.reserve(60).is_some());
    }

    #[test]
    fn luxury_leaves_half_of_the_budget() {
        let budget = Budget::new(Some(100));
        let _half = budget.reserve_luxury(50).expect("half of it is free");
        assert!(budget.reserve_luxury(1).is_none());
        assert!(budget.reserve(50).is_some());
    }

    #[test]
    fn budget_without_limit_does_not_overflow() {
        let budget = Budget::new(None);
        let _all = budget.reserve(usize::MAX).expect("there is no limit");
        assert!(budget.reserve(1).is_none());
    }

    #[test]
    fn clones_count_together() {
        let budget = Budget::new(Some(10));
        let other = budget.clone();
        let _taken = other.reserve(10).expect("it is all free");
        assert!(budget.reserve(1).is_none());
        drop(other);
    }
}
