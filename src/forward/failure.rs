//! Why there is no upstream, and what the client is answered then.

use std::{error::Error, fmt::Write, io};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use super::headers::pass_back;
use crate::client::ConnectError;

/// Why there is no upstream for a client.
#[derive(Debug)]
pub(super) enum Failure {
    /// The upstream's own response.
    Refused(Box<Response<Bytes>>),
    /// It was not reached, or takes no more requests.
    Unreached,
    /// It did not answer in time.
    TimedOut,
    /// It answered what is no answer to a handshake, or not in a language that is understood.
    Invalid,
    /// The request has been here before.
    Loop,
    /// There is no such path there.
    Path,
}

/// Makes what the client is told of an error of the upstream's side.
pub(super) fn of(error: ConnectError) -> Failure {
    match error {
        ConnectError::Rejected(response) if passes(response.status()) => {
            tracing::debug!(status = %response.status(), "the upstream has refused a websocket");
            return Failure::Refused(response);
        }
        // The operator's concern, and nothing of the client's making.
        ref error => tracing::warn!(
            error = chain(error),
            "no websocket to the upstream: see `troubleshooting#gateways`"
        ),
    }
    match error {
        ConnectError::Connect(_) => Failure::Unreached,
        ConnectError::Io(error) if error.kind() == io::ErrorKind::NotConnected => {
            Failure::Unreached
        }
        ConnectError::Timeout(_) => Failure::TimedOut,
        _ => Failure::Invalid,
    }
}

/// Reports whether a status is about the client's request.
///
/// 407 and 426 are about the gateway's.
fn passes(status: StatusCode) -> bool {
    let is_refusal =
        status.is_redirection() || status.is_client_error() || status.is_server_error();
    is_refusal
        && status != StatusCode::PROXY_AUTHENTICATION_REQUIRED
        && status != StatusCode::UPGRADE_REQUIRED
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        // A `String` takes all that is written.
        let _written = write!(text, ": {error}");
        below = error.source();
    }
    text
}

impl Failure {
    /// Makes the answer to the client, with the listed headers of the upstream's.
    pub(super) fn response(self, listed: &[HeaderName]) -> Response<Bytes> {
        let (status, text) = match self {
            Self::Refused(refusal) => {
                let (head, body) = refusal.into_parts();
                let mut response = Response::new(body);
                *response.status_mut() = head.status;
                pass_back(&head.headers, listed, false, response.headers_mut());
                return response;
            }
            Self::Unreached => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the upstream cannot be reached at the moment",
            ),
            Self::TimedOut => (
                StatusCode::GATEWAY_TIMEOUT,
                "the upstream did not answer in time",
            ),
            Self::Invalid => (
                StatusCode::BAD_GATEWAY,
                "the upstream gave no answer to a WebSocket handshake",
            ),
            Self::Loop => (
                StatusCode::LOOP_DETECTED,
                "the request has passed this gateway before",
            ),
            Self::Path => (StatusCode::BAD_REQUEST, "the path is malformed"),
        };
        let mut response = Response::new(Bytes::from_static(text.as_bytes()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, plain);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
