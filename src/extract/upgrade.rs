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

use super::rejection::WebSocketUpgradeRejection;
use crate::{
    compression::Compression,
    config::Config,
    handshake::{
        Rejection,
        server::{self, Opening},
    },
    lock::Lock,
    service::{self, HandlerOutput, Handshake, Upgrade, extended_connect, open, refuse, registry},
    session::{Connections, Report, Setup, WebSocket},
};

/// A WebSocket handshake, as an argument of a handler of axum.
///
/// See the [module](super) for an example and for what is what in axum's own.
///
/// What the request itself shows is checked when it is extracted, in the order of [`Rejection`]'s
/// variants; a fault is a [`WebSocketUpgradeRejection`]. [`on_upgrade`](Self::on_upgrade) checks
/// what is set here: draining, origin, subprotocol, extensions. As `Option<WebSocketUpgrade>` it is
/// `None` where a request asks for no WebSocket, and one that asks for it wrongly is refused even
/// so.
///
/// Extracting it takes the stream out of the request: a second one in the same handler is refused.
/// Dropping it opens no connection, and whatever the handler answers is sent.
#[must_use = "a connection is opened by `on_upgrade`"]
pub struct WebSocketUpgrade {
    // Boxed, because the future of the application's handler holds it.
    pending: Box<Pending>,
}

struct Pending {
    handshake: Handshake,
    upgrade: Upgrade,
}

impl WebSocketUpgrade {
    /// Checks all that needs no configuration.
    fn read(head: &mut Parts) -> Result<Self, Rejection> {
        let protocol = extended_connect::protocol(head);
        let accept = server::check(head, protocol)?;
        let opening = Opening::new(head, accept)?;
        let upgrade = Upgrade::take(head).ok_or(Rejection::NotUpgradable)?;
        let handshake = Handshake::new(head.clone(), opening, default_setup().clone(), None);
        let pending = Box::new(Pending { handshake, upgrade });
        Ok(Self { pending })
    }

    /// Sets the configuration, in place of all that was set before: so it comes first. Default:
    /// [`Config::default`].
    ///
    /// A connection with settings of its own has a copy of them: about 400 bytes, which those with
    /// the default share.
    pub fn config(mut self, config: Config) -> Self {
        self.pending.handshake.opening.choose_protocol(&config);
        *self.pending.handshake.config_mut() = config;
        self
    }

    /// Sets the subprotocols this endpoint speaks, best first, as [`Config::protocols`].
    ///
    /// The first one that the client offers is chosen at once. None in common: the connection opens
    /// without, unless [`Config::require_protocol`] is set.
    ///
    /// # Panics
    ///
    /// Panics when a name is not a token of RFC 9110 §5.6.2.
    pub fn protocols<P: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = P>) -> Self {
        let config = mem::take(self.pending.handshake.config_mut());
        self.config(config.protocols(names))
    }

    /// Limits the size of a received message, as [`Config::max_message_size`]. Default: 1 MiB.
    pub fn max_message_size(self, bytes: impl Into<Option<usize>>) -> Self {
        self.configure(|config| config.max_message_size(bytes))
    }

    /// Limits the payload of one received frame, as [`Config::max_frame_size`]. Default: the limit
    /// of a message.
    pub fn max_frame_size(self, bytes: impl Into<Option<usize>>) -> Self {
        self.configure(|config| config.max_frame_size(bytes))
    }

    /// Compresses messages, as [`Config::compression`]. Default: `None`.
    pub fn compression(self, compression: impl Into<Option<Compression>>) -> Self {
        self.configure(|config| config.compression(compression))
    }

    fn configure(mut self, set: impl FnOnce(Config) -> Config) -> Self {
        let config = self.pending.handshake.config_mut();
        *config = set(mem::take(config));
        self
    }

    /// Registers the connection in `connections`, with what becomes of the handshake from
    /// [`on_upgrade`](Self::on_upgrade) on.
    ///
    /// Requests that are refused before, when this is extracted, are not counted. Default: it is not
    /// registered.
    pub fn connections(mut self, connections: &Connections) -> Self {
        self.pending.handshake.connections = Some(connections.clone());
        self
    }

    /// Hands the session's [`Report`] to `hook`, when its transport has ended.
    pub fn on_end(mut self, hook: impl FnOnce(&Report) + Send + 'static) -> Self {
        let hook = Once::new(hook);
        self.setup().on_end = Some(Arc::new(move |report| {
            if let Some(hook) = hook.take() {
                hook(report);
            }
        }));
        self
    }

    /// Tells `hook` where the HTTP server could not complete the upgrade after the answer.
    ///
    /// The handler given to [`on_upgrade`](Self::on_upgrade) is not called then. For the reasons see
    /// [`WebSocketLayer::on_failed_upgrade`](crate::WebSocketLayer::on_failed_upgrade); they are
    /// logged too.
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

    /// The subprotocols that the client offers, its best first.
    pub fn offered_protocols(&self) -> impl Iterator<Item = &str> {
        self.pending.handshake.offered_protocols()
    }

    /// Chooses a subprotocol, in place of what [`protocols`](Self::protocols) has chosen; `false`
    /// when the client does not offer it.
    pub fn select_protocol(&mut self, name: &str) -> bool {
        self.pending.handshake.select_protocol(name)
    }

    /// The subprotocol chosen so far.
    #[must_use]
    pub fn selected_protocol(&self) -> Option<&str> {
        self.pending.handshake.protocol()
    }

    /// Accepts the connection, for `handler` to have it once it is open.
    ///
    /// The response is 101, or 200 on HTTP/2, and must be what the client is answered: headers may be
    /// added, and [`ResponseBody`](crate::ResponseBody) says what layers may not do. The time that [`Config::write_timeout`] gives an upgrade begins here, so whatever
    /// takes long comes before. Where the settings do not allow the connection, the response is the
    /// refusal of a [`WebSocketLayer`](crate::WebSocketLayer), and `handler` is not called.
    ///
    /// `handler` is as that of [`handler`](fn@crate::handler): its future ends in `()`, which closes
    /// with 1000, or in `Result<(), E>`, where an error closes with 1011 or with the
    /// [`CloseFrame`](crate::CloseFrame) it is. A panic closes with 1011.
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
        } = *self.pending;
        if let Err(rejection) = settle(&mut handshake) {
            let connections = handshake.connections.as_ref();
            return refuse(connections, &rejection, handshake.version).map(Body::from);
        }
        let route = service::handler(once(handler));
        open::<_, Body>(handshake, None, route, upgrade).map(Body::new)
    }
}

/// The checks for which the configuration had to be known.
fn settle(handshake: &mut Handshake) -> Result<(), Rejection> {
    let Handshake {
        head,
        opening,
        setup,
        connections,
        ..
    } = handshake;
    // Counts the refusal, should the server stop.
    *connections = registry(head, connections.as_ref())?;
    if setup.config.memory_budget.is_nearly_used_up() {
        return Err(Rejection::OverBudget);
    }
    server::check_origin(head, &setup.config)?;
    opening.settle(&head.headers, &setup.config)
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

/// What connections without settings of their own share.
fn default_setup() -> &'static Arc<Setup> {
    static SETUP: LazyLock<Arc<Setup>> = LazyLock::new(|| Arc::new(Setup::server()));
    &SETUP
}

/// A function that is called once, though whoever has it may call it often.
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
