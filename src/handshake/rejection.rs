//! Why a handshake was refused, and the response that says so.

use std::{error, fmt, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode, Version,
    header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE},
};

use super::extensions::Malformed;

/// The reason why a request opens no WebSocket connection.
///
/// It is among the extensions of the [`response`](Self::response), so that an outer layer can replace
/// the response.
///
/// ```
/// use http::{StatusCode, Version};
/// use tower_websocket::handshake::Rejection;
///
/// for (rejection, http1, http2) in [
///     (Rejection::UpgradeRequired, 426, 400),
///     (Rejection::UnsupportedProtocol, 501, 501),
///     (Rejection::MethodNotAllowed, 405, 405),
///     (Rejection::UnsupportedVersion, 426, 400),
///     (Rejection::InvalidKey, 400, 400),
///     (Rejection::OriginRefused, 403, 403),
///     (Rejection::NoCommonSubprotocol, 400, 400),
///     (Rejection::NotReady, 503, 503),
///     (Rejection::OverBudget, 503, 503),
///     (Rejection::TooManyOpen, 429, 429),
///     (Rejection::NotUpgradable, 500, 500),
/// ] {
///     assert_eq!(rejection.status(Version::HTTP_11), http1, "{}", rejection.name());
///     assert_eq!(rejection.status(Version::HTTP_2), http2, "{}", rejection.name());
/// }
/// assert_eq!(Rejection::OriginRefused.name(), "OriginRefused");
/// assert!(Rejection::NotReady.retry_after().is_some() && Rejection::OriginRefused.retry_after().is_none());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Rejection {
    /// A request for something other than a WebSocket, though nothing else is served.
    ///
    /// 426, and 400 on HTTP/2: a 426 must carry `Upgrade` (RFC 9110 §15.5.22), which HTTP/2
    /// forbids.
    UpgradeRequired,
    /// An Extended CONNECT with a `:protocol` other than `websocket` (RFC 8441 §4): 501.
    UnsupportedProtocol,
    /// An HTTP/1.1 handshake that is no GET (RFC 6455 §4.2.1): 405.
    MethodNotAllowed,
    /// A handshake with a body, which would be read as frames: 400.
    BodyPresent,
    /// No `Host`, or no `:authority` on HTTP/2 (RFC 9112 §3.2, RFC 8441 §4): 400.
    MissingHost,
    /// More than one `Host` line (RFC 9112 §3.2): 400.
    DuplicateHost,
    /// A host that is not a name or an address with or without a port (RFC 9112 §3.2): 400.
    InvalidHost,
    /// Not exactly one `Sec-WebSocket-Version` line that says 13 (RFC 6455 §4.4).
    ///
    /// 426, and 400 on HTTP/2.
    UnsupportedVersion,
    /// No `Sec-WebSocket-Key` on HTTP/1.1 (RFC 6455 §4.2.1): 400.
    MissingKey,
    /// More than one `Sec-WebSocket-Key` line on HTTP/1.1 (RFC 6455 §11.3.1): 400.
    DuplicateKey,
    /// A key on HTTP/1.1 that is not the base64 of 16 bytes (RFC 6455 §4.2.1): 400.
    InvalidKey,
    /// A page that [`Config::origin`](crate::Config::origin) does not allow: 403.
    OriginRefused,
    /// A `Sec-WebSocket-Protocol` that is not a list of tokens (RFC 6455 §11.3.4): 400.
    MalformedSubprotocols,
    /// No subprotocol in common, though
    /// [`Config::require_subprotocol`](crate::Config::require_subprotocol) is set: 400.
    NoCommonSubprotocol,
    /// A `Sec-WebSocket-Extensions` that does not follow the grammar of RFC 6455 §9.1: 400.
    MalformedExtensions,
    /// The service for the connection was not ready, such as at a connection limit: 503 with
    /// `Retry-After: 5`.
    NotReady,
    /// The server is shutting down: 503 with `Retry-After`.
    Draining {
        /// When to come back; the header says it in seconds, rounded up.
        retry_after: Duration,
    },
    /// The [`MemoryBudget`](crate::MemoryBudget) of the connections is nearly used up: 503 with
    /// `Retry-After: 5`.
    OverBudget,
    /// The address has as many connections open as
    /// [`PerAddress::max_open`](crate::service::PerAddress::max_open) allows: 429 with `Retry-After: 5`.
    TooManyOpen,
    /// The address has asked for more new connections than
    /// [`PerAddress::max_new`](crate::service::PerAddress::max_new) allows: 429 with `Retry-After`.
    TooManyNew {
        /// In what time there is one; the header says it in seconds, rounded up.
        retry_after: Duration,
    },
    /// The HTTP server does not let the layer take over the connection: 500.
    NotUpgradable,
}

impl Rejection {
    /// Returns the name of the variant, for logs and counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UpgradeRequired => "UpgradeRequired",
            Self::UnsupportedProtocol => "UnsupportedProtocol",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::BodyPresent => "BodyPresent",
            Self::MissingHost => "MissingHost",
            Self::DuplicateHost => "DuplicateHost",
            Self::InvalidHost => "InvalidHost",
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::MissingKey => "MissingKey",
            Self::DuplicateKey => "DuplicateKey",
            Self::InvalidKey => "InvalidKey",
            Self::OriginRefused => "OriginRefused",
            Self::MalformedSubprotocols => "MalformedSubprotocols",
            Self::NoCommonSubprotocol => "NoCommonSubprotocol",
            Self::MalformedExtensions => "MalformedExtensions",
            Self::NotReady => "NotReady",
            Self::Draining { .. } => "Draining",
            Self::OverBudget => "OverBudget",
            Self::TooManyOpen => "TooManyOpen",
            Self::TooManyNew { .. } => "TooManyNew",
            Self::NotUpgradable => "NotUpgradable",
        }
    }

    /// Returns the status of the response to a request of this HTTP version.
    #[must_use]
    pub fn status(&self, version: Version) -> StatusCode {
        match self {
            Self::UpgradeRequired | Self::UnsupportedVersion if version < Version::HTTP_2 => {
                StatusCode::UPGRADE_REQUIRED
            }
            Self::UpgradeRequired
            | Self::UnsupportedVersion
            | Self::BodyPresent
            | Self::MissingHost
            | Self::DuplicateHost
            | Self::InvalidHost
            | Self::MissingKey
            | Self::DuplicateKey
            | Self::InvalidKey
            | Self::MalformedSubprotocols
            | Self::NoCommonSubprotocol
            | Self::MalformedExtensions => StatusCode::BAD_REQUEST,
            Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedProtocol => StatusCode::NOT_IMPLEMENTED,
            Self::NotReady | Self::Draining { .. } | Self::OverBudget => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooManyOpen | Self::TooManyNew { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotUpgradable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns how long a client should wait before it asks again: `Retry-After` of the response.
    ///
    /// Every 503 and 429 has one (RFC 9110 §10.2.3, RFC 6585 §4).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotReady | Self::OverBudget | Self::TooManyOpen => Some(RETRY_AFTER_REFUSAL),
            Self::Draining { retry_after } | Self::TooManyNew { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// Makes the response to a request of this HTTP version.
    ///
    /// Its body is one line of plain text that repeats nothing of the request. If the server's setup is wrong, the line
    /// names the page of these docs that says what to do, such as `troubleshooting#403`. On HTTP/1 the connection
    /// ends with the response: what the client has already sent may be frames, and must not be served as
    /// a second request.
    ///
    /// ```
    /// use http::{StatusCode, Version};
    /// use tower_websocket::handshake::Rejection;
    ///
    /// let response = Rejection::OriginRefused.response(Version::HTTP_11);
    /// assert_eq!(response.status(), StatusCode::FORBIDDEN);
    /// assert_eq!(response.headers()["connection"], "close");
    /// assert_eq!(response.extensions().get(), Some(&Rejection::OriginRefused));
    /// ```
    #[must_use]
    pub fn response(&self, version: Version) -> Response<Bytes> {
        let status = self.status(version);
        let mut response = Response::new(Bytes::from_static(self.text().as_bytes()));
        *response.status_mut() = status;
        response.extensions_mut().insert(self.clone());
        let mut header = |name, value| response.headers_mut().insert(name, value);
        header(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if *self == Self::UnsupportedVersion {
            header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if let Some(wait) = self.retry_after() {
            // A client that comes a moment too early is refused once more.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            header(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            header(ALLOW, HeaderValue::from_static("GET"));
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            header(UPGRADE, HeaderValue::from_static("websocket"));
            header(CONNECTION, HeaderValue::from_static("close, upgrade"));
        } else if version < Version::HTTP_2 {
            header(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn text(&self) -> &'static str {
        match self {
            Self::UpgradeRequired => {
                "this resource speaks WebSocket only: open it by an HTTP/1.1 upgrade or an \
                 HTTP/2 extended CONNECT"
            }
            Self::UnsupportedProtocol => "the only :protocol spoken here is websocket",
            Self::MethodNotAllowed => "the method of a WebSocket handshake is GET",
            Self::BodyPresent => "a WebSocket handshake has no body",
            Self::MissingHost => "the request does not name its host",
            Self::DuplicateHost => "more than one Host line",
            Self::InvalidHost => "the host of the request is malformed",
            Self::UnsupportedVersion => "Sec-WebSocket-Version must be 13, on one line",
            Self::MissingKey => "Sec-WebSocket-Key is missing",
            Self::DuplicateKey => "more than one Sec-WebSocket-Key line",
            Self::InvalidKey => "Sec-WebSocket-Key is not the base64 of 16 bytes",
            Self::OriginRefused => {
                "pages of this Origin are not allowed by the server's setting Config::origin; \
                 its default, OriginPolicy::SameHost, compares with the Host that the server \
                 receives: behind a proxy that rewrites Host, list the origins with \
                 OriginPolicy::list: see `troubleshooting#403` of tower-websocket"
            }
            Self::MalformedSubprotocols => "Sec-WebSocket-Protocol is not a list of tokens",
            Self::NoCommonSubprotocol => "none of the offered subprotocols is spoken here",
            Self::MalformedExtensions => "Sec-WebSocket-Extensions is malformed",
            Self::NotReady => "no more connections are taken at the moment",
            Self::Draining { .. } => "the server is shutting down",
            Self::OverBudget => "the server is short of memory: try again in a few seconds",
            Self::TooManyOpen => "your address has too many connections open",
            Self::TooManyNew { .. } => {
                "your address has asked for too many connections: try again when Retry-After says"
            }
            Self::NotUpgradable => {
                "the request carries no OnUpgrade: another layer took it, or the request was made \
                 by hand, as in a test, which wants testing::connect or \
                 testing::upgradable(request): see `troubleshooting#500` of \
                 tower-websocket"
            }
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl error::Error for Rejection {}

impl From<Malformed> for Rejection {
    fn from(_: Malformed) -> Self {
        Self::MalformedExtensions
    }
}

/// When it is known to nobody when there will be room: time for another server to take over, or for some of
/// the connections to end.
pub(crate) const RETRY_AFTER_REFUSAL: Duration = Duration::from_secs(5);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
