//! As much of WebSocket as the load needs, and nothing of the library's: what a server sends unmasked and whole.

use bytes::{Buf, Bytes, BytesMut};
use tower::BoxError;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// Takes a frame from the front of `read`, once it is there.
pub(super) fn take(read: &mut BytesMut) -> Result<Option<(Kind, Bytes)>, BoxError> {
    let &[first, second, ref rest @ ..] = &read[..] else {
        return Ok(None);
    };
    let (header, length) = match second {
        126 => match rest.first_chunk() {
            Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        0..126 => (2, u64::from(second)),
        _ => return Err("the server masks".into()),
    };
    let kind = match first {
        0x81 => Kind::Text,
        0x82 => Kind::Binary,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8a => Kind::Pong,
        _ => return Err(format!("a frame that begins with {first:#x}").into()),
    };
    let length = usize::try_from(length)?;
    if read.len() < header + length {
        return Ok(None);
    }
    read.advance(header);
    Ok(Some((kind, read.split_to(length).freeze())))
}

/// Makes a frame, masked with zeros: that leaves the payload as it is.
pub(super) fn make(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let first = match kind {
        Kind::Text => 0x81,
        Kind::Binary => 0x82,
        Kind::Close => 0x88,
        Kind::Ping => 0x89,
        Kind::Pong => 0x8a,
    };
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
