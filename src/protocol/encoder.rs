//! Messages into bytes (RFC 6455 §6.1). Needs no connection.

use std::num::NonZeroUsize;

use bytes::Bytes;

use super::{CloseFrame, Header, Message, Opcode, Role, SendQueue, apply_mask, random_masking_key};
use crate::Config;

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
/// assert_eq!(queue.chunk(), b"\x81\x05Hello");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// Draws masking keys; `None` on a server, which never masks (§5.1).
    masking_keys: Option<fn() -> [u8; 4]>,
    fragment_size: Option<NonZeroUsize>,
}

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

    /// Draws masking keys from `source`: for tests, which want to know them.
    ///
    /// Without effect on a server. Predictable keys on the open internet are an attack on proxies
    /// (§10.3).
    #[must_use]
    pub fn masking_keys(mut self, source: fn() -> [u8; 4]) -> Self {
        self.masking_keys = self.masking_keys.map(|_| source);
        self
    }

    /// Encodes a message, in fragments where [`Config::fragment_size`] says so.
    ///
    /// Gives the payload back where it was copied, so that the caller decides where it is dropped.
    #[inline]
    pub fn message(&self, message: Message, queue: &mut SendQueue) -> Option<Bytes> {
        let (opcode, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.into_bytes()),
            Message::Binary(payload) => (Opcode::Binary, payload),
        };
        match self.fragment_size {
            Some(size) if payload.len() > size.get() => {
                self.fragments(opcode, &payload, size.get(), queue);
                Some(payload)
            }
            _ => self.frame(true, opcode, payload, queue),
        }
    }

    /// Encodes a ping; of `payload` at most 125 bytes are used (§5.5).
    pub fn ping(&self, payload: &[u8], queue: &mut SendQueue) {
        self.control(Opcode::Ping, payload, queue);
    }

    /// Encodes a pong; of `payload` at most 125 bytes are used (§5.5).
    pub fn pong(&self, payload: &[u8], queue: &mut SendQueue) {
        self.control(Opcode::Pong, payload, queue);
    }

    /// Encodes a Close frame; `None` has neither code nor reason (§5.5.1).
    pub fn close(&self, frame: Option<&CloseFrame>, queue: &mut SendQueue) {
        let mut payload = Vec::new();
        if let Some(frame) = frame {
            payload.extend_from_slice(&frame.code().as_u16().to_be_bytes());
            payload.extend_from_slice(frame.reason().as_bytes());
        }
        self.control(Opcode::Close, &payload, queue);
    }

    fn fragments(&self, first: Opcode, payload: &Bytes, size: usize, queue: &mut SendQueue) {
        let (mut opcode, mut start) = (first, 0);
        while payload.len() - start > size {
            self.frame(false, opcode, payload.slice(start..start + size), queue);
            opcode = Opcode::Continuation;
            start += size;
        }
        self.frame(true, opcode, payload.slice(start..), queue);
    }

    fn control(&self, opcode: Opcode, payload: &[u8], queue: &mut SendQueue) {
        let payload = &payload[..payload.len().min(MAX_CONTROL)];
        let key = self.header(true, opcode, payload.len(), queue);
        queue.gather_with(payload, |payload| mask(payload, key));
    }

    #[inline]
    fn frame(
        &self,
        fin: bool,
        opcode: Opcode,
        payload: Bytes,
        queue: &mut SendQueue,
    ) -> Option<Bytes> {
        match self.header(fin, opcode, payload.len(), queue) {
            None => queue.share(payload),
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
        opcode: Opcode,
        len: usize,
        queue: &mut SendQueue,
    ) -> Option<[u8; 4]> {
        let masking_key = self.masking_keys.map(|draw| draw());
        let header = Header {
            fin,
            rsv1: false,
            opcode,
            masking_key,
            payload_len: len as u64,
        };
        queue.gather(&header.encode());
        masking_key
    }
}

fn mask(payload: &mut [u8], key: Option<[u8; 4]>) {
    if let Some(key) = key {
        apply_mask(payload, key);
    }
}

/// The longest payload of a control frame (§5.5).
const MAX_CONTROL: usize = 125;
