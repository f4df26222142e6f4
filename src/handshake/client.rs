//! The client's side of the opening handshake (RFC 6455 §4.1, RFC 8441 §5).

use std::{error, fmt};

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
        UPGRADE,
    },
    request,
    response::Parts,
};

pub use super::invalid_request::InvalidRequest;

use super::{
    deflate::{self, Agreement},
    extensions, key, passed,
    target::{self, Target},
    tokens::{Lines, has_token, joined_tokens},
};
use crate::{compression::Compression, config::Config, protocol::DeflateParams};

/// Makes a handshake of a request's head, and remembers what it asks for.
///
/// The version decides: HTTP/1.1 gets an `Upgrade`, HTTP/2 and later an Extended CONNECT. Its
/// `:protocol` is `websocket`, and has to be passed to the HTTP implementation beside the head. The
/// URI's scheme is one of `ws`, `wss`, `http` and `https`. Over HTTP/1.1 it may be missing, and
/// the part before the path moves to `Host`, unless the request has that header.
///
/// `Host` and `:authority` are host and port, without what does not concern the server: user and
/// password, the scheme's own port (RFC 6455 §4.1), the zone of an IPv6 address. The target begins
/// with a slash; characters beyond ASCII are escaped. A fragment is dropped.
///
/// Headers of the request are kept, except for those of the handshake and of a body, which are
/// replaced or removed. Subprotocols are those of
/// [`Config::subprotocols`](crate::Config::subprotocols), unless the request names its own. Compression is
/// offered if [`Config::compression`](crate::Config::compression) is set.
///
/// ```
/// use http::{Request, Response};
/// use tower_websocket::{Config, handshake::{client, key}};
///
/// let (mut head, ()) = Request::get("ws://server.example.com/chat").body(())?.into_parts();
/// let config = Config::default().subprotocols(["chat"]);
/// let offer = client::offer(&mut head, &config)?;
/// assert_eq!(head.uri, "/chat");
/// assert_eq!(head.headers["host"], "server.example.com");
///
/// let accept = key::accept(head.headers["sec-websocket-key"].as_bytes());
/// let (answer, ()) = Response::builder()
///     .status(101)
///     .header("upgrade", "websocket")
///     .header("connection", "Upgrade")
///     .header("sec-websocket-accept", accept)
///     .header("sec-websocket-protocol", "chat")
///     .body(())?
///     .into_parts();
/// assert!(offer.is_accepted(answer.status));
/// assert_eq!(offer.check(&answer)?.subprotocol(), Some("chat"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The request cannot become a handshake; its head may have changed.
///
/// # Panics
///
/// Panics if the operating system has no random numbers.
pub fn offer(head: &mut request::Parts, config: &Config) -> Result<Offer, InvalidRequest> {
    let is_http1 = head.version < Version::HTTP_2;
    let target = Target::of(&head.uri)?;
    target::check_host(&head.headers)?;
    if is_http1 {
        head.method = Method::GET;
        head.uri = target.path.into();
        if !head.headers.contains_key(HOST) {
            let host = target.authority.ok_or(InvalidRequest::MissingHost)?;
            head.headers.insert(HOST, host);
        }
    } else {
        head.method = Method::CONNECT;
        head.uri = target.absolute()?;
        head.headers.remove(HOST);
    }
    write_handshake(&mut head.headers, is_http1);
    write_offers(&mut head.headers, config)?;
    passed::write(head);
    Offer::of(head, config)
}

/// Writes the headers of the handshake itself, and removes those of a body.
fn write_handshake(headers: &mut HeaderMap, is_http1: bool) {
    for name in [
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        CONNECTION,
        UPGRADE,
        SEC_WEBSOCKET_KEY,
    ] {
        headers.remove(name);
    }
    if is_http1 {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_KEY, key::random());
    }
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
}

/// Writes what the server may choose of: compression and subprotocols.
fn write_offers(headers: &mut HeaderMap, config: &Config) -> Result<(), InvalidRequest> {
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    if let Some(settings) = &config.compression {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, deflate::offer(settings));
    }
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) && !config.subprotocols.is_empty() {
        let names = config.subprotocols.join(", ");
        // They are tokens, and commas between them.
        let names = HeaderValue::try_from(names).map_err(|_| InvalidRequest::Subprotocols)?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, names);
    }
    Ok(())
}

/// What a client has asked for, to check the answer by.
#[derive(Clone, Debug)]
pub struct Offer {
    version: Version,
    /// The answer to the key, if there is a key.
    accept: Option<HeaderValue>,
    /// Tokens, joined by commas.
    subprotocols: Box<str>,
    compression: Option<Compression>,
    /// The names of extensions that are negotiated by others.
    passed: Option<Box<[Box<str>]>>,
}

impl Offer {
    /// Reads what a finished handshake asks for.
    ///
    /// Compression counts as offered if the configuration has it and the request has an extension.
    ///
    /// # Errors
    ///
    /// The subprotocols are not a list of tokens.
    pub fn of(head: &request::Parts, config: &Config) -> Result<Self, InvalidRequest> {
        let headers = &head.headers;
        let key = headers.get(SEC_WEBSOCKET_KEY);
        let offers = headers.contains_key(SEC_WEBSOCKET_EXTENSIONS);
        let protocols = joined_tokens(headers, &SEC_WEBSOCKET_PROTOCOL);
        Ok(Self {
            version: head.version,
            accept: key.map(|key| key::accept(key.as_bytes())),
            subprotocols: protocols.ok_or(InvalidRequest::Subprotocols)?,
            compression: config.compression.clone().filter(|_| offers),
            passed: passed::names(head),
        })
    }

    /// Reports whether a response with this status opens the connection (RFC 8441 §5).
    ///
    /// That is 101 on HTTP/1.1, and any successful one on HTTP/2. Everything else is a refusal, also a redirection: the
    /// caller may follow it (RFC 6455 §4.1).
    #[must_use]
    pub fn is_accepted(&self, status: StatusCode) -> bool {
        if self.is_http1() {
            status == StatusCode::SWITCHING_PROTOCOLS
        } else {
            status.is_success()
        }
    }

    /// Checks the head of a response that accepts (RFC 6455 §4.1).
    ///
    /// # Errors
    ///
    /// The response does not match the request: the client has to fail the connection.
    pub fn check(&self, response: &Parts) -> Result<Accepted, InvalidResponse> {
        let headers = &response.headers;
        if self.is_http1() {
            if response.version < Version::HTTP_11 {
                return Err(InvalidResponse::Version);
            }
            if !has_token(headers, &UPGRADE, "websocket") {
                return Err(InvalidResponse::Upgrade);
            }
            if !has_token(headers, &CONNECTION, "upgrade") {
                return Err(InvalidResponse::Connection);
            }
            match Lines::of(headers, &SEC_WEBSOCKET_ACCEPT) {
                Lines::One(accept) if Some(accept) == self.accept.as_ref() => {}
                _ => return Err(InvalidResponse::Accept),
            }
        }
        let answered = extensions::parse(headers)?;
        let deflate = match &self.passed {
            Some(names) => passed::check(&answered, names).map(|()| None)?,
            None => deflate::agree(&answered, self.compression.as_ref())?,
        };
        Ok(Accepted {
            version: self.version,
            protocol: self.subprotocol(headers)?,
            deflate,
        })
    }

    fn is_http1(&self) -> bool {
        self.version < Version::HTTP_2
    }

    /// Returns the chosen subprotocol, one of those offered.
    fn subprotocol(&self, headers: &HeaderMap) -> Result<Option<Box<str>>, InvalidResponse> {
        let chosen = match Lines::of(headers, &SEC_WEBSOCKET_PROTOCOL) {
            Lines::None => return Ok(None),
            Lines::One(chosen) => chosen.to_str().ok(),
            Lines::Several => None,
        };
        let offered = chosen.filter(|chosen| {
            let mut names = self.subprotocols.split_terminator(',');
            names.any(|name| name == *chosen)
        });
        let offered = offered.ok_or(InvalidResponse::Subprotocol)?;
        Ok(Some(offered.into()))
    }
}

/// What was agreed on in a handshake, as the client sees it.
///
/// [`Offer::check`] returns it, and
/// [`Negotiated`](super::Negotiated) can be made from it.
#[derive(Debug)]
pub struct Accepted {
    version: Version,
    protocol: Option<Box<str>>,
    deflate: Option<Agreement>,
}

impl Accepted {
    /// Returns the subprotocol that the server has chosen.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Returns what was agreed on for compressed messages; `None` if they are not compressed.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate.as_ref().map(Agreement::params)
    }

    /// Takes out what was agreed on for compressed messages, with the memory that is reserved for it.
    ///
    /// `session::SessionBuilder::negotiated` takes the whole `Accepted`.
    pub fn take_deflate(&mut self) -> Option<Agreement> {
        self.deflate.take()
    }

    /// Returns the version of HTTP of the request.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

/// A response that accepts something that was not asked for.
///
/// ```
/// use http::{Request, Response};
/// use tower_websocket::{Config, handshake::client::{self, InvalidResponse}};
///
/// let (mut head, ()) = Request::get("ws://server.example.com/chat").body(())?.into_parts();
/// let offer = client::offer(&mut head, &Config::default())?;
/// let check = |name, value| {
///     let response = Response::builder().status(101).header(name, value).body(())?;
///     Ok::<_, http::Error>(offer.check(&response.into_parts().0).map(drop))
/// };
/// assert_eq!(check("upgrade", "h2c")?, Err(InvalidResponse::Upgrade));
/// assert_eq!(check("upgrade", "websocket")?, Err(InvalidResponse::Connection));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidResponse {
    /// The response is one of HTTP/1.0, which has no upgrades (RFC 9110 §7.8).
    Version,
    /// `Upgrade` is not `websocket`.
    Upgrade,
    /// `Connection` is not `upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated, or does not match the key.
    Accept,
    /// A subprotocol that was not offered, or more than one.
    Subprotocol,
    /// A malformed list of extensions.
    Extensions(extensions::Malformed),
    /// An extension or a parameter of one that does not fit what was offered.
    Deflate(deflate::InvalidParams),
}

impl fmt::Display for InvalidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "the answer is one of HTTP/1.0",
            Self::Upgrade => "the answer does not upgrade to websocket",
            Self::Connection => "the answer's connection is no upgrade",
            Self::Accept => "the answer is not one to the key that was sent",
            Self::Subprotocol => "the answer has a subprotocol that was not offered",
            Self::Extensions(_) | Self::Deflate(_) => "the answer's extensions are not as offered",
        })
    }
}

impl error::Error for InvalidResponse {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Extensions(error) => Some(error),
            Self::Deflate(error) => Some(error),
            _ => None,
        }
    }
}

impl From<extensions::Malformed> for InvalidResponse {
    fn from(error: extensions::Malformed) -> Self {
        Self::Extensions(error)
    }
}

impl From<deflate::InvalidParams> for InvalidResponse {
    fn from(error: deflate::InvalidParams) -> Self {
        Self::Deflate(error)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
