//! What a path says besides its name.

use std::sync::Arc;

/// The parameters of a path mounted with [`WebSocketLayer::path`](crate::WebSocketLayer::path).
///
/// They are in the extensions of the route service's request, and in the
/// [`ConnectionInfo`](super::ConnectionInfo) of a connection that keeps one. Values are percent-decoded. A clone shares
/// them.
///
/// On a route of axum's they are there as well, with the feature `axum`, unless the layer has a path of its own. Without
/// that feature, set the path on the layer as well, or take axum's `Path` in the hook, by
/// [`Handshake::head_mut`](crate::Handshake::head_mut).
///
/// ```
/// use http::Request;
/// use tower_websocket::{service::PathParams, WebSocket};
///
/// fn room(request: &Request<WebSocket>) -> Option<&str> {
///     request.extensions().get::<PathParams>()?.get("room")
/// }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PathParams {
    params: Arc<[(Box<str>, Box<str>)]>,
}

impl PathParams {
    /// Returns the value of the parameter `{name}`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Iterates over all parameters, in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl FromIterator<(Box<str>, Box<str>)> for PathParams {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Box<str>)>>(params: I) -> Self {
        Self {
            params: params.into_iter().collect(),
        }
    }
}
