//! The frame header (RFC 6455 §5.2).

use std::{fmt, ops::Deref};

use super::error::ProtocolError;

/// The kind of a frame (RFC 6455 §5.2, §11.8).
///
/// ```
/// use tower_websocket::protocol::Opcode;
///
/// assert_eq!(Opcode::new(0x1), Some(Opcode::Text));
/// assert_eq!(Opcode::new(0x3), None);
/// let (data, control): (Vec<_>, Vec<_>) =
///     (0x0..=0xf).filter_map(Opcode::new).partition(|opcode| !opcode.is_control());
/// assert_eq!(data, [Opcode::Continuation, Opcode::Text, Opcode::Binary]);
/// assert_eq!(control, [Opcode::Close, Opcode::Ping, Opcode::Pong]);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a new opcode needs a new standard")]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// Text, or its first fragment.
    Text = 0x1,
    /// Binary data, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A request for a pong.
    Ping = 0x9,
    /// The answer to a ping, or an unsolicited sign of life.
    Pong = 0xa,
}

impl Opcode {
    /// Reads an opcode; `None` for the reserved ones.
    #[must_use]
    pub const fn new(opcode: u8) -> Option<Self> {
        Some(match opcode {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    /// Reports whether this is Close, Ping or Pong (§5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header of a frame (RFC 6455 §5.2).
///
/// ```
/// use tower_websocket::{ProtocolError, protocol::{Header, Opcode}};
///
/// let (header, used) = Header::decode(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")?.expect("a whole header");
/// assert_eq!((used, header.fin, header.opcode), (6, true, Opcode::Text));
/// assert_eq!((header.payload_len, header.masking_key), (5, Some([0x37, 0xfa, 0x21, 0x3d])));
/// assert_eq!(&header.encode()[..], b"\x81\x85\x37\xfa\x21\x3d");
/// assert_eq!(Header::decode(b"\x81\x85\x37")?, None); // more bytes, please
/// # Ok::<(), ProtocolError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the fields are those of the standard"
)]
pub struct Header {
    /// Whether the frame is the last one of its message.
    pub fin: bool,
    /// Whether the message is compressed, if that was agreed on (RFC 7692 §6).
    pub rsv1: bool,
    /// What an extension defines that both endpoints have agreed on; `false` without one.
    pub rsv2: bool,
    /// What an extension defines that both endpoints have agreed on; `false` without one.
    pub rsv3: bool,
    /// The kind of the frame.
    pub opcode: Opcode,
    /// The key that masks the payload (§5.3); `None` if nothing does.
    pub masking_key: Option<[u8; 4]>,
    /// The length of the payload, in bytes.
    pub payload_len: u64,
}

impl Header {
    /// Reads a header from the front of `src`, and returns it with the number of bytes that it took.
    ///
    /// Returns `None` if `src` is too short. Rules that one header can break by itself are checked as soon as the
    /// first two bytes are there.
    ///
    /// # Errors
    ///
    /// Reserved bits or opcodes, a control frame that is fragmented or too long, a length that is
    /// not minimal or has its top bit set.
    #[inline]
    pub fn decode(src: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::decode_without(src, RSV2 | RSV3)
    }

    /// Reads a header as [`decode`](Self::decode) does, and allows RSV2 and RSV3.
    ///
    /// It is for extensions that use these bits (RFC 6455 §9); the caller has to check them.
    ///
    /// ```
    /// use tower_websocket::{ProtocolError, protocol::Header};
    ///
    /// let (header, _) = Header::decode_extended(b"\xa2\x00")?.expect("a whole header");
    /// assert_eq!((header.rsv1, header.rsv2, header.rsv3), (false, true, false));
    /// assert_eq!(Header::decode(b"\xa2\x00"), Err(ProtocolError::ReservedBits));
    /// # Ok::<(), ProtocolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Self::decode), except for RSV2 and RSV3.
    pub fn decode_extended(src: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::decode_without(src, 0)
    }

    /// Reads a header, without the reserved bits that are `refused`.
    #[inline(always)]
    pub(super) fn decode_without(
        src: &[u8],
        refused: u8,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&[first, second], rest)) = src.split_first_chunk() else {
            return Ok(None);
        };
        let opcode = decode_first(first, second, refused)?;
        let Some((payload_len, extended)) = decode_len(second & 0x7f, rest)? else {
            return Ok(None);
        };
        let mut used = 2 + extended;
        let masking_key = if second & MASK == 0 {
            None
        } else {
            let Some(key) = src[used..].first_chunk() else {
                return Ok(None);
            };
            used += 4;
            Some(*key)
        };
        let header = Self {
            fin: first & FIN != 0,
            rsv1: first & RSV1 != 0,
            rsv2: first & RSV2 != 0,
            rsv3: first & RSV3 != 0,
            opcode,
            masking_key,
            payload_len,
        };
        Ok(Some((header, used)))
    }

    /// Checks the header of a frame that is to be sent as [`decode_without`](Self::decode_without) does.
    pub(super) fn check(&self, refused: u8) -> Result<(), ProtocolError> {
        let encoded = self.encode();
        match decode_first(encoded.bytes[0], encoded.bytes[1], refused) {
            Ok(_) => Ok(()),
            // All that two bytes say of it is that it is too long.
            Err(ProtocolError::ControlTooLong(_)) => {
                Err(ProtocolError::ControlTooLong(self.payload_len))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the header, with the length in as few bytes as possible.
    ///
    /// It does not check anything.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> EncodedHeader {
        let mut out = EncodedHeader {
            bytes: [0; MAX_HEADER],
            len: 2,
        };
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        out.bytes[0] = self.opcode as u8
            | bit(self.fin, FIN)
            | bit(self.rsv1, RSV1)
            | bit(self.rsv2, RSV2)
            | bit(self.rsv3, RSV3);
        match self.payload_len {
            len @ 0..=125 => out.bytes[1] = len as u8,
            len @ 126..=0xffff => {
                out.bytes[1] = 126;
                out.push((len as u16).to_be_bytes());
            }
            len => {
                out.bytes[1] = 127;
                out.push(len.to_be_bytes());
            }
        }
        if let Some(key) = self.masking_key {
            out.bytes[1] |= MASK;
            out.push(key);
        }
        out
    }
}

/// A header in wire form: 2 to 14 bytes.
#[derive(Clone, Copy)]
pub struct EncodedHeader {
    /// Zeroes follow the header.
    pub(super) bytes: [u8; MAX_HEADER],
    len: u8,
}

impl EncodedHeader {
    fn push<const N: usize>(&mut self, field: [u8; N]) {
        let start = usize::from(self.len);
        self.bytes[start..start + N].copy_from_slice(&field);
        self.len += N as u8;
    }
}

impl Deref for EncodedHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for EncodedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", &self[..])
    }
}

/// Checks what the first two bytes alone can break.
#[inline]
fn decode_first(first: u8, second: u8, refused: u8) -> Result<Opcode, ProtocolError> {
    if first & refused != 0 {
        return Err(ProtocolError::ReservedBits);
    }
    let opcode = Opcode::new(first & 0xf).ok_or(ProtocolError::ReservedOpcode(first & 0xf))?;
    if opcode.is_control() {
        if first & FIN == 0 {
            return Err(ProtocolError::FragmentedControl);
        }
        if first & RSV1 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        if second & 0x7f > 125 {
            return Err(ProtocolError::ControlTooLong(u64::from(second & 0x7f)));
        }
    }
    Ok(opcode)
}

/// Reads the payload length: the value, and how many bytes followed the 7-bit field.
#[inline]
fn decode_len(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let (len, extended, least) = match short {
        126 => match rest.first_chunk() {
            Some(field) => (u64::from(u16::from_be_bytes(*field)), 2, 126),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(field) => (u64::from_be_bytes(*field), 8, 0x1_0000),
            None => return Ok(None),
        },
        len => (u64::from(len), 0, 0),
    };
    if len < least {
        return Err(ProtocolError::NonMinimalLength(len));
    }
    if len > i64::MAX as u64 {
        return Err(ProtocolError::LengthOverflow(len));
    }
    Ok(Some((len, extended)))
}

/// The longest payload whose length is told by the second byte alone: of every control frame, and of a short
/// message (§5.2, §5.5).
pub(super) const MAX_SHORT: usize = 125;

pub(super) const FIN: u8 = 0b1000_0000;
pub(super) const RSV1: u8 = 0b0100_0000;
pub(super) const RSV2: u8 = 0b0010_0000;
pub(super) const RSV3: u8 = 0b0001_0000;
pub(super) const MASK: u8 = 0b1000_0000;

/// Two bytes, eight of length, four of masking key.
const MAX_HEADER: usize = 14;

#[cfg(test)]
mod tests;
