//! The extractor.

use std::{
    error::Error,
    fmt,
    future::Future,
    mem,
    sync::{Arc, LazyLock},
};

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::Response,
};
use http::request::Parts;

use super::{own::Own, rejection::WebSocketUpgradeRejection};
use crate::{
    compression::Compression,
    config::Config,
    handshake::{
        Rejection,
        server::{self, Accepted},
    },
    lock::Lock,
    service::{
        self, HandlerOutput, OpenHook, Opening, PerAddress, Permits, Upgrade, extended_connect,
        hook::Handshake, open, refuse, refused_origin, registry,
    },
    session::{Connections, Sender, SessionReport, Setup, WebSocket},
};

/// A WebSocket handshake, as an argument of a handler of axum.
///
/// See the [module](super) for a whole program and a comparison with axum's own extractor.
///
/// Extracting it checks what the request alone shows, in the order of [`Rejection`]'s variants; a fault is a
/// [`WebSocketUpgradeRejection`]. [`on_upgrade`](Self::on_upgrade) checks what depends on settings: draining, origin,
/// subprotocol, extensions. `Option<WebSocketUpgrade>` is `None` if the request does not ask for a WebSocket; an
/// invalid handshake is rejected all the same.
///
/// Extracting it takes the stream out of the request, so a second one in the same handler is rejected. Dropping it
/// opens no connection; the client gets the handler's response.
#[must_use = "a connection is opened by `on_upgrade`"]
pub struct WebSocketUpgrade {
    // Boxed, because the future of the application's handler holds it.
    pending: Box<Pending>,
}

struct Pending {
    handshake: Handshake,
    upgrade: Upgrade,
    own: Own,
    per_address: Option<PerAddress>,
}

impl WebSocketUpgrade {
    /// Makes the checks that need no configuration.
    fn read(head: &mut Parts) -> Result<Self, Rejection> {
        let protocol = extended_connect::protocol(head);
        let accept = server::check(head, protocol)?;
        let opening = Accepted::new(head, accept)?;
        let upgrade = Upgrade::take(head).ok_or(Rejection::NotUpgradable)?;
        let handshake = Handshake::new(head.clone(), opening, default_setup().clone(), None);
        let pending = Box::new(Pending {
            handshake,
            upgrade,
            own: Own::default(),
            per_address: None,
        });
        Ok(Self { pending })
    }

    /// Sets the configuration.
    ///
    /// What [`protocols`](Self::protocols), [`max_message_size`](Self::max_message_size),
    /// [`max_frame_size`](Self::max_frame_size), [`compression`](Self::compression) and
    /// [`set_selected_protocol`](Self::set_selected_protocol) set is kept, whether they are called before or after
    /// it. Everything else is this configuration's: of two, the last one holds.
    ///
    /// A connection with settings of its own has a copy of them, about 400 bytes. Connections with the default share
    /// one. Default: [`Config::default`].
    pub fn config(mut self, mut config: Config) -> Self {
        let Pending { handshake, own, .. } = &mut *self.pending;
        let before = handshake.config_mut();
        own.keep(before, &mut config);
        *before = config;
        self.choose_protocol()
    }

    /// Sets the subprotocols that this endpoint speaks, best first, as [`Config::subprotocols`].
    ///
    /// The first one that the client offers is chosen at once. If there is none, the connection opens without a
    /// subprotocol, unless [`Config::require_subprotocol`] is set.
    ///
    /// # Panics
    ///
    /// Panics if a name is not a token of RFC 9110 §5.6.2.
    pub fn protocols<P: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = P>) -> Self {
        self.pending.own.subprotocols = true;
        self.configure(|config| config.subprotocols(names))
            .choose_protocol()
    }

    /// Limits the bytes of a received message, by default to 1 MiB, as [`Config::max_message_size`].
    pub fn max_message_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.pending.own.max_message_size = true;
        self.configure(|config| config.max_message_size(bytes))
    }

    /// Limits the bytes of a received frame, by default to those of a message, as [`Config::max_frame_size`].
    pub fn max_frame_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.pending.own.max_frame_size = true;
        self.configure(|config| config.max_frame_size(bytes))
    }

    /// Sets the compression of messages, by default none, as [`Config::compression`].
    pub fn compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.pending.own.compression = true;
        self.configure(|config| config.compression(compression))
    }

    fn configure(mut self, set: impl FnOnce(Config) -> Config) -> Self {
        let config = self.pending.handshake.config_mut();
        *config = set(mem::take(config));
        self
    }

    /// Chooses by the configuration, unless the handler has chosen itself.
    fn choose_protocol(mut self) -> Self {
        let Pending { handshake, own, .. } = &mut *self.pending;
        if !own.selected {
            let config = &handshake.setup.config;
            handshake.opening.choose_protocol(config);
        }
        self
    }

    /// Registers the connection, and the outcome of the handshake in [`on_upgrade`](Self::on_upgrade), in
    /// `connections`.
    ///
    /// Requests that are rejected before, when this is extracted, are not counted. Default: the connection is not
    /// registered.
    pub fn connections(mut self, connections: &Connections) -> Self {
        self.pending.handshake.connections = Some(connections.clone());
        self
    }

    /// Limits the connections of each address, as
    /// [`WebSocketLayer::per_address`](crate::WebSocketLayer::per_address).
    ///
    /// The limit is checked in [`on_upgrade`](Self::on_upgrade). Create it once, such as in the router's state: one
    /// that is created here for each request has counted nothing. Default: no limit.
    ///
    /// ```
    /// use axum::{Router, extract::State, response::Response, routing::any};
    /// use tower_websocket::{WebSocket, extract::WebSocketUpgrade, service::PerAddress};
    ///
    /// async fn chat(ws: WebSocketUpgrade, State(limit): State<PerAddress>) -> Response {
    ///     ws.per_address(&limit).on_upgrade(async |socket: WebSocket| { /* … */ })
    /// }
    ///
    /// let limit = PerAddress::new().max_open(20);
    /// let app: Router = Router::new().route("/chat", any(chat)).with_state(limit);
    /// ```
    pub fn per_address(mut self, limit: &PerAddress) -> Self {
        self.pending.per_address = Some(limit.clone());
        self
    }

    /// Keeps what is known of the connection, as
    /// [`WebSocketLayer::connection_info`](crate::WebSocketLayer::connection_info).
    ///
    /// Default: `false`.
    pub fn connection_info(mut self, keep: bool) -> Self {
        self.pending.handshake.keeps_info = keep;
        self
    }

    /// Keeps a value with the connection, as [`Handshake::set_data`]; a later one of the same type replaces it.
    ///
    /// ```
    /// use axum::{extract::Path, response::Response};
    /// use tower_websocket::{Connections, WebSocket, extract::WebSocketUpgrade};
    ///
    /// struct User(String);
    ///
    /// async fn chat(ws: WebSocketUpgrade, Path(user): Path<String>) -> Response {
    ///     ws.data(User(user)).on_upgrade(async |socket: WebSocket| { /* … */ })
    /// }
    ///
    /// fn is_online(connections: &Connections, name: &str) -> bool {
    ///     let mut users = connections.iter().filter_map(|socket| socket.data::<User>());
    ///     users.any(|user| user.0 == name)
    /// }
    /// ```
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        let _replaced = self.pending.handshake.set_data(value);
        self
    }

    /// Calls `hook` when the connection is open, as [`WebSocketLayer::on_open`](crate::WebSocketLayer::on_open).
    pub fn on_open(mut self, hook: impl FnOnce(&Sender, &Parts) + Send + 'static) -> Self {
        let hook = Once::new(hook);
        self.pending.handshake.on_open = Some(OpenHook::new(move |socket, head| {
            if let Some(hook) = hook.take() {
                hook(socket, head);
            }
        }));
        self
    }

    /// Calls `hook` with the session's [`SessionReport`], when its transport has ended.
    pub fn on_end(mut self, hook: impl FnOnce(&SessionReport) + Send + 'static) -> Self {
        let hook = Once::new(hook);
        self.setup().on_end = Some(Arc::new(move |report| {
            if let Some(hook) = hook.take() {
                hook(report);
            }
        }));
        self
    }

    /// Calls `hook` if the HTTP server could not complete the upgrade after the answer.
    ///
    /// The handler of [`on_upgrade`](Self::on_upgrade) is not called then. For the reasons see
    /// [`WebSocketLayer::on_failed_upgrade`](crate::WebSocketLayer::on_failed_upgrade); they are also logged.
    pub fn on_failed_upgrade(
        mut self,
        hook: impl FnOnce(&(dyn Error + 'static)) + Send + 'static,
    ) -> Self {
        let hook = Once::new(hook);
        self.setup().on_failed_upgrade = Some(Arc::new(move |error| {
            if let Some(hook) = hook.take() {
                hook(error);
            }
        }));
        self
    }

    fn setup(&mut self) -> &mut Setup {
        Arc::make_mut(&mut self.pending.handshake.setup)
    }

    /// Iterates over the subprotocols that the client offers, its best first.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &str> {
        self.pending.handshake.offered_subprotocols()
    }

    /// Chooses a subprotocol instead of the one that [`protocols`](Self::protocols) chooses, before or after this.
    ///
    /// Returns `false`, and keeps that one, if the client does not offer it.
    pub fn set_selected_protocol(&mut self, name: &str) -> bool {
        let selected = self.pending.handshake.select_subprotocol(name);
        self.pending.own.selected |= selected;
        selected
    }

    /// Returns the subprotocol that is chosen so far, if any.
    #[must_use]
    pub fn selected_protocol(&self) -> Option<&str> {
        self.pending.handshake.subprotocol()
    }

    /// Accepts the connection, and calls `handler` with the socket once it is open.
    ///
    /// The response is 101, or 200 on HTTP/2. Answer the client with it. Adding headers is fine; what layers may not do,
    /// [`ResponseBody`](crate::service::ResponseBody) says. The upgrade has [`Config::write_timeout`] from here on: do slow work
    /// before. If the settings do not allow the connection, the response is the rejection of a
    /// [`WebSocketLayer`](crate::WebSocketLayer), and `handler` is not called. `handler` is like that of
    /// [`handler`](fn@crate::handler): its future ends in `()`, which closes with 1000, or in `Result<(), E>`. An error
    /// closes with 1011, or with the [`CloseFrame`](crate::CloseFrame) that it is. A panic closes with 1011. To refuse with
    /// a code that a page sees, begin it with `socket.close((code, "why"))`, and return.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    #[must_use = "the response has to be sent for the connection to open"]
    pub fn on_upgrade<F, Fut>(self, handler: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: HandlerOutput,
    {
        let Pending {
            mut handshake,
            upgrade,
            per_address,
            ..
        } = *self.pending;
        if let Err(rejection) = settle(&mut handshake, per_address.as_ref()) {
            let connections = handshake.connections.as_ref();
            return refuse(connections, &rejection, handshake.version).map(Body::from);
        }
        let route = service::handler::handler(once(handler));
        let opening = Box::new(Opening {
            handshake,
            route,
            upgrade,
        });
        open::<_, Body>(opening, None).map(Body::new)
    }
}

/// Makes the checks that need the configuration.
fn settle(handshake: &mut Handshake, limit: Option<&PerAddress>) -> Result<(), Rejection> {
    let Handshake {
        head,
        opening,
        setup,
        connections,
        permits,
        ..
    } = handshake;
    // It counts the rejection if the server is stopping.
    *connections = registry(head, connections.as_ref())?;
    if setup.config.memory_budget.is_nearly_used_up() {
        return Err(Rejection::OverBudget);
    }
    server::check_origin(head, &setup.config)
        .inspect_err(|rejection| refused_origin::tell(rejection, head))?;
    opening.settle(&head.headers, &setup.config)?;
    *permits = Permits::take(head, limit)?;
    Ok(())
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::read(head)
            .map_err(|rejection| WebSocketUpgradeRejection::new(rejection, head.version))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(
        head: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, Self::Rejection> {
        if !server::is_handshake(head, extended_connect::protocol(head)) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(head, state)
            .await
            .map(Some)
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("handshake", &self.pending.handshake)
            .finish_non_exhaustive()
    }
}

/// Returns what connections without settings of their own share.
fn default_setup() -> &'static Arc<Setup> {
    static SETUP: LazyLock<Arc<Setup>> = LazyLock::new(|| Arc::new(Setup::server()));
    &SETUP
}

/// A function that is called at most once, from behind a shared reference.
struct Once<F>(Lock<Option<F>>);

impl<F> Once<F> {
    fn new(function: F) -> Self {
        Self(Lock::new(Some(function)))
    }

    fn take(&self) -> Option<F> {
        self.0.lock().take()
    }
}

/// Makes a function for the route service of one connection.
fn once<T, U>(function: impl FnOnce(T) -> U) -> impl FnMut(T) -> U {
    let mut function = Some(function);
    move |argument| {
        // A session calls its route service when it opens, and drops it.
        let function = function.take().expect("a connection opens once");
        function(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_connection_are_as_small_as_documented() {
        let size = size_of::<Setup>();
        assert!((350..=450).contains(&size), "{size}");
    }
}
