//! Why there is no connection.

use std::{error::Error as StdError, fmt};

use bytes::Bytes;
use http::{Response, StatusCode};
use tower::BoxError;

use crate::handshake::client;

/// Why [`connect`](super::connect) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The service answered something else. The body is truncated to what comes within a second, and
    /// to 64 KiB.
    Rejected(Box<Response<Bytes>>),
    /// The service failed.
    Service(BoxError),
    /// The request's subprotocols are not a list of tokens.
    Request(client::InvalidRequest),
    /// The answer accepts something that was not asked for.
    Response(client::InvalidResponse),
}

impl ConnectError {
    /// Returns the status of the refusal.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(Response::status)
    }

    /// Returns the refusal, if it is one.
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
