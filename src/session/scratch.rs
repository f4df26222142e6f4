//! Buffers that belong to the thread, not to a connection.
//!
//! They are taken for the time of a read or a write and put back. Who finds none, because it runs
//! inside another session's turn, makes its own.

use std::{cell::Cell, collections::VecDeque};

use bytes::BytesMut;

use crate::protocol::Event;

/// What is needed to read and decode.
pub(super) struct Scratch {
    /// Bytes as they were received.
    pub(super) buffer: BytesMut,
    /// Events as they were decoded, to be delivered together.
    pub(super) events: VecDeque<Event>,
}

impl Scratch {
    /// Takes the thread's scratch: an empty buffer with room for one read, and no events.
    pub(super) fn take() -> Self {
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        buffer.reserve(READ);
        Self {
            buffer,
            events: EVENTS.try_with(Cell::take).unwrap_or_default(),
        }
    }

    /// Gives it back to the thread.
    pub(super) fn put_back(self) {
        // A thread that ends has no use for it.
        let _ended = BUFFER.try_with(|slot| slot.set(self.buffer));
        put_back_events(self.events);
    }
}

/// Gives a queue of events back to the thread.
pub(super) fn put_back_events(mut events: VecDeque<Event>) {
    events.clear();
    if (1..=MAX_EVENTS).contains(&events.capacity()) {
        let _ended = EVENTS.try_with(|slot| slot.set(events));
    }
}

/// Takes the thread's spare buffer for frames to be sent; a new one allocates when it is used.
pub(super) fn take_send_buffer() -> Vec<u8> {
    SEND_BUFFER.try_with(Cell::take).unwrap_or_default()
}

/// Gives a buffer for frames back to the thread.
pub(super) fn put_back_send_buffer(buffer: Vec<u8>) {
    if (1..=MAX_SEND_BUFFER).contains(&buffer.capacity()) {
        let _ended = SEND_BUFFER.try_with(|slot| slot.set(buffer));
    }
}

/// Takes the thread's buffer for one flat write.
pub(super) fn take_flat_buffer() -> Vec<u8> {
    FLAT_BUFFER.try_with(Cell::take).unwrap_or_default()
}

/// Gives the buffer for flat writes back to the thread.
pub(super) fn put_back_flat_buffer(mut buffer: Vec<u8>) {
    buffer.clear();
    let _ended = FLAT_BUFFER.try_with(|slot| slot.set(buffer));
}

thread_local! {
    static BUFFER: Cell<BytesMut> = Cell::default();
    static EVENTS: Cell<VecDeque<Event>> = const { Cell::new(VecDeque::new()) };
    static SEND_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static FLAT_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// How much one read takes at most.
const READ: usize = 64 << 10;

/// A larger buffer of frames goes back to the allocator.
const MAX_SEND_BUFFER: usize = 128 << 10;

/// A longer queue of events goes back to the allocator.
const MAX_EVENTS: usize = 4096;
