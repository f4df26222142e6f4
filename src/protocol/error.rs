//! What a peer can do wrong, and the close code each of it earns.

use std::{error::Error, fmt};

use super::{
    close::{CloseCode, CloseFrame},
    utf8::InvalidUtf8,
};

/// The peer broke RFC 6455, or a limit of this endpoint.
///
/// After one of these the connection is failed (§7.1.7): a Close frame with
/// [`close_code`](Self::close_code) is sent, and nothing that is received afterwards is looked at.
///
/// ```
/// use bytes::BytesMut;
/// use tower_websocket::{CloseCode, Config, ProtocolError, protocol::{Decoder, Role}};
///
/// let config = Config::default().max_message_size(1000).max_frame_size(500).max_fragments(1);
/// let broken: [(&[u8], ProtocolError); 13] = [
///     (b"\xc1\x00", ProtocolError::ReservedBits),
///     (b"\x83\x00", ProtocolError::ReservedOpcode(3)),
///     (b"\x09\x00", ProtocolError::FragmentedControl),
///     (b"\x89\x7e\x00\x7e", ProtocolError::ControlTooLong(126)),
///     (b"\x82\x7e\x00\x01", ProtocolError::NonMinimalLength(1)),
///     (b"\x82\x81\0\0\0\0\0", ProtocolError::MaskedFrame),
///     (b"\x80\x00", ProtocolError::UnexpectedContinuation),
///     (b"\x01\x00\x81\x00", ProtocolError::ExpectedContinuation),
///     (b"\x88\x01\x03", ProtocolError::TruncatedCloseCode),
///     (b"\x88\x02\x03\xee", ProtocolError::InvalidCloseCode(1006)),
///     (b"\x81\x01\xff", ProtocolError::InvalidUtf8),
///     (b"\x82\x7e\x01\xf5", ProtocolError::FrameTooBig { size: 501, limit: 500 }),
///     (b"\x01\x00\x80\x00", ProtocolError::TooManyFragments { limit: 1 }),
/// ];
/// for (bytes, expected) in broken {
///     let mut decoder = Decoder::new(Role::Client, &config);
///     let error = decoder.decode(&mut BytesMut::from(bytes)).unwrap_err();
///     assert_eq!(error, expected);
/// }
/// assert_eq!(ProtocolError::InvalidUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit that no extension uses (§5.2).
    ReservedBits,
    /// An opcode that no standard defines (§5.2).
    ReservedOpcode(u8),
    /// A control frame without FIN (§5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (§5.5).
    ControlTooLong(u64),
    /// A length written in more bytes than it needs (§5.2).
    NonMinimalLength(u64),
    /// A length with its most significant bit set (§5.2).
    LengthOverflow(u64),
    /// A frame without a mask from a client (§5.1).
    UnmaskedFrame,
    /// A frame with a mask from a server (§5.1).
    MaskedFrame,
    /// A continuation while no message is open (§5.4).
    UnexpectedContinuation,
    /// A new message while another one is open (§5.4).
    ExpectedContinuation,
    /// A Close frame with one byte; a code has two (§5.5.1).
    TruncatedCloseCode,
    /// A close code that must not travel (§7.4).
    InvalidCloseCode(u16),
    /// Text or a close reason that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A frame above [`Config::max_frame_size`](crate::Config::max_frame_size).
    FrameTooBig {
        /// What the header declares, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A message above [`Config::max_message_size`](crate::Config::max_message_size).
    MessageTooBig {
        /// What the headers so far declare, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A compressed message above [`Config::max_message_size`](crate::Config::max_message_size).
    InflatedTooBig {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A compressed message that cannot be decompressed (RFC 7692 §7.2.2).
    CorruptDeflate,
    /// A message in more pieces than [`Config::max_fragments`](crate::Config::max_fragments).
    TooManyFragments {
        /// The limit.
        limit: u64,
    },
    /// Control frames above [`Config::control_frame_rate`](crate::Config::control_frame_rate).
    ControlFlood {
        /// The limit, per second.
        rate: u32,
    },
    /// Messages above [`Config::message_rate`](crate::Config::message_rate), if that
    /// [closes](crate::Config::close_over_rate).
    MessageFlood {
        /// The limit, per second.
        rate: u32,
    },
    /// Bytes above [`Config::byte_rate`](crate::Config::byte_rate), if that
    /// [closes](crate::Config::close_over_rate).
    ByteFlood {
        /// The limit, per second.
        rate: u64,
    },
}

impl ProtocolError {
    /// Returns the code to close with (RFC 6455 §7.4.1).
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::FragmentedControl
            | Self::ControlTooLong(_)
            | Self::NonMinimalLength(_)
            | Self::LengthOverflow(_)
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::TruncatedCloseCode
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::CorruptDeflate => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooBig { .. }
            | Self::MessageTooBig { .. }
            | Self::InflatedTooBig { .. }
            | Self::TooManyFragments { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::ControlFlood { .. } | Self::MessageFlood { .. } | Self::ByteFlood { .. } => {
                CloseCode::POLICY_VIOLATION
            }
        }
    }
}

impl ProtocolError {
    /// What the peer is told.
    pub(crate) fn close_frame(&self) -> CloseFrame {
        CloseFrame::new(self.close_code(), self.to_string())
    }
}

impl From<InvalidUtf8> for ProtocolError {
    fn from(_: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => f.write_str("reserved bit set without an extension"),
            Self::ReservedOpcode(opcode) => write!(f, "reserved opcode {opcode:#x}"),
            Self::FragmentedControl => f.write_str("fragmented control frame"),
            Self::ControlTooLong(len) => write!(f, "control frame of {len} bytes"),
            Self::NonMinimalLength(len) => write!(f, "length {len} in too many bytes"),
            Self::LengthOverflow(len) => write!(f, "length {len:#x} out of range"),
            Self::UnmaskedFrame => f.write_str("unmasked frame from a client"),
            Self::MaskedFrame => f.write_str("masked frame from a server"),
            Self::UnexpectedContinuation => f.write_str("continuation without a message"),
            Self::ExpectedContinuation => f.write_str("new message inside another one"),
            Self::TruncatedCloseCode => f.write_str("close frame of one byte"),
            Self::InvalidCloseCode(code) => write!(f, "invalid close code {code}"),
            Self::InvalidUtf8 => f.write_str("text is not valid UTF-8"),
            Self::FrameTooBig { size, limit } => {
                write!(f, "frame of {size} bytes exceeds the limit of {limit}")
            }
            Self::MessageTooBig { size, limit } => {
                write!(f, "message of {size} bytes exceeds the limit of {limit}")
            }
            Self::InflatedTooBig { limit } => {
                write!(f, "message decompresses to more than the limit of {limit}")
            }
            Self::CorruptDeflate => f.write_str("compressed message cannot be decompressed"),
            Self::TooManyFragments { limit } => {
                write!(f, "message in more than {limit} fragments")
            }
            Self::ControlFlood { rate } => write!(f, "more than {rate} control frames a second"),
            Self::MessageFlood { rate } => write!(f, "more than {rate} messages a second"),
            Self::ByteFlood { rate } => write!(f, "more than {rate} bytes a second"),
        }
    }
}

impl Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each error with the code that RFC 6455 §7.4.1 has for it, its numbers at their longest.
    fn all() -> Vec<(ProtocolError, u16)> {
        let (size, limit) = (u64::MAX, u64::MAX);
        vec![
            (ProtocolError::ReservedBits, 1002),
            (ProtocolError::ReservedOpcode(0xf), 1002),
            (ProtocolError::FragmentedControl, 1002),
            (ProtocolError::ControlTooLong(127), 1002),
            (ProtocolError::NonMinimalLength(65_535), 1002),
            (ProtocolError::LengthOverflow(u64::MAX), 1002),
            (ProtocolError::UnmaskedFrame, 1002),
            (ProtocolError::MaskedFrame, 1002),
            (ProtocolError::UnexpectedContinuation, 1002),
            (ProtocolError::ExpectedContinuation, 1002),
            (ProtocolError::TruncatedCloseCode, 1002),
            (ProtocolError::InvalidCloseCode(u16::MAX), 1002),
            (ProtocolError::InvalidUtf8, 1007),
            (ProtocolError::FrameTooBig { size, limit }, 1009),
            (ProtocolError::MessageTooBig { size, limit }, 1009),
            (ProtocolError::InflatedTooBig { limit }, 1009),
            (ProtocolError::CorruptDeflate, 1007),
            (ProtocolError::TooManyFragments { limit }, 1009),
            (ProtocolError::ControlFlood { rate: u32::MAX }, 1008),
            (ProtocolError::MessageFlood { rate: u32::MAX }, 1008),
            (ProtocolError::ByteFlood { rate: u64::MAX }, 1008),
        ]
    }

    #[test]
    fn each_error_has_its_close_code() {
        for (error, code) in all() {
            assert_eq!(error.close_code().as_u16(), code, "{error}");
            assert_eq!(error.close_frame().code().as_u16(), code, "{error}");
        }
    }

    #[test]
    fn the_peer_is_told_the_whole_reason() {
        for (error, _) in all() {
            assert_eq!(error.close_frame().reason(), error.to_string());
        }
    }
}
