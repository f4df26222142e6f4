//! Messages into bytes (RFC 6455 §6.1). Needs no connection.

use std::num::NonZeroUsize;

use bytes::Bytes;

use super::{
    close::CloseFrame,
    header::{FIN, Header, MAX_SHORT, Opcode},
    mask::apply_mask,
    message::{Message, MessageKind},
    random::random_masking_key,
    role::Role,
    send_queue::{SHARE_FROM, SendQueue},
};
use crate::config::Config;

/// Writes what an endpoint sends.
///
/// It keeps no state, so a message encoded once can go to any number of connections.
///
/// ```
/// use bytes::Buf;
/// use tower_websocket::{Config, Message, protocol::{Encoder, Role, SendQueue}};
///
/// let encoder = Encoder::new(Role::Server, &Config::default());
/// let mut queue = SendQueue::new();
/// encoder.message(Message::text("Hello"), &mut queue);
/// encoder.ping(b"1", &mut queue);
/// encoder.close(None, &mut queue);
/// assert_eq!(queue.chunk(), b"\x81\x05Hello\x89\x011\x88\x00");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// Draws masking keys; `None` on a server, which never masks (§5.1).
    masking_keys: Option<fn() -> [u8; 4]>,
    fragment_size: FragmentSize,
}

pub(crate) type FragmentSize = Option<NonZeroUsize>;

impl Encoder {
    /// Makes an encoder for this end of a connection.
    #[must_use]
    pub fn new(role: Role, config: &Config) -> Self {
        let masking_keys = match role {
            Role::Client => Some(random_masking_key as fn() -> [u8; 4]),
            Role::Server => None,
        };
        Self {
            masking_keys,
            fragment_size: config.fragment_size.and_then(NonZeroUsize::new),
        }
    }

    /// Draws masking keys from `source`, for tests that have to know them.
    ///
    /// It has no effect on a server. Predictable keys on the open internet are an attack on proxies
    /// (§10.3).
    #[must_use]
    pub fn masking_keys(mut self, source: fn() -> [u8; 4]) -> Self {
        self.masking_keys = self.masking_keys.map(|_| source);
        self
    }

    /// Encodes a message, in fragments if [`Config::fragment_size`] says so.
    #[inline]
    pub fn message(&self, message: Message, queue: &mut SendQueue) {
        drop(self.message_back(message, queue));
    }

    /// Encodes a message; returns the payload if it was copied, so that the caller decides where it is
    /// dropped.
    #[inline]
    pub(crate) fn message_back(&self, message: Message, queue: &mut SendQueue) -> Option<Bytes> {
        if self.is_short(message.len()) {
            short(message.kind(), message.as_bytes(), queue);
            return Some(message.into_bytes());
        }
        let (opcode, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.into_bytes()),
            Message::Binary(payload) => (Opcode::Binary, payload),
        };
        match self.fragment_of(payload.len()) {
            Some(size) => {
                self.fragments(FrameStart::new(opcode), &payload, size, queue);
                Some(payload)
            }
            None => self.frame(true, FrameStart::new(opcode), payload, queue),
        }
    }

    /// Reports whether a message of `len` bytes is one frame whose header has two bytes: the
    /// [`short`] way is open to it.
    #[inline]
    pub(crate) fn is_short(&self, len: usize) -> bool {
        len <= MAX_SHORT && self.masking_keys.is_none() && self.fragment_size.is_none()
    }

    /// Encodes a message whose compressed form is `payload` (RFC 7692 §6).
    ///
    /// It is sent in fragments as [`message`](Self::message) says.
    pub fn compressed(&self, kind: MessageKind, payload: &[u8], queue: &mut SendQueue) {
        let first = FrameStart {
            opcode: kind.opcode(),
            rsv1: true,
        };
        match self.fragment_of(payload.len()) {
            Some(size) => {
                let payload = Bytes::copy_from_slice(payload);
                self.fragments(first, &payload, size, queue);
            }
            None => self.copied(true, first, payload, queue),
        }
    }

    /// Encodes one fragment by copying it.
    pub(crate) fn copied(
        &self,
        fin: bool,
        first: FrameStart,
        payload: &[u8],
        queue: &mut SendQueue,
    ) {
        if payload.len() < SHARE_FROM || self.masks() {
            let key = self.header(fin, first, payload.len(), queue);
            queue.gather_with(payload, |payload| mask(payload, key));
        } else {
            drop(self.frame(fin, first, Bytes::copy_from_slice(payload), queue));
        }
    }

    /// Reports whether what is encoded is for one connection alone.
    pub(crate) fn masks(&self) -> bool {
        self.masking_keys.is_some()
    }

    pub(crate) fn fragment_size(&self) -> FragmentSize {
        self.fragment_size
    }

    /// Encodes a ping; a payload longer than 125 bytes is truncated (§5.5).
    pub fn ping(&self, payload: &[u8], queue: &mut SendQueue) {
        self.control(Opcode::Ping, payload, queue);
    }

    /// Encodes a pong; a payload longer than 125 bytes is truncated (§5.5).
    pub fn pong(&self, payload: &[u8], queue: &mut SendQueue) {
        self.control(Opcode::Pong, payload, queue);
    }

    /// Encodes a Close frame; `None` has neither code nor reason (§5.5.1).
    pub fn close(&self, frame: Option<&CloseFrame>, queue: &mut SendQueue) {
        let payload = frame.map(CloseFrame::payload).unwrap_or_default();
        self.control(Opcode::Close, &payload, queue);
    }

    /// Returns the size of the fragments that a payload is sent in, if it is longer than one.
    fn fragment_of(&self, len: usize) -> Option<usize> {
        let size = self.fragment_size?.get().max(len.div_ceil(MAX_FRAGMENTS));
        (len > size).then_some(size)
    }

    fn fragments(&self, first: FrameStart, payload: &Bytes, size: usize, queue: &mut SendQueue) {
        let (mut first, mut start) = (first, 0);
        while payload.len() - start > size {
            self.frame(false, first, payload.slice(start..start + size), queue);
            first = FrameStart::CONTINUATION;
            start += size;
        }
        self.frame(true, first, payload.slice(start..), queue);
    }

    fn control(&self, opcode: Opcode, payload: &[u8], queue: &mut SendQueue) {
        let payload = &payload[..payload.len().min(MAX_SHORT)];
        let key = self.header(true, FrameStart::new(opcode), payload.len(), queue);
        queue.gather_with(payload, |payload| mask(payload, key));
    }

    /// Encodes one fragment; gives the payload back where it was copied.
    #[inline]
    pub(crate) fn frame(
        &self,
        fin: bool,
        first: FrameStart,
        payload: Bytes,
        queue: &mut SendQueue,
    ) -> Option<Bytes> {
        match self.header(fin, first, payload.len(), queue) {
            None => queue.share_back(payload),
            key => {
                queue.gather_with(&payload, |payload| mask(payload, key));
                Some(payload)
            }
        }
    }

    #[inline]
    fn header(
        &self,
        fin: bool,
        first: FrameStart,
        len: usize,
        queue: &mut SendQueue,
    ) -> Option<[u8; 4]> {
        let masking_key = self.masking_keys.map(|draw| draw());
        let header = Header {
            fin,
            rsv1: first.rsv1,
            rsv2: false,
            rsv3: false,
            opcode: first.opcode,
            masking_key,
            payload_len: len as u64,
        };
        queue.gather_header(&header.encode());
        masking_key
    }
}

/// What the header of a frame says of its message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameStart {
    pub(crate) opcode: Opcode,
    /// The message is compressed: said on its first frame only (RFC 7692 §6).
    pub(crate) rsv1: bool,
}

impl FrameStart {
    pub(crate) const CONTINUATION: Self = Self::new(Opcode::Continuation);

    pub(crate) const fn new(opcode: Opcode) -> Self {
        Self {
            opcode,
            rsv1: false,
        }
    }
}

/// Encodes a message for which [`Encoder::is_short`] holds, by copying it.
#[inline]
pub(super) fn short(kind: MessageKind, payload: &[u8], queue: &mut SendQueue) {
    queue.gather_short(FIN | kind.opcode() as u8, payload);
}

fn mask(payload: &mut [u8], key: Option<[u8; 4]>) {
    if let Some(key) = key {
        apply_mask(payload, key);
    }
}

/// How many fragments a message is sent in at most: what every receiver takes that has the default of
/// [`Config::max_fragments`].
const MAX_FRAGMENTS: usize = 1024;

#[cfg(test)]
mod tests;
