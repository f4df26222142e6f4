//! Why a request cannot be made a handshake.

use std::{error, fmt};

/// A request that cannot become a handshake.
///
/// ```
/// use http::Request;
/// use tower_websocket::{Config, handshake::client::{self, InvalidRequest}};
///
/// let offer = |uri| {
///     let (mut head, ()) = Request::get(uri).body(())?.into_parts();
///     Ok::<_, http::Error>(client::offer(&mut head, &Config::default()).map(drop))
/// };
/// assert_eq!(offer("ftp://example.com/")?, Err(InvalidRequest::Scheme));
/// assert_eq!(offer("ws://example.com:99999/")?, Err(InvalidRequest::Port));
/// assert_eq!(offer("/chat")?, Err(InvalidRequest::MissingHost));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// A scheme that is none of `ws`, `wss`, `http` and `https`, or a missing one that is needed.
    Scheme,
    /// No host, in the URI or in `Host`.
    MissingHost,
    /// An invalid host, such as a malformed address, in the URI or in `Host`; or more than one `Host`.
    Host,
    /// A host with characters beyond ASCII.
    ///
    /// Write it in the form of DNS, which begins with `xn--`
    /// (RFC 5890 §2.3.2.1): `xn--bcher-kva.example` for `bücher.example`. The crates `url` and `idna`
    /// make it.
    NonAsciiHost,
    /// A port that is no number up to 65535, in the URI or in `Host`.
    Port,
    /// A target without a path, which is the asterisk, or with one that is too long for a URI.
    Path,
    /// Subprotocols that are not a list of tokens (RFC 6455 §4.1).
    Subprotocols,
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URI's scheme is not ws or wss",
            Self::MissingHost => "the URI has no host",
            Self::Host => "the host is malformed",
            Self::NonAsciiHost => {
                "the URI's host has characters beyond ASCII: give it in its xn-- form"
            }
            Self::Port => "the port is no number up to 65535",
            Self::Path => "the URI has no path, or too long a one",
            Self::Subprotocols => "subprotocols have to be tokens",
        })
    }
}

impl error::Error for InvalidRequest {}
