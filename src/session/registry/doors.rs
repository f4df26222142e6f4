//! Who is let in, until nobody is any more.

use crate::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering, fence},
};

/// How many are inside, and whether more may come.
pub(super) struct Doors<T> {
    inside: AtomicUsize,
    closed: OnceLock<T>,
}

impl<T> Doors<T> {
    pub(super) fn new() -> Self {
        Self {
            inside: AtomicUsize::new(0),
            closed: OnceLock::new(),
        }
    }

    /// Lets one more in; `false` where they are closed.
    ///
    /// Who closes them, and looks then, has seen it inside, or it sees them closed.
    pub(super) fn enter(&self) -> bool {
        self.inside.fetch_add(1, Ordering::AcqRel);
        // With that in `close`.
        fence(Ordering::SeqCst);
        self.closed().is_none()
    }

    /// One less is inside, which was let in or turned away; reports whether it was the last.
    pub(super) fn leave(&self) -> bool {
        self.inside.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Lets nobody in any more; the first who closes them says why.
    pub(super) fn close(&self, why: T) {
        let _first = self.closed.set(why);
        // With that in `enter`.
        fence(Ordering::SeqCst);
    }

    /// Why they are closed, if they are.
    pub(super) fn closed(&self) -> Option<&T> {
        self.closed.get()
    }

    /// Returns how many are inside, or are about to be turned away.
    pub(super) fn inside(&self) -> usize {
        self.inside.load(Ordering::Acquire)
    }
}
