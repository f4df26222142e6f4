//! Buffers that belong to the thread, not to a connection.
//!
//! They are taken for the time of a read or a write and put back. Who finds none, because it runs
//! inside another session's turn, makes its own.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    thread::LocalKey,
};

use bytes::BytesMut;

use super::inbox::Inbox;
use crate::protocol::{Decoded, Queue};

/// What is needed to read and decode.
pub(super) struct Scratch {
    /// Bytes as they were received.
    pub(super) buffer: BytesMut,
    /// Events as they were decoded, to be delivered together.
    pub(super) events: VecDeque<Decoded>,
}

impl Scratch {
    /// Takes the thread's scratch: an empty buffer with room for one read, and no events.
    pub(super) fn take() -> Self {
        let mut buffer = take(&BUFFER);
        buffer.clear();
        buffer.reserve(READ);
        Self {
            buffer,
            events: take(&EVENTS),
        }
    }

    /// Makes room for another read behind what was not decoded.
    pub(super) fn make_room(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < LEAST_READ {
            self.buffer.reserve(READ);
        }
    }

    /// Gives it back to the thread.
    pub(super) fn put_back(mut self) {
        if self.buffer.capacity() <= 2 * READ {
            put_back(&BUFFER, self.buffer);
        }
        self.events.clear();
        if self.events.capacity() <= MAX_EVENTS {
            put_back(&EVENTS, self.events);
        }
    }
}

/// Takes the thread's spare inbox, or makes one.
pub(super) fn take_inbox() -> Box<Inbox> {
    take(&INBOX).unwrap_or_default()
}

/// Gives an empty inbox back to the thread.
pub(super) fn put_back_inbox(mut inbox: Box<Inbox>) {
    inbox.clear();
    if inbox.events.capacity() <= MAX_EVENTS {
        put_back(&INBOX, Some(inbox));
    }
}

/// Takes one of the thread's spare queues for frames, where it has one.
pub(super) fn take_queue() -> Option<Box<Queue>> {
    if let Some(queue) = take(&QUEUE) {
        return Some(queue);
    }
    let spare = SMALL_QUEUES.try_with(|queues| queues.borrow_mut().pop());
    spare.ok().flatten()
}

/// Gives a queue that was written back to the thread: one of any size, and many small ones, as a
/// broadcast to many connections needs them.
pub(super) fn put_back_queue(queue: Box<Queue>) {
    if !queue.is_empty() || queue.frames.capacity() > MAX_QUEUE {
        return;
    }
    let before = QUEUE.try_with(|slot| slot.replace(Some(queue)));
    let Some(before) = before.ok().flatten() else {
        return;
    };
    if before.frames.capacity() > SMALL_QUEUE {
        return;
    }
    // A thread that ends has no use for it.
    let _ended = SMALL_QUEUES.try_with(|queues| {
        let mut queues = queues.borrow_mut();
        if queues.len() < MAX_SMALL_QUEUES {
            queues.push(before);
        }
    });
}

/// Takes the thread's buffer for one flat write.
pub(super) fn take_flat_buffer() -> Vec<u8> {
    take(&FLAT_BUFFER)
}

/// Gives the buffer for flat writes back to the thread.
pub(super) fn put_back_flat_buffer(mut buffer: Vec<u8>) {
    buffer.clear();
    put_back(&FLAT_BUFFER, buffer);
}

fn take<T: Default>(slot: &'static LocalKey<Cell<T>>) -> T {
    slot.try_with(Cell::take).unwrap_or_default()
}

fn put_back<T>(slot: &'static LocalKey<Cell<T>>, value: T) {
    // A thread that ends has no use for it.
    let _ended = slot.try_with(|slot| slot.set(value));
}

thread_local! {
    static BUFFER: Cell<BytesMut> = Cell::default();
    static EVENTS: Cell<VecDeque<Decoded>> = const { Cell::new(VecDeque::new()) };
    static INBOX: Cell<Option<Box<Inbox>>> = const { Cell::new(None) };
    static QUEUE: Cell<Option<Box<Queue>>> = const { Cell::new(None) };
    #[expect(clippy::vec_box, reason = "they move in and out as they are")]
    static SMALL_QUEUES: RefCell<Vec<Box<Queue>>> = const { RefCell::new(Vec::new()) };
    static FLAT_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// How much one read takes at most.
const READ: usize = 64 << 10;

/// With less room than this nothing is read.
const LEAST_READ: usize = 16 << 10;

/// A larger buffer of frames goes back to the allocator.
const MAX_QUEUE: usize = 128 << 10;

/// A buffer of frames of which many may be kept.
const SMALL_QUEUE: usize = 1 << 10;

/// How many of them: 1 MiB together, at most.
const MAX_SMALL_QUEUES: usize = 1 << 10;

/// A longer queue of events goes back to the allocator.
const MAX_EVENTS: usize = 4096;
