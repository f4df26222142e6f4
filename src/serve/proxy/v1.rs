//! Version 1: one line of text (§2.1).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::{FromStr, Split},
};

use super::step::{Announced, ProxyError, Step};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// `PROXY UNKNOWN` and the end of its line.
pub(super) const SHORTEST: usize = 15;

/// The longest line that there may be.
pub(super) const LONGEST: usize = 107;

pub(super) fn decode(header: &[u8]) -> Result<Step, ProxyError> {
    let Some(end) = header.windows(2).position(|two| two == b"\r\n") else {
        return more(header);
    };
    // Nothing behind the line is asked for.
    let line = str::from_utf8(&header[..end]).map_err(|_| ProxyError::Malformed)?;
    read_line(line).map(|announced| Step::Done(announced, 0))
}

/// Tells how many bytes a line without an end has at least.
fn more(header: &[u8]) -> Result<Step, ProxyError> {
    let shortest = match header.get(..10) {
        Some(b"PROXY TCP4") => TCP4.len(),
        Some(b"PROXY TCP6") => TCP6.len(),
        _ => SHORTEST,
    };
    let end = if header.last() == Some(&b'\r') { 1 } else { 2 };
    let needed = shortest.max(header.len() + end);
    if needed > LONGEST {
        return Err(ProxyError::Malformed);
    }
    Ok(Step::More(needed - header.len()))
}

fn read_line(line: &str) -> Result<Announced, ProxyError> {
    let mut words = line.split(' ');
    let (_proxy, family) = (words.next(), words.next());
    let client = match family {
        // What follows is passed over.
        Some("UNKNOWN") => return Ok(Announced::Nothing),
        Some("TCP4") => client::<Ipv4Addr>(words),
        Some("TCP6") => client::<Ipv6Addr>(words),
        _ => None,
    };
    client.map(Announced::Client).ok_or(ProxyError::Malformed)
}

/// Reads the client's address and port, and sees that the server's are there, and nothing else.
fn client<A: FromStr + Into<IpAddr>>(mut words: Split<'_, char>) -> Option<SocketAddr> {
    let client: A = words.next()?.parse().ok()?;
    let _server: A = words.next()?.parse().ok()?;
    let client_port = port(words.next()?)?;
    let _server_port = port(words.next()?)?;
    let nothing_else = words.next().is_none();
    nothing_else.then(|| SocketAddr::new(client.into(), client_port))
}

/// Reads a decimal number without sign or leading zeros.
fn port(word: &str) -> Option<u16> {
    let plain = word == "0" || word.starts_with(|first: char| ('1'..='9').contains(&first));
    word.parse().ok().filter(|_| plain)
}

/// The shortest lines of their kind.
const TCP4: &[u8] = b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n";
const TCP6: &[u8] = b"PROXY TCP6 :: :: 0 0\r\n";
