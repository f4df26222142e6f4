//! Hosts, ports and origins, as far as comparing them needs.
//!
//! Not `http::uri::Authority`: it allows userinfo, and reads a port past 65535 as no port.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// A host with or without a port, borrowed from a header field or a request target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Authority<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `uri-host [ ":" port ]` (RFC 9110 §7.2); a port without digits is no port.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(literal) => {
                let (address, port) = literal.split_once(']')?;
                (Host::V6(address.parse().ok()?), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Host::name(name)?, port)
            }
        };
        let port = parse_port(port)?;
        Some(Self { host, port })
    }

    pub(super) fn without_port(self) -> Self {
        Self { port: None, ..self }
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Reports whether this is the machine of whoever asks (RFC 6761 §6.3, RFC 1122 §3.2.1.3).
    pub(super) fn is_loopback(&self) -> bool {
        match self.host {
            Host::V6(address) => address.is_loopback(),
            Host::Name(name) => match name.parse::<Ipv4Addr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => name
                    .rsplit('.')
                    .next()
                    .is_some_and(|last| last.eq_ignore_ascii_case("localhost")),
            },
        }
    }
}

/// Writes host and port as they are spelled, but for addresses of IPv6, which have one spelling.
impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::V6(address) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// The origin of a page (RFC 6454 §7), one that is not `null`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        is_scheme(scheme).then_some(())?;
        let authority = Authority::parse(authority)?;
        Some(Self { scheme, authority })
    }

    /// Reports whether a page of this origin and a server reached at `target` are the same host.
    ///
    /// The scheme of a page and of the connection may differ behind a proxy, so a port that either
    /// side leaves out is the default of the page's scheme. Pages of schemes without one, such as
    /// those of browser extensions, have no host in this sense.
    pub(super) fn is_at(&self, target: &Authority<'_>) -> bool {
        let Some(default) = self.default_port() else {
            return false;
        };
        self.authority.host.is(target.host)
            && self.authority.port.unwrap_or(default) == target.port.unwrap_or(default)
    }

    /// Reports whether this is a page that a server on the browser's own machine has sent.
    pub(super) fn is_loopback(&self) -> bool {
        self.default_port().is_some() && self.authority.is_loopback()
    }

    fn default_port(&self) -> Option<u16> {
        let is_ours = |(name, _): &&(&str, u16)| self.scheme.eq_ignore_ascii_case(name);
        DEFAULT_PORTS.iter().find(is_ours).map(|&(_, port)| port)
    }
}

/// Writes the one spelling that all equal origins share: lower case, with the default port.
impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.to_ascii_lowercase())?;
        match self.authority.host {
            Host::Name(name) => f.write_str(&name.to_ascii_lowercase())?,
            Host::V6(address) => write!(f, "[{address}]")?,
        }
        match self.authority.port.or_else(|| self.default_port()) {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Host<'a> {
    Name(&'a str),
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Takes a registered name or an IPv4 address (RFC 3986 §3.2.2).
    fn name(name: &'a str) -> Option<Self> {
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
        (!name.is_empty() && name.bytes().all(is_allowed)).then_some(Self::Name(name))
    }

    fn is(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        }
    }
}

/// Reads what follows a host: nothing, or a colon and a port.
fn parse_port(text: &str) -> Option<Option<u16>> {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty().then_some(None);
    };
    match digits {
        "" => Some(None),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(digits.parse().ok()?)),
        _ => None,
    }
}

/// Reports whether this is the name of a scheme (RFC 3986 §3.1).
fn is_scheme(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

const DEFAULT_PORTS: [(&str, u16); 4] = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_may_have_a_port() {
        for text in [
            "example.com",
            "example.com:",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:0",
            "a_b",
        ] {
            assert!(Authority::parse(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn other_text_is_no_host() {
        let table = [
            "",
            ":80",
            "a:65536",
            "a:+1",
            "a:8x",
            "a:1:2",
            "user@a",
            "user:1@a",
            "a/",
            "a?b",
            "a#b",
            "a b",
            "a\\b",
            "[::1",
            "::1",
            "[::1]80",
            "[]",
            "[g::]",
            "[fe80::1%25eth0]",
            "[::1]]",
            "\u{e9}",
            "a\"b",
            "<a>",
        ];
        for text in table {
            assert!(Authority::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn equal_origins_have_one_spelling() {
        let table = [
            ("https://example.com", "https://example.com:443"),
            ("HTTPS://EXAMPLE.com:443", "https://example.com:443"),
            ("http://example.com", "http://example.com:80"),
            ("ws://example.com", "ws://example.com:80"),
            ("wss://example.com", "wss://example.com:443"),
            ("https://example.com:444", "https://example.com:444"),
            ("https://[0:0:0:0:0:0:0:1]", "https://[::1]:443"),
            ("chrome-extension://Abc", "chrome-extension://abc"),
            ("capacitor://localhost:1", "capacitor://localhost:1"),
        ];
        for (text, spelling) in table {
            let origin = Origin::parse(text).map(|origin| origin.to_string());
            assert_eq!(origin.as_deref(), Some(spelling));
        }
    }

    #[test]
    fn other_text_is_no_origin() {
        for text in [
            "null",
            "",
            "example.com",
            "https:example.com",
            "://a",
            "1a://a",
            "a b://a",
        ] {
            assert!(Origin::parse(text).is_none(), "{text:?}");
        }
    }
}
