//! Version 2: binary (§2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    step::{Announced, ProxyError, Step},
    v1::SHORTEST,
};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and transport, and the length of the rest.
const FIXED: usize = 16;

pub(super) fn decode(header: &[u8]) -> Result<Step, ProxyError> {
    if header.len() < FIXED {
        let shortest = if header.len() < SHORTEST {
            SHORTEST
        } else {
            FIXED
        };
        return Ok(Step::More(shortest - header.len()));
    }
    let (fixed, rest) = header.split_at(FIXED);
    let len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Malformed),
    };
    let addresses = match fixed[13] {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        // Of a connection of its own a proxy may say what it likes.
        _ if local => 0,
        _ => return Err(ProxyError::Malformed),
    };
    if local {
        return Ok(Step::Done(Announced::Nothing, len));
    }
    if len < addresses {
        return Err(ProxyError::Malformed);
    }
    match addresses {
        0 => Ok(Step::Done(Announced::Nothing, len)),
        12 | 36 if rest.len() < addresses => Ok(Step::More(addresses - rest.len())),
        // What is behind the addresses is passed over: the values of §2.2.
        12 => Ok(Step::Done(client_v4(rest), len - addresses)),
        36 => Ok(Step::Done(client_v6(rest), len - addresses)),
        _ => Ok(Step::Done(Announced::Elsewhere, len)),
    }
}

/// Reads the client's address and port, which stand before and behind the server's address.
fn client_v4(rest: &[u8]) -> Announced {
    let mut address = [0; 4];
    address.copy_from_slice(&rest[..4]);
    client(Ipv4Addr::from(address), &rest[8..10])
}

fn client_v6(rest: &[u8]) -> Announced {
    let mut address = [0; 16];
    address.copy_from_slice(&rest[..16]);
    client(Ipv6Addr::from(address), &rest[32..34])
}

fn client(address: impl Into<IpAddr>, port: &[u8]) -> Announced {
    let port = u16::from_be_bytes([port[0], port[1]]);
    Announced::Client(SocketAddr::new(address.into(), port))
}
