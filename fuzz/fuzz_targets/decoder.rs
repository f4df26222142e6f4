//! `Decoder`, in both roles, with and without permessage-deflate.
//!
//! - What it tells, and how it fails, is what a naive reader makes of the same bytes.
//! - However the input is cut, and whether it goes through `payload_buffer` or not, the events, the
//!   error and what is left are the same.
//! - No message is larger than `max_message_size`, and no more than 130 bytes are left.
//! - After an error there is nothing more, and input is discarded.
//!
//! The input is made of bytes, of frames around bytes, and of messages in blocks of DEFLATE.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::{BufMut, BytesMut};
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    Config, Event, ProtocolError,
    protocol::{Decoder, DeflateParams, Header, Opcode, Role, apply_mask},
};
use tower_websocket_fuzz::{
    bytes,
    deflate::{Kind, Writer},
    frames::{self, Deflate, End, Rules, Seen},
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    is_server: bool,
    deflate: Option<Params>,
    max_message_size: Option<u16>,
    max_frame_size: Option<u16>,
    max_fragments: Option<u8>,
    cutting: Cutting,
    direct: bool,
    pieces: Vec<Piece<'a>>,
}

/// One for each input: what all of them at a time would find, other inputs find as soon.
#[derive(Arbitrary, Debug)]
enum Cutting {
    /// Over and over.
    Lengths([u8; 3]),
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
enum Piece<'a> {
    Bytes(#[arbitrary(with = bytes)] &'a [u8]),
    Frame {
        fin: bool,
        rsv1: bool,
        #[arbitrary(with = |u: &mut Unstructured| u.choose(&OPCODES).copied())]
        opcode: Opcode,
        payload: Payload<'a>,
    },
    Compressed {
        is_text: bool,
        blocks: Vec<Block<'a>>,
        /// Without the bytes that end a message.
        cut_off: bool,
        fragment_size: Option<u8>,
        /// Between the fragments.
        ping: bool,
    },
}

#[derive(Arbitrary, Debug)]
enum Payload<'a> {
    Bytes(#[arbitrary(with = bytes)] &'a [u8]),
    /// Long enough to go through `payload_buffer`.
    Repeated(
        u8,
        #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(0..=5_000))] u16,
    ),
}

#[derive(Debug)]
struct Block<'a> {
    kind: Kind,
    is_final: bool,
    literals: &'a [u8],
    /// Lengths and distances behind them, each over and over.
    references: [(u8, u16, u8); 2],
    /// Letters only, so that it makes text.
    is_ascii: bool,
}

impl<'a> Arbitrary<'a> for Block<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let kind: u8 = u.arbitrary()?;
        let mut references = [(0, 0, 0); 2];
        for reference in references.iter_mut().take((kind >> 4 & 3).into()) {
            *reference = u.arbitrary()?;
        }
        Ok(Self {
            kind: [Kind::Fixed, Kind::Fixed, Kind::Stored, Kind::Dynamic][usize::from(kind & 3)],
            is_final: kind & 4 != 0,
            is_ascii: kind & 8 == 0,
            literals: bytes(u)?,
            references,
        })
    }
}

fuzz_target!(|input: Input| {
    let wire = input.wire();
    let whole = input.decode(&wire, &[], false);
    input.check(&wire, &whole);
    let cuts: &[usize] = match input.cutting {
        Cutting::Lengths(cuts) => &cuts.map(usize::from),
        Cutting::Bytes if wire.len() < 256 => &[1],
        Cutting::Bytes => &[61],
        Cutting::Two(at) => &[at.into(), usize::MAX],
    };
    assert_eq!(input.decode(&wire, cuts, input.direct), whole);
});

#[derive(Debug, Eq, PartialEq)]
struct Decoded {
    events: Vec<Event>,
    error: Option<ProtocolError>,
    rest: Vec<u8>,
    is_message_open: bool,
}

impl Input<'_> {
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

    /// Holds what was decoded against the naive reader.
    fn check(&self, wire: &[u8], decoded: &Decoded) {
        let max_message_size = self.max_message_size.map_or(u64::MAX, u64::from);
        let fragments = match (self.max_fragments, self.max_message_size) {
            (Some(fragments), _) => u64::from(fragments).max(1),
            (None, Some(size)) => u64::from(size / 64).max(1024),
            (None, None) => u64::MAX,
        };
        let reading = frames::read(
            wire,
            &Rules {
                masked: self.is_server,
                deflate: self.deflate.map(|params| Deflate {
                    takeover: !params.no_context_takeover,
                    window_bits: params.window_bits,
                    strict: false,
                }),
                max_message_size,
                max_frame_size: self.max_frame_size.map_or(u64::MAX, u64::from),
                max_fragments: fragments,
            },
        );
        let events: Vec<_> = decoded.events.iter().map(Seen::of).collect();
        let code = decoded
            .error
            .as_ref()
            .map(|error| error.close_code().as_u16());
        if reading.in_compressed {
            assert!(reading.sure <= events.len());
            assert!(reading.seen.starts_with(&events));
            match reading.end {
                End::Failed(_) => assert!(code.is_some(), "it takes what is {reading:?}"),
                End::Open => assert!(code.is_some() || events == reading.seen),
            }
            return;
        }
        assert_eq!(events, reading.seen);
        match reading.end {
            End::Failed(failed) => assert_eq!(code, Some(failed)),
            End::Open => {
                assert_eq!(decoded.error, None);
                assert_eq!(decoded.rest.len(), reading.rest);
                assert_eq!(decoded.is_message_open, reading.open.is_some());
            }
        }
    }

    /// Decodes `wire`, cut into pieces of the lengths in `cuts`, over and over.
    fn decode(&self, wire: &[u8], cuts: &[usize], direct: bool) -> Decoded {
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
            let cut = cuts.next().map_or(wire.len(), |&cut| cut);
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
        for piece in self.pieces.iter().take(12) {
            match piece {
                Piece::Bytes(bytes) => wire.extend_from_slice(bytes),
                Piece::Frame {
                    fin,
                    rsv1,
                    opcode,
                    payload,
                } => match payload {
                    Payload::Bytes(bytes) => self.frame(*fin, *rsv1, *opcode, bytes, &mut wire),
                    Payload::Repeated(byte, times) => {
                        let payload = vec![*byte; usize::from(*times)];
                        self.frame(*fin, *rsv1, *opcode, &payload, &mut wire);
                    }
                },
                Piece::Compressed {
                    is_text,
                    blocks,
                    cut_off,
                    fragment_size,
                    ping,
                } => {
                    let payload = compressed(blocks, *cut_off);
                    let size = fragment_size.map_or(usize::MAX, |size| usize::from(size) + 1);
                    let last = payload.len().div_ceil(size).max(1) - 1;
                    for n in 0..=last {
                        let opcode = match n {
                            0 if *is_text => Opcode::Text,
                            0 => Opcode::Binary,
                            _ => Opcode::Continuation,
                        };
                        let fragment = payload.chunks(size).nth(n).unwrap_or_default();
                        self.frame(n == last, n == 0, opcode, fragment, &mut wire);
                        if *ping {
                            self.frame(true, false, Opcode::Ping, &[], &mut wire);
                        }
                    }
                }
            }
        }
        wire
    }

    fn frame(&self, fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8], to: &mut Vec<u8>) {
        let masking_key = self.is_server.then_some([0x37, 0xfa, 0x21, 0x3d]);
        let payload_len = payload.len() as u64;
        let header = Header {
            fin,
            rsv1,
            rsv2: false,
            rsv3: false,
            opcode,
            masking_key,
            payload_len,
        };
        to.extend_from_slice(&header.encode());
        let start = to.len();
        to.extend_from_slice(payload);
        if let Some(key) = masking_key {
            apply_mask(&mut to[start..], key);
        }
    }
}

fn compressed(blocks: &[Block<'_>], cut_off: bool) -> Vec<u8> {
    let mut writer = Writer::default();
    for block in blocks.iter().take(4) {
        let mut literals = block.literals.to_vec();
        if block.is_ascii {
            literals.iter_mut().for_each(|byte| *byte &= 0x7f);
        }
        writer.begin(block.kind, block.is_final, &literals);
        writer.literals(&literals);
        for (len, distance, times) in block.references {
            // Seldom more than is decompressed at once, 64 KiB.
            let times = if times < 250 { times % 64 } else { u8::MAX };
            for _ in 0..times {
                // Few are far.
                let distance = usize::from(distance) >> (distance & 7);
                writer.reference(usize::from(len) + 3, distance % (1 << 15) + 1);
            }
        }
        writer.end();
    }
    if cut_off {
        writer.into_bytes()
    } else {
        writer.finish()
    }
}

fn discards(mut decoder: Decoder, wire: &[u8]) {
    let mut bytes = BytesMut::from(wire);
    bytes.extend_from_slice(b"\x81\x00\x81\x80\0\0\0\0");
    assert_eq!(decoder.decode(&mut bytes), Ok(None));
    assert!(bytes.is_empty());
    assert!(decoder.payload_buffer().is_none());
}

const OPCODES: [Opcode; 6] = [
    Opcode::Continuation,
    Opcode::Text,
    Opcode::Binary,
    Opcode::Close,
    Opcode::Ping,
    Opcode::Pong,
];
