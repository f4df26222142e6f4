//! Queues that belong to the thread, not to a connection: each is taken for what is sent, and put back when
//! that is written.

use std::cell::RefCell;

use crate::{pool, protocol::Unsent};

/// Takes one of the thread's spare queues for frames, where it has one.
#[inline]
pub(super) fn take_queue() -> Option<Box<Unsent>> {
    let spare = pool::with(&QUEUES, |queues| {
        let queues = &mut *queues.borrow_mut();
        queues.large.take().or_else(|| queues.small.pop())
    });
    spare.flatten()
}

/// Gives a queue that was written back to the thread: one of any size, and many small ones, as a
/// broadcast to many connections needs them.
#[inline]
pub(super) fn put_back_queue(queue: Box<Unsent>) {
    if !is_worth_keeping(&queue) {
        return;
    }
    let capacity = queue.frames.capacity();
    pool::with(&QUEUES, |queues| {
        let queues = &mut *queues.borrow_mut();
        if capacity > SMALL_QUEUE {
            queues.large = Some(queue);
        } else if queues.small.len() < MAX_SMALL_QUEUES {
            queues.small.push(queue);
        }
    });
}

/// Reports whether a queue is empty, and not too large to be kept.
#[inline]
pub(super) fn is_worth_keeping(queue: &Unsent) -> bool {
    queue.is_empty() && queue.frames.capacity() <= MAX_QUEUE
}

/// Queues without frames.
struct Queues {
    large: Option<Box<Unsent>>,
    #[expect(clippy::vec_box, reason = "they move in and out as they are")]
    small: Vec<Box<Unsent>>,
}

thread_local! {
    static QUEUES: RefCell<Queues> = const {
        RefCell::new(Queues { large: None, small: Vec::new() })
    };
}

/// A larger buffer of frames goes back to the allocator.
const MAX_QUEUE: usize = 128 << 10;

/// A buffer of frames of which many may be kept.
const SMALL_QUEUE: usize = 1 << 10;

/// How many of them: 1 MiB together, at most.
const MAX_SMALL_QUEUES: usize = 1 << 10;
