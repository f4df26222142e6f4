//! UTF-8: text that is known to be valid, and a validator that fails at the first impossible byte.

use std::{error::Error, fmt, ops::Deref};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

/// Text in shared bytes: cheap to clone, always valid UTF-8.
///
/// ```
/// use bytes::Bytes;
/// use tower_websocket::Utf8Bytes;
///
/// const GREETING: Utf8Bytes = Utf8Bytes::from_static("hello");
/// assert_eq!(GREETING.as_str(), "hello");
/// assert_eq!(GREETING.into_bytes(), "hello");
///
/// assert_eq!(Utf8Bytes::try_from(Bytes::from("grüße")).unwrap().to_uppercase(), "GRÜSSE");
/// assert!(Utf8Bytes::try_from(Bytes::from_static(b"\xff")).is_err());
/// ```
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Utf8Bytes(ByteString);

impl Utf8Bytes {
    /// Makes text from a string that lives forever, without copying it.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(ByteString::from_static(text))
    }

    /// Copies text, if it is valid.
    #[inline]
    pub(super) fn copy_from_slice(bytes: &[u8]) -> Result<Self, InvalidUtf8> {
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(InvalidUtf8),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the bytes, without copying them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }

    /// The first `end` bytes, which end at a character boundary.
    pub(crate) fn truncated(&self, end: usize) -> Self {
        Self(ByteString::from(&self.0[..end]))
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<&String> for Utf8Bytes {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.into_bytes()
    }
}

impl From<Utf8Bytes> for String {
    fn from(text: Utf8Bytes) -> Self {
        text.0.into()
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = InvalidUtf8;

    fn try_from(bytes: Bytes) -> Result<Self, InvalidUtf8> {
        ByteString::try_from(bytes)
            .map(Self)
            .map_err(|_| InvalidUtf8)
    }
}

impl TryFrom<BytesMut> for Utf8Bytes {
    type Error = InvalidUtf8;

    fn try_from(bytes: BytesMut) -> Result<Self, InvalidUtf8> {
        bytes.freeze().try_into()
    }
}

/// Bytes that are not, and cannot become, valid UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not valid UTF-8")
    }
}

impl Error for InvalidUtf8 {}

/// Validates text that arrives in pieces, and fails at the first impossible byte.
///
/// ```
/// use tower_websocket::protocol::Utf8Validator;
///
/// let mut validator = Utf8Validator::default();
/// assert!(validator.push(b"\xf0\x9f\x98").is_ok()); // three bytes of an emoji
/// assert!(validator.push(b"\x80").is_ok());
/// assert!(validator.finish().is_ok());
/// assert!(validator.push(b"\xf4\x90").is_err()); // beyond U+10FFFF
/// ```
#[derive(Clone, Debug, Default)]
pub struct Utf8Validator {
    /// The beginning of a character whose end has not come.
    partial: [u8; 4],
    /// How many bytes of it there are: at most three, or [`FAILED`].
    len: u8,
}

impl Utf8Validator {
    /// Validates the next piece.
    ///
    /// # Errors
    ///
    /// No continuation can make the text valid. Every later call fails too.
    #[inline]
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        while self.len > 0 {
            if self.len == FAILED {
                return Err(InvalidUtf8);
            }
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            self.push_byte(byte)?;
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => self.fail(),
            Err(error) => {
                let tail = &piece[error.valid_up_to()..];
                self.partial[..tail.len()].copy_from_slice(tail);
                self.len = tail.len() as u8;
                Ok(())
            }
        }
    }

    /// Ends the text.
    ///
    /// # Errors
    ///
    /// The text ends inside a character, or was invalid before.
    pub fn finish(&mut self) -> Result<(), InvalidUtf8> {
        if self.len == 0 {
            Ok(())
        } else {
            Err(InvalidUtf8)
        }
    }

    /// Adds one byte to an unfinished character.
    fn push_byte(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        self.partial[usize::from(self.len)] = byte;
        self.len += 1;
        match std::str::from_utf8(&self.partial[..usize::from(self.len)]) {
            Ok(_) => {
                self.len = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_some() => self.fail(),
            Err(_) => Ok(()),
        }
    }

    fn fail(&mut self) -> Result<(), InvalidUtf8> {
        self.len = FAILED;
        Err(InvalidUtf8)
    }
}

/// A length that no unfinished character has.
const FAILED: u8 = 4;

#[cfg(test)]
mod tests;
