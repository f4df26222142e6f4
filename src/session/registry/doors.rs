//! Who is let in, until nobody is any more.

use crate::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

/// How many are inside, and whether more may come.
pub(super) struct Doors<T> {
    /// How many are inside; with [`CLOSED`] once nobody is let in any more.
    inside: AtomicUsize,
    why: OnceLock<T>,
}

impl<T> Doors<T> {
    pub(super) fn new() -> Self {
        Self {
            inside: AtomicUsize::new(0),
            why: OnceLock::new(),
        }
    }

    /// Lets one more in; `false` where they are closed, and then nobody is inside for that.
    ///
    /// Who closes them, and looks then, has seen it inside, or it is turned away.
    pub(super) fn enter(&self) -> bool {
        let one_more = |inside| (inside & CLOSED == 0).then_some(inside + 1);
        let entered = self
            .inside
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        entered.is_ok()
    }

    /// One less is inside, which was let in; reports whether it was the last.
    pub(super) fn leave(&self) -> bool {
        self.inside.fetch_sub(1, Ordering::AcqRel) & !CLOSED == 1
    }

    /// Lets nobody in any more; the first who closes them says why.
    pub(super) fn close(&self, why: T) {
        let _first = self.why.set(why);
        self.inside.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Why they are closed, if they are, or are about to be.
    pub(super) fn closed(&self) -> Option<&T> {
        self.why.get()
    }

    /// Returns how many are inside.
    pub(super) fn inside(&self) -> usize {
        self.inside.load(Ordering::Acquire) & !CLOSED
    }
}

/// The highest bit: more than can be inside.
const CLOSED: usize = !(usize::MAX >> 1);
