//! What tells one connection from another.

use std::{fmt, num::ParseIntError, str::FromStr};

/// The number of a connection, within the [`Connections`](crate::Connections) that know it.
///
/// Drawn at random from 2^64, so that nobody can guess the next one, unless
/// [`Connections::sequential`](crate::Connections::sequential) was asked for. Written and read as 16
/// hexadecimal digits:
///
/// ```
/// use tower_websocket::ConnectionId;
///
/// let id: ConnectionId = "00000000000000ff".parse()?;
/// assert_eq!(id.as_u64(), 255);
/// assert_eq!(id.to_string(), "00000000000000ff");
/// # Ok::<_, std::num::ParseIntError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(u64);

impl ConnectionId {
    pub(super) const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number itself.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
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
    type Err = ParseIntError;

    fn from_str(digits: &str) -> Result<Self, ParseIntError> {
        u64::from_str_radix(digits, 16).map(Self)
    }
}
