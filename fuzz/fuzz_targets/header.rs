//! `Header` and `FrameCodec`, on any bytes.
//!
//! - A header is what a naive reader of RFC 6455 §5.2's bits makes of it, or breaks the same rule.
//! - One that decodes encodes to the same bytes: there is one way to write each.
//! - Every prefix of it says "more bytes, please" or the same error, never another header.
//! - The codec gives the frames that the naive reader finds, up to the first that breaks a rule, is
//!   masked against the role or too big, and it encodes each so that its peer reads it back.
//! - It gives the same when the input comes byte by byte.
//!
//! The bytes are taken as they are, and once more with a length from a border, in 1, 3 or 9 bytes.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    ProtocolError,
    protocol::{Frame, FrameCodec, Header, Role},
};
use tower_websocket_fuzz::frames::{self, Broken};

fuzz_target!(|input: &[u8]| {
    both(input);
    if let [first, second, len, width, rest @ ..] = input {
        both(&at_a_border(*first, *second, *len, *width, rest));
    }
});

fn both(input: &[u8]) {
    header(input);
    for role in [Role::Client, Role::Server] {
        let whole = decode(role, input, input.len());
        assert_eq!(whole.1, expected(role, input, &whole.0));
        assert_eq!(decode(role, input, 1), whole);
        for frame in whole.0 {
            read_back(role, &frame);
        }
    }
}

/// A header with a length that is the last or the first of its width, in that width or another one.
fn at_a_border(first: u8, second: u8, len: u8, width: u8, rest: &[u8]) -> Vec<u8> {
    let len = BORDERS[usize::from(len) % BORDERS.len()];
    let (short, field) = match width % 3 {
        0 => (len.min(0x7f) as u8, Vec::new()),
        1 => (126, (len as u16).to_be_bytes().to_vec()),
        _ => (127, len.to_be_bytes().to_vec()),
    };
    [&[first, second & 0x80 | short], &field[..], rest].concat()
}

fn header(input: &[u8]) {
    let result = Header::decode(input);
    for end in 0..input.len().min(14) {
        let shorter = Header::decode(&input[..end]);
        assert!(shorter == Ok(None) || shorter == result, "{shorter:?}");
    }
    match (&result, frames::header(input)) {
        (Ok(Some((header, used))), Ok(Some(naive))) => {
            assert_eq!(header.fin, naive.fin);
            assert_eq!(header.rsv1, naive.rsv1);
            assert_eq!(header.opcode as u8, naive.opcode);
            assert_eq!(header.masking_key, naive.key);
            assert_eq!(header.payload_len, naive.len);
            assert_eq!(*used, naive.size);
            assert_eq!(*header.encode(), input[..*used]);
        }
        (Ok(None), Ok(None)) => assert!(input.len() < 14),
        (Err(error), Err(broken)) => {
            assert_eq!(rule(error), Some(broken));
            assert_eq!(error.close_code().as_u16(), 1002);
        }
        (ours, naive) => panic!("{ours:?}, which is {naive:?}"),
    }
}

fn rule(error: &ProtocolError) -> Option<Broken> {
    Some(match error {
        ProtocolError::ReservedBits => Broken::Reserved,
        ProtocolError::ReservedOpcode(_) => Broken::Opcode,
        ProtocolError::FragmentedControl => Broken::Fragmented,
        ProtocolError::ControlTooLong(_) => Broken::Long,
        ProtocolError::NonMinimalLength(_) => Broken::NotMinimal,
        ProtocolError::LengthOverflow(_) => Broken::Overflow,
        _ => return None,
    })
}

fn decode(role: Role, input: &[u8], step: usize) -> (Vec<Frame>, Option<u16>) {
    let mut codec = FrameCodec::new(role).allow_rsv1(true);
    let (mut frames, mut bytes) = (Vec::new(), BytesMut::new());
    for chunk in input.chunks(step.max(1)) {
        bytes.extend_from_slice(chunk);
        loop {
            let before = bytes.len();
            match codec.decode(&mut bytes) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.close_code().as_u16())),
            }
            assert!(bytes.len() < before, "no progress");
        }
    }
    (frames, None)
}

/// Holds `frames` against what the naive reader finds; returns the code that it ends with.
fn expected(role: Role, mut input: &[u8], frames: &[Frame]) -> Option<u16> {
    let mut frames = frames.iter();
    let end = loop {
        let header = match frames::header(input) {
            Ok(Some(header)) => header,
            Ok(None) => break None,
            Err(_) => break Some(1002),
        };
        if header.key.is_some() != (role == Role::Server) {
            break Some(1002);
        }
        // The codec's default.
        if header.len > 1 << 20 {
            break Some(1009);
        }
        let rest = &input[header.size..];
        let Some((payload, rest)) = rest.split_at_checked(header.len as usize) else {
            break None;
        };
        input = rest;
        let key = header.key.unwrap_or_default();
        let payload = payload.iter().enumerate();
        let frame = frames.next().expect("a whole frame");
        assert!(
            payload
                .map(|(n, byte)| byte ^ key[n % 4])
                .eq(frame.payload.iter().copied())
        );
        assert_eq!((frame.fin, frame.rsv1), (header.fin, header.rsv1));
        assert_eq!(frame.opcode as u8, header.opcode);
    };
    assert_eq!(frames.next(), None);
    end
}

fn read_back(role: Role, frame: &Frame) {
    let peer = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let mut bytes = BytesMut::new();
    let encoded = FrameCodec::new(peer)
        .allow_rsv1(true)
        .encode(frame, &mut bytes);
    assert_eq!(encoded, Ok(()));
    let decoded = FrameCodec::new(role).allow_rsv1(true).decode(&mut bytes);
    assert_eq!(decoded, Ok(Some(frame.clone())));
    assert!(bytes.is_empty());
}

const BORDERS: [u64; 12] = [
    0,
    1,
    124,
    125,
    126,
    127,
    0xfffe,
    0xffff,
    0x1_0000,
    0x10_0001,
    1 << 63,
    (1 << 63) - 1,
];
