//! `Decoder`, in both roles, with and without permessage-deflate.
//!
//! - However the input is cut, and whether it goes through `payload_buffer` or not, the events, the
//!   error and what is left are the same.
//! - No message is larger than `max_message_size`, and no more than 130 bytes are left.
//! - After an error there is nothing more, and input is discarded.
//!
//! The input is made of bytes, of frames around bytes, and of messages that a peer compressed.
#![no_main]

use std::time::Instant;

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Buf, BufMut, BytesMut};
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    Compression, Config, Event, Message, ProtocolError,
    protocol::{Connection, Decoder, DeflateParams, FrameCodec, Header, Opcode, Role, apply_mask},
};

#[derive(Arbitrary, Debug)]
struct Input {
    is_server: bool,
    deflate: Option<Params>,
    max_message_size: Option<u16>,
    max_frame_size: Option<u16>,
    max_fragments: Option<u8>,
    pieces: Vec<Piece>,
    cutting: Cutting,
    direct: bool,
}

/// One for each input: what all of them at a time would find, other inputs find as soon.
#[derive(Arbitrary, Debug)]
enum Cutting {
    /// Over and over.
    Lengths(Vec<u16>),
    Bytes,
    /// Once, anywhere.
    Two(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Params {
    no_context_takeover: bool,
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(8..=15))]
    window_bits: u8,
}

#[derive(Arbitrary, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Frame {
        fin: bool,
        rsv1: bool,
        #[arbitrary(with = |u: &mut Unstructured| u.choose(&OPCODES).copied())]
        opcode: Opcode,
        payload: Payload,
    },
    Compressed {
        is_text: bool,
        payload: Payload,
        fragment_size: Option<u8>,
        /// Between the fragments.
        ping: bool,
    },
}

#[derive(Arbitrary, Debug)]
enum Payload {
    Bytes(Vec<u8>),
    /// Long enough to be go through `payload_buffer`, and to wrap around small windows.
    Repeated(
        u8,
        #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(0..=5_000))] u16,
    ),
}

impl Payload {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Repeated(byte, times) => vec![*byte; usize::from(*times)],
        }
    }
}

fuzz_target!(|input: Input| {
    let wire = input.wire();
    let whole = input.decode(&wire, &[], false);
    let cuts = match &input.cutting {
        Cutting::Lengths(cuts) => &cuts[..],
        Cutting::Bytes if wire.len() < 512 => &[1],
        Cutting::Bytes => &[61],
        Cutting::Two(at) => &[*at, u16::MAX],
    };
    assert_eq!(input.decode(&wire, cuts, input.direct), whole);
    let limit = input.max_message_size.map_or(usize::MAX, usize::from);
    for event in &whole.events {
        if let Event::Message(message) = event {
            assert!(message.len() <= limit);
        }
    }
});

#[derive(Debug, Eq, PartialEq)]
struct Decoded {
    events: Vec<Event>,
    error: Option<ProtocolError>,
    rest: Vec<u8>,
    is_message_open: bool,
}

impl Input {
    fn role(&self) -> Role {
        if self.is_server {
            Role::Server
        } else {
            Role::Client
        }
    }

    fn decoder(&self) -> Decoder {
        let config = Config::default()
            .max_message_size(self.max_message_size.map(usize::from))
            .max_frame_size(self.max_frame_size.map(usize::from))
            .max_fragments(self.max_fragments.map(usize::from));
        let decoder = Decoder::new(self.role(), &config);
        let Some(params) = self.deflate else {
            return decoder;
        };
        // The other direction is not used: let it be told apart.
        let mut agreed = DeflateParams::default();
        if self.is_server {
            agreed.client_no_context_takeover = params.no_context_takeover;
            agreed.client_max_window_bits = params.window_bits;
        } else {
            agreed.server_no_context_takeover = params.no_context_takeover;
            agreed.server_max_window_bits = params.window_bits;
        }
        decoder.deflate(agreed)
    }

    /// Decodes `wire`, cut into pieces of the lengths in `cuts`, over and over.
    fn decode(&self, wire: &[u8], cuts: &[u16], direct: bool) -> Decoded {
        let mut decoder = self.decoder();
        let mut cuts = cuts.iter().filter(|&&cut| cut > 0).cycle();
        let mut decoded = Decoded {
            events: Vec::new(),
            error: None,
            rest: Vec::new(),
            is_message_open: false,
        };
        let (mut wire, mut bytes) = (wire, BytesMut::new());
        while !wire.is_empty() {
            let cut = cuts.next().map_or(wire.len(), |&cut| cut.into());
            let chunk = &wire[..cut.min(wire.len())];
            let taken = match decoder.payload_buffer() {
                Some(mut buffer) if direct && bytes.is_empty() => {
                    let taken = chunk.len().min(buffer.remaining_mut());
                    buffer.put_slice(&chunk[..taken]);
                    taken
                }
                _ => {
                    bytes.extend_from_slice(chunk);
                    chunk.len()
                }
            };
            wire = &wire[taken..];
            loop {
                match decoder.decode(&mut bytes) {
                    Ok(Some(event)) => decoded.events.push(event),
                    Ok(None) => break,
                    Err(error) => {
                        decoded.error = Some(error);
                        discards(decoder, wire);
                        return decoded;
                    }
                }
            }
            assert!(bytes.len() <= 130, "{} bytes are left", bytes.len());
        }
        decoded.rest = bytes.to_vec();
        decoded.is_message_open = decoder.is_message_open();
        decoded
    }

    fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut peer = Peer::new(self.deflate);
        for piece in self.pieces.iter().take(12) {
            match piece {
                Piece::Bytes(bytes) => wire.extend_from_slice(bytes),
                Piece::Frame {
                    fin,
                    rsv1,
                    opcode,
                    payload,
                } => {
                    self.frame(*fin, *rsv1, *opcode, payload.bytes(), &mut wire);
                }
                Piece::Compressed {
                    is_text,
                    payload,
                    fragment_size,
                    ping,
                } => {
                    let payload = payload.bytes();
                    let frames = peer.send(*is_text, payload, *fragment_size);
                    for (fin, rsv1, opcode, payload) in frames {
                        self.frame(fin, rsv1, opcode, payload, &mut wire);
                        if *ping {
                            self.frame(true, false, Opcode::Ping, Vec::new(), &mut wire);
                        }
                    }
                }
            }
        }
        wire
    }

    fn frame(&self, fin: bool, rsv1: bool, opcode: Opcode, mut payload: Vec<u8>, to: &mut Vec<u8>) {
        let masking_key = self.is_server.then_some([0x37, 0xfa, 0x21, 0x3d]);
        let payload_len = payload.len() as u64;
        let header = Header {
            fin,
            rsv1,
            opcode,
            masking_key,
            payload_len,
        };
        to.extend_from_slice(&header.encode());
        if let Some(key) = masking_key {
            apply_mask(&mut payload, key);
        }
        to.extend_from_slice(&payload);
    }
}

fn discards(mut decoder: Decoder, wire: &[u8]) {
    let mut bytes = BytesMut::from(wire);
    bytes.extend_from_slice(b"\x81\x00\x81\x80\0\0\0\0");
    assert_eq!(decoder.decode(&mut bytes), Ok(None));
    assert!(bytes.is_empty());
    assert!(decoder.payload_buffer().is_none());
}

/// Compresses as the decoder's peer does. It is a server, whatever the role, as those do not mask
/// with random keys: the same input has to make the same frames.
struct Peer(Option<Connection>);

impl Peer {
    fn new(params: Option<Params>) -> Self {
        Self(params.map(|params| {
            let config = Config::default().compression(Compression::dedicated());
            Connection::new(Role::Server, config, Instant::now()).deflate(DeflateParams {
                server_no_context_takeover: params.no_context_takeover,
                server_max_window_bits: params.window_bits,
                ..DeflateParams::default()
            })
        }))
    }

    fn send(
        &mut self,
        is_text: bool,
        payload: Vec<u8>,
        fragment_size: Option<u8>,
    ) -> Vec<(bool, bool, Opcode, Vec<u8>)> {
        let Some(connection) = &mut self.0 else {
            return Vec::new();
        };
        let message = if is_text {
            Message::text(String::from_utf8_lossy(&payload).into_owned())
        } else {
            Message::binary(payload)
        };
        connection.send(message.compressed()).expect("open");
        let Some(queue) = connection.poll_transmit() else {
            return Vec::new();
        };
        let mut bytes = BytesMut::from(&*queue.copy_to_bytes(queue.remaining()));
        connection.transmitted(Instant::now());
        let mut codec = FrameCodec::new(Role::Client).allow_rsv1(true);
        let frame = codec.decode(&mut bytes).expect("valid").expect("whole");
        let size = fragment_size.map_or(usize::MAX, |size| usize::from(size) + 1);
        let mut payloads: Vec<_> = frame.payload.chunks(size).map(<[u8]>::to_vec).collect();
        if payloads.is_empty() {
            payloads.push(Vec::new());
        }
        let last = payloads.len() - 1;
        let fragments = payloads.into_iter().enumerate().map(|(n, payload)| {
            let opcode = if n == 0 {
                frame.opcode
            } else {
                Opcode::Continuation
            };
            (n == last, n == 0 && frame.rsv1, opcode, payload)
        });
        fragments.collect()
    }
}

const OPCODES: [Opcode; 6] = [
    Opcode::Continuation,
    Opcode::Text,
    Opcode::Binary,
    Opcode::Close,
    Opcode::Ping,
    Opcode::Pong,
];
