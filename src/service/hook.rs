//! The hook before the answer.

use std::{fmt, future::Future, mem, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, Response, Uri, Version, header, request::Parts};

use super::{
    axum_head,
    open_hook::OpenHook,
    peer_addr::peer_addr,
    permits::Permits,
    refusal::RejectResponse,
    reroute::{Reroute, TakeOver},
};
use crate::{
    config::Config,
    handshake::server::Accepted,
    protocol::CloseFrame,
    session::{Agreed, ConnectionInfo, Connections, Data, Setup, params::PathParams},
};

/// A handshake that is about to be accepted.
///
/// It is passed to the hook of [`WebSocketLayer::on_handshake`](crate::WebSocketLayer::on_handshake). The hook can look at
/// it and add to it, and ends it with [`accept`](Self::accept),
/// [`reject`](Self::reject) or [`accept_then_close`](Self::accept_then_close).
///
/// ```
/// use http::{StatusCode, header};
/// use tower_websocket::{CloseCode, Handshake, WebSocket, WebSocketLayer, service::Decision};
///
/// async fn admit(mut handshake: Handshake) -> Decision {
///     if handshake.uri().query().is_some() || !handshake.headers().contains_key(header::COOKIE) {
///         return handshake.reject(StatusCode::FORBIDDEN);
///     }
///     if handshake.offered_subprotocols().any(|name| name == "chat.v0") {
///         // A page does not see the status of a rejection, but it sees this.
///         return handshake.accept_then_close((CloseCode::POLICY_VIOLATION, "reload the page"));
///     }
///     if handshake.select_subprotocol("chat.v1") {
///         let config = handshake.config_mut();
///         *config = config.clone().max_message_size(4096);
///     }
///     handshake.accept()
/// }
///
/// # async fn chat(_: WebSocket) {}
/// let layer = WebSocketLayer::from_fn(chat).on_handshake(admit);
/// ```
#[derive(Debug)]
pub struct Handshake {
    pub(crate) head: Parts,
    /// The request's, as it came: the hook may change the head.
    pub(crate) version: Version,
    pub(crate) opening: Accepted,
    pub(crate) setup: Arc<Setup>,
    /// Where the connection will be registered.
    pub(crate) connections: Option<Connections>,
    pub(crate) permits: Permits,
    pub(crate) response_headers: HeaderMap,
    /// The connection is to keep what is known of it.
    pub(crate) keeps_info: bool,
    pub(crate) data: Data,
    /// Told when the connection is open.
    pub(crate) on_open: Option<OpenHook>,
}

impl Handshake {
    pub(crate) fn new(
        head: Parts,
        opening: Accepted,
        setup: Arc<Setup>,
        connections: Option<Connections>,
    ) -> Self {
        let version = head.version;
        Self {
            head,
            version,
            opening,
            setup,
            connections,
            permits: Permits::default(),
            response_headers: HeaderMap::new(),
            keeps_info: false,
            data: Data::default(),
            on_open: None,
        }
    }

    /// Makes what the connection starts with.
    pub(super) fn agreed(&mut self) -> Agreed {
        let agreed = Agreed::default().subprotocol(self.opening.subprotocol());
        let agreed = agreed.deflate(&self.setup, self.opening.take_deflate());
        match self.info() {
            Some(info) => agreed.info(info),
            None => agreed,
        }
    }

    /// Makes what the connection keeps of its request, if it is to keep that.
    fn info(&mut self) -> Option<ConnectionInfo> {
        if !self.keeps_info && self.data.is_empty() {
            return None;
        }
        let params = self.head.extensions.get::<PathParams>().cloned();
        let params = params.or_else(|| axum_head::path_params(&mut self.head));
        let (peer_addr, path) = (self.peer_addr(), self.head.uri.path());
        let info = ConnectionInfo::new(peer_addr, path, params.unwrap_or_default(), self.version);
        Some(info.with_data(mem::take(&mut self.data)))
    }

    /// Returns the request's URI.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// Returns the request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the HTTP version of the request.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the address of the client, if it is known: see [`PeerAddr`](super::PeerAddr).
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        peer_addr(&self.head.extensions)
    }

    /// Returns the request's extensions.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// Returns the request's extensions, to be changed.
    ///
    /// The route service gets the request with what the hook puts in.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.head.extensions
    }

    /// Returns the whole head, for extractors such as axum's.
    ///
    /// ```
    /// use axum::{RequestPartsExt, extract::Path};
    /// use http::StatusCode;
    /// use tower_websocket::{service::Decision, Handshake};
    ///
    /// #[derive(Clone)]
    /// struct Room(String);
    ///
    /// async fn admit(mut handshake: Handshake) -> Decision {
    ///     let Ok(Path(room)) = handshake.head_mut().extract::<Path<String>>().await else {
    ///         return handshake.reject(StatusCode::NOT_FOUND);
    ///     };
    ///     // The route service finds it in its request's extensions.
    ///     handshake.extensions_mut().insert(Room(room));
    ///     handshake.accept()
    /// }
    /// ```
    pub fn head_mut(&mut self) -> &mut Parts {
        &mut self.head
    }

    /// Iterates over the subprotocols that the client offers, its best first.
    pub fn offered_subprotocols(&self) -> impl Iterator<Item = &str> {
        self.opening.offered_subprotocols()
    }

    /// Returns the subprotocol that is chosen so far, if any.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.opening.subprotocol()
    }

    /// Chooses a subprotocol, and returns `false` if the client does not offer it.
    pub fn select_subprotocol(&mut self, name: &str) -> bool {
        self.opening.select_subprotocol(name)
    }

    /// Keeps a value with the connection, as [`WebSocket::set_data`](crate::WebSocket::set_data) does.
    ///
    /// Returns the value of the same type that it replaces.
    ///
    /// The connection then keeps its [`ConnectionInfo`], too, as with
    /// [`WebSocketLayer::connection_info`](crate::WebSocketLayer::connection_info). What is needed only at the
    /// beginning belongs in the [extensions](Self::extensions_mut), which the route service gets, and drops.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_websocket::{service::Decision, Handshake, WebSocket, WebSocketLayer, handler};
    ///
    /// struct User(String);
    ///
    /// async fn authenticate(mut handshake: Handshake) -> Decision {
    ///     let Some(token) = handshake.headers().get("authorization") else {
    ///         return handshake.reject(StatusCode::UNAUTHORIZED);
    ///     };
    ///     let user = User(format!("{token:?}"));
    ///     handshake.set_data(user);
    ///     handshake.accept()
    /// }
    ///
    /// async fn chat(mut socket: WebSocket) {
    ///     let user = socket.data::<User>().expect("the hook has set it");
    ///     while let Ok(Some(message)) = socket.recv().await {
    ///         println!("{}: {message:?}", user.0);
    ///     }
    /// }
    ///
    /// let layer = WebSocketLayer::new(handler(chat)).on_handshake(authenticate);
    /// ```
    pub fn set_data<T: Send + Sync + 'static>(&mut self, value: T) -> Option<Arc<T>> {
        // It is open: there is no connection yet.
        self.data.insert(Arc::new(value)).ok().flatten()
    }

    /// Reports whether compression is agreed on so far (permessage-deflate, RFC 7692).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.opening.deflate().is_some()
    }

    /// Disables compression for this connection, whatever was agreed on.
    pub fn decline_compression(&mut self) {
        self.opening.decline_deflate();
    }

    /// Returns the headers to add to the response that accepts, such as cookies.
    ///
    /// Headers that belong to the handshake or to the connection are left out of the response.
    pub fn response_headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.response_headers
    }

    /// Returns the settings of this connection, to be changed for it alone.
    ///
    /// The settings that concern the handshake itself have been applied already.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut Arc::make_mut(&mut self.setup).config
    }

    /// Accepts the connection.
    pub fn accept(self) -> Decision {
        Decision {
            verdict: Verdict::Accept(Box::new(self), None),
        }
    }

    /// Rejects the handshake: with a status, a status and a text, or a whole response.
    ///
    /// On HTTP/1.1 the response gets `Connection: close`. A status that means success would open a tunnel:
    /// it is replaced by 500. Browsers do not show the response to a page; if the page needs to know the reason,
    /// use [`accept_then_close`](Self::accept_then_close).
    pub fn reject(self, response: impl Into<RejectResponse>) -> Decision {
        Decision {
            verdict: Verdict::Reject(response.into().response(self.version), self.connections),
        }
    }

    /// Chooses this subprotocol or none, whatever was chosen before; `false` if the client does not offer it.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "gateways do"))]
    pub(crate) fn replace_subprotocol(&mut self, name: Option<&str>) -> bool {
        self.opening.clear_subprotocol();
        name.is_none_or(|name| self.select_subprotocol(name))
    }

    /// Accepts the connection for a handler of its own.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "gateways do"))]
    pub(crate) fn reroute(self, route: Reroute) -> Decision {
        Decision {
            verdict: Verdict::Reroute(Box::new(self), route),
        }
    }

    /// Accepts the connection for something other than a session, which knows of no extension.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "gateways do"))]
    pub(crate) fn take_over(mut self, take_over: TakeOver) -> Decision {
        self.decline_compression();
        Decision {
            verdict: Verdict::TakeOver(Box::new(self), take_over),
        }
    }

    /// Accepts the connection only to close it, so that a page gets the code and the reason.
    ///
    /// The route service is not called.
    pub fn accept_then_close(self, frame: impl Into<CloseFrame>) -> Decision {
        Decision {
            verdict: Verdict::Accept(Box::new(self), Some(frame.into())),
        }
    }
}

/// The decision of a hook, made by the methods of [`Handshake`].
#[must_use = "a hook returns its answer"]
pub struct Decision {
    pub(super) verdict: Verdict,
}

pub(super) enum Verdict {
    /// With a Close frame: accept only to close.
    Accept(Box<Handshake>, Option<CloseFrame>),
    Reject(Response<Bytes>, Option<Connections>),
    /// The connection is not for the layer's route service.
    Reroute(Box<Handshake>, Reroute),
    /// The stream is not for a session.
    TakeOver(Box<Handshake>, TakeOver),
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("Decision");
        match &self.verdict {
            Verdict::Accept(_, None) => debug.field(&"accept"),
            Verdict::Accept(_, Some(frame)) => debug.field(&"accept").field(frame),
            Verdict::Reject(response, _) => debug.field(&"reject").field(&response.status()),
            Verdict::Reroute(..) | Verdict::TakeOver(..) => debug.field(&"forward"),
        }
        .finish()
    }
}

/// The future of a hook.
pub(super) type HookFuture = Pin<Box<dyn Future<Output = Decision> + Send>>;

/// A hook, as a layer holds it.
#[derive(Clone)]
pub(super) struct Hook(Arc<dyn Fn(Handshake) -> HookFuture + Send + Sync>);

impl Hook {
    pub(super) fn new<F, Fut>(hook: F) -> Self
    where
        F: Fn(Handshake) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Decision> + Send + 'static,
    {
        Self(Arc::new(move |handshake| Box::pin(hook(handshake))))
    }

    pub(super) fn call(&self, handshake: Handshake) -> HookFuture {
        (self.0)(handshake)
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// Adds the hook's headers to the answer.
pub(super) fn add_headers(response: &mut Response<()>, headers: &mut HeaderMap) {
    let mut name = None;
    for (next, value) in mem::take(headers) {
        name = next.or(name);
        if let Some(name) = name.as_ref().filter(|name| !RESERVED.contains(name)) {
            response.headers_mut().append(name, value);
        }
    }
}

/// What a hook may not add to an answer that accepts.
const RESERVED: [HeaderName; 8] = [
    header::CONNECTION,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
];
