//! Frames that are all there.

use bytes::{Buf, Bytes, BytesMut};

use super::{limits::Limits, piece::Decoded, short_frame::take_short};
use crate::protocol::{
    close::CloseFrame,
    error::ProtocolError,
    header::{Header, Opcode},
    mask::{apply_mask, masked_copy},
    message::{Event, Message},
    role::Role,
    utf8::Utf8Bytes,
};

/// Takes a message with a header of `used` bytes, which is all there, from the front of `src`.
#[inline]
pub(super) fn take_message(
    header: &Header,
    used: usize,
    src: &mut BytesMut,
) -> Result<Option<Decoded>, ProtocolError> {
    let message = copy_message(header, used, src)?;
    src.advance(used + header.payload_len as usize);
    Ok(Some(Decoded::Event(Event::Message(message))))
}

/// Takes a message that is all there, in one frame and not compressed, from the front of `src`: a copy of
/// it, and the bytes to pass over. For who has a decoder that is between two messages, and tells it.
///
/// `None` where anything else comes next, be it an error: then nothing has changed.
#[inline]
#[cfg_attr(
    not(any(test, feature = "layer")),
    expect(dead_code, reason = "sessions do")
)]
pub(crate) fn take_plain(role: Role, limits: &Limits, src: &mut [u8]) -> Option<(Message, usize)> {
    if let Some(taken) = take_short(role, limits, src) {
        return Some(taken);
    }
    take_longer(role, limits, src)
}

fn take_longer(role: Role, limits: &Limits, src: &mut [u8]) -> Option<(Message, usize)> {
    let (header, used) = Header::decode(src).ok()??;
    let plain =
        header.fin && !header.rsv1 && matches!(header.opcode, Opcode::Text | Opcode::Binary);
    let masked = header.masking_key.is_some() == (role == Role::Server);
    let whole = header.payload_len <= (src.len() - used) as u64;
    if !plain || !masked || !whole || limits.check(header.payload_len, 0, 0).is_err() {
        return None;
    }
    if let Ok(message) = copy_message(&header, used, src) {
        return Some((message, used + header.payload_len as usize));
    }
    // It is no text. Masked again, as it came.
    unmask(&header, used, src);
    None
}

/// Copies a message with a header of `used` bytes, which is all there, from the front of `src`, whose
/// payload is unmasked.
#[inline]
fn copy_message(header: &Header, used: usize, src: &mut [u8]) -> Result<Message, ProtocolError> {
    let end = used + header.payload_len as usize;
    Ok(match header.opcode {
        Opcode::Text => Message::Text(Utf8Bytes::copy_from_slice(unmask(header, used, src))?),
        _ if end < LARGE => Message::Binary(Bytes::copy_from_slice(unmask(header, used, src))),
        _ => {
            let key = header.masking_key.unwrap_or_default();
            Message::Binary(masked_copy(&src[used..end], key).into())
        }
    })
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
