//! The decoder without extensions, in both roles, and tungstenite's.
//!
//! What one accepts and how it reads it, the other must too. They may differ where a standard or
//! the moment says so, and nowhere else:
//!
//! - Lengths. RFC 6455 §5.2: "in all cases, the minimal number of bytes MUST be used to encode the
//!   length". tungstenite accepts longer ones.
//! - Close codes that must not be sent. §7.4.1, of 1005, 1006 and 1015: "MUST NOT be set as a status
//!   code in a Close control frame by an endpoint"; §7.4.2: "Status codes in the range 0-999 are not
//!   used". tungstenite delivers a Close with its own code 1002 and reason in place of an error.
//! - Close code 1014. §7.4.2: "Status codes in the range 1000-2999 are reserved for definition by
//!   this protocol, its future revisions, and extensions"; IANA's registry has since had 1014 ("Bad
//!   Gateway"), which tungstenite takes for one that must not be sent.
//! - Time. Both fail the connection, but tungstenite looks at a frame once it is whole, and this
//!   crate at its first bytes, so inside a frame only one of them may have failed already. §5.1: "A
//!   server MUST NOT mask any frames that it sends to the client. A client MUST close a connection
//!   if it detects a masked frame." When is not said, there or in §7.1.7.
#![no_main]

use std::io::{self, Read, Write};

use arbitrary::{Arbitrary, Unstructured};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    CloseFrame, Config, Event, Message, ProtocolError,
    protocol::{Decoder, Header, Opcode, Role, apply_mask},
};
use tungstenite::{
    Error,
    protocol::{self as theirs, WebSocket, WebSocketConfig},
};

#[derive(Arbitrary, Debug)]
struct Input {
    is_server: bool,
    pieces: Vec<Piece>,
}

#[derive(Arbitrary, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Frame {
        fin: bool,
        /// As the role of the sender wants it: clients mask, servers do not.
        is_masked_right: bool,
        #[arbitrary(with = |u: &mut Unstructured| u.choose(&OPCODES).copied())]
        opcode: Opcode,
        payload: Vec<u8>,
    },
    Text(String),
    Close(
        #[arbitrary(with = |u: &mut Unstructured| u.choose(CODES).copied())] u16,
        String,
    ),
}

/// How a stream of frames was read.
#[derive(Debug)]
enum End {
    /// More bytes are needed.
    Pending,
    /// A Close frame came.
    Closed,
    Failed,
}

fuzz_target!(|input: Input| {
    let (ours_is, theirs_is) = if input.is_server {
        (Role::Server, theirs::Role::Server)
    } else {
        (Role::Client, theirs::Role::Client)
    };
    let wire = input.wire();
    let (our_events, our_end) = ours(ours_is, &wire);
    let (their_events, their_end) = theirs(theirs_is, &wire);
    match our_end {
        Ok(end) => {
            assert_eq!(our_events, their_events);
            match (end, their_end) {
                (End::Pending, End::Pending) | (End::Closed, End::Closed) => {}
                ends => panic!("{ends:?}"),
            }
        }
        Err(ProtocolError::NonMinimalLength(_)) => {
            assert!(their_events.starts_with(&our_events));
        }
        // Known by its second byte: the length comes in two bytes or eight, however long it is.
        Err(ProtocolError::ControlTooLong(_)) if has_long_length(&wire) => {
            assert!(their_events.starts_with(&our_events));
        }
        Err(ProtocolError::InvalidCloseCode(_)) => match (their_end, &their_events[..]) {
            (End::Closed, [before @ .., last]) => {
                assert_eq!(before, our_events);
                assert_eq!(last, &Event::Close(Some(violation())));
            }
            // The reason is no UTF-8 either.
            (End::Failed, before) => assert_eq!(before, our_events),
            end => panic!("{end:?}"),
        },
        Err(error) => {
            assert_eq!(our_events, their_events);
            match their_end {
                End::Failed => {}
                End::Pending => assert!(ends_inside_a_frame(&wire), "{error}"),
                End::Closed => panic!("{error}"),
            }
        }
    }
});

fn ours(role: Role, wire: &[u8]) -> (Vec<Event>, Result<End, ProtocolError>) {
    let config = Config::default()
        .max_message_size(LIMIT)
        .max_frame_size(LIMIT);
    let mut decoder = Decoder::new(role, &config);
    let (mut events, mut wire) = (Vec::new(), BytesMut::from(wire));
    loop {
        match decoder.decode(&mut wire) {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, Ok(End::Pending)),
            Err(error) => return (events, Err(error)),
        }
        if let Some(Event::Close(frame)) = events.last_mut() {
            if frame
                .as_ref()
                .is_some_and(|frame| frame.code().as_u16() == 1014)
            {
                *frame = Some(violation());
            }
            return (events, Ok(End::Closed));
        }
    }
}

fn theirs(role: theirs::Role, wire: &[u8]) -> (Vec<Event>, End) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let mut socket = WebSocket::from_raw_socket(Stream(wire), role, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Event::Message(Message::text(text.as_str())),
            Ok(tungstenite::Message::Binary(payload)) => Event::Message(Message::binary(payload)),
            Ok(tungstenite::Message::Ping(payload)) => Event::Ping(payload),
            Ok(tungstenite::Message::Pong(payload)) => Event::Pong(payload),
            Ok(tungstenite::Message::Close(frame)) => {
                events.push(Event::Close(
                    frame.map(|frame| close(u16::from(frame.code), frame.reason.as_str())),
                ));
                return (events, End::Closed);
            }
            Ok(tungstenite::Message::Frame(_)) => unreachable!("only for writing"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (events, End::Pending);
            }
            Err(Error::Protocol(_) | Error::Capacity(_) | Error::Utf8(_)) => {
                return (events, End::Failed);
            }
            Err(error) => panic!("{error:?}"),
        });
    }
}

/// Whether there is a control frame of at most 125 bytes whose length takes more than one.
fn has_long_length(wire: &[u8]) -> bool {
    wire.windows(4).any(|header| {
        let [first, second, len @ ..] = header else {
            return false;
        };
        let extended = second & 0x7f;
        first & 0x08 != 0 && (extended == 127 || (extended == 126 && len <= &[0, 125][..]))
    })
}

/// Walks the frames by their lengths alone.
fn ends_inside_a_frame(mut wire: &[u8]) -> bool {
    while !wire.is_empty() {
        let [_, second, rest @ ..] = wire else {
            return true;
        };
        let (len, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u16::from_be_bytes(*len).into(), rest),
                None => return true,
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return true,
            },
            len => (len.into(), rest),
        };
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        let Some(rest) = len
            .checked_add(key)
            .and_then(|len| rest.get(usize::try_from(len).ok()?..))
        else {
            return true;
        };
        wire = rest;
    }
    false
}

impl Input {
    fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => wire.extend_from_slice(bytes),
                Piece::Frame {
                    fin,
                    is_masked_right,
                    opcode,
                    payload,
                } => {
                    let is_masked = *is_masked_right == self.is_server;
                    frame(*fin, is_masked, *opcode, payload, &mut wire);
                }
                Piece::Text(text) => {
                    frame(
                        true,
                        self.is_server,
                        Opcode::Text,
                        text.as_bytes(),
                        &mut wire,
                    );
                }
                Piece::Close(code, reason) => {
                    let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
                    frame(true, self.is_server, Opcode::Close, &payload, &mut wire);
                }
            }
        }
        wire
    }
}

fn frame(fin: bool, is_masked: bool, opcode: Opcode, payload: &[u8], to: &mut Vec<u8>) {
    let masking_key = is_masked.then_some([0x37, 0xfa, 0x21, 0x3d]);
    let payload_len = payload.len() as u64;
    to.extend_from_slice(
        &Header {
            fin,
            rsv1: false,
            rsv2: false,
            rsv3: false,
            opcode,
            masking_key,
            payload_len,
        }
        .encode(),
    );
    let start = to.len();
    to.extend_from_slice(payload);
    apply_mask(&mut to[start..], masking_key.unwrap_or_default());
}

/// What tungstenite makes of a close code that must not be sent.
fn violation() -> CloseFrame {
    close(1002, "Protocol violation")
}

fn close(code: u16, reason: &str) -> CloseFrame {
    let code = tower_websocket::CloseCode::new(code).expect("a code that may travel");
    CloseFrame::new(code, reason)
}

/// Gives what it has, and takes whatever is written.
struct Stream<'a>(&'a [u8]);

impl Read for Stream<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(to)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const LIMIT: usize = 1 << 20;

const OPCODES: [Opcode; 6] = [
    Opcode::Continuation,
    Opcode::Text,
    Opcode::Binary,
    Opcode::Close,
    Opcode::Ping,
    Opcode::Pong,
];

/// Each kind of close code, from both sides of every border.
const CODES: &[u16] = &[
    0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
    1014, 1015, 1016, 2999, 3000, 3999, 4000, 4999, 5000, 65535,
];
