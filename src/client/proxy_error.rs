//! Why a proxy leads nowhere.

use std::{error, fmt, io};

use bytes::Bytes;
use http::{Response, StatusCode, header::PROXY_AUTHENTICATE};
use tower::BoxError;

use super::hint;

/// The reason why a proxy did not connect to the server.
///
/// Its text says that the proxy failed and, in parentheses, what is most likely wrong. It has no credentials.
///
/// ```
/// use tower_websocket::client::{ConnectError, ProxyError};
///
/// /// Reports whether the user has to be asked for the proxy's password.
/// fn wants_password(error: &ConnectError) -> bool {
///     match error {
///         ConnectError::Proxy(ProxyError::Rejected(response)) => response.status() == 407,
///         ConnectError::Proxy(error) => matches!(error, ProxyError::SocksCredentials),
///         _ => false,
///     }
/// }
///
/// assert!(wants_password(&ConnectError::Proxy(ProxyError::SocksCredentials)));
/// assert!(!wants_password(&ConnectError::Proxy(ProxyError::Socks(5)))); // connection refused
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy was not reached.
    Connect(io::Error),
    /// The TLS handshake with a proxy of `https://` failed.
    Tls(io::Error),
    /// The connection to the proxy failed before its response, or the endpoint is no such proxy.
    Io(io::Error),
    /// An HTTP proxy answered with another status than 2xx.
    ///
    /// The body is truncated like that of [`ConnectError::Rejected`](super::ConnectError::Rejected).
    Rejected(Box<Response<Bytes>>),
    /// A SOCKS proxy answered with this code (RFC 1928 §6).
    Socks(u8),
    /// A SOCKS proxy requires user and password, or other ones (RFC 1929).
    SocksCredentials,
    /// The server's name was not resolved on this side, as `socks5://` requires, or is too long for SOCKS.
    Name(io::Error),
}

impl ProxyError {
    /// Wraps an error of HTTP. A `From` would make hyper's version part of the public API.
    pub(super) fn http(error: impl Into<BoxError>) -> Self {
        Self::Io(io::Error::other(error))
    }

    /// Reports whether the same request may succeed later, without anybody changing it or the proxy's settings.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Connect(error) | Self::Name(error) => !hint::is_no_way(error),
            Self::Tls(error) => hint::is_broken_off(error),
            Self::Io(error) => error.kind() != io::ErrorKind::InvalidData && !is_no_http(error),
            Self::Rejected(response) => hint::is_temporary(response.status()),
            // What is not allowed, and what is not supported.
            Self::Socks(reply) => !matches!(reply, 2 | 7 | 8),
            Self::SocksCredentials => false,
        }
    }

    /// Returns what is most likely wrong, if that can be said.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect(error) => hint::connect(error),
            Self::Tls(error) => match hint::tls(error) {
                Some(hint::NO_TLS) => Some("does the proxy speak TLS here? http:// does without"),
                hint => hint,
            },
            Self::Io(error) if is_no_http(error) => Some(
                "what comes is no HTTP/1.1; is it a proxy of SOCKS, socks5://, or wants TLS, https://?",
            ),
            Self::Io(error) if is_cut_off(error) => {
                Some("is it a proxy of this kind, and does it want TLS, https://?")
            }
            Self::Rejected(response) => rejected(response),
            Self::Socks(2) => Some("are this server and port allowed?"),
            Self::SocksCredentials => Some(SOCKS_CREDENTIALS),
            _ => None,
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(_) => f.write_str("the proxy was not reached"),
            Self::Tls(_) => f.write_str("the TLS handshake with the proxy failed"),
            Self::Io(_) => f.write_str("the proxy gave no answer"),
            Self::Rejected(response) => write!(f, "the proxy answered with {}", response.status()),
            Self::Socks(reply) => {
                write!(f, "the proxy gave no way to the server: {}", told(*reply))
            }
            Self::SocksCredentials => {
                f.write_str("the proxy takes nobody without the right user and password")
            }
            Self::Name(_) => f.write_str("the proxy could not be told the server's name"),
        }?;
        match self.hint() {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Tls(error) | Self::Io(error) | Self::Name(error) => {
                Some(error)
            }
            Self::Rejected(_) | Self::Socks(_) | Self::SocksCredentials => None,
        }
    }
}

/// Returns what an answer most likely means.
fn rejected(response: &Response<Bytes>) -> Option<&'static str> {
    match response.status() {
        // Some say 401.
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => {
            let mut schemes = response.headers().get_all(PROXY_AUTHENTICATE).iter();
            let takes_basic = schemes.any(|scheme| {
                let scheme = scheme.as_bytes().to_ascii_lowercase();
                scheme.windows(5).any(|word| word == b"basic")
            });
            let says_which = response.headers().contains_key(PROXY_AUTHENTICATE);
            Some(match takes_basic || !says_which {
                true => "it wants the right user and password: http://user:password@proxy:port",
                false => "it wants another scheme than Basic, the only one that there is here",
            })
        }
        StatusCode::FORBIDDEN => Some("does it allow CONNECT to this server and port?"),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Some("it did not reach the server")
        }
        status if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED => {
            Some("is it a proxy, and does it know CONNECT?")
        }
        _ => None,
    }
}

/// Reports whether what comes is no HTTP.
fn is_no_http(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<hyper::Error>());
    inner.is_some_and(|error| error.is_parse() && !error.is_parse_too_large())
}

/// Reports whether the proxy has just ended the stream.
fn is_cut_off(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<hyper::Error>());
    hint::is_end(error) || inner.is_some_and(hyper::Error::is_incomplete_message)
}

/// Returns what a code of SOCKS says (RFC 1928 §6).
fn told(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the time to live has expired",
        7 => "it makes no connections for its clients",
        8 => "it does not know this kind of address",
        _ => "a code that SOCKS does not have",
    }
}

const SOCKS_CREDENTIALS: &str =
    "socks5h://user:password@proxy:port gives them; other ways to log in are not known here";
