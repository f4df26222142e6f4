//! Why there is no connection.

use std::{error::Error as StdError, fmt};

use bytes::Bytes;
use http::{Response, StatusCode};
use tower::BoxError;

use crate::handshake::client;

/// The reason why [`connect`](super::connect) failed.
///
/// ```
/// use http::StatusCode;
/// use tower_websocket::{OriginPolicy, Config, WebSocket, WebSocketLayer, handler, testing::{self, ConnectError}};
///
/// # async fn chat(_: WebSocket) {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let config = Config::default().origin(OriginPolicy::list(["https://app.example"]));
/// let app = WebSocketLayer::new(handler(chat)).config(config).endpoint();
/// let request = testing::request("/chat").header("origin", "https://evil.example");
/// let error = testing::connect(app, request).await.unwrap_err();
/// assert!(matches!(error, ConnectError::Rejected(_)));
/// assert_eq!(error.status(), Some(StatusCode::FORBIDDEN));
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The service answered with a status that does not accept: any but 101, or 2xx over HTTP/2.
    ///
    /// The body is truncated to what arrives within a second, and
    /// to 64 KiB.
    Rejected(Box<Response<Bytes>>),
    /// The service returned an error.
    Service(BoxError),
    /// The request's subprotocols are not a list of tokens.
    Request(client::InvalidRequest),
    /// The response accepts something that was not asked for.
    Response(client::InvalidResponse),
}

impl ConnectError {
    /// Returns the status of the refusal, if the service refused.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(Response::status)
    }

    /// Returns the response that refuses, if the service refused.
    #[must_use]
    pub fn response(&self) -> Option<&Response<Bytes>> {
        match self {
            Self::Rejected(response) => Some(response),
            _ => None,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(response) => {
                let body = String::from_utf8_lossy(response.body());
                write!(
                    f,
                    "the handshake was answered with {}: {body}",
                    response.status()
                )
            }
            Self::Service(_) => f.write_str("the service failed"),
            Self::Request(_) => f.write_str("the request is no handshake"),
            Self::Response(_) => f.write_str("the answer is not one to what was asked"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Rejected(_) => None,
            Self::Service(error) => Some(&**error),
            Self::Request(error) => Some(error),
            Self::Response(error) => Some(error),
        }
    }
}
