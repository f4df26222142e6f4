//! Frames that are all there.

use bytes::{Buf, Bytes, BytesMut};

use super::piece::Decoded;
use crate::protocol::{
    close::CloseFrame,
    error::ProtocolError,
    header::{Header, Opcode},
    mask::{apply_mask, masked_copy},
    message::{Event, Message},
    utf8::Utf8Bytes,
};

/// Takes a message with a header of `used` bytes, which is all there, from the front of `src`.
#[inline]
pub(super) fn take_message(
    header: &Header,
    used: usize,
    src: &mut BytesMut,
) -> Result<Option<Decoded>, ProtocolError> {
    let end = used + header.payload_len as usize;
    let message = match header.opcode {
        Opcode::Text => Message::Text(Utf8Bytes::copy_from_slice(unmask(header, used, src))?),
        _ if end < LARGE => Message::Binary(Bytes::copy_from_slice(unmask(header, used, src))),
        _ => {
            let key = header.masking_key.unwrap_or_default();
            Message::Binary(masked_copy(&src[used..end], key).into())
        }
    };
    src.advance(end);
    Ok(Some(Decoded::Event(Event::Message(message))))
}

/// Takes a control frame likewise.
pub(super) fn decode_control(
    header: &Header,
    used: usize,
    src: &mut BytesMut,
) -> Result<Event, ProtocolError> {
    let payload = Bytes::copy_from_slice(unmask(header, used, src));
    src.advance(used + payload.len());
    Ok(match header.opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => Event::Close(CloseFrame::decode(&payload)?),
    })
}

/// Unmasks the payload of a frame that is all there; the header has `used` bytes.
#[inline]
fn unmask<'a>(header: &Header, used: usize, src: &'a mut [u8]) -> &'a [u8] {
    let payload = &mut src[used..used + header.payload_len as usize];
    if let Some(key) = header.masking_key {
        apply_mask(payload, key);
    }
    payload
}

/// From here on one pass over a payload is worth a call of its own.
const LARGE: usize = 1 << 10;
