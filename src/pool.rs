//! What a thread lends out: taken for a while, then put back for others.
//!
//! A thread that ends lends nothing. What is put back to it is dropped.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    thread::LocalKey,
};

/// Does something with what the thread has; `None` if the thread is at its end.
#[inline]
pub(crate) fn with<T, R>(slot: &'static LocalKey<T>, work: impl FnOnce(&T) -> R) -> Option<R> {
    slot.try_with(work).ok()
}

/// Takes what the thread has, or nothing.
#[inline]
pub(crate) fn take<T: Default>(slot: &'static LocalKey<Cell<T>>) -> T {
    with(slot, Cell::take).unwrap_or_default()
}

/// Gives something to the thread, in place of what it has.
#[inline]
pub(crate) fn put_back<T>(slot: &'static LocalKey<Cell<T>>, value: T) {
    with(slot, |slot| slot.set(value));
}

/// A few things of one kind.
pub(crate) struct Pool<T> {
    things: RefCell<VecDeque<T>>,
    most: usize,
}

#[cfg_attr(
    not(any(test, feature = "deflate")),
    expect(dead_code, reason = "compressors are kept in it")
)]
impl<T> Pool<T> {
    /// Makes an empty pool, which keeps `most` things.
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            things: RefCell::new(VecDeque::new()),
            most,
        }
    }

    /// Takes the one that was put back last of those that fit.
    pub(crate) fn take(&self, fits: impl FnMut(&T) -> bool) -> Option<T> {
        let mut things = self.things.borrow_mut();
        let index = things.iter().rposition(fits)?;
        things.remove(index)
    }

    /// Keeps one. If the pool is full, the one that has been there longest is dropped.
    pub(crate) fn put_back(&self, thing: T) {
        let mut things = self.things.borrow_mut();
        let oldest = if things.len() < self.most {
            None
        } else {
            things.pop_front()
        };
        things.push_back(thing);
        drop(things);
        // It may put back something itself.
        drop(oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    thread_local! {
        static SLOT: Cell<Option<u8>> = const { Cell::new(None) };
        static LAST: Cell<Option<Last>> = const { Cell::new(None) };
    }

    /// Tells what its thread lends when it is at its end.
    struct Last(mpsc::Sender<Option<()>>);

    impl Drop for Last {
        fn drop(&mut self) {
            put_back(&LAST, None);
            let lent = with(&LAST, |_| ());
            self.0.send(lent).expect("the test waits");
        }
    }

    #[test]
    fn what_was_put_back_is_taken_once() {
        assert_eq!(take(&SLOT), None);
        put_back(&SLOT, Some(7));
        assert_eq!((take(&SLOT), take(&SLOT)), (Some(7), None));
    }

    #[test]
    fn a_thread_that_ends_lends_nothing_and_keeps_nothing() {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(|| put_back(&LAST, Some(Last(sender))));
        assert!(thread.join().is_ok());
        assert_eq!(receiver.recv(), Ok(None));
    }

    #[test]
    fn a_full_pool_drops_what_has_been_there_longest() {
        let pool = Pool::new(2);
        assert_eq!(pool.take(|_| true), None);
        (1..=3).for_each(|thing| pool.put_back(thing));
        assert_eq!(pool.take(|thing| *thing == 1), None);
        assert_eq!(pool.take(|thing| *thing < 3), Some(2));
        assert_eq!((pool.take(|_| true), pool.take(|_| true)), (Some(3), None));
    }
}
