//! Responses that refuse a handshake.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Version, header};

use crate::{handshake::Rejection, session::Connections};

/// Refuses a handshake, counts it and logs it.
pub(crate) fn refuse(
    connections: Option<&Connections>,
    rejection: &Rejection,
    version: Version,
) -> Response<Bytes> {
    tracing::debug!(%rejection, "websocket handshake refused");
    if let Some(connections) = connections {
        connections.refuse(rejection);
    }
    rejection.response(version)
}

/// A response that rejects a handshake.
///
/// ```
/// use http::{Response, StatusCode};
/// use tower_websocket::{service::Decision, Handshake};
///
/// async fn admit(handshake: Handshake) -> Decision {
///     match handshake.headers().get("authorization") {
///         None => handshake.reject((StatusCode::UNAUTHORIZED, "a token is needed")),
///         Some(token) if token != "Bearer 42" => handshake.reject(StatusCode::FORBIDDEN),
///         Some(_) => handshake.accept(),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct RejectResponse {
    response: Response<Bytes>,
}

impl RejectResponse {
    /// Returns the response, made such that it does refuse.
    pub(super) fn response(self, version: Version) -> Response<Bytes> {
        let mut response = self.response;
        let status = response.status();
        if status.is_success() || status.is_informational() {
            tracing::error!(%status, "a handshake was refused with a status that accepts it");
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        if version == Version::HTTP_11 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

impl<B: Into<Bytes>> From<Response<B>> for RejectResponse {
    fn from(response: Response<B>) -> Self {
        Self {
            response: response.map(Into::into),
        }
    }
}

impl From<StatusCode> for RejectResponse {
    fn from(status: StatusCode) -> Self {
        (status, Bytes::new()).into()
    }
}

impl<B: Into<Bytes>> From<(StatusCode, B)> for RejectResponse {
    fn from((status, text): (StatusCode, B)) -> Self {
        let mut response = Response::new(text.into());
        *response.status_mut() = status;
        Self { response }
    }
}
