//! What the tests of the protocol share: frames written by hand, and chance from a seed.

use bytes::BytesMut;

use super::{decoder::Decoder, error::ProtocolError, message::Event};

/// RFC 6455 §5.7: a single-frame unmasked text message.
pub(crate) const HELLO: &[u8] = b"\x81\x05\x48\x65\x6c\x6c\x6f";
/// RFC 6455 §5.7: a single-frame masked text message.
pub(crate) const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// RFC 6455 §5.7: a fragmented unmasked text message, its two frames.
pub(crate) const HEL: &[u8] = b"\x01\x03\x48\x65\x6c";
pub(crate) const LO: &[u8] = b"\x80\x02\x6c\x6f";
/// RFC 6455 §5.7: an unmasked ping.
pub(crate) const PING_HELLO: &[u8] = b"\x89\x05\x48\x65\x6c\x6c\x6f";
/// RFC 6455 §5.7: the masked pong that answers it.
pub(crate) const MASKED_PONG_HELLO: &[u8] = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// The masking key of those frames.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame from a server, `first` being its first byte: FIN, reserved bits, opcode.
pub(crate) fn from_server(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// The same from a client, masked with [`KEY`] as §5.3 has it, byte by byte.
pub(crate) fn from_client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = from_server(first, payload);
    let start = frame.len() - payload.len();
    frame[1] |= 0x80;
    for (index, byte) in frame[start..].iter_mut().enumerate() {
        *byte ^= KEY[index % 4];
    }
    frame.splice(start..start, KEY);
    frame
}

/// What a decoder makes of input that comes in pieces: the events, and what ended them.
pub(crate) fn decode_all<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, Option<ProtocolError>) {
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.number() as u8).collect()
    }

    /// Cuts `bytes` into pieces of 1 to `most` bytes.
    pub(crate) fn cut<'a>(&mut self, mut bytes: &'a [u8], most: usize) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let len = (1 + self.below(most)).min(bytes.len());
            let (piece, rest) = bytes.split_at(len);
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}
