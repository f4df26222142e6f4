//! The layer and the service it makes.

use std::{error::Error, future::Future, sync::Arc};

use http::request::Parts;

use super::{
    filter::Filter,
    handler::{HandlerOutput, HandlerService, handler},
    hook::{Decision, Handshake, Hook},
    open_hook::OpenHook,
    per_address::PerAddress,
    route::RouteService,
};
use crate::{
    config::Config,
    session::{Connections, Sender, SessionReport, Setup, WebSocket},
};

/// A layer that accepts WebSocket handshakes, and leaves every other request to the inner service.
///
/// `H` is the route service, which gets the connection once it is open: see
/// [`handler`](crate::handler) and [`event_handler`](super::event_handler), or take any
/// `tower::Service<http::Request<WebSocket>, Response = ()>`. The socket is the body of the request
/// that opened it, so headers and extensions are at hand.
///
/// The layer keeps a finished future of the route service until the transport is gone, so that the
/// permits it holds are released only then. Such a future must not hold the socket any longer, or the
/// connection stays open. Futures of `async` blocks never do.
///
/// 1. A request that does not ask for WebSocket, or that [`path`](Self::path) or
///    [`when`](Self::when) leave out, goes to the inner service untouched.
/// 2. A handshake that breaks RFC 6455, RFC 8441 or the [`Config`] is refused with a response; the
///    [`Rejection`](crate::handshake::Rejection) is among its extensions.
/// 3. The route service must be ready, else 503: tower's `ConcurrencyLimitLayer` around it is a
///    limit of open connections. [`per_address`](Self::per_address) limits those of each client.
/// 4. The hook of [`on_handshake`](Self::on_handshake) may look, add and refuse.
/// 5. The answer leaves, and the route service is called when the stream is handed over.
///
/// The layer never fails with an error of its own. It needs tokio's runtime with time enabled.
///
/// # Mounting
///
/// | mount | HTTP/1.1 | HTTP/2 | plain request | other paths |
/// | --- | --- | --- | --- | --- |
/// | axum: `.route(path, any(h).layer(l))` | 101 | 200 | `h` | the router's 404 |
/// | axum: `.route(path, get(h).layer(l))` | 101 | 200 | `h` | the router's 404 |
/// | axum: `.route_service(path, endpoint(h))` | 101 | 200 | 426 (400 on HTTP/2) | the router's 404 |
/// | axum: `Router::layer(l.path(path))` | 101 | 200 | the router | the router |
/// | hyper: `ServiceBuilder` with `l.path(path)` | 101 | 200 | the service | the service |
/// | axum: `get(h).route_layer(l)` | 101 | **405** | `h` | the router's 404 |
///
/// The last one is a trap: over HTTP/2 a WebSocket is asked for by CONNECT, which axum's `get`
/// refuses before a `route_layer` sees it. A `Router::layer` without [`path`](Self::path) or
/// [`when`](Self::when) takes the handshakes for every path. An HTTP/2 server has to announce
/// Extended CONNECT (`enable_connect_protocol` on hyper's builder; axum's `serve` does it with its
/// feature `http2`), otherwise browsers stay with HTTP/1.1.
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_websocket::{Error, WebSocket, WebSocketLayer};
/// # use std::convert::Infallible;
/// # use http::{Request, Response};
///
/// async fn echo(mut socket: WebSocket) -> Result<(), Error> {
///     while let Some(message) = socket.recv().await? {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
///
/// let service = ServiceBuilder::new()
///     .layer(WebSocketLayer::from_fn(echo).path("/echo"))
///     .service(service_fn(|_: Request<hyper::body::Incoming>| async {
///         Ok::<_, Infallible>(Response::new("not a WebSocket".to_owned()))
///     }));
/// ```
#[derive(Clone, Debug)]
pub struct WebSocketLayer<H> {
    pub(super) route: H,
    pub(super) setup: Arc<Setup>,
    pub(super) connections: Option<Connections>,
    pub(super) keeps_info: bool,
    pub(super) hook: Option<Hook>,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) per_address: Option<PerAddress>,
    pub(super) on_open: Option<OpenHook>,
}

impl<F> WebSocketLayer<HandlerService<F>> {
    /// Creates a layer that hands connections to a function.
    ///
    /// It is short for `WebSocketLayer::new(`[`handler`]`(function))`.
    pub fn from_fn<Fut>(function: F) -> Self
    where
        F: FnMut(WebSocket) -> Fut,
        Fut: Future,
        Fut::Output: HandlerOutput,
    {
        Self::new(handler(function))
    }
}

impl<H> WebSocketLayer<H> {
    /// Creates a layer that hands connections to `route`.
    ///
    /// For functions there is [`from_fn`](WebSocketLayer::from_fn).
    pub fn new(route: H) -> Self
    where
        H: RouteService,
    {
        Self {
            route,
            setup: Arc::new(Setup::server()),
            connections: None,
            keeps_info: false,
            hook: None,
            filter: None,
            per_address: None,
            on_open: None,
        }
    }

    /// Sets the configuration.
    ///
    /// Default: [`Config::default`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_websocket::{Config, WebSocket, WebSocketLayer};
    ///
    /// # async fn chat(_: WebSocket) {}
    /// let config = Config::default()
    ///     .max_message_size(64 << 10)
    ///     .idle_timeout(Duration::from_secs(300));
    /// let layer = WebSocketLayer::from_fn(chat).config(config);
    /// ```
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        Arc::make_mut(&mut self.setup).config = config;
        self
    }

    /// Takes only requests for this path, or for one of the paths of several calls.
    ///
    /// `{name}` stands for a segment, `{*name}` for the rest of the path; the values are in
    /// [`PathParams`](super::PathParams), among the request's extensions. Default: every path.
    ///
    /// A handshake for another path goes to the inner service. Over HTTP/2 that must not answer a
    /// `CONNECT` with 200, as a page for every path might: the client would take its WebSocket for open.
    ///
    /// # Panics
    ///
    /// Panics if the path is malformed, or conflicts with one that was set before.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        Arc::make_mut(self.filter.get_or_insert_default()).path(path);
        self
    }

    /// Takes only requests for which `predicate` returns `true`; several predicates have to agree.
    ///
    /// The other requests go to the inner service, with the same care as for [`path`](Self::path).
    ///
    /// ```
    /// use http::header;
    /// use tower_websocket::{WebSocket, WebSocketLayer};
    ///
    /// # async fn chat(_: WebSocket) {}
    /// let layer = WebSocketLayer::from_fn(chat).when(|head| {
    ///     // HTTP/2 has the host in the URI, HTTP/1.1 in `Host`.
    ///     let authority = head.uri.authority().map(|authority| authority.as_str());
    ///     let host = || head.headers.get(header::HOST)?.to_str().ok();
    ///     authority.or_else(host) == Some("chat.example.com")
    /// });
    /// ```
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Arc::make_mut(self.filter.get_or_insert_default()).when(predicate);
        self
    }

    /// Asks `hook` before a handshake is answered.
    ///
    /// It comes after all checks of the handshake, with the route service ready. The client waits while
    /// the hook runs. There is no timeout; add one in the hook if you need it.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_websocket::{handler, service::Decision, Handshake, WebSocket, WebSocketLayer};
    ///
    /// struct User(String);
    ///
    /// async fn authenticate(mut handshake: Handshake) -> Decision {
    ///     // What a page can send is a cookie; over HTTP/2 in one or several headers.
    ///     let cookies = handshake.headers().get_all("cookie").iter();
    ///     let mut pairs = cookies.flat_map(|cookie| cookie.to_str().unwrap_or_default().split(';'));
    ///     let session = pairs.find_map(|pair| pair.trim().strip_prefix("session="));
    ///     let Some(user) = session.and_then(find) else {
    ///         return handshake.reject((StatusCode::UNAUTHORIZED, "log in first"));
    ///     };
    ///     handshake.set_data(user); // the handler has it from `socket.data::<User>()`
    ///     handshake.accept()
    /// }
    ///
    /// /// Looks the session up.
    /// fn find(session: &str) -> Option<User> {
    ///     (session == "42").then(|| User("ann".to_owned()))
    /// }
    ///
    /// # async fn chat(_: WebSocket) {}
    /// let layer = WebSocketLayer::new(handler(chat)).on_handshake(authenticate);
    /// ```
    #[must_use]
    pub fn on_handshake<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Handshake) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Decision> + Send + 'static,
    {
        self.hook = Some(Hook::new(hook));
        self
    }

    /// Calls `hook` for each connection that opens, before the route service, with the head of its request.
    ///
    /// Each has its report at [`on_end`](Self::on_end) later, so that both together know what is open. It is also called
    /// for a connection that the hook of [`on_handshake`](Self::on_handshake) accepts only to close; the [`Sender`] of it
    /// is closed. It runs in the connection's task, and should not block. If it panics,
    /// the connection is closed with code 1011, without a call of the route service. A connection that is accepted only
    /// to close keeps the frame that it is closed with.
    ///
    /// ```
    /// use tower_websocket::{handler, WebSocket, WebSocketLayer};
    ///
    /// # async fn chat(_: WebSocket) {}
    /// let layer = WebSocketLayer::new(handler(chat))
    ///     .on_open(|socket, head| {
    ///         println!("{} is open", head.uri.path());
    ///         let _closed = socket.try_send("welcome"); // before all that the handler sends
    ///     })
    ///     .on_end(|report| println!("closed with {}", report.close_code));
    /// ```
    #[must_use]
    pub fn on_open(mut self, hook: impl Fn(&Sender, &Parts) + Send + Sync + 'static) -> Self {
        self.on_open = Some(OpenHook::new(hook));
        self
    }

    /// Hands one [`SessionReport`] per session to `hook`, when its transport has ended.
    #[must_use]
    pub fn on_end(mut self, hook: impl Fn(&SessionReport) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.setup).on_end = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` for upgrades that the HTTP server could not complete after the response.
    ///
    /// The route service is not called then. A server built without
    /// `serve_connection_with_upgrades` or `with_upgrades` fails every upgrade, and so does, over
    /// HTTP/1.1, a layer outside that replaces the response or whose body does not pass
    /// `is_end_stream` on; these are logged too.
    #[must_use]
    pub fn on_failed_upgrade(
        mut self,
        hook: impl Fn(&(dyn Error + 'static)) + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.setup).on_failed_upgrade = Some(Arc::new(hook));
        self
    }

    /// Limits the connections of each address, together with other layers that have a clone of `limit`.
    ///
    /// One more is refused with 429 and `Retry-After`, before the hook and behind the checks of the
    /// handshake. The address is that of [`PeerAddr`](super::PeerAddr), which [`serve`](fn@crate::serve)
    /// sets, or the one that the function of [`PerAddress::address`] returns. Default: no limit.
    #[must_use]
    pub fn per_address(mut self, limit: &PerAddress) -> Self {
        self.per_address = Some(limit.clone());
        self
    }

    /// Registers every connection, and the outcome of each handshake, in `connections`.
    ///
    /// Several layers may share them. Default: none are registered.
    #[must_use]
    pub fn connections(mut self, connections: &Connections) -> Self {
        self.connections = Some(connections.clone());
        self
    }

    /// Keeps the [`ConnectionInfo`](crate::session::ConnectionInfo) of each connection.
    ///
    /// It has the client's address, path and parameters, version of HTTP and more.
    /// All handles return it, for example [`WebSocket::info`](crate::WebSocket::info). Without it they return `None`,
    /// and the first call is logged as a warning. Default: `false`, which costs nothing. It
    /// takes about 250 bytes per connection, and the path with its parameters.
    #[must_use]
    pub fn connection_info(mut self, keep: bool) -> Self {
        self.keeps_info = keep;
        self
    }
}
