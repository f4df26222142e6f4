//! Buffers that belong to the thread, not to a connection.
//!
//! They are taken for the time of a read or a write and put back. A session that finds none, because it
//! runs inside another one's turn, makes its own.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

use crate::{
    pool::{self, put_back, take},
    protocol::Unsent,
};

/// Takes the thread's buffer to read to: empty, with room for one read.
#[inline]
pub(super) fn take_buffer() -> BytesMut {
    let mut buffer = take(&BUFFER).unwrap_or_default();
    buffer.clear();
    make_room(&mut buffer);
    buffer
}

/// Makes room for a read behind what was not decoded.
#[inline]
pub(super) fn make_room(buffer: &mut BytesMut) {
    // For less it is not worth moving what is in it to its front.
    if buffer.capacity() - buffer.len() < LEAST_READ {
        buffer.reserve(READ.saturating_sub(buffer.len()));
    }
}

/// Gives the buffer that was read to back to the thread.
#[inline]
pub(super) fn put_back_buffer(buffer: BytesMut) {
    if buffer.capacity() <= 2 * READ {
        put_back(&BUFFER, Some(buffer));
    }
}

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
    let capacity = queue.frames.capacity();
    if !queue.is_empty() || capacity > MAX_QUEUE {
        return;
    }
    pool::with(&QUEUES, |queues| {
        let queues = &mut *queues.borrow_mut();
        if capacity > SMALL_QUEUE {
            queues.large = Some(queue);
        } else if queues.small.len() < MAX_SMALL_QUEUES {
            queues.small.push(queue);
        }
    });
}

/// Queues without frames.
struct Queues {
    large: Option<Box<Unsent>>,
    #[expect(clippy::vec_box, reason = "they move in and out as they are")]
    small: Vec<Box<Unsent>>,
}

thread_local! {
    static BUFFER: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static QUEUES: RefCell<Queues> = const {
        RefCell::new(Queues { large: None, small: Vec::new() })
    };
}

/// How much one read takes at most.
const READ: usize = 64 << 10;

/// With less room than this nothing is read.
const LEAST_READ: usize = 48 << 10;

/// A larger buffer of frames goes back to the allocator.
const MAX_QUEUE: usize = 128 << 10;

/// A buffer of frames of which many may be kept.
const SMALL_QUEUE: usize = 1 << 10;

/// How many of them: 1 MiB together, at most.
const MAX_SMALL_QUEUES: usize = 1 << 10;
