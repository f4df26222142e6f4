//! Why there is no connection.

use std::{error::Error as StdError, fmt};

use bytes::Bytes;
use http::{Response, StatusCode, Version};
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
    /// to 64 KiB. The version is HTTP/2 if the request's was.
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
                let status = response.status();
                write!(f, "the handshake was answered with {status}")?;
                if !response.body().is_empty() {
                    return write!(f, ": {}", String::from_utf8_lossy(response.body()));
                }
                likely_cause(response).map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
            Self::Service(_) => f.write_str("the service failed"),
            Self::Request(_) => f.write_str("the request is no handshake"),
            Self::Response(_) => f.write_str("the answer is not one to what was asked"),
        }
    }
}

/// Says what is most likely wrong if a router has refused, which says nothing itself.
fn likely_cause(response: &Response<Bytes>) -> Option<&'static str> {
    match response.status() {
        StatusCode::NOT_FOUND => Some("no route at this path: see `troubleshooting#404`"),
        StatusCode::METHOD_NOT_ALLOWED if response.version() == Version::HTTP_2 => Some(
            "a route made with `get` takes no WebSocket over HTTP/2: see `troubleshooting#405`",
        ),
        _ => None,
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::convert::Infallible;

    use tower::service_fn;

    use crate::testing::{connect, request};

    /// Connects to a service that answers everything with a status and a body, and returns what the error says.
    async fn said(status: u16, body: &'static str, http2: bool) -> String {
        let service = service_fn(async |_| {
            let response = http::Response::builder().status(status);
            Ok::<_, Infallible>(response.body(body.to_owned()).unwrap())
        });
        let request = request("/chat");
        let request = if http2 { request.http2() } else { request };
        connect(service, request).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn refusal_without_a_body_is_explained() {
        let get = "the handshake was answered with 405 Method Not Allowed: \
             a route made with `get` takes no WebSocket over HTTP/2: see `troubleshooting#405`";
        let path = "the handshake was answered with 404 Not Found: \
             no route at this path: see `troubleshooting#404`";
        for (status, http2, text) in [
            (405, true, get),
            (404, true, path),
            (404, false, path),
            // Over HTTP/1.1 a route made with `get` is not the reason.
            (
                405,
                false,
                "the handshake was answered with 405 Method Not Allowed",
            ),
            (
                401,
                true,
                "the handshake was answered with 401 Unauthorized",
            ),
        ] {
            assert_eq!(said(status, "", http2).await, text);
        }
    }

    #[tokio::test]
    async fn refusal_with_a_body_says_that_and_no_more() {
        for http2 in [false, true] {
            let text = said(404, "no such room", http2).await;
            assert_eq!(
                text,
                "the handshake was answered with 404 Not Found: no such room"
            );
        }
    }
}
