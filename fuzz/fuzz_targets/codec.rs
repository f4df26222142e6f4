//! `FrameCodec` as a codec of `tokio_util`, and over blocking streams.
//!
//! - Behind `FramedRead`, however the stream is cut, and by `read_frame`, it gives the frames that a
//!   naive reader finds; then it ends, or fails as it should: `InvalidData` with the error of the
//!   protocol in it, `UnexpectedEof` inside a frame.
//! - The messages that those frames make are what `Decoder` makes of the same bytes.
//! - What it encodes for its peer, the peer's codec and the naive reader read back. For frames that
//!   are whole messages it is what `Encoder` writes.
#![no_main]

use std::{
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Buf, BytesMut};
use futures_core::Stream;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::codec::{self, FramedRead};
use tower_websocket::{
    Config, Message, ProtocolError,
    protocol::{Decoder, Encoder, Frame, FrameCodec, Header, Opcode, Role, SendQueue, apply_mask},
};
use tower_websocket_fuzz::{
    bytes,
    frames::{self, Rules, Seen},
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    is_server: bool,
    allow_rsv1: bool,
    max_frame_size: Option<u16>,
    /// Over and over; none is a stream that has nothing yet.
    cuts: [u8; 4],
    pieces: Vec<Piece<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Bytes(#[arbitrary(with = bytes)] &'a [u8]),
    Frame {
        fin: bool,
        rsv1: bool,
        #[arbitrary(with = |u: &mut Unstructured| u.choose(&OPCODES).copied())]
        opcode: Opcode,
        #[arbitrary(with = bytes)]
        payload: &'a [u8],
        /// More of it, so that it comes in several reads.
        more: u16,
    },
}

/// How reading ended.
#[derive(Debug, Eq, PartialEq)]
enum Ended {
    Well,
    Inside,
    Broken(u16),
}

fuzz_target!(|input: Input| {
    let wire = input.wire();
    let naive = input.naive(&wire);
    assert_eq!(input.framed(&wire), naive);
    assert_eq!(input.blocking(&wire), naive);
    if !input.allow_rsv1 {
        input.messages(&wire, &naive);
    }
    input.written(&naive.0);
});

impl Input<'_> {
    fn role(&self) -> Role {
        if self.is_server {
            Role::Server
        } else {
            Role::Client
        }
    }

    fn codec(&self) -> FrameCodec {
        FrameCodec::new(self.role())
            .allow_rsv1(self.allow_rsv1)
            .max_frame_size(self.max_frame_size.map(usize::from))
    }

    fn naive(&self, mut wire: &[u8]) -> (Vec<Frame>, Ended) {
        let mut frames = Vec::new();
        loop {
            if wire.is_empty() {
                return (frames, Ended::Well);
            }
            // Two bytes say of it that it is not allowed, whatever the rest is.
            if wire.len() >= 2 && wire[0] & 0x40 != 0 && !self.allow_rsv1 {
                return (frames, Ended::Broken(1002));
            }
            let header = match frames::header(wire) {
                Ok(Some(header)) => header,
                Ok(None) => return (frames, Ended::Inside),
                Err(_) => return (frames, Ended::Broken(1002)),
            };
            if header.key.is_some() != self.is_server {
                return (frames, Ended::Broken(1002));
            }
            if header.len > self.max_frame_size.map_or(u64::MAX, u64::from) {
                return (frames, Ended::Broken(1009));
            }
            let len = usize::try_from(header.len).unwrap_or(usize::MAX);
            let Some((payload, rest)) = wire[header.size..].split_at_checked(len) else {
                return (frames, Ended::Inside);
            };
            wire = rest;
            let key = header.key.unwrap_or_default();
            let payload = payload.iter().enumerate();
            frames.push(Frame {
                fin: header.fin,
                rsv1: header.rsv1,
                rsv2: false,
                rsv3: false,
                opcode: Opcode::new(header.opcode).expect("one of the standard"),
                payload: payload.map(|(n, byte)| byte ^ key[n % 4]).collect(),
            });
        }
    }

    fn framed(&self, wire: &[u8]) -> (Vec<Frame>, Ended) {
        let mut reader = FramedRead::with_capacity(Cut::new(wire, self.cuts), self.codec(), 64);
        let (mut frames, mut waits) = (Vec::new(), 0);
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            let ended = match Pin::new(&mut reader).poll_next(&mut cx) {
                Poll::Pending => {
                    waits += 1;
                    assert!(waits <= 4 * (wire.len() + 4), "it waits for ever");
                    continue;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    frames.push(frame);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    let ended = ended(&error);
                    let next = Pin::new(&mut reader).poll_next(&mut cx);
                    assert!(matches!(next, Poll::Ready(None)), "it goes on");
                    ended
                }
                Poll::Ready(None) => Ended::Well,
            };
            return (frames, ended);
        }
    }

    fn blocking(&self, wire: &[u8]) -> (Vec<Frame>, Ended) {
        let (mut codec, mut stream) = (self.codec(), Cut::new(wire, self.cuts));
        let mut frames = Vec::new();
        loop {
            match codec.read_frame(&mut stream) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, Ended::Well),
                Err(error) => return (frames, ended(&error)),
            }
        }
    }

    /// Puts the frames together as `Decoder` does, until that fails or they end.
    fn messages(&self, wire: &[u8], (frames, ended): &(Vec<Frame>, Ended)) {
        let config = Config::default()
            .max_message_size(None)
            .max_frame_size(self.max_frame_size.map(usize::from));
        let mut decoder = Decoder::new(self.role(), &config);
        let mut bytes = BytesMut::from(wire);
        let mut events = Vec::new();
        while let Ok(Some(event)) = decoder.decode(&mut bytes) {
            events.push(Seen::of(&event));
        }
        let mut whole = BytesMut::new();
        let mut server = FrameCodec::new(Role::Server);
        for frame in frames {
            let written = server.encode(frame, &mut whole);
            assert_eq!(written, Ok(()), "what was read may be written");
        }
        let reading = frames::read(&whole, &rules(false));
        if *ended == Ended::Broken(1009) {
            // Control frames are no longer than 125 bytes anyway, and `Decoder` does not count them.
            assert!(events.starts_with(&reading.seen));
        } else {
            assert_eq!(events, reading.seen);
        }
    }

    fn written(&self, frames: &[Frame]) {
        let mut codec = FrameCodec::new(self.role()).allow_rsv1(true);
        let mut wire = BytesMut::new();
        for frame in frames {
            let written = codec::Encoder::encode(&mut codec, frame.clone(), &mut wire);
            assert!(written.is_ok());
        }
        let peer = Input {
            is_server: !self.is_server,
            allow_rsv1: true,
            max_frame_size: None,
            pieces: Vec::new(),
            ..*self
        };
        let read = peer.naive(&wire);
        assert_eq!((&read.0[..], &read.1), (frames, &Ended::Well));
        assert_eq!(peer.framed(&wire), read);
        // Masks are drawn, so only what a server writes is the same twice.
        if self.is_server {
            let encoder = Encoder::new(Role::Server, &Config::default());
            let mut queue = SendQueue::new();
            let mut wire = BytesMut::new();
            for frame in frames.iter().filter(|frame| frame.fin && !frame.rsv1) {
                let text = std::str::from_utf8(&frame.payload);
                let message = match (frame.opcode, text) {
                    (Opcode::Text, Ok(text)) => Message::text(text),
                    (Opcode::Binary, _) => Message::binary(frame.payload.clone()),
                    _ => continue,
                };
                encoder.message(message, &mut queue);
                assert_eq!(codec.encode(frame, &mut wire), Ok(()));
            }
            assert_eq!(queue.copy_to_bytes(queue.remaining()), wire);
        }
    }

    fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in self.pieces.iter().take(8) {
            match piece {
                Piece::Bytes(bytes) => wire.extend_from_slice(bytes),
                Piece::Frame {
                    fin,
                    rsv1,
                    opcode,
                    payload,
                    more,
                } => {
                    let more = usize::from(*more).saturating_sub(60_000);
                    let mut payload = [payload, &vec![b'a'; more][..]].concat();
                    let masking_key = self.is_server.then_some([0x37, 0xfa, 0x21, 0x3d]);
                    let header = Header {
                        fin: *fin,
                        rsv1: *rsv1,
                        rsv2: false,
                        rsv3: false,
                        opcode: *opcode,
                        masking_key,
                        payload_len: payload.len() as u64,
                    };
                    wire.extend_from_slice(&header.encode());
                    apply_mask(&mut payload, masking_key.unwrap_or_default());
                    wire.append(&mut payload);
                }
            }
        }
        wire
    }
}

fn rules(masked: bool) -> Rules {
    Rules {
        masked,
        deflate: None,
        max_message_size: u64::MAX,
        max_frame_size: u64::MAX,
        max_fragments: u64::MAX,
    }
}

fn ended(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Ended::Inside,
        io::ErrorKind::InvalidData => {
            let inner = error.get_ref().and_then(|error| error.downcast_ref());
            let inner: &ProtocolError = inner.expect("an error of the protocol");
            Ended::Broken(inner.close_code().as_u16())
        }
        kind => panic!("{kind}"),
    }
}

/// A stream that gives as much at a time as the input says.
struct Cut<'a> {
    rest: &'a [u8],
    cuts: [u8; 4],
    reads: usize,
}

impl<'a> Cut<'a> {
    fn new(rest: &'a [u8], cuts: [u8; 4]) -> Self {
        Self {
            rest,
            cuts,
            reads: 0,
        }
    }

    fn next(&mut self, room: usize) -> &'a [u8] {
        let cut = match self.cuts {
            [0, 0, 0, 0] => 1,
            cuts => usize::from(cuts[self.reads % 4]),
        };
        self.reads += 1;
        // Much comes in no more than a hundred steps.
        let cut = cut
            .max(self.rest.len() / 100)
            .min(self.rest.len())
            .min(room);
        let (part, rest) = self.rest.split_at(cut);
        self.rest = rest;
        part
    }
}

impl AsyncRead for Cut<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_over = self.rest.is_empty();
        let part = self.next(buffer.remaining());
        buffer.put_slice(part);
        if part.is_empty() && !is_over {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for Cut<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut part = self.next(to.len());
        if part.is_empty() {
            // Nothing is an end here.
            let (first, rest) = self.rest.split_at(self.rest.len().min(to.len()).min(1));
            (part, self.rest) = (first, rest);
        }
        to[..part.len()].copy_from_slice(part);
        Ok(part.len())
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
