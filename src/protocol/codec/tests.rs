//! Single frames through buffers and blocking streams.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Cursor;

use super::*;
use crate::protocol::{Opcode, test_support::*};

/// Gives a byte at a time, and counts them.
struct Dribble<'a> {
    bytes: &'a [u8],
    taken: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let len = dst.len().min(1).min(self.bytes.len() - self.taken);
        dst[..len].copy_from_slice(&self.bytes[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}

/// Each frame of the examples of RFC 6455 §5.7, with the role that receives it.
fn examples() -> Vec<(Role, Vec<u8>, Frame)> {
    let (small, large) = (vec![7; 256], vec![7; 65_536]);
    let hello = Frame::text("Hello");
    vec![
        (Role::Client, HELLO.into(), hello.clone()),
        (Role::Server, MASKED_HELLO.into(), hello),
        (Role::Client, HEL.into(), Frame::text("Hel").fragment()),
        (Role::Client, LO.into(), Frame::continuation("lo")),
        (Role::Client, PING_HELLO.into(), Frame::ping("Hello")),
        (Role::Server, MASKED_PONG_HELLO.into(), Frame::pong("Hello")),
        (
            Role::Client,
            [b"\x82\x7e\x01\x00", &small[..]].concat(),
            Frame::binary(small),
        ),
        (
            Role::Client,
            [b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", &large[..]].concat(),
            Frame::binary(large),
        ),
    ]
}

fn protocol_error(error: &io::Error) -> Option<&ProtocolError> {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    error.get_ref().unwrap().downcast_ref()
}

#[test]
fn examples_of_the_standard_are_decoded() {
    for (role, bytes, frame) in examples() {
        let mut codec = FrameCodec::new(role);
        let mut src = BytesMut::from(&bytes[..]);
        assert_eq!(codec.decode(&mut src), Ok(Some(frame.clone())));
        assert!(src.is_empty());
        assert_eq!(codec.read_frame(&bytes[..]).unwrap(), Some(frame));
    }
}

#[test]
fn server_encodes_the_examples_of_the_standard() {
    for (role, bytes, frame) in examples() {
        if role == Role::Client {
            let mut written = Vec::new();
            FrameCodec::new(Role::Server)
                .write_frame(&mut written, &frame)
                .unwrap();
            assert_eq!(written, bytes);
        }
    }
}

#[test]
fn client_masks_every_frame_with_another_key() {
    let mut codec = FrameCodec::new(Role::Client);
    let mut bytes = BytesMut::new();
    codec.encode(&Frame::text("Hello"), &mut bytes).unwrap();
    codec.encode(&Frame::text("Hello"), &mut bytes).unwrap();
    assert_eq!(bytes.len(), 2 * MASKED_HELLO.len());
    let (first, second) = bytes.split_at(MASKED_HELLO.len());
    assert_eq!(first[..2], *b"\x81\x85");
    assert_ne!(first[2..6], second[2..6]);
    assert_ne!(&first[6..], b"Hello");
    let mut server = FrameCodec::new(Role::Server);
    for _ in 0..2 {
        assert_eq!(server.decode(&mut bytes), Ok(Some(Frame::text("Hello"))));
    }
}

#[test]
fn frame_is_decoded_once_its_last_byte_is_there() {
    for (role, bytes, frame) in examples() {
        let mut src = BytesMut::new();
        let mut codec = FrameCodec::new(role);
        let ends = (0..20).chain(bytes.len().saturating_sub(20)..=bytes.len());
        for end in ends.filter(|end| *end <= bytes.len()) {
            src.clear();
            src.extend_from_slice(&bytes[..end]);
            let expected = (end == bytes.len()).then(|| frame.clone());
            assert_eq!(codec.decode(&mut src), Ok(expected), "cut at {end}");
        }
    }
}

#[test]
fn frames_against_the_role_are_rejected() {
    let decode = |role, bytes: &[u8]| FrameCodec::new(role).decode(&mut bytes.into());
    assert_eq!(
        decode(Role::Server, HELLO),
        Err(ProtocolError::UnmaskedFrame)
    );
    assert_eq!(
        decode(Role::Client, MASKED_HELLO),
        Err(ProtocolError::MaskedFrame)
    );
    let error = FrameCodec::new(Role::Server).read_frame(HELLO).unwrap_err();
    assert_eq!(protocol_error(&error), Some(&ProtocolError::UnmaskedFrame));
}

#[test]
fn frame_size_is_limited_on_the_header() {
    for (limit, len, passes) in [(9, 9, true), (9, 10, false), (0, 0, true), (0, 1, false)] {
        let mut codec = FrameCodec::new(Role::Client).max_frame_size(limit);
        let result = codec.decode(&mut BytesMut::from(&from_server(0x82, &vec![0; len])[..2]));
        let (size, limit) = (len as u64, limit as u64);
        if passes {
            assert!(result.is_ok(), "{len} of {limit}");
        } else {
            assert_eq!(result, Err(ProtocolError::FrameTooBig { size, limit }));
        }
    }
}

#[test]
fn frame_size_is_1_mib_by_default_and_none_by_choice() {
    let header = |len: u64| [b"\x82\x7f", &len.to_be_bytes()[..]].concat();
    let decode = |mut codec: FrameCodec, len| codec.decode(&mut header(len)[..].into());
    let codec = FrameCodec::new(Role::Client);
    assert_eq!(decode(codec.clone(), 1 << 20), Ok(None));
    let (size, limit) = ((1 << 20) + 1, 1 << 20);
    assert_eq!(
        decode(codec.clone(), size),
        Err(ProtocolError::FrameTooBig { size, limit })
    );
    assert_eq!(decode(codec.max_frame_size(None), (1 << 63) - 1), Ok(None));
}

#[test]
fn rsv1_passes_where_an_extension_was_agreed_on() {
    let bytes = from_server(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00"); // RFC 7692 §7.2.3.1
    let mut codec = FrameCodec::new(Role::Client);
    let decoded = codec.decode(&mut BytesMut::from(&bytes[..]));
    assert_eq!(decoded, Err(ProtocolError::ReservedBits));
    let frame = codec
        .allow_rsv1(true)
        .decode(&mut BytesMut::from(&bytes[..]))
        .unwrap()
        .unwrap();
    assert_eq!((frame.rsv1, frame.opcode), (true, Opcode::Text));
    let mut written = Vec::new();
    FrameCodec::new(Role::Server)
        .allow_rsv1(true)
        .write_frame(&mut written, &frame)
        .unwrap();
    assert_eq!(written, bytes);
}

#[test]
fn reserved_bits_pass_both_ways_where_they_are_allowed_and_no_other_ones() {
    type Allow = fn(FrameCodec, bool) -> FrameCodec;
    let allow: [Allow; 3] = [
        FrameCodec::allow_rsv1,
        FrameCodec::allow_rsv2,
        FrameCodec::allow_rsv3,
    ];
    for set in 0..8_u8 {
        let mut frame = Frame::binary("Hello");
        [frame.rsv1, frame.rsv2, frame.rsv3] = [0, 1, 2].map(|bit| set >> bit & 1 != 0);
        let first = (0..3).fold(0x82, |byte, bit| byte | (set >> bit & 1) << (6 - bit));
        let bytes = from_server(first, b"Hello");
        for allowed in 0..8_u8 {
            let codec = |role| {
                (0..3).fold(FrameCodec::new(role), |codec, bit| {
                    allow[bit](codec, allowed >> bit & 1 != 0)
                })
            };
            let (mut ours, mut peer) = (codec(Role::Server), codec(Role::Client));
            let (mut sent, mut src) = (BytesMut::new(), BytesMut::from(&bytes[..]));
            let (encoded, decoded) = (ours.encode(&frame, &mut sent), peer.decode(&mut src));
            if set & !allowed == 0 {
                assert_eq!((encoded, &sent[..]), (Ok(()), &bytes[..]));
                assert_eq!(decoded, Ok(Some(frame.clone())));
                assert_eq!(peer.read_frame(&bytes[..]).unwrap(), Some(frame.clone()));
            } else {
                assert_eq!(encoded, Err(ProtocolError::ReservedBits));
                assert!(sent.is_empty());
                assert_eq!(decoded, Err(ProtocolError::ReservedBits));
                let error = peer.read_frame(&bytes[..]).unwrap_err();
                assert_eq!(protocol_error(&error), Some(&ProtocolError::ReservedBits));
            }
        }
    }
}

/// Every frame that can be written, legal or not: what one end writes, the other one reads, and what it
/// refuses to write, the other one would refuse to read.
#[test]
fn nothing_is_written_that_the_peer_would_refuse() {
    let opcodes = [0x0, 0x1, 0x2, 0x8, 0x9, 0xa].map(|opcode| Opcode::new(opcode).unwrap());
    for (role, peer) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
        for (opcode, flags) in opcodes
            .iter()
            .flat_map(|opcode| (0..4).map(move |f| (*opcode, f)))
        {
            for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
                let mut frame = Frame::new(opcode, vec![7; len]);
                (frame.fin, frame.rsv1) = (flags & 1 != 0, flags & 2 != 0);
                let mut ours = FrameCodec::new(role).allow_rsv1(true);
                let mut peer = FrameCodec::new(peer).allow_rsv1(true);
                let mut bytes = BytesMut::from(&b"before"[..]);
                let result = ours.encode(&frame, &mut bytes);
                let expected = match opcode.is_control() {
                    true if !frame.fin => Err(ProtocolError::FragmentedControl),
                    true if frame.rsv1 => Err(ProtocolError::ReservedBits),
                    true if len > 125 => Err(ProtocolError::ControlTooLong(len as u64)),
                    _ => Ok(()),
                };
                assert_eq!(result, expected, "{opcode:?} {flags} {len}");
                let mut bytes = bytes.split_off(b"before".len());
                if result.is_ok() {
                    assert_eq!(peer.decode(&mut bytes), Ok(Some(frame)));
                } else {
                    let error = ours.write_frame(Vec::new(), &frame).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                }
                assert!(bytes.is_empty());
            }
        }
    }
}

#[test]
fn stream_may_end_between_frames() {
    for (role, bytes, frame) in examples() {
        let mut codec = FrameCodec::new(role);
        let mut stream = Cursor::new([&bytes[..], &bytes].concat());
        for _ in 0..2 {
            assert_eq!(codec.read_frame(&mut stream).unwrap(), Some(frame.clone()));
        }
        assert_eq!(codec.read_frame(&mut stream).unwrap(), None);
    }
}

#[test]
fn stream_must_not_end_inside_a_frame() {
    for (role, bytes, _) in examples() {
        let ends = (1..20).chain(bytes.len() - 3..bytes.len());
        for end in ends.filter(|end| *end < bytes.len()) {
            let error = FrameCodec::new(role).read_frame(&bytes[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {end}");
        }
    }
}

#[test]
fn reading_a_frame_takes_nothing_behind_it() {
    for (role, bytes, frame) in examples() {
        let both = [&bytes[..], b"behind"].concat();
        let mut stream = Dribble {
            bytes: &both,
            taken: 0,
        };
        assert_eq!(
            FrameCodec::new(role).read_frame(&mut stream).unwrap(),
            Some(frame.clone())
        );
        assert_eq!(stream.taken, bytes.len());
        let mut stream = Cursor::new(&both);
        assert_eq!(
            FrameCodec::new(role).read_frame(&mut stream).unwrap(),
            Some(frame)
        );
        assert_eq!(stream.position(), bytes.len() as u64);
    }
}

/// With 2^62 bytes asked for at once this would not come back.
#[test]
fn huge_declared_length_reserves_no_memory() {
    let bytes = [b"\x82\x7f", &(1_u64 << 62).to_be_bytes()[..], b"x"].concat();
    let mut codec = FrameCodec::new(Role::Client).max_frame_size(None);
    let error = codec.read_frame(&bytes[..]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let mut src = BytesMut::from(&bytes[..]);
    assert_eq!(codec.decode(&mut src), Ok(None));
    assert!(src.capacity() <= 64);
}

#[test]
fn invalid_headers_are_errors_of_the_stream() {
    let error = FrameCodec::new(Role::Client)
        .read_frame(&b"\x83\x00"[..])
        .unwrap_err();
    assert_eq!(
        protocol_error(&error),
        Some(&ProtocolError::ReservedOpcode(3))
    );
}

/// Gives pieces, and between them what a stream says whose timeout has passed.
struct Halting<'a> {
    pieces: Vec<&'a [u8]>,
    halt: io::ErrorKind,
}

impl<'a> Halting<'a> {
    fn new(pieces: impl DoubleEndedIterator<Item = &'a [u8]>, halt: io::ErrorKind) -> Self {
        Self {
            pieces: pieces.rev().collect(),
            halt,
        }
    }
}

impl Read for Halting<'_> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.pieces.last_mut() else {
            return Ok(0);
        };
        if piece.is_empty() {
            self.pieces.pop();
            return Err(self.halt.into());
        }
        piece.read(dst)
    }
}

/// Reads to the end as an application does that repeats calls, and counts the repetitions.
fn read_all(codec: &mut FrameCodec, stream: &mut Halting<'_>) -> (Vec<Frame>, usize) {
    let (mut frames, mut halts) = (Vec::new(), 0);
    loop {
        match codec.read_frame(&mut *stream) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, halts),
            Err(error) => {
                assert_eq!(error.kind(), stream.halt);
                halts += 1;
            }
        }
    }
}

#[test]
fn stream_that_halts_loses_no_byte_wherever_it_does() {
    for (role, bytes, frame) in examples() {
        let both = [&bytes[..], &bytes].concat();
        let expected = [frame.clone(), frame];
        let cuts = (1..300).chain(bytes.len() - 3..bytes.len() + 300);
        for cut in cuts.filter(|cut| *cut < both.len()) {
            let (first, second) = both.split_at(cut);
            let pieces = [first, second].into_iter();
            let mut stream = Halting::new(pieces, io::ErrorKind::WouldBlock);
            let (frames, halts) = read_all(&mut FrameCodec::new(role), &mut stream);
            assert!(frames == expected && halts == 2, "cut at {cut}");
        }
        let mut stream = Halting::new(both.chunks(1), io::ErrorKind::TimedOut);
        let (frames, halts) = read_all(&mut FrameCodec::new(role), &mut stream);
        assert!(frames == expected && halts == both.len());
    }
}

#[test]
fn halted_frame_takes_the_memory_that_has_come_and_is_not_a_clones() {
    let bytes = [b"\x82\x7f", &(1_u64 << 62).to_be_bytes()[..], b"x"].concat();
    let mut codec = FrameCodec::new(Role::Client).max_frame_size(None);
    let mut stream = Halting::new([&bytes[..]].into_iter(), io::ErrorKind::WouldBlock);
    codec.read_frame(&mut stream).unwrap_err();
    assert_eq!(codec.partial, bytes);
    assert!(codec.partial.capacity() <= 64);
    let frame = codec.clone().read_frame(HELLO).unwrap();
    assert_eq!(frame, Some(Frame::text("Hello")));
    let error = codec.read_frame(&mut stream).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn refused_frame_stays_refused_and_its_payload_is_no_frame() {
    let mut codec = FrameCodec::new(Role::Client).max_frame_size(1);
    let mut stream = Cursor::new(from_server(0x82, b"\x81\x00"));
    for _ in 0..2 {
        let error = codec.read_frame(&mut stream).unwrap_err();
        let expected = ProtocolError::FrameTooBig { size: 2, limit: 1 };
        assert_eq!(protocol_error(&error), Some(&expected));
    }
}
