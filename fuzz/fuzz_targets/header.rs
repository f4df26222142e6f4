//! `Header` and `FrameCodec`, on any bytes.
//!
//! - A header that decodes encodes to the same bytes: there is one way to write each.
//! - Every prefix of it says "more bytes, please" or the same error, never another header.
//! - The codec takes bytes with every frame, encodes what it took so that its peer reads it back,
//!   and gives the same frames when the input comes byte by byte.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    ProtocolError,
    protocol::{Frame, FrameCodec, Header, Role},
};

fuzz_target!(|input: &[u8]| {
    header(input);
    for role in [Role::Client, Role::Server] {
        let whole = frames(role, input, input.len());
        assert_eq!(frames(role, input, 1), whole);
        for frame in whole.0 {
            read_back(role, &frame);
        }
    }
});

fn header(input: &[u8]) {
    let result = Header::decode(input);
    for end in 0..input.len().min(14) {
        let shorter = Header::decode(&input[..end]);
        assert!(shorter == Ok(None) || shorter == result, "{shorter:?}");
    }
    match result {
        Ok(Some((header, used))) => assert_eq!(*header.encode(), input[..used]),
        Ok(None) => assert!(input.len() < 14),
        Err(error) => assert_eq!(error.close_code().as_u16(), 1002),
    }
}

fn frames(role: Role, input: &[u8], step: usize) -> (Vec<Frame>, Option<ProtocolError>) {
    let mut codec = FrameCodec::new(role).allow_rsv1(true);
    let (mut frames, mut bytes) = (Vec::new(), BytesMut::new());
    for chunk in input.chunks(step.max(1)) {
        bytes.extend_from_slice(chunk);
        loop {
            let before = bytes.len();
            match codec.decode(&mut bytes) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
            assert!(bytes.len() < before, "no progress");
        }
    }
    (frames, None)
}

fn read_back(role: Role, frame: &Frame) {
    let peer = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let mut bytes = BytesMut::new();
    FrameCodec::new(peer).encode(frame, &mut bytes);
    let decoded = FrameCodec::new(role).allow_rsv1(true).decode(&mut bytes);
    assert_eq!(decoded, Ok(Some(frame.clone())));
    assert!(bytes.is_empty());
}
