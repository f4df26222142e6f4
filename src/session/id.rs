//! What tells one connection from another.

use std::{error, fmt, num::NonZeroU64, str::FromStr};

/// The number of a connection, within the [`Connections`](crate::Connections) that it is registered in.
///
/// It is drawn at random from 2^64, so that the next one cannot be guessed, unless the registry was made by
/// [`Connections::sequential`](crate::Connections::sequential). It is written and read as 16
/// hexadecimal digits, and never 0:
///
/// ```
/// use tower_websocket::ConnectionId;
///
/// let id: ConnectionId = "00000000000000ff".parse()?;
/// assert_eq!(id.as_u64(), 255);
/// assert_eq!(id.to_string(), "00000000000000ff");
/// # Ok::<_, tower_websocket::session::ParseConnectionIdError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(NonZeroU64);

impl ConnectionId {
    /// Makes the id of a number that was drawn or counted, which is as good as never 0.
    pub(crate) const fn new(id: u64) -> Self {
        match NonZeroU64::new(id) {
            Some(id) => Self(id),
            None => Self(NonZeroU64::MAX),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

impl FromStr for ConnectionId {
    type Err = ParseConnectionIdError;

    fn from_str(digits: &str) -> Result<Self, ParseConnectionIdError> {
        parse_id(digits).map(Self).ok_or(ParseConnectionIdError(()))
    }
}

/// Reads 16 hexadecimal digits that are not all 0.
pub(crate) fn parse_id(digits: &str) -> Option<NonZeroU64> {
    // The parser would take a sign, and fewer of them.
    if digits.len() != 16 || digits.starts_with('+') {
        return None;
    }
    let id = u64::from_str_radix(digits, 16).ok();
    id.and_then(NonZeroU64::new)
}

/// The error of a text that is no [`ConnectionId`]: not 16 hexadecimal digits, or all of them 0.
///
/// ```
/// use tower_websocket::ConnectionId;
///
/// assert!("ff".parse::<ConnectionId>().is_err());
/// assert!("0000000000000000".parse::<ConnectionId>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseConnectionIdError(());

impl fmt::Display for ParseConnectionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a connection has 16 hexadecimal digits")
    }
}

impl error::Error for ParseConnectionIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_may_be_missing_takes_no_more_than_one() {
        assert_eq!(size_of::<Option<ConnectionId>>(), size_of::<u64>());
        assert_ne!(ConnectionId::new(0).as_u64(), 0);
    }

    #[test]
    fn id_is_read_as_it_is_written_and_not_otherwise() {
        for id in [1, 0xff, u64::MAX] {
            let id = ConnectionId::new(id);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in [
            "",
            "ff",
            "+0000000000000ff",
            "00000000000000ff0",
            "0x000000000000ff",
            "000000000000000g",
            " 00000000000000f",
            "0000000000000000",
        ] {
            assert!(text.parse::<ConnectionId>().is_err(), "{text}");
        }
    }
}
