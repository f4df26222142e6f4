//! RFC 7692 from both sides of the wire: what is understood, what is refused, what is sent.

mod blocks;
mod bombs;
mod payloads;
mod prepared;
mod received;
mod sent;

use bytes::BytesMut;

use super::{DeflateParams, deflater};
use crate::{
    config::Config,
    protocol::{Decoder, Message, ProtocolError, Role, message::Event, test_support::*},
};

type FromPeer = fn(u8, &[u8]) -> Vec<u8>;

/// Each role with what writes its peer's frames.
const ROLES: [(Role, FromPeer); 2] = [(Role::Server, from_client), (Role::Client, from_server)];

/// RFC 7692 §7.2.3.1: "Hello".
const HELLO_DEFLATED: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// The first bytes of frames: a compressed text message, its first fragment, and those of binary.
const TEXT: u8 = 0xc1;
const TEXT_BEGINS: u8 = 0x41;
const BINARY: u8 = 0xc2;
const BINARY_BEGINS: u8 = 0x42;

/// Context takeover in both directions, and windows of 32 KiB.
fn takeover() -> DeflateParams {
    DeflateParams::default()
}

/// The same without context takeover.
fn no_takeover() -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..DeflateParams::default()
    }
}

fn decoder(role: Role, params: DeflateParams) -> Decoder {
    Decoder::new(role, &Config::default()).deflate(params)
}

/// What a decoder makes of `frames` in one piece, with the default settings.
fn decode(
    role: Role,
    params: DeflateParams,
    frames: &[Vec<u8>],
) -> (Vec<Event>, Option<ProtocolError>) {
    decode_all(&mut decoder(role, params), [&frames.concat()[..]])
}

fn text(text: &str) -> Event {
    Event::Message(Message::text(text))
}

fn binary(payload: impl Into<Vec<u8>>) -> Event {
    Event::Message(payload.into().into())
}

/// Decoding any cutting of `bytes` ends like decoding them in one piece, which is given.
fn assert_every_cut(
    bytes: &[u8],
    random: &mut Random,
    decoder: impl Fn() -> Decoder,
) -> (Vec<Event>, Option<ProtocolError>) {
    let whole = decode_all(&mut decoder(), [bytes]);
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let decoded = decode_all(&mut decoder(), [first, second]);
        assert_eq!(decoded, whole, "cut at {cut}");
    }
    for size in 1..10 {
        let decoded = decode_all(&mut decoder(), bytes.chunks(size));
        assert_eq!(decoded, whole, "by {size}");
    }
    for _ in 0..50 {
        let pieces = random.cut(bytes, 100);
        assert_eq!(decode_all(&mut decoder(), pieces), whole);
    }
    whole
}

fn input(bytes: &[u8]) -> BytesMut {
    BytesMut::from(bytes)
}
