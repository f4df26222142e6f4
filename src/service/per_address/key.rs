//! What counts as one address.

use std::net::{IpAddr, Ipv6Addr};

/// What one client has to itself: an IPv4 address, or 64 bits of IPv6.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Key {
    V4(u32),
    V6(u64),
}

impl Key {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(network(address)),
        }
    }
}

/// Returns the first 64 bits of an address.
fn network(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn key(address: &str) -> Key {
        Key::of(address.parse().unwrap())
    }

    #[test]
    fn a_64_of_ipv6_is_one_address_and_an_ipv4_address_is_one_however_it_is_written() {
        assert_eq!(
            key("2001:db8:1:2::1"),
            key("2001:db8:1:2:ffff:ffff:ffff:ffff")
        );
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        // Deprecated, and no IPv4 address (RFC 4291 §2.5.5.1).
        assert_ne!(key("::192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("::1"), key("127.0.0.1"));
    }
}
