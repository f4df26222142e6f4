//! What a client is asked to connect to.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Request, Uri, header::AUTHORIZATION, request::Parts, uri::Scheme,
};
use percent_encoding::percent_decode_str;

use super::error::ConnectError;
use crate::handshake::{
    client::InvalidRequest,
    target::{Target, escape},
};

/// A server to connect to: a URI as text, a `Uri`, or a `Request` with headers of its own.
///
/// The scheme is `ws` or `wss`; `http` and `https` mean the same. A fragment is dropped, as browsers
/// do. A user and password in the URI become `Authorization: Basic`, unless the request has that
/// header (RFC 7617). Method and version of a request are ignored.
///
/// Spaces and characters beyond ASCII in path and query are escaped, and white space around a text is
/// dropped. A host beyond ASCII is refused
/// ([`InvalidRequest::NonAsciiHost`](crate::handshake::client::InvalidRequest::NonAsciiHost)): write
/// it in its `xn--` form. An IPv6 address may have a zone, `ws://[fe80::1%25eth0]/` (RFC 6874), which
/// is not sent to the server.
///
/// ```
/// use http::Request;
/// use tower_websocket::client::IntoRequest;
///
/// let request = " ws://example.com/rooms/tea time ".into_request()?;
/// assert_eq!(request.uri(), "ws://example.com/rooms/tea%20time");
///
/// let request = Request::get("wss://example.com/chat").header("authorization", "Bearer 1234").body(())?;
/// assert_eq!(request.into_request()?.headers()["authorization"], "Bearer 1234");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait IntoRequest {
    /// Makes the request.
    ///
    /// # Errors
    ///
    /// The text is not a URI.
    fn into_request(self) -> Result<Request<()>, ConnectError>;
}

impl IntoRequest for Request<()> {
    fn into_request(self) -> Result<Request<()>, ConnectError> {
        Ok(self)
    }
}

impl IntoRequest for Uri {
    fn into_request(self) -> Result<Request<()>, ConnectError> {
        let mut request = Request::new(());
        *request.uri_mut() = self;
        Ok(request)
    }
}

impl IntoRequest for &str {
    fn into_request(self) -> Result<Request<()>, ConnectError> {
        let uri = match self.parse::<Uri>() {
            Ok(uri) => uri,
            Err(error) => match escaped(self)?.parse() {
                Ok(uri) => uri,
                Err(_) if lacks_scheme(self) => return Err(InvalidRequest::Scheme.into()),
                Err(_) => return Err(http::Error::from(error).into()),
            },
        };
        uri.into_request()
    }
}

impl IntoRequest for String {
    fn into_request(self) -> Result<Request<()>, ConnectError> {
        self.as_str().into_request()
    }
}

impl IntoRequest for &String {
    fn into_request(self) -> Result<Request<()>, ConnectError> {
        self.as_str().into_request()
    }
}

/// Escapes what people write and a URI may not contain.
fn escaped(text: &str) -> Result<String, InvalidRequest> {
    // It may have been read from a line.
    let text = text.trim_matches(|c| c <= ' ');
    let text = text.split_once('#').map_or(text, |(text, _)| text);
    let (before, rest) = match text.split_once("://") {
        Some((scheme, rest)) if !text.starts_with('/') => (format!("{scheme}://"), rest),
        _ => (String::new(), text),
    };
    let end = if before.is_empty() {
        0
    } else {
        rest.find(['/', '?']).unwrap_or(rest.len())
    };
    let (authority, path) = rest.split_at(end);
    let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    if !host.is_ascii() {
        return Err(InvalidRequest::NonAsciiHost);
    }
    Ok(format!("{before}{}{host}{}", escape(user), escape(path)))
}

/// Reports whether a text that is no URI most likely lacks its scheme, as `localhost:8080/chat` does.
fn lacks_scheme(text: &str) -> bool {
    let text = text.trim_start_matches(|c| c <= ' ');
    let has_host = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    has_host && !text.contains("://")
}

/// The server that a URI names.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// As its certificate names it, an address of IPv6 in brackets.
    pub(super) host: Box<str>,
    /// The zone of an address of IPv6: the network on which it is meant.
    zone: Option<Box<str>>,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Server {
    pub(super) fn of(uri: &Uri) -> Result<Self, InvalidRequest> {
        let target = Target::of(uri)?;
        let tls = target.scheme.ok_or(InvalidRequest::Scheme)? == Scheme::HTTPS;
        let host = uri.host().ok_or(InvalidRequest::MissingHost)?;
        let (host, zone) = split_zone(host);
        Ok(Self {
            host,
            zone,
            port: target.port.unwrap_or(if tls { 443 } else { 80 }),
            tls,
        })
    }

    /// Returns the URI to connect to, as HTTP has it, with TLS or without; only a zone is written for `getaddrinfo`.
    pub(super) fn http_uri(&self, tls: bool) -> Result<Uri, ConnectError> {
        let uri = Uri::builder().scheme(if tls { "https" } else { "http" });
        let authority = authority(&self.host, self.zone.as_deref(), self.port);
        Ok(uri.authority(authority).path_and_query("/").build()?)
    }
}

/// Takes a zone out of the host of a URI.
pub(super) fn split_zone(host: &str) -> (Box<str>, Option<Box<str>>) {
    match host.split_once('%') {
        Some((address, zone)) => (format!("{address}]").into(), Some(self::zone(zone))),
        None => (host.into(), None),
    }
}

/// Puts together where to connect to, with a zone as `getaddrinfo` has it.
pub(super) fn authority(host: &str, zone: Option<&str>, port: u16) -> String {
    match zone {
        Some(zone) => format!("{}%{zone}]:{port}", host.trim_end_matches(']')),
        None => format!("{host}:{port}"),
    }
}

/// Reads a zone up to its bracket, behind `%25` (RFC 6874 §2) or the bare `%` of other programs.
fn zone(text: &str) -> Box<str> {
    let text = text.trim_end_matches(']');
    let name = text.strip_prefix("25").filter(|name| !name.is_empty());
    let name = percent_decode_str(name.unwrap_or(text)).decode_utf8_lossy();
    name.into()
}

/// Takes a request apart, with the headers that every handshake of a client has.
pub(super) fn head(request: Request<()>, headers: &HeaderMap) -> Parts {
    let (mut head, ()) = request.into_parts();
    for name in headers.keys() {
        if head.headers.contains_key(name) {
            continue;
        }
        for value in headers.get_all(name) {
            head.headers.append(name, value.clone());
        }
    }
    if !head.headers.contains_key(AUTHORIZATION)
        && let Some(credentials) = credentials(&head.uri)
    {
        head.headers.insert(AUTHORIZATION, credentials);
    }
    head
}

/// Returns user and password of a URI in the `Basic` scheme (RFC 7617 §2).
fn credentials(uri: &Uri) -> Option<HeaderValue> {
    let (user, _) = uri.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut text: Vec<u8> = percent_decode_str(name).collect();
    text.push(b':');
    text.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
