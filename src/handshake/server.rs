//! The server's side of the opening handshake (RFC 6455 §4.2, RFC 8441 §5).

use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
        UPGRADE,
    },
    request::Parts,
};

use super::{
    authority::Authority,
    deflate::{self, Agreement},
    extensions, key,
    rejection::Rejection,
    tokens::{Lines, has_token, joined_tokens},
};
use crate::{config::Config, protocol::DeflateParams};

/// Reports whether a request asks for a WebSocket connection, correctly or not.
///
/// On HTTP/1.1, and not before it (RFC 9110 §7.8), that is the token `upgrade` in `Connection` and
/// `websocket` in `Upgrade`; on HTTP/2 and later the method CONNECT with the `:protocol`
/// `websocket`, which HTTP implementations pass beside the head. The two tokens and the
/// `:protocol` are compared without case; `CONNECT` is not.
///
/// ```
/// use http::{Request, Version};
/// use tower_websocket::handshake::server::is_handshake;
///
/// let request = Request::connect("https://example.com/chat").version(Version::HTTP_2);
/// let (head, ()) = request.body(())?.into_parts();
/// assert!(is_handshake(&head, Some("websocket")));
/// assert!(!is_handshake(&head, None));
/// # Ok::<_, http::Error>(())
/// ```
#[must_use]
pub fn is_handshake(head: &Parts, protocol: Option<&str>) -> bool {
    match head.version {
        Version::HTTP_11 => {
            // Most requests have no `Upgrade`, and few proxies leave `Connection` out.
            has_token(&head.headers, &UPGRADE, "websocket")
                && has_token(&head.headers, &CONNECTION, "upgrade")
        }
        version if version >= Version::HTTP_2 => {
            head.method == Method::CONNECT
                && protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"))
        }
        _ => false,
    }
}

/// Checks a handshake, and decides on subprotocol and extensions.
///
/// The checks run in the order of [`Rejection`]'s variants; the first that fails is returned. The
/// standards leave these choices:
///
/// - A `Content-Length` must be `0`, and must be absent on HTTP/2 and later, where it would count
///   the frames; `Transfer-Encoding` must not be there at all.
/// - On HTTP/2 and later `Host` is ignored. `:scheme` always is: proxies send `https` over cleartext.
/// - On HTTP/2 and later no key is needed. If there is one line with a valid one it is answered,
///   since some clients insist; anything else is ignored.
/// - A subprotocol may be offered twice, and a list may have empty elements.
/// - permessage-deflate is agreed on if [`Config::compression`](crate::Config::compression) is set and
///   the client offers it, see [`deflate`]; every other extension is ignored.
///
/// ```
/// use http::Request;
/// use tower_websocket::{Config, handshake::server};
///
/// let (head, ()) = Request::get("/chat")
///     .header("host", "server.example.com")
///     .header("upgrade", "websocket")
///     .header("connection", "Upgrade")
///     .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("sec-websocket-protocol", "chat, superchat")
///     .header("sec-websocket-version", "13")
///     .body(())?
///     .into_parts();
///
/// let config = Config::default().subprotocols(["superchat", "chat"]);
/// let opening = server::negotiate(&head, None, &config)?;
/// assert_eq!(opening.subprotocol(), Some("superchat"));
///
/// let response = opening.response();
/// assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The [`Rejection`] that names the fault. For a request that is not a handshake at all it is
/// [`UpgradeRequired`](Rejection::UpgradeRequired) or
/// [`UnsupportedProtocol`](Rejection::UnsupportedProtocol).
pub fn negotiate(
    head: &Parts,
    protocol: Option<&str>,
    config: &Config,
) -> Result<Accepted, Rejection> {
    check_request(head, protocol)?;
    settle_handshake(head, config)
}

/// Does what [`negotiate`] does, for a request that [`is_handshake`].
pub(crate) fn settle_handshake(head: &Parts, config: &Config) -> Result<Accepted, Rejection> {
    let (target, accept) = check_handshake(head)?;
    config.origin.check(head, &target)?;
    let mut opening = Accepted::new(head, accept)?;
    opening.choose_protocol(config);
    opening.settle(&head.headers, config)?;
    Ok(opening)
}

/// Makes the checks before that of the origin, which need no configuration; returns the answer to the
/// key.
#[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "extractors do"))]
pub(crate) fn check(
    head: &Parts,
    protocol: Option<&str>,
) -> Result<Option<HeaderValue>, Rejection> {
    check_request(head, protocol)?;
    let (_, accept) = check_handshake(head)?;
    Ok(accept)
}

/// Makes these checks of a request that [`is_handshake`]; returns where it goes, and the answer to the
/// key.
fn check_handshake(head: &Parts) -> Result<(Authority<'_>, Option<HeaderValue>), Rejection> {
    if head.version < Version::HTTP_2 && head.method != Method::GET {
        return Err(Rejection::MethodNotAllowed);
    }
    check_body(head)?;
    let target = target(head)?;
    check_version(&head.headers)?;
    Ok((target, accept(head)?))
}

/// Rejects a page that the configuration does not allow.
#[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "extractors do"))]
pub(crate) fn check_origin(head: &Parts, config: &Config) -> Result<(), Rejection> {
    config.origin.check(head, &target(head)?)
}

/// A handshake that can be accepted.
///
/// It owns what the response needs, and borrows nothing from the request. The application may still change what was
/// agreed on:
///
/// ```
/// use http::{Request, StatusCode};
/// use tower_websocket::{Config, handshake::server};
///
/// let (head, ()) = Request::get("/chat")
///     .header("host", "server.example.com")
///     .header("upgrade", "websocket")
///     .header("connection", "Upgrade")
///     .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("sec-websocket-protocol", "chat.v1, chat.v2")
///     .header("sec-websocket-version", "13")
///     .body(())?
///     .into_parts();
/// let mut accepted = server::negotiate(&head, None, &Config::default())?;
/// assert_eq!(accepted.offered_subprotocols().collect::<Vec<_>>(), ["chat.v1", "chat.v2"]);
/// assert_eq!((accepted.subprotocol(), accepted.deflate()), (None, None));
/// assert!(accepted.select_subprotocol("chat.v2"));
/// assert!(!accepted.select_subprotocol("chat.v3")); // not offered
/// accepted.decline_deflate();
///
/// let response = accepted.response();
/// assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
/// assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v2");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Accepted {
    version: Version,
    accept: Option<HeaderValue>,
    protocol: Option<HeaderValue>,
    /// Tokens, joined by commas.
    offered: Box<str>,
    deflate: Option<Agreement>,
}

impl Accepted {
    /// Makes one in which nothing is chosen or agreed on yet.
    pub(crate) fn new(head: &Parts, accept: Option<HeaderValue>) -> Result<Self, Rejection> {
        let offered = joined_tokens(&head.headers, &SEC_WEBSOCKET_PROTOCOL);
        Ok(Self {
            version: head.version,
            accept,
            protocol: None,
            offered: offered.ok_or(Rejection::MalformedSubprotocols)?,
            deflate: None,
        })
    }

    /// Chooses the first subprotocol of the configuration that the client offers, or none.
    pub(crate) fn choose_protocol(&mut self, config: &Config) {
        self.protocol = None;
        let names = &config.subprotocols;
        let _chosen = names.iter().any(|name| self.select_subprotocol(name));
    }

    /// Makes the checks that need the chosen subprotocol, and agrees on compression.
    pub(crate) fn settle(&mut self, headers: &HeaderMap, config: &Config) -> Result<(), Rejection> {
        if config.require_subprotocol && self.protocol.is_none() {
            return Err(Rejection::NoCommonSubprotocol);
        }
        let offers = extensions::parse(headers)?;
        self.deflate = config
            .compression
            .as_ref()
            .and_then(|settings| deflate::accept(&offers, settings));
        Ok(())
    }

    /// Chooses a subprotocol that the client offers, and replaces that of `Config::subprotocols`.
    ///
    /// It returns `false`, and keeps the previous choice, if the client does not offer it: naming it
    /// would make the client fail the connection (RFC 6455 §4.1). Case matters. See
    /// [`Config::subprotocols`](crate::Config::subprotocols).
    pub fn select_subprotocol(&mut self, name: &str) -> bool {
        if !self.offered_subprotocols().any(|offer| offer == name) {
            return false;
        }
        self.protocol = HeaderValue::from_str(name).ok();
        self.protocol.is_some()
    }

    /// Chooses no subprotocol.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "gateways do"))]
    pub(crate) fn clear_subprotocol(&mut self) {
        self.protocol = None;
    }

    /// Returns the chosen subprotocol, as the server spells it.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.protocol.as_ref()?.to_str().ok()
    }

    /// Iterates over the subprotocols that the client offers, in its order of preference.
    pub fn offered_subprotocols(&self) -> impl Iterator<Item = &str> {
        self.offered.split_terminator(',')
    }

    /// Returns what was agreed on for compressed messages; `None` if they are not compressed.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate.as_ref().map(Agreement::params)
    }

    /// Declines compression, whatever was agreed on.
    pub fn decline_deflate(&mut self) {
        self.deflate = None;
    }

    /// Takes out what was agreed on for compressed messages, with the memory that is reserved for it.
    ///
    /// Make the [`response`](Self::response) before: one that is made afterwards declines compression.
    /// `session::SessionBuilder::negotiated` takes the whole `Accepted`.
    pub fn take_deflate(&mut self) -> Option<Agreement> {
        self.deflate.take()
    }

    /// Returns the version of HTTP of the request.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Makes the response: 101 on HTTP/1.1, 200 on HTTP/2 and later (RFC 8441 §4).
    #[must_use]
    pub fn response(&self) -> Response<()> {
        self.response_with(self.accept.clone())
    }

    /// Makes the answer, once: the answer to the key is moved into it.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "layers do"))]
    pub(crate) fn take_response(&mut self) -> Response<()> {
        let accept = self.accept.take();
        self.response_with(accept)
    }

    fn response_with(&self, accept: Option<HeaderValue>) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        if let Some(accept) = accept {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = &self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        if let Some(agreement) = &self.deflate {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, agreement.header_value());
        }
        if self.version < Version::HTTP_2 {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        response
    }
}

/// Rejects requests that are no handshake.
fn check_request(head: &Parts, protocol: Option<&str>) -> Result<(), Rejection> {
    if is_handshake(head, protocol) {
        return Ok(());
    }
    let is_http1 = head.version < Version::HTTP_2;
    let is_extended_connect = !is_http1 && head.method == Method::CONNECT && protocol.is_some();
    Err(if is_extended_connect {
        Rejection::UnsupportedProtocol
    } else {
        Rejection::UpgradeRequired
    })
}

/// Rejects a body.
///
/// A length of zero means no body on HTTP/1.1. On HTTP/2 it is the length of all DATA frames (RFC 9113
/// §8.1.1), and the first one would reset the stream.
fn check_body(head: &Parts) -> Result<(), Rejection> {
    let headers = &head.headers;
    let zero_is_none = head.version == Version::HTTP_11;
    let is_empty = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .all(|length| zero_is_none && length == "0");
    if !is_empty || headers.contains_key(TRANSFER_ENCODING) {
        return Err(Rejection::BodyPresent);
    }
    Ok(())
}

/// Finds the host and port that the request is for.
///
/// The authority of the request target wins over `Host`, which HTTP/1.1 wants even so
/// (RFC 9112 §3.2, §3.2.2).
fn target(head: &Parts) -> Result<Authority<'_>, Rejection> {
    let authority = head.uri.authority().map(|authority| authority.as_str());
    let target = if head.version < Version::HTTP_2 {
        let host = match Lines::of(&head.headers, &HOST) {
            Lines::None => return Err(Rejection::MissingHost),
            Lines::Several => return Err(Rejection::DuplicateHost),
            Lines::One(host) => host.to_str().map_err(|_| Rejection::InvalidHost)?,
        };
        authority.unwrap_or(host)
    } else {
        authority.ok_or(Rejection::MissingHost)?
    };
    Authority::parse(target).ok_or(Rejection::InvalidHost)
}

fn check_version(headers: &HeaderMap) -> Result<(), Rejection> {
    match Lines::of(headers, &SEC_WEBSOCKET_VERSION) {
        Lines::One(version) if version == "13" => Ok(()),
        _ => Err(Rejection::UnsupportedVersion),
    }
}

/// Answers the key, which HTTP/1.1 requires and HTTP/2 merely allows.
fn accept(head: &Parts) -> Result<Option<HeaderValue>, Rejection> {
    let rejection = match Lines::of(&head.headers, &SEC_WEBSOCKET_KEY) {
        Lines::One(key) if key::is_valid(key.as_bytes()) => {
            return Ok(Some(key::accept(key.as_bytes())));
        }
        Lines::One(_) => Rejection::InvalidKey,
        Lines::None => Rejection::MissingKey,
        Lines::Several => Rejection::DuplicateKey,
    };
    if head.version < Version::HTTP_2 {
        Err(rejection)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
