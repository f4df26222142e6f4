//! Writing to a stream of HTTP/2 whose frames are made by someone else.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;

use super::stream::ByteStream;
use crate::{pool, protocol::SendQueue};

/// Writes one piece of at most [`FLAT`] bytes: each becomes DATA frames of its own, so header and
/// payload must not go apart.
pub(super) fn poll_write_flat(
    stream: Pin<&mut dyn ByteStream>,
    cx: &mut Context<'_>,
    queue: &SendQueue,
) -> Poll<io::Result<usize>> {
    let chunk = queue.chunk();
    if chunk.len() >= FLAT || chunk.len() == queue.len() {
        return stream.poll_write(cx, &chunk[..chunk.len().min(FLAT)]);
    }
    let mut flat = pool::take(&FLAT_BUFFER);
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let used = queue.chunks_vectored(&mut slices);
    for slice in &slices[..used] {
        let room = FLAT - flat.len();
        flat.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    let result = stream.poll_write(cx, &flat);
    flat.clear();
    pool::put_back(&FLAT_BUFFER, flat);
    result
}

thread_local! {
    static FLAT_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Two DATA frames of the default of SETTINGS_MAX_FRAME_SIZE (RFC 9113 §6.5.2): each piece is a block of
/// its own, and wakes the task that writes. A stream whose peer takes nothing holds two of them.
const FLAT: usize = 32 << 10;

/// How many pieces one vectored write takes.
pub(super) const MAX_SLICES: usize = 64;
