//! A tunnel through a SOCKS5 proxy (RFC 1928, RFC 1929).

use std::{io, net::IpAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::lookup_host,
};

use crate::client::{connector::BoxStream, proxy_error::ProxyError, request::Server};

/// Asks for a tunnel to a server over a stream that has carried nothing yet.
///
/// Nothing is read beyond the proxy's answer, which has 262 bytes at most.
pub(super) async fn tunnel(
    mut stream: BoxStream,
    server: &Server,
    local_names: bool,
    credentials: Option<&(Vec<u8>, Vec<u8>)>,
) -> Result<BoxStream, ProxyError> {
    let address = address(server, local_names).await?;
    if choose_method(&mut stream, credentials.is_some()).await? == PASSWORD {
        // It was offered because there are some.
        let (user, password) = credentials.ok_or(ProxyError::SocksCredentials)?;
        log_in(&mut stream, user, password).await?;
    }
    let mut request = vec![VERSION, CONNECT, 0];
    request.extend(address);
    request.extend(server.port.to_be_bytes());
    say(&mut stream, &request).await?;
    read_reply(&mut stream).await?;
    Ok(stream)
}

/// Offers methods of authentication, and returns which one the proxy chooses (RFC 1928 §3).
async fn choose_method(stream: &mut BoxStream, password: bool) -> Result<u8, ProxyError> {
    let offer: &[u8] = match password {
        true => &[VERSION, 2, NONE, PASSWORD],
        false => &[VERSION, 1, NONE],
    };
    say(stream, offer).await?;
    let [version, method] = read(stream).await?;
    if version != VERSION {
        return Err(ProxyError::Io(no_socks(version)));
    }
    if !offer[2..].contains(&method) {
        return Err(ProxyError::SocksCredentials);
    }
    Ok(method)
}

/// Tells user and password (RFC 1929 §2); neither has more than 255 bytes.
async fn log_in(stream: &mut BoxStream, user: &[u8], password: &[u8]) -> Result<(), ProxyError> {
    let mut request = vec![1];
    for part in [user, password] {
        // The URI would be refused.
        request.push(u8::try_from(part.len()).map_err(|_| ProxyError::SocksCredentials)?);
        request.extend(part);
    }
    say(stream, &request).await?;
    let [_version, status] = read(stream).await?;
    match status {
        0 => Ok(()),
        _ => Err(ProxyError::SocksCredentials),
    }
}

/// Reads whether there is a tunnel (RFC 1928 §6).
async fn read_reply(stream: &mut BoxStream) -> Result<(), ProxyError> {
    // The code stands before what some leave out after a refusal.
    let [version, reply] = read(stream).await?;
    if version != VERSION {
        return Err(ProxyError::Io(no_socks(version)));
    }
    if reply != 0 {
        return Err(ProxyError::Socks(reply));
    }
    let [_reserved, kind] = read(stream).await?;
    // Where the proxy's own end is, and its port, tell nothing.
    let len = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let [len] = read(stream).await?;
            usize::from(len)
        }
        _ => {
            let reason = "what comes is no answer of SOCKS5: an address of an unknown kind";
            return Err(ProxyError::Io(invalid(reason)));
        }
    };
    let mut bound = [0; 255 + 2];
    let reading = stream.read_exact(&mut bound[..len + 2]).await;
    reading.map(drop).map_err(ProxyError::Io)
}

/// Writes, and sees that it leaves: a stream of the application may have a buffer.
async fn say(stream: &mut BoxStream, bytes: &[u8]) -> Result<(), ProxyError> {
    stream.write_all(bytes).await.map_err(ProxyError::Io)?;
    stream.flush().await.map_err(ProxyError::Io)
}

async fn read<const N: usize>(stream: &mut BoxStream) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    let reading = stream.read_exact(&mut bytes).await;
    reading.map(|_| bytes).map_err(ProxyError::Io)
}

/// Returns the address of a server, as it is asked for (RFC 1928 §5).
async fn address(server: &Server, local_names: bool) -> Result<Vec<u8>, ProxyError> {
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse() {
        return Ok(numbers(address));
    }
    if local_names {
        let found = lookup_host((host, server.port)).await;
        let found = found.and_then(|mut found| {
            let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            found.next().ok_or_else(none)
        });
        return Ok(numbers(found.map_err(ProxyError::Name)?.ip()));
    }
    let Ok(len) = u8::try_from(host.len()) else {
        let reason = "SOCKS5 takes names of 255 bytes at most";
        let error = io::Error::new(io::ErrorKind::InvalidInput, reason);
        return Err(ProxyError::Name(error));
    };
    Ok([&[NAME, len], host.as_bytes()].concat())
}

fn numbers(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => [&[IPV4][..], &address.octets()].concat(),
        IpAddr::V6(address) => [&[IPV6][..], &address.octets()].concat(),
    }
}

fn no_socks(version: u8) -> io::Error {
    invalid(match version {
        b'H' => "what comes is no SOCKS5, but seems to be HTTP: http:// in place of socks5://?",
        4 | 0 => "the proxy speaks SOCKS4, not SOCKS5",
        _ => "what comes is no SOCKS5",
    })
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

const VERSION: u8 = 5;
const CONNECT: u8 = 1;

/// Methods of authentication.
const NONE: u8 = 0;
const PASSWORD: u8 = 2;

/// Kinds of addresses.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
