//! Where a request goes: the only place that makes a client's request target.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderValue, Uri,
    header::HOST,
    uri::{PathAndQuery, Scheme},
};

use super::{authority::Authority, invalid_request::InvalidRequest, tokens::Lines};

/// The target of a request, taken apart.
#[derive(Debug)]
pub(crate) struct Target {
    /// The scheme of HTTP that stands for one of WebSocket.
    pub(crate) scheme: Option<Scheme>,
    /// Host and port as `Host` and `:authority` have them: without user and password (RFC 9110
    /// §4.2.4), the zone of an address (RFC 6874 §4), and the scheme's own port (RFC 6455 §4.1).
    pub(crate) authority: Option<HeaderValue>,
    /// The port that was named, also the scheme's own.
    pub(crate) port: Option<u16>,
    /// Begins with a slash (RFC 9113 §8.3.1) and is ASCII.
    pub(crate) path: PathAndQuery,
}

impl Target {
    pub(crate) fn of(uri: &Uri) -> Result<Self, InvalidRequest> {
        let scheme = match uri.scheme_str() {
            None => None,
            Some(scheme) => Some(http_scheme(scheme).ok_or(InvalidRequest::Scheme)?),
        };
        let path = path(uri.path_and_query())?;
        let mut target = Self {
            scheme,
            authority: None,
            port: None,
            path,
        };
        if let Some(authority) = uri.authority() {
            target.point_to(authority.as_str())?;
        }
        Ok(target)
    }

    fn point_to(&mut self, text: &str) -> Result<(), InvalidRequest> {
        let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
        let host = without_zone(host);
        let mut authority = parse(&host)?;
        self.port = authority.port();
        let default = match &self.scheme {
            Some(scheme) if *scheme == Scheme::HTTPS => Some(443),
            Some(_) => Some(80),
            None => None,
        };
        if self.port == default {
            authority = authority.without_port();
        }
        let value = HeaderValue::try_from(authority.to_string());
        self.authority = Some(value.map_err(|_| InvalidRequest::Host)?);
        Ok(())
    }

    /// Makes the URI of an Extended CONNECT, whose parts become its pseudo-header fields.
    pub(super) fn absolute(self) -> Result<Uri, InvalidRequest> {
        let authority = self.authority.ok_or(InvalidRequest::MissingHost)?;
        Uri::builder()
            .scheme(self.scheme.ok_or(InvalidRequest::Scheme)?)
            .authority(authority.as_bytes())
            .path_and_query(self.path)
            .build()
            .map_err(|_| InvalidRequest::Host)
    }
}

/// Checks the request's own `Host`, if it has one (RFC 9110 §7.2).
pub(super) fn check_host(headers: &HeaderMap) -> Result<(), InvalidRequest> {
    match Lines::of(headers, &HOST) {
        Lines::None => Ok(()),
        Lines::One(host) => {
            let host = host.to_str().map_err(|_| InvalidRequest::Host)?;
            parse(host).map(drop)
        }
        Lines::Several => Err(InvalidRequest::Host),
    }
}

/// Makes the path of a target: `/` if there is none, also before a query alone.
pub(crate) fn path(path: Option<&PathAndQuery>) -> Result<PathAndQuery, InvalidRequest> {
    let Some(path) = path else {
        return Ok(PathAndQuery::from_static("/"));
    };
    let text = escape(path.as_str());
    let text = match text.as_bytes().first() {
        Some(b'/') => text,
        Some(b'?') => format!("/{text}").into(),
        // The asterisk of OPTIONS.
        _ => return Err(InvalidRequest::Path),
    };
    // An empty `PathAndQuery` prints as a slash without being one.
    text.parse().map_err(|_| InvalidRequest::Path)
}

/// Escapes what is beyond ASCII, and the ASCII that browsers escape (RFC 3986 §2.1).
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let is_escaped = |byte: u8| !byte.is_ascii() || b" \"<>`".contains(&byte);
    if !text.bytes().any(is_escaped) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_escaped(byte) {
            let digit = |half: u8| char::from(b"0123456789ABCDEF"[usize::from(half)]);
            escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            escaped.push(char::from(byte));
        }
    }
    escaped.into()
}

/// Reads a host and a port, and says which of them is wrong.
fn parse(text: &str) -> Result<Authority<'_>, InvalidRequest> {
    if text.is_empty() || text.starts_with(':') {
        return Err(InvalidRequest::MissingHost);
    }
    Authority::parse(text).ok_or_else(|| {
        let host = text.rsplit_once(':').map(|(host, _)| host);
        match host.and_then(Authority::parse) {
            Some(_) => InvalidRequest::Port,
            None => InvalidRequest::Host,
        }
    })
}

/// Leaves out the zone of an IPv6 address, which means nothing to others (RFC 6874 §4).
fn without_zone(host: &str) -> Cow<'_, str> {
    match host.split_once('%') {
        Some((address, zone)) if address.starts_with('[') => {
            let rest = zone.find(']').map_or("", |end| &zone[end..]);
            format!("{address}{rest}").into()
        }
        _ => host.into(),
    }
}

/// Returns the scheme of HTTP that stands for one of WebSocket (RFC 8441 §5).
fn http_scheme(scheme: &str) -> Option<Scheme> {
    let is = |name: &&str| scheme.eq_ignore_ascii_case(name);
    if ["ws", "http"].iter().any(is) {
        Some(Scheme::HTTP)
    } else {
        ["wss", "https"].iter().any(is).then_some(Scheme::HTTPS)
    }
}
