//! The origin policies, on any `Origin` and any host, over HTTP/1.1 and HTTP/2.
//!
//! What `server::negotiate` says is what a naive reading of RFC 6454 §7, RFC 3986 §3.2 and the words
//! of `OriginPolicy` makes of the same lines:
//!
//! - No line: allowed. Several: only by `Any`.
//! - `SameHost`: the same host, whatever the case, and the same port, where one that is missing is the
//!   default of the page's scheme.
//! - `list`: one of them, scheme, host and port, or the same text where it is no origin. It panics on
//!   what is empty, and on `*` and control characters. `same_host_or`: that, too.
//! - `SameHostOrLocalhost`: both at this machine, on whatever ports.
//! - `predicate`: what it says.
//!
//! Differs: RFC 3986 §2.1 has two digits behind each percent sign; names are compared as they are
//! here, so that it does not matter what one stands for.
#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use arbitrary::Arbitrary;
use http::{HeaderValue, Method, Request, Uri, Version, request::Parts};
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    Config, OriginPolicy,
    handshake::{Rejection, server},
};
use tower_websocket_fuzz::bytes;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    http2: bool,
    target: Place<'a>,
    /// HTTP/1.1's `Host`, where the target is a whole URI.
    host: Option<Place<'a>>,
    origins: Origins<'a>,
    policy: Policy<'a>,
}

#[derive(Arbitrary, Debug)]
enum Origins<'a> {
    None,
    One(Page<'a>),
    /// The place that the request is for.
    Same(u8),
    Two(Page<'a>, Page<'a>),
}

#[derive(Arbitrary, Debug)]
enum Policy<'a> {
    SameHost,
    Any,
    List(Page<'a>, Page<'a>),
    Predicate(bool),
    SameHostOr(Page<'a>, Page<'a>),
    SameHostOrLocalhost,
}

#[derive(Arbitrary, Debug)]
struct Place<'a> {
    host: Part<'a>,
    port: Part<'a>,
}

#[derive(Arbitrary, Debug)]
struct Page<'a> {
    scheme: Part<'a>,
    place: Place<'a>,
    end: Part<'a>,
}

/// One of a table, or any bytes.
#[derive(Arbitrary, Debug)]
enum Part<'a> {
    Known(u8),
    Bytes(#[arbitrary(with = bytes)] &'a [u8]),
}

fuzz_target!(|input: Input| {
    let Some((head, target)) = input.head() else {
        return;
    };
    let (policy, listed) = match &input.policy {
        Policy::SameHost => (OriginPolicy::SameHost, Listed::default()),
        Policy::SameHostOrLocalhost => (OriginPolicy::SameHostOrLocalhost, Listed::default()),
        Policy::Any => (OriginPolicy::Any, Listed::default()),
        Policy::Predicate(says) => {
            let says = *says;
            (OriginPolicy::predicate(move |_, _| says), Listed::default())
        }
        Policy::List(a, b) | Policy::SameHostOr(a, b) => {
            let texts = [a.text(), b.text()];
            let [Ok(a), Ok(b)] = texts.map(String::from_utf8) else {
                return;
            };
            let entries = [a, b];
            let Some(listed) = Listed::of(&entries) else {
                // Panics are slow.
                if entries.concat().len() % 16 == 0 {
                    assert!(panics(|| OriginPolicy::list(&entries)), "{entries:?}");
                }
                return;
            };
            match &input.policy {
                Policy::List(..) => (OriginPolicy::list(entries), listed),
                _ => (OriginPolicy::same_host_or(entries), listed),
            }
        }
    };
    let protocol = input.http2.then_some("websocket");
    let verdict = server::negotiate(&head, protocol, &Config::default().origin(policy));
    // A `Host` must be text, also where the target has the authority.
    let is_text = |line: &HeaderValue| {
        line.as_bytes()
            .iter()
            .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
    };
    let hosts = head.headers.get_all("host");
    let Some(target) = place(&target).filter(|_| hosts.iter().all(is_text)) else {
        assert!(
            matches!(verdict, Err(Rejection::InvalidHost)),
            "{verdict:?}"
        );
        return;
    };
    let lines: Vec<_> = head.headers.get_all("origin").iter().collect();
    let allowed = match (&lines[..], &input.policy) {
        ([], _) | (_, Policy::Any) => true,
        ([_], Policy::Predicate(says)) => *says,
        ([line], policy) => {
            let page = origin(line.as_bytes());
            let is_at = page.as_ref().is_some_and(|page| page.is_at(&target));
            match policy {
                Policy::SameHost => is_at,
                Policy::SameHostOrLocalhost => is_at || are_local(page.as_ref(), &target.0),
                Policy::SameHostOr(..) => is_at || listed.has(line.as_bytes()),
                _ => listed.has(line.as_bytes()),
            }
        }
        _ => false,
    };
    match verdict {
        Ok(_) => assert!(allowed, "{lines:?} was let in"),
        Err(Rejection::OriginRefused) => assert!(!allowed, "{lines:?} was refused"),
        Err(rejection) => panic!("{rejection:?}"),
    }
});

/// What a list allows.
#[derive(Default)]
struct Listed {
    origins: Vec<Origin>,
    texts: Vec<Vec<u8>>,
}

impl Listed {
    /// `None` where it panics.
    fn of(entries: &[String]) -> Option<Self> {
        let mut listed = Self::default();
        for entry in entries {
            let entry = entry.trim();
            if entry.is_empty() || entry.contains(|it: char| it == '*' || it.is_control()) {
                return None;
            }
            let page = origin(entry.strip_suffix('/').unwrap_or(entry).as_bytes());
            listed.origins.extend(page.map(Origin::with_port));
            if origin(entry.as_bytes()).is_none() {
                listed.texts.push(entry.into());
            }
        }
        Some(listed)
    }

    fn has(&self, line: &[u8]) -> bool {
        let page = origin(line).map(Origin::with_port);
        page.is_some_and(|page| self.origins.contains(&page))
            || self.texts.iter().any(|text| text == line)
    }
}

/// Whether a page from a server on this machine asks for a server on this machine.
fn are_local(page: Option<&Origin>, target: &Host) -> bool {
    let is_loopback = |host: &Host| match host {
        Host::V6(address) => *address == [0, 0, 0, 0, 0, 0, 0, 1],
        Host::Name(name) => {
            let address = groups(name, true).filter(|_| name.contains(&b'.'));
            let is_name = name == b"localhost" || name.ends_with(b".localhost");
            is_name || address.is_some_and(|address| address[0] >> 8 == 127)
        }
    };
    is_loopback(target)
        && page.is_some_and(|page| page.default_port().is_some() && is_loopback(&page.host))
}

/// libFuzzer's hook ends the process.
fn panics<T>(work: impl FnOnce() -> T) -> bool {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(work));
    set_hook(hook);
    result.is_err()
}

#[derive(Debug, Eq, PartialEq)]
enum Host {
    /// In lower case.
    Name(Vec<u8>),
    V6([u16; 8]),
}

#[derive(Debug, Eq, PartialEq)]
struct Origin {
    /// In lower case.
    scheme: Vec<u8>,
    host: Host,
    port: Option<u16>,
}

impl Origin {
    fn default_port(&self) -> Option<u16> {
        match &self.scheme[..] {
            b"http" | b"ws" => Some(80),
            b"https" | b"wss" => Some(443),
            _ => None,
        }
    }

    fn with_port(mut self) -> Self {
        self.port = self.port.or(self.default_port());
        self
    }

    fn is_at(&self, (host, port): &(Host, Option<u16>)) -> bool {
        self.default_port().is_some_and(|default| {
            self.host == *host && self.port.unwrap_or(default) == port.unwrap_or(default)
        })
    }
}

fn origin(text: &[u8]) -> Option<Origin> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = text.split_at(colon);
    let (first, others) = scheme.split_first()?;
    let is_scheme = first.is_ascii_alphabetic()
        && others.iter().all(
            |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.'),
        );
    if !is_scheme || rest.get(..3)? != b"://" {
        return None;
    }
    let (host, port) = place(&rest[3..])?;
    Some(Origin {
        scheme: scheme.to_ascii_lowercase(),
        host,
        port,
    })
}

/// `host [ ":" port ]`.
fn place(text: &[u8]) -> Option<(Host, Option<u16>)> {
    let (host, rest) = if text.first() == Some(&b'[') {
        let end = text.iter().position(|byte| *byte == b']')?;
        (Host::V6(v6(&text[1..end])?), &text[end + 1..])
    } else {
        let end = text.iter().position(|byte| *byte == b':');
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        // unreserved, pct-encoded, sub-delims
        let is_allowed =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
        if name.is_empty() || !name.iter().all(is_allowed) {
            return None;
        }
        (Host::Name(name.to_ascii_lowercase()), rest)
    };
    match rest {
        [] | [b':'] => Some((host, None)),
        [b':', digits @ ..] => {
            let mut port = 0_u64;
            for digit in digits {
                let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
                port = (port * 10 + u64::from(digit)).min(1 << 20);
            }
            Some((host, Some(port.try_into().ok()?)))
        }
        _ => None,
    }
}

/// RFC 3986 §3.2.2: eight groups of sixteen bits, the last two perhaps as IPv4, one run of zeroes
/// perhaps left out.
fn v6(text: &[u8]) -> Option<[u16; 8]> {
    let gap = text.windows(2).position(|two| two == b"::");
    let (before, behind) = match gap {
        Some(at) => (groups(&text[..at], false)?, groups(&text[at + 2..], true)?),
        None => (groups(text, true)?, Vec::new()),
    };
    let len = before.len() + behind.len();
    if (gap.is_none() && len != 8) || (gap.is_some() && len > 7) {
        return None;
    }
    let mut all = [0; 8];
    all[..before.len()].copy_from_slice(&before);
    all[8 - behind.len()..].copy_from_slice(&behind);
    Some(all)
}

fn groups(text: &[u8], may_end_in_v4: bool) -> Option<Vec<u16>> {
    let mut groups = Vec::new();
    if text.is_empty() {
        return Some(groups);
    }
    let parts: Vec<_> = text.split(|byte| *byte == b':').collect();
    for (n, part) in parts.iter().enumerate() {
        if may_end_in_v4 && n + 1 == parts.len() && part.contains(&b'.') {
            let mut octets = Vec::new();
            for octet in part.split(|byte| *byte == b'.') {
                let is_octet = matches!(octet.len(), 1..=3)
                    && octet.iter().all(u8::is_ascii_digit)
                    && (octet.len() == 1 || octet[0] != b'0');
                if !is_octet {
                    return None;
                }
                let value = octet
                    .iter()
                    .fold(0, |all, digit| all * 10 + u16::from(digit - b'0'));
                if value > 255 {
                    return None;
                }
                octets.push(value);
            }
            let [a, b, c, d] = octets[..] else {
                return None;
            };
            groups.extend([a << 8 | b, c << 8 | d]);
            continue;
        }
        if !matches!(part.len(), 1..=4) {
            return None;
        }
        let mut group = 0;
        for digit in *part {
            group = group << 4 | char::from(*digit).to_digit(16)? as u16;
        }
        groups.push(group);
    }
    Some(groups)
}

impl Input<'_> {
    /// A handshake that only its host and its origin can spoil, and the place that it is for.
    fn head(&self) -> Option<(Parts, Vec<u8>)> {
        let (mut head, ()) = Request::new(()).into_parts();
        let target = self.target.text();
        let in_uri = self.http2 || self.host.is_some();
        if in_uri {
            let uri = Uri::builder().scheme("https").path_and_query("/");
            head.uri = uri.authority(&target[..]).build().ok()?;
        }
        let mut put = |name: &'static str, value: &[u8]| {
            let value = HeaderValue::from_bytes(value).ok()?;
            head.headers.append(name, value);
            Some(())
        };
        if self.http2 {
            (head.method, head.version) = (Method::CONNECT, Version::HTTP_2);
        } else {
            put(
                "host",
                &self.host.as_ref().map_or(target.clone(), Place::text),
            )?;
            put("connection", b"Upgrade")?;
            put("upgrade", b"websocket")?;
            put("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")?;
        }
        put("sec-websocket-version", b"13")?;
        match &self.origins {
            Origins::None => {}
            Origins::One(page) => put("origin", &page.text())?,
            Origins::Same(scheme) => {
                put(
                    "origin",
                    &[known(SCHEMES, *scheme), b"://", &target].concat(),
                )?;
            }
            Origins::Two(a, b) => {
                put("origin", &a.text())?;
                put("origin", &b.text())?;
            }
        }
        Some((head, target))
    }
}

impl Place<'_> {
    fn text(&self) -> Vec<u8> {
        [self.host.text(HOSTS), self.port.text(PORTS)].concat()
    }
}

impl Page<'_> {
    fn text(&self) -> Vec<u8> {
        let place = self.place.text();
        let separator: &[u8] = if place.is_empty() { b"" } else { b"://" };
        [
            self.scheme.text(SCHEMES),
            separator,
            &place,
            self.end.text(ENDS),
        ]
        .concat()
    }
}

impl Part<'_> {
    fn text(&self, table: &'static [&'static str]) -> &[u8] {
        match self {
            Self::Known(n) => known(table, *n),
            Self::Bytes(bytes) => bytes,
        }
    }
}

fn known(table: &'static [&'static str], n: u8) -> &'static [u8] {
    table[usize::from(n) % table.len()].as_bytes()
}

const SCHEMES: &[&str] = &[
    "https",
    "http",
    "wss",
    "ws",
    "HTTPS",
    "Http",
    "chrome-extension",
    "file",
    "null",
    "1a",
    "",
];

const HOSTS: &[&str] = &[
    "a.example",
    "A.Example",
    "b.example",
    "a.example.",
    "evila.example",
    "a.example.evil",
    "127.0.0.1",
    "127.1",
    "localhost",
    "app.LocalHost",
    "*.example",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:1.2.3.4]",
    "[::FFFF:102:304]",
    "[1::2::3]",
    "[::1%25eth0]",
    "user@a.example",
    "a.example:443@b.example",
    "a%2eexample",
    "",
];

const PORTS: &[&str] = &[
    "", ":", ":80", ":443", ":8080", ":0443", ":65535", ":65536", ":+80", ":0", ":80:80",
];

const ENDS: &[&str] = &["", "", "", "/", "?", "#", " ", "@a.example", ":443"];
