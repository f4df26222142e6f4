//! The handshake that a test sends.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};

use crate::{
    config::Config,
    handshake::{deflate, target},
    service::extended_connect,
};

/// Starts a handshake for `path`, as a client sends it over HTTP/1.1.
///
/// Like a client, it escapes spaces and characters beyond ASCII, puts a slash before a query alone, and
/// drops a fragment.
///
/// # Panics
///
/// Panics if `path` is not a path of a URI.
#[must_use]
pub fn request(path: &str) -> TestRequest<Empty> {
    let mut request = Request::new(Empty::default());
    *request.uri_mut() = target(path).expect("the path of a handshake is that of a URI");
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static(HOST));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    TestRequest {
        request,
        config: Config::default(),
    }
}

/// A handshake of a test, made by [`request`] or from any `http::Request`.
///
/// To test both versions of HTTP, loop over two of them:
///
/// ```
/// use axum::{Router, routing::any};
/// use tower_websocket::{Config, WebSocket, WebSocketLayer, testing::{self, WebSocketExt}};
///
/// async fn greet(socket: WebSocket) {
///     let _closed = socket.send("hello").await;
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app: Router = Router::new().route("/chat", any(async || "").layer(WebSocketLayer::from_fn(greet)));
/// for request in [testing::request("/chat"), testing::request("/chat").http2()] {
///     let request = request
///         .header("cookie", "session=1234")
///         .extension(42_u32)
///         .config(Config::default().max_message_size(1000));
///     let (_, mut client) = testing::connect(app.clone(), request).await?;
///     assert_eq!(client.recv_text().await?, "hello");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestRequest<B = Empty> {
    request: Request<B>,
    config: Config,
}

impl<B> TestRequest<B> {
    /// Sends the handshake over HTTP/2, as an Extended CONNECT (RFC 8441).
    ///
    /// # Panics
    ///
    /// Panics if the request is for the asterisk instead of a path. One of [`request`] never is.
    #[must_use]
    pub fn http2(mut self) -> Self {
        let headers = self.request.headers_mut();
        for name in [
            header::HOST,
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_KEY,
        ] {
            headers.remove(name);
        }
        let path = target::path(self.request.uri().path_and_query());
        let uri = Uri::builder().scheme("https").authority(HOST);
        let uri = uri.path_and_query(path.expect("a handshake is for a path"));
        *self.request.uri_mut() = uri.build().expect("a path is part of a URI");
        *self.request.method_mut() = Method::CONNECT;
        *self.request.version_mut() = Version::HTTP_2;
        extended_connect::insert_websocket(self.request.extensions_mut());
        self
    }

    /// Sets a header.
    ///
    /// # Panics
    ///
    /// Panics if name or value are not valid in a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        let value: HeaderValue = value.parse().expect("a header's value");
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Puts a value among the request's extensions.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.request.extensions_mut().insert(value);
        self
    }

    /// Sets the body, for services that require a certain type.
    #[must_use]
    pub fn body<T>(self, body: T) -> TestRequest<T> {
        TestRequest {
            request: self.request.map(|_| body),
            config: self.config,
        }
    }

    /// Sets the configuration of the client's end.
    ///
    /// With [`Config::compression`] the client offers permessage-deflate.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Returns the request, to call a service with it; see [`upgradable`](super::upgradable).
    #[must_use]
    pub fn into_request(self) -> Request<B> {
        self.request
    }
}

impl<B> TestRequest<B> {
    /// Offers what is set.
    pub(super) fn offering(mut self) -> (Request<B>, Config) {
        if let Some(settings) = &self.config.compression {
            let headers = self.request.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate::offer(settings));
        }
        (self.request, self.config)
    }
}

impl<B> From<Request<B>> for TestRequest<B> {
    fn from(request: Request<B>) -> Self {
        Self {
            request,
            config: Config::default(),
        }
    }
}

/// The body of a test's request: none.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Empty;

impl Body for Empty {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

/// Makes the target of a handshake; that of a whole URI keeps what is before the path.
fn target(text: &str) -> Option<Uri> {
    let text = target::escape(text);
    let absolute: Option<Uri> = text.parse().ok();
    let absolute = absolute.filter(|uri| uri.scheme().is_some());
    let mut parts = absolute.unwrap_or_default().into_parts();
    if parts.scheme.is_none() {
        parts.path_and_query = Some(text.parse().ok()?);
    }
    let path = target::path(parts.path_and_query.as_ref()).ok()?;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

/// The key of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

const HOST: &str = "localhost";

#[cfg(test)]
mod tests {
    use super::*;

    /// As a client makes it (RFC 9113 §8.3.1).
    #[test]
    fn target_of_a_request_is_a_path() {
        for (text, target) in [
            ("/", "/"),
            ("/chat?x", "/chat?x"),
            ("?x", "/?x"),
            ("#f", "/"),
            ("/#f", "/"),
            ("/a b", "/a%20b"),
            ("/\u{e4}", "/%C3%A4"),
        ] {
            let http1 = request(text).into_request();
            assert_eq!(http1.uri().to_string(), target, "{text}");
            let http2 = request(text).http2().into_request();
            let path = http2.uri().path_and_query().map(|path| path.as_str());
            assert_eq!(path, Some(target), "{text}");
        }
        let whole = request("ws://a?x").into_request();
        assert_eq!(whole.uri().to_string(), "ws://a/?x");
        let mut given = Request::new(());
        *given.uri_mut() = Uri::from_static("ws://a?x");
        let http2 = TestRequest::from(given).http2().into_request();
        let path = http2.uri().path_and_query().map(|path| path.as_str());
        assert_eq!(path, Some("/?x"));
    }
}
