//! The commonest frame: a message of at most 125 bytes, which is all there.

use bytes::Bytes;

use super::limits::Limits;
use crate::protocol::{
    header::{FIN, MASK, MAX_SHORT, Opcode},
    mask::apply_mask_short,
    message::Message,
    role::Role,
    utf8::Utf8Bytes,
};

/// Copies a message of at most 125 bytes from the front of `src`, with the bytes that its frame takes
/// there.
///
/// `None` where anything else comes next: a frame that has not come whole, a longer one, a control
/// frame, a fragment, a compressed message, whatever breaks a rule or a limit. Then `src` is as it was.
/// Otherwise the payload in it has been unmasked.
#[inline]
pub(super) fn take_short(role: Role, limits: &Limits, src: &mut [u8]) -> Option<(Message, usize)> {
    let (&mut [first, second], rest) = src.split_first_chunk_mut()?;
    let text = match first {
        TEXT => true,
        BINARY => false,
        _ => return None,
    };
    match role {
        Role::Server => {
            // Without the bit of the mask this is no length that fits.
            let len = usize::from(second ^ MASK);
            let (&mut key, rest) = rest.split_first_chunk_mut()?;
            let payload = rest.get_mut(..len).filter(|_| len < limits.short)?;
            apply_mask_short(payload, key);
            let Some(message) = message(text, payload) else {
                apply_mask_short(payload, key);
                return None;
            };
            Some((message, 6 + len))
        }
        Role::Client => {
            let len = usize::from(second);
            let payload = rest.get(..len).filter(|_| len < limits.short)?;
            Some((message(text, payload)?, 2 + len))
        }
    }
}

/// Makes a message of a copy; `None` of text that is not UTF-8.
#[inline]
fn message(text: bool, payload: &[u8]) -> Option<Message> {
    Some(if text {
        Message::Text(Utf8Bytes::copy_from_slice(payload).ok()?)
    } else {
        Message::Binary(Bytes::copy_from_slice(payload))
    })
}

/// The first bytes of a message in one frame, not compressed.
const TEXT: u8 = FIN | Opcode::Text as u8;
const BINARY: u8 = FIN | Opcode::Binary as u8;

// What has the wrong bit of the mask, or says that the length follows, is no length below the bound.
const _: () = assert!(MAX_SHORT < 126 && MAX_SHORT < MASK as usize);
