//! Why a request has no handshake to be extracted.

use std::{error::Error, fmt};

use axum_core::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{StatusCode, Version};

use crate::{handshake::Rejection, service::refuse};

/// The reason why there is no [`WebSocketUpgrade`](super::WebSocketUpgrade).
///
/// The request does not ask for a WebSocket, or its handshake is invalid.
/// As a response it is what a [`WebSocketLayer`](crate::WebSocketLayer) answers, with the
/// [`Rejection`] among its extensions.
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use tower_websocket::{
///     extract::{WebSocketUpgrade, WebSocketUpgradeRejection},
///     handshake::Rejection,
/// };
///
/// async fn chat(ws: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Response {
///     match ws {
///         Ok(ws) => ws.on_upgrade(async |_socket| { /* … */ }),
///         Err(why) if *why.rejection() == Rejection::UpgradeRequired => "a page".into_response(),
///         Err(why) => why.into_response(),
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSocketUpgradeRejection {
    rejection: Rejection,
    version: Version,
}

impl WebSocketUpgradeRejection {
    pub(super) fn new(rejection: Rejection, version: Version) -> Self {
        Self { rejection, version }
    }

    /// Returns what is wrong with the request.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.rejection.status(self.version)
    }
}

impl IntoResponse for WebSocketUpgradeRejection {
    fn into_response(self) -> Response {
        refuse(None, &self.rejection, self.version).map(Body::from)
    }
}

impl fmt::Display for WebSocketUpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.fmt(f)
    }
}

impl Error for WebSocketUpgradeRejection {}
