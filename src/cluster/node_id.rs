//! What tells one node from another.

use std::{error, fmt, num::NonZeroU64, str::FromStr};

use crate::session::parse_id;

/// The number of a node: drawn at random from 2^64 at each start, never 0.
///
/// It is written and read as 16 hexadecimal digits.
///
/// ```
/// use tower_websocket::cluster::NodeId;
///
/// let id: NodeId = "00000000000000ff".parse()?;
/// assert_eq!(id.as_u64(), 255);
/// assert_eq!(NodeId::new(255), Some(id));
/// assert_eq!(NodeId::new(0), None);
/// # Ok::<_, tower_websocket::cluster::ParseNodeIdError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// Creates the id of a number; `None` for 0, which stands for a sender outside the cluster.
    pub const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// Returns the number.
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(digits: &str) -> Result<Self, ParseNodeIdError> {
        parse_id(digits).map(Self).ok_or(ParseNodeIdError(()))
    }
}

/// The error of a text that is no [`NodeId`]: not 16 hexadecimal digits, or all of them 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseNodeIdError(());

impl fmt::Display for ParseNodeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a node has 16 hexadecimal digits")
    }
}

impl error::Error for ParseNodeIdError {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_as_it_is_written_and_not_otherwise() {
        for id in [1, 0xff, u64::MAX] {
            let id = NodeId::new(id).unwrap();
            assert_eq!(id.to_string().len(), 16);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in [
            "",
            "ff",
            "+0000000000000ff",
            "00000000000000ff0",
            "0x000000000000ff",
            " 00000000000000f",
            "00000000000000é",
            "0000000000000000",
        ] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn zero_is_no_node() {
        assert_eq!(NodeId::new(0), None);
    }
}
