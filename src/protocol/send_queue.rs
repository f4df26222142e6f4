//! What waits to be written.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut, Bytes};

use super::{header::EncodedHeader, spare};
use crate::memory::Held;

/// Encoded frames, in the order in which they leave.
///
/// Headers and small payloads are gathered in one buffer, so that many messages leave in one
/// write. Payloads of 4 KiB and more are shared, not copied. It is a [`Buf`]: write
/// [`chunk`](Buf::chunk)s or [`chunks_vectored`](Buf::chunks_vectored), then
/// [`advance`](Buf::advance). Once empty it keeps its memory for the next frames.
///
/// ```
/// use bytes::{Buf, Bytes};
/// use tower_websocket::protocol::SendQueue;
///
/// let mut queue = SendQueue::new();
/// queue.gather(b"\x82\x7e\x20\x00"); // a header
/// queue.share(Bytes::from(vec![0; 8192])); // its payload
/// assert_eq!((queue.len(), queue.chunk().len()), (8196, 4));
///
/// let mut later = SendQueue::new();
/// later.gather(b"\x89\x00");
/// queue.append(later);
/// queue.advance(8196);
/// assert_eq!(queue.chunk(), b"\x89\x00");
/// queue.advance(2);
/// assert!(queue.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct SendQueue {
    /// Headers and small payloads.
    gathered: Vec<u8>,
    /// How much of `gathered` has left.
    position: usize,
    /// Large payloads.
    shared: VecDeque<Shared>,
    /// The bytes that have not left, of both kinds.
    remaining: usize,
    /// Those in `shared` that other queues have, too.
    lent: usize,
}

/// A payload that is not copied.
#[derive(Debug)]
struct Shared {
    /// The end of what goes before it in `gathered`: never decreasing, never below `position`.
    end: usize,
    bytes: Bytes,
    /// Other queues have it, too.
    lent: bool,
}

impl SendQueue {
    /// Makes an empty queue, which holds no memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// Reports whether no bytes wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// Adds bytes by copying them.
    #[inline]
    pub fn gather(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        self.remaining += bytes.len();
    }

    /// Adds a header.
    #[inline]
    pub(super) fn gather_header(&mut self, header: &EncodedHeader) {
        // A fixed number of bytes is copied without a call.
        let end = self.gathered.len() + header.len();
        self.gathered.extend_from_slice(&header.bytes);
        self.gathered.truncate(end);
        self.remaining += header.len();
    }

    /// Adds a frame that is not masked, with a payload of at most 125 bytes.
    #[inline]
    pub(super) fn gather_short(&mut self, first: u8, payload: &[u8]) {
        self.gathered.reserve(2 + payload.len());
        self.gathered
            .extend_from_slice(&[first, payload.len() as u8]);
        self.gathered.extend_from_slice(payload);
        self.remaining += 2 + payload.len();
    }

    /// Adds bytes and lets `transform` change them in place.
    pub(crate) fn gather_with(&mut self, bytes: &[u8], transform: impl FnOnce(&mut [u8])) {
        let start = self.gathered.len();
        self.gather(bytes);
        transform(&mut self.gathered[start..]);
    }

    /// Adds bytes, by sharing them if they are 4 KiB or more and by copying them otherwise.
    pub fn share(&mut self, bytes: Bytes) {
        drop(self.share_back(bytes));
    }

    /// Adds bytes; returns them if they were copied, so that the caller decides where they are dropped.
    #[inline]
    pub(crate) fn share_back(&mut self, bytes: Bytes) -> Option<Bytes> {
        if bytes.len() < SHARE_FROM {
            self.gather(&bytes);
            return Some(bytes);
        }
        self.push_shared(bytes, false);
        None
    }

    /// Adds bytes of which others have a share, by sharing them where they are many enough.
    #[inline]
    pub(crate) fn share_ref(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_FROM {
            self.gather(bytes);
        } else {
            self.push_shared(bytes.clone(), true);
        }
    }

    fn push_shared(&mut self, bytes: Bytes, lent: bool) {
        self.remaining += bytes.len();
        if lent {
            self.lent += bytes.len();
        }
        let end = self.gathered.len();
        self.shared.push_back(Shared { end, bytes, lent });
    }

    /// What waits, and how much of it would be free if this queue were dropped.
    pub(super) fn held(&self) -> Held {
        Held {
            own: self.remaining - self.lent,
            weight: self.remaining,
        }
    }

    /// Appends everything that `other` holds.
    pub fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        while other.has_remaining() {
            match other.shared.front() {
                Some(shared) if shared.end == other.position => {
                    if let Some(shared) = other.shared.pop_front() {
                        other.remaining -= shared.bytes.len();
                        self.push_shared(shared.bytes, shared.lent);
                    }
                }
                _ => {
                    let chunk = other.chunk();
                    let len = chunk.len();
                    self.gather(chunk);
                    other.advance(len);
                }
            }
        }
    }

    /// Returns how much memory is kept for gathering, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.gathered.capacity()
    }

    /// Returns how much is well written at once: all of a shared payload, or no more than `gather` of what
    /// has to be put together.
    #[cfg_attr(
        not(any(test, all(feature = "layer", feature = "http2"))),
        expect(dead_code, reason = "streams of HTTP/2 ask")
    )]
    pub(crate) fn next_piece(&self, gather: usize) -> usize {
        match self.shared.front() {
            Some(shared) if shared.end == self.position => shared.bytes.len(),
            _ => self.remaining.min(gather),
        }
    }

    /// The end of what may leave before the next shared payload.
    #[inline]
    fn gathered_end(&self) -> usize {
        self.shared
            .front()
            .map_or(self.gathered.len(), |shared| shared.end)
    }

    /// Forgets what has left, so that a queue that is never empty does not grow for ever.
    fn compact(&mut self) {
        if self.is_empty() {
            self.gathered.clear();
        } else if self.position >= COMPACT_FROM && self.position >= self.gathered.len() / 2 {
            self.gathered.drain(..self.position);
            for shared in &mut self.shared {
                shared.end -= self.position;
            }
        } else {
            return;
        }
        self.position = 0;
    }
}

impl Buf for SendQueue {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        match self.shared.front() {
            Some(shared) if shared.end == self.position => &shared.bytes,
            _ => &self.gathered[self.position..self.gathered_end()],
        }
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut position = self.position;
        let mut shared = self.shared.iter();
        while used < dst.len() {
            let next = shared.next();
            let end = next.map_or(self.gathered.len(), |shared| shared.end);
            if position < end {
                dst[used] = IoSlice::new(&self.gathered[position..end]);
                position = end;
                used += 1;
            }
            let Some(shared) = next else {
                break;
            };
            if used < dst.len() {
                dst[used] = IoSlice::new(&shared.bytes);
                used += 1;
            }
        }
        used
    }

    /// Shares what is in one shared payload, and copies everything else.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        assert!(len <= self.remaining, "more than the queue holds");
        let whole = match self.shared.front() {
            Some(shared) if shared.end == self.position && len <= shared.bytes.len() => {
                Some(shared.bytes.slice(..len))
            }
            _ => None,
        };
        if let Some(piece) = whole {
            self.advance(len);
            return piece;
        }
        let mut copy = Vec::with_capacity(len);
        copy.put(self.take(len));
        copy.into()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(
            count <= self.remaining,
            "advanced past the end of the queue"
        );
        self.remaining -= count;
        if self.remaining == 0 && self.shared.is_empty() {
            self.gathered.clear();
            self.position = 0;
            return;
        }
        while count > 0 {
            let len = match self.shared.front_mut() {
                Some(shared) if shared.end == self.position => {
                    let len = count.min(shared.bytes.len());
                    shared.bytes.advance(len);
                    if shared.lent {
                        self.lent -= len;
                    }
                    if shared.bytes.is_empty()
                        && let Some(shared) = self.shared.pop_front()
                    {
                        spare::put_back(shared.bytes);
                    }
                    len
                }
                _ => {
                    let len = count.min(self.gathered_end() - self.position);
                    self.position += len;
                    len
                }
            };
            count -= len;
        }
        self.compact();
    }
}

/// From here on sharing is cheaper than copying.
pub(super) const SHARE_FROM: usize = 4 << 10;

/// Less than this is not worth moving.
const COMPACT_FROM: usize = 64 << 10;

#[cfg(test)]
mod tests;
