//! Where a connection is, for other nodes.

use std::{error, fmt, str::FromStr};

use super::node_id::NodeId;
use crate::session::ConnectionId;

/// The address of a connection in a cluster: a node, and a connection of it.
///
/// It can be kept as text, of 33 characters. It is of no use any longer once the connection has ended or its node was
/// restarted.
///
/// ```
/// use tower_websocket::cluster::Address;
///
/// let address: Address = "00000000000000ff-0000000000000001".parse()?;
/// assert_eq!(address.node.as_u64(), 255);
/// assert_eq!(address.connection.as_u64(), 1);
/// assert_eq!(address.to_string(), "00000000000000ff-0000000000000001");
/// # Ok::<_, tower_websocket::cluster::ParseAddressError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Address {
    /// The node.
    pub node: NodeId,
    /// The connection, within that node.
    pub connection: ConnectionId,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.node, self.connection)
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let (node, connection) = text.split_once('-').ok_or(ParseAddressError(()))?;
        Ok(Self {
            node: node.parse().map_err(|_| ParseAddressError(()))?,
            connection: connection.parse().map_err(|_| ParseAddressError(()))?,
        })
    }
}

/// The error of a text that is no [`Address`]: not twice 16 hexadecimal digits with a `-` between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseAddressError(());

impl fmt::Display for ParseAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address has twice 16 hexadecimal digits, and a - between them")
    }
}

impl error::Error for ParseAddressError {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    #[test]
    fn address_of_33_characters_is_read_as_it_is_written() {
        let text = "00000000000000ff-fedcba9876543210";
        assert_eq!(text.len(), 33);
        let address: Address = text.parse().unwrap();
        assert_eq!(address.node, NodeId::new(0xff).unwrap());
        assert_eq!(address.connection.as_u64(), 0xfedc_ba98_7654_3210);
        assert_eq!(address.to_string(), text);
    }

    #[test]
    fn anything_else_is_no_address() {
        for text in [
            "",
            "-",
            "00000000000000ff",
            "00000000000000fffedcba9876543210",
            "00000000000000ff-fedcba987654321",
            "0000000000000000-fedcba9876543210",
            "00000000000000ff-0000000000000000",
            "00000000000000ff--edcba9876543210",
            "00000000000000ff-fedcba9876543210-",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
