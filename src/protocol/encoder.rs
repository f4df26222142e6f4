//! Messages into bytes (RFC 6455 §6.1). Needs no connection.

use std::num::NonZeroUsize;

use bytes::Bytes;

use super::{
    CloseFrame, Header, Message, Opcode, Role, SendQueue, apply_mask, random_masking_key,
    send_queue::SHARE_FROM,
};
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
        match self.fragment_of(payload.len()) {
            Some(size) => {
                self.fragments(First::new(opcode), &payload, size, queue);
                Some(payload)
            }
            None => self.frame(true, First::new(opcode), payload, queue),
        }
    }

    /// Encodes a message whose compressed form is `payload` (RFC 7692 §6), in fragments likewise.
    pub fn compressed(&self, is_text: bool, payload: &[u8], queue: &mut SendQueue) {
        let first = First {
            opcode: if is_text {
                Opcode::Text
            } else {
                Opcode::Binary
            },
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
    pub(crate) fn copied(&self, fin: bool, first: First, payload: &[u8], queue: &mut SendQueue) {
        if payload.len() < SHARE_FROM || self.masks() {
            let key = self.header(fin, first, payload.len(), queue);
            queue.gather_with(payload, |payload| mask(payload, key));
        } else {
            drop(self.frame(fin, first, Bytes::copy_from_slice(payload), queue));
        }
    }

    /// Whether what is encoded is for one connection alone.
    pub(crate) fn masks(&self) -> bool {
        self.masking_keys.is_some()
    }

    pub(crate) fn fragment_size(&self) -> FragmentSize {
        self.fragment_size
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

    /// Returns the size of the fragments that a payload is sent in, if it is longer than one.
    fn fragment_of(&self, len: usize) -> Option<usize> {
        let size = self.fragment_size?.get().max(len.div_ceil(MAX_FRAGMENTS));
        (len > size).then_some(size)
    }

    fn fragments(&self, first: First, payload: &Bytes, size: usize, queue: &mut SendQueue) {
        let (mut first, mut start) = (first, 0);
        while payload.len() - start > size {
            self.frame(false, first, payload.slice(start..start + size), queue);
            first = First::CONTINUATION;
            start += size;
        }
        self.frame(true, first, payload.slice(start..), queue);
    }

    fn control(&self, opcode: Opcode, payload: &[u8], queue: &mut SendQueue) {
        let payload = &payload[..payload.len().min(MAX_CONTROL)];
        let key = self.header(true, First::new(opcode), payload.len(), queue);
        queue.gather_with(payload, |payload| mask(payload, key));
    }

    /// Encodes one fragment; gives the payload back where it was copied.
    #[inline]
    pub(crate) fn frame(
        &self,
        fin: bool,
        first: First,
        payload: Bytes,
        queue: &mut SendQueue,
    ) -> Option<Bytes> {
        match self.header(fin, first, payload.len(), queue) {
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
        first: First,
        len: usize,
        queue: &mut SendQueue,
    ) -> Option<[u8; 4]> {
        let masking_key = self.masking_keys.map(|draw| draw());
        let header = Header {
            fin,
            rsv1: first.rsv1,
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
pub(crate) struct First {
    pub(crate) opcode: Opcode,
    /// The message is compressed: said on its first frame only (RFC 7692 §6).
    pub(crate) rsv1: bool,
}

impl First {
    pub(crate) const CONTINUATION: Self = Self::new(Opcode::Continuation);

    pub(crate) const fn new(opcode: Opcode) -> Self {
        Self {
            opcode,
            rsv1: false,
        }
    }
}

fn mask(payload: &mut [u8], key: Option<[u8; 4]>) {
    if let Some(key) = key {
        apply_mask(payload, key);
    }
}

/// The longest payload of a control frame (§5.5).
const MAX_CONTROL: usize = 125;

/// How many fragments a message is sent in at most: what every receiver takes that has the default of
/// [`Config::max_fragments`].
const MAX_FRAGMENTS: usize = 1024;

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::{
        CloseCode,
        protocol::{
            Decoder,
            test_support::{
                HEL, HELLO, KEY, LO, MASKED_HELLO, MASKED_PONG_HELLO, PING_HELLO, decode_all,
                from_client, from_server,
            },
        },
    };

    fn server() -> Encoder {
        Encoder::new(Role::Server, &Config::default())
    }

    fn client() -> Encoder {
        Encoder::new(Role::Client, &Config::default()).masking_keys(|| KEY)
    }

    /// The bytes that `encode` puts in the queue.
    fn bytes<T>(encode: impl FnOnce(&mut SendQueue) -> T) -> Vec<u8> {
        let mut queue = SendQueue::new();
        encode(&mut queue);
        let len = queue.remaining();
        queue.copy_to_bytes(len).into()
    }

    #[test]
    fn server_writes_the_examples_of_the_standard() {
        assert_eq!(
            bytes(|queue| server().message("Hello".into(), queue)),
            HELLO
        );
        assert_eq!(bytes(|queue| server().ping(b"Hello", queue)), PING_HELLO);
        let fragmented = Encoder::new(Role::Server, &Config::default().fragment_size(3));
        let written = bytes(|queue| fragmented.message("Hello".into(), queue));
        assert_eq!(written, [HEL, LO].concat());
    }

    #[test]
    fn client_writes_the_examples_of_the_standard() {
        let hello = bytes(|queue| client().message("Hello".into(), queue));
        assert_eq!(hello, MASKED_HELLO);
        let pong = bytes(|queue| client().pong(b"Hello", queue));
        assert_eq!(pong, MASKED_PONG_HELLO);
    }

    #[test]
    fn server_never_masks() {
        let encoder = server().masking_keys(|| KEY);
        assert_eq!(bytes(|queue| encoder.message("Hello".into(), queue)), HELLO);
        assert_eq!(bytes(|queue| encoder.ping(b"Hello", queue)), PING_HELLO);
        assert_eq!(bytes(|queue| encoder.close(None, queue)), b"\x88\x00");
    }

    #[test]
    fn client_masks_every_frame_even_an_empty_one() {
        let empty = |first| from_client(first, b"");
        assert_eq!(
            bytes(|queue| client().message("".into(), queue)),
            empty(0x81)
        );
        assert_eq!(
            bytes(|queue| client().message(b"".into(), queue)),
            empty(0x82)
        );
        assert_eq!(bytes(|queue| client().ping(b"", queue)), empty(0x89));
        assert_eq!(bytes(|queue| client().pong(b"", queue)), empty(0x8a));
        assert_eq!(bytes(|queue| client().close(None, queue)), empty(0x88));
    }

    #[test]
    fn client_draws_a_key_for_each_fragment() {
        use std::cell::Cell;
        thread_local! { static DRAWN: Cell<u8> = const { Cell::new(0) }; }
        let encoder = Encoder::new(Role::Client, &Config::default().fragment_size(1))
            .masking_keys(|| [DRAWN.replace(DRAWN.get() + 1); 4]);
        let written = bytes(|queue| encoder.message(b"\0\0".into(), queue));
        assert_eq!(written, b"\x02\x81\0\0\0\0\0\x80\x81\x01\x01\x01\x01\x01");
    }

    #[test]
    fn client_draws_unpredictable_keys_by_default() {
        let encoder = Encoder::new(Role::Client, &Config::default());
        let key = || bytes(|queue| encoder.ping(b"", queue))[2..].to_vec();
        assert_ne!([key(), key()].concat(), [0; 8]);
        assert_ne!(key(), key());
    }

    #[test]
    fn messages_of_every_length_have_the_right_header() {
        for len in [0, 1, 125, 126, 4095, 4096, 65_535, 65_536] {
            let payload = vec![0x5a; len];
            let message = Message::binary(payload.clone());
            let written = bytes(|queue| server().message(message.clone(), queue));
            assert_eq!(written, from_server(0x82, &payload), "{len}");
            let written = bytes(|queue| client().message(message, queue));
            assert_eq!(written, from_client(0x82, &payload), "{len}");
        }
    }

    #[test]
    fn message_of_the_fragment_size_is_one_frame_and_one_byte_more_is_two() {
        for size in [1, 2, 125, 5000] {
            let encoder = Encoder::new(Role::Server, &Config::default().fragment_size(size));
            let payload = vec![1; size + 1];
            let whole = Message::binary(payload[..size].to_vec());
            let written = bytes(|queue| encoder.message(whole, queue));
            assert_eq!(written, from_server(0x82, &payload[..size]));
            let written = bytes(|queue| encoder.message(payload.clone().into(), queue));
            let fragments = [
                from_server(0x02, &payload[..size]),
                from_server(0x80, b"\x01"),
            ];
            assert_eq!(written, fragments.concat());
        }
    }

    /// How many frames these are.
    fn frames(mut wire: &[u8]) -> usize {
        let mut frames = 0;
        while let Ok(Some((header, len))) = Header::decode(wire) {
            wire = &wire[len + header.payload_len as usize..];
            frames += 1;
        }
        assert!(wire.is_empty());
        frames
    }

    #[test]
    fn message_of_any_size_is_sent_in_no_more_fragments_than_a_receiver_takes() {
        for size in [0, 1, 64, 1000] {
            let encoder = Encoder::new(Role::Server, &Config::default().fragment_size(size));
            for len in [1024, 1025, 100_000, 1 << 20] {
                let wire = bytes(|queue| encoder.message(vec![1; len].into(), queue));
                let mut decoder = Decoder::new(Role::Client, &Config::default());
                let (messages, error) = decode_all(&mut decoder, [&wire[..]]);
                assert_eq!((messages.len(), error), (1, None), "{size}, {len}");
                let compressed = bytes(|queue| encoder.compressed(false, &vec![1; len], queue));
                assert_eq!(frames(&compressed), frames(&wire));
                assert!(frames(&wire) <= 1024);
            }
        }
    }

    #[test]
    fn control_frames_are_never_fragmented() {
        let encoder = Encoder::new(Role::Server, &Config::default().fragment_size(1));
        assert_eq!(bytes(|queue| encoder.ping(b"Hello", queue)), PING_HELLO);
    }

    #[test]
    fn server_shares_payloads_from_4_kib_on() {
        for (len, shared) in [(4095, false), (4096, true), (100_000, true)] {
            let payload = Bytes::from(vec![1; len]);
            let mut queue = SendQueue::new();
            server().message(payload.clone().into(), &mut queue);
            queue.advance(4 + if len > 65_535 { 6 } else { 0 });
            assert_eq!(queue.chunk().len(), len);
            assert_eq!(queue.chunk().as_ptr() == payload.as_ptr(), shared, "{len}");
        }
    }

    #[test]
    fn client_leaves_the_shared_payload_as_it_was() {
        let payload = Bytes::from(vec![1; 5000]);
        bytes(|queue| client().message(payload.clone().into(), queue));
        assert!(payload.iter().all(|byte| *byte == 1));
    }

    #[test]
    fn control_payloads_are_cut_at_125_bytes() {
        for len in [124, 125, 126, 1000] {
            let payload = vec![b'x'; len];
            let expected = from_server(0x89, &payload[..len.min(125)]);
            assert_eq!(bytes(|queue| server().ping(&payload, queue)), expected);
        }
    }

    #[test]
    fn longest_close_frame_fits_a_control_frame() {
        let frame = CloseFrame::new(CloseCode::NORMAL, "x".repeat(200));
        let payload = [b"\x03\xe8", "x".repeat(123).as_bytes()].concat();
        let written = bytes(|queue| server().close(Some(&frame), queue));
        assert_eq!(written, from_server(0x88, &payload));
    }
}
