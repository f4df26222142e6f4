//! Close codes and Close frames (RFC 6455 §5.5.1, §7.4).

use std::{error::Error, fmt};

use super::utf8::Utf8Bytes;

/// A status code that may travel in a Close frame (RFC 6455 §7.4).
///
/// Every such code of the IANA registry has a constant. [`new`](Self::new) makes all others.
///
/// ```
/// use tower_websocket::CloseCode;
///
/// const KICKED: CloseCode = CloseCode::new(4001).unwrap();
///
/// assert!(KICKED.is_private());
/// assert_eq!(CloseCode::new(3000), Some(CloseCode::UNAUTHORIZED));
/// assert_eq!(CloseCode::new(1006), None);
/// ```
///
/// What a client may do next depends on the code:
///
/// ```
/// use tower_websocket::CloseCode;
///
/// /// Reports whether it makes sense to connect again with the same request.
/// fn come_back(code: CloseCode) -> bool {
///     match code {
///         CloseCode::GOING_AWAY | CloseCode::SERVICE_RESTART | CloseCode::TRY_AGAIN_LATER => true,
///         CloseCode::INTERNAL_ERROR | CloseCode::BAD_GATEWAY | CloseCode::TIMEOUT => true,
///         // The end was meant, or the same request would be refused again.
///         _ => false,
///     }
/// }
///
/// assert!(come_back(CloseCode::SERVICE_RESTART));
/// assert!(!come_back(CloseCode::MESSAGE_TOO_BIG)); // the same message would be too big again
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The connection has served its purpose.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint is leaving: a server stops, a page is closed.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data that this endpoint does not take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// A payload that does not fit its kind, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A message against the endpoint's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message that is too big to be processed.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// The server did not agree on an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// The endpoint met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The service restarts; the client may connect again after some delay.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The service is overloaded; the client may try again later or elsewhere.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// A gateway received an invalid answer from its upstream.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// The client has to authenticate itself first, as with status 401 of HTTP.
    pub const UNAUTHORIZED: Self = Self(3000);
    /// The client is known and is not allowed to do this, as with status 403 of HTTP.
    pub const FORBIDDEN: Self = Self(3003);
    /// The client took too long, as with status 408 of HTTP.
    pub const TIMEOUT: Self = Self(3008);

    /// Makes a code from a number; `None` if that number must not be in a Close frame.
    ///
    /// | number | may be sent | |
    /// | --- | --- | --- |
    /// | 1000–1003, 1007–1014 | yes | defined by RFC 6455 or registered since |
    /// | 3000–3999 | yes | for libraries and frameworks, which register theirs with IANA; also unassigned ones |
    /// | 4000–4999 | yes | for applications |
    /// | 1005, 1006, 1015 | no | say locally that there was no code, no Close frame, or no TLS |
    /// | 1004, 1016–2999 | no | reserved, or not assigned yet |
    /// | 0–999, 5000 and more | no | no close codes |
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// Returns the code as a number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Reports whether applications define what the code means (4000–4999, §7.4.2).
    #[must_use]
    pub const fn is_private(self) -> bool {
        self.0 >= 4000
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// The content of a Close frame: why a connection ends.
///
/// It is an [`Error`] too: a handler that returns it as its error closes the connection with it.
/// Functions that take a `CloseFrame` also take a code alone, or a code with a reason.
///
/// ```
/// use tower_websocket::{CloseCode, CloseFrame};
///
/// let frame = CloseFrame::new(CloseCode::POLICY_VIOLATION, "too many rooms");
/// assert_eq!((frame.code().as_u16(), frame.reason()), (1008, "too many rooms"));
/// assert_eq!(frame.to_string(), "closed with 1008 (too many rooms)");
///
/// assert_eq!(CloseFrame::from((CloseCode::POLICY_VIOLATION, "too many rooms")), frame);
/// assert_eq!(CloseFrame::from(CloseCode::NORMAL).reason(), "");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloseFrame {
    code: CloseCode,
    reason: Utf8Bytes,
}

impl CloseFrame {
    /// Makes a Close frame; a reason longer than 123 bytes is truncated at a character boundary (§5.5).
    ///
    /// ```
    /// use tower_websocket::{CloseCode, CloseFrame};
    ///
    /// let frame = CloseFrame::new(CloseCode::NORMAL, "é".repeat(100)); // two bytes each
    /// assert_eq!(frame.reason().len(), 122);
    /// ```
    #[must_use]
    pub fn new(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Self {
        let reason = reason.into();
        let end = reason.floor_char_boundary(MAX_REASON);
        let reason = if end < reason.len() {
            reason.truncated(end)
        } else {
            reason
        };
        Self { code, reason }
    }

    /// Returns the code: why the connection ends, as a number.
    #[must_use]
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// Returns the reason: why the connection ends, in words, with 123 bytes at most.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<CloseCode> for CloseFrame {
    fn from(code: CloseCode) -> Self {
        Self {
            code,
            reason: Utf8Bytes::default(),
        }
    }
}

impl<R: Into<Utf8Bytes>> From<(CloseCode, R)> for CloseFrame {
    fn from((code, reason): (CloseCode, R)) -> Self {
        Self::new(code, reason)
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closed with {}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason())?;
        }
        Ok(())
    }
}

impl Error for CloseFrame {}

/// The longest reason: a control frame's 125 bytes less the code (§5.5).
const MAX_REASON: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    /// What may be in a Close frame by RFC 6455 §7.4 and the IANA registry.
    fn may_travel(code: u16) -> bool {
        let defined = [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
        ];
        defined.contains(&code) || (3000..5000).contains(&code)
    }

    #[test]
    fn exactly_the_codes_of_the_registry_exist() {
        for code in 0..=u16::MAX {
            let made = CloseCode::new(code);
            assert_eq!(made.is_some(), may_travel(code), "{code}");
            assert!(made.is_none_or(|made| made.as_u16() == code && u16::from(made) == code));
        }
    }

    #[test]
    fn registered_codes_have_a_constant_each() {
        let registered = [
            (1000, CloseCode::NORMAL),
            (1001, CloseCode::GOING_AWAY),
            (1002, CloseCode::PROTOCOL_ERROR),
            (1003, CloseCode::UNSUPPORTED_DATA),
            (1007, CloseCode::INVALID_PAYLOAD),
            (1008, CloseCode::POLICY_VIOLATION),
            (1009, CloseCode::MESSAGE_TOO_BIG),
            (1010, CloseCode::MANDATORY_EXTENSION),
            (1011, CloseCode::INTERNAL_ERROR),
            (1012, CloseCode::SERVICE_RESTART),
            (1013, CloseCode::TRY_AGAIN_LATER),
            (1014, CloseCode::BAD_GATEWAY),
            (3000, CloseCode::UNAUTHORIZED),
            (3003, CloseCode::FORBIDDEN),
            (3008, CloseCode::TIMEOUT),
        ];
        for (number, constant) in registered {
            assert_eq!(CloseCode::new(number), Some(constant));
        }
    }

    #[test]
    fn private_codes_begin_at_4000() {
        let is_private = |code| CloseCode::new(code).map(CloseCode::is_private);
        assert_eq!(is_private(3999), Some(false));
        assert_eq!(is_private(4000), Some(true));
        assert_eq!(is_private(4999), Some(true));
        assert_eq!(is_private(5000), None);
    }

    #[test]
    fn sent_reason_is_cut_to_123_bytes() {
        let reason = |len| CloseFrame::new(CloseCode::NORMAL, "x".repeat(len));
        assert_eq!(reason(122).reason().len(), 122);
        assert_eq!(reason(123).reason().len(), 123);
        assert_eq!(reason(124).reason(), "x".repeat(123));
        assert_eq!(reason(1 << 20).reason().len(), 123);
    }

    #[test]
    fn sent_reason_is_cut_between_characters() {
        for (character, width) in [('ä', 2), ('€', 3), ('😀', 4)] {
            for offset in 0..width {
                let text = "x".repeat(offset) + &String::from(character).repeat(70);
                let whole = (123 - offset) / width;
                let frame = CloseFrame::new(CloseCode::NORMAL, text.clone());
                assert_eq!(frame.reason(), &text[..offset + whole * width]);
            }
        }
    }

    #[test]
    fn close_frame_reads_as_a_sentence() {
        let frame = CloseFrame::from((CloseCode::GOING_AWAY, "bye"));
        assert_eq!(frame.to_string(), "closed with 1001 (bye)");
        assert_eq!(
            CloseFrame::from(CloseCode::NORMAL).to_string(),
            "closed with 1000"
        );
    }
}
