//! What a client is asked to connect to.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Request, Uri,
    header::AUTHORIZATION,
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

use super::ConnectError;
use crate::handshake::client::InvalidRequest;

/// What can be connected to: a URI as text, a `Uri`, or a `Request` with headers of its own.
///
/// The scheme is `ws` or `wss`; `http` and `https` mean the same. A fragment is dropped
/// (RFC 6455 §3), and characters of path and query beyond ASCII are escaped. A user and password in
/// the URI become `Authorization: Basic`, unless the request has that header (RFC 7617). Method and
/// version of a request are of no account.
pub trait IntoRequest {
    /// Makes the request.
    ///
    /// # Errors
    ///
    /// It is no URI.
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
        self.parse::<Uri>()
            .map_err(http::Error::from)?
            .into_request()
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

/// The server that a URI names.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Server {
    pub(super) fn of(uri: &Uri) -> Result<Self, InvalidRequest> {
        let scheme = uri.scheme_str().ok_or(InvalidRequest::Scheme)?;
        let is = |names: [&str; 2]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
        let tls = is(["wss", "https"]);
        if !tls && !is(["ws", "http"]) {
            return Err(InvalidRequest::Scheme);
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or(InvalidRequest::MissingHost)?;
        Ok(Self {
            host: host.into(),
            port: port(uri)?.unwrap_or(if tls { 443 } else { 80 }),
            tls,
        })
    }

    /// Where to connect to, in the words of HTTP.
    pub(super) fn http_uri(&self) -> Result<Uri, ConnectError> {
        let authority = format!("{}:{}", self.host, self.port);
        let uri = Uri::builder().scheme(if self.tls { "https" } else { "http" });
        Ok(uri.authority(authority).path_and_query("/").build()?)
    }
}

/// The port that a URI names. `http` takes one that is too large for none.
fn port(uri: &Uri) -> Result<Option<u16>, InvalidRequest> {
    let authority = uri.authority().map_or("", Authority::as_str);
    let named = match authority.rsplit_once(':') {
        // A colon of the host's (RFC 3986 §3.2.2), or nothing behind it.
        Some((_, port)) => !port.is_empty() && !port.contains([']', '@']),
        None => false,
    };
    match uri.port_u16() {
        None if named => Err(InvalidRequest::Port),
        port => Ok(port),
    }
}

/// Takes a request apart, with the headers that every handshake of a client has.
pub(super) fn head(request: Request<()>, headers: &HeaderMap) -> Result<Parts, http::Error> {
    let (mut head, ()) = request.into_parts();
    head.uri = ascii(head.uri)?;
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
    Ok(head)
}

/// Escapes what `http` lets pass in path and query, and RFC 3986 §2 does not.
fn ascii(uri: Uri) -> Result<Uri, http::Error> {
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if path.is_ascii() {
        return Ok(uri);
    }
    let path = utf8_percent_encode(path, &AsciiSet::EMPTY).to_string();
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path.parse()?);
    Ok(Uri::from_parts(parts)?)
}

/// User and password of a URI, in the `Basic` scheme (RFC 7617 §2).
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
