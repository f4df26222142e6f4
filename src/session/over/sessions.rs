//! What sessions over other people's streams share.

use std::sync::Arc;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite};

use super::builder::SessionBuilder;
use crate::{
    config::Config,
    protocol::Role,
    session::{
        handle::WebSocket, registry::Connections, report::SessionReport, setup::Setup,
        transport::Transport,
    },
};

/// Settings of connections over streams whose opening handshake was done elsewhere.
///
/// It is for servers that answer 101 by themselves, and for clients that make the request with a library of their own.
/// Make one and keep it: clones are cheap, and connections share what is in it. For a single connection
/// [`WebSocket::over`] is shorter.
///
/// ```no_run
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use hyper::body::Incoming;
/// use tower_websocket::{Error, WebSocket, handshake::server, protocol::Role, session::Sessions};
///
/// async fn echo(mut socket: WebSocket) -> Result<(), Error> {
///     while let Some(message) = socket.recv().await? {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
///
/// /// A service of hyper, which does its own handshake.
/// async fn answer(mut request: Request<Incoming>, sessions: Sessions) -> Response<Bytes> {
///     let upgrade = hyper::upgrade::on(&mut request);
///     let (head, _) = request.into_parts();
///     let accepted = match server::negotiate(&head, None, sessions.configuration()) {
///         Ok(accepted) => accepted,
///         Err(rejection) => return rejection.response(head.version),
///     };
///     let response = accepted.response();
///     tokio::spawn(async move {
///         // It is there once the response was sent.
///         let upgraded = upgrade.await?;
///         let session = sessions.over_upgraded(upgraded).negotiated(accepted);
///         echo(session.spawn()?).await?;
///         Ok::<_, tower::BoxError>(())
///     });
///     response.map(|()| Bytes::new())
/// }
///
/// let sessions = Sessions::new(Role::Server);
/// ```
///
/// hyper's connection has to be awaited with its `with_upgrades`, on a server and on a client
/// (`hyper::client::conn::http1`): otherwise hyper hands nothing over, and `upgrade` is the error "upgrade expected but
/// low level API in use".
///
/// With a task for its session and another one for its messages, an idle connection over TCP takes about 1,200 bytes.
#[derive(Clone, Debug)]
pub struct Sessions {
    setup: Arc<Setup>,
    connections: Option<Connections>,
}

impl Sessions {
    /// Creates settings for sessions of this endpoint.
    ///
    /// A [`Role::Client`] masks what it sends, a [`Role::Server`] never does (RFC 6455 §5.1).
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            setup: Arc::new(Setup::new(role)),
            connections: None,
        }
    }

    /// Sets limits, deadlines and compression.
    ///
    /// Use the configuration that the handshake was negotiated with. Settings of the handshake in it, such as
    /// [`Config::origin`], have no effect here. Default: [`Config::default`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        Arc::make_mut(&mut self.setup).config = config;
        self
    }

    /// Registers the sessions, to count, find and [drain](Connections::drain) them.
    ///
    /// A session that is opened while connections are drained is closed at once, as those before it were; the drain does
    /// not wait for it. Default: none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tower_websocket::{Connections, session::Sessions};
    ///
    /// let connections = Connections::new();
    /// let sessions = Sessions::new(Role::Server).connections(&connections);
    /// let (here, _there) = tokio::io::duplex(4096);
    /// let socket = sessions.over(here).spawn()?;
    /// let id = socket.id().expect("it is registered");
    /// assert!(connections.get(id).is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connections(mut self, connections: &Connections) -> Self {
        self.connections = Some(connections.clone());
        self
    }

    /// Calls `hook` with one [`SessionReport`] per session, when its transport has ended.
    #[must_use]
    pub fn on_end(mut self, hook: impl Fn(&SessionReport) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.setup).on_end = Some(Arc::new(hook));
        self
    }

    /// Returns the configuration, to negotiate a handshake with.
    #[must_use]
    pub fn configuration(&self) -> &Config {
        &self.setup.config
    }

    /// Starts to set up a session over a stream; as [`WebSocket::over`].
    pub fn over(&self, stream: impl AsyncRead + AsyncWrite + Send + 'static) -> SessionBuilder {
        self.begin(Transport::over(stream))
    }

    /// Starts to set up a session over a stream of hyper's; as [`WebSocket::over_upgraded`].
    pub fn over_upgraded(&self, upgraded: Upgraded) -> SessionBuilder {
        self.begin(Transport::hyper(upgraded, false))
    }

    fn begin(&self, (transport, read): (Transport, Bytes)) -> SessionBuilder {
        SessionBuilder::new(
            self.setup.clone(),
            self.connections.clone(),
            transport,
            read,
        )
    }
}

/// A connection over a stream whose opening handshake was done elsewhere.
impl WebSocket {
    /// Starts to set up a session over a stream whose opening handshake is over, as one of its two endpoints.
    ///
    /// Any stream will do: one that [reqwest](https://docs.rs/reqwest) has upgraded, TLS, a Unix socket, one of the streams of
    /// a QUIC connection, a pipe in memory. hyper's `Upgraded` itself, which is no stream of tokio's, goes to
    /// [`over_upgraded`](Self::over_upgraded), and here only in a `TokioIo`; what it has read beyond the handshake is
    /// read first, in both cases. What *you* have read beyond it has to be [added](SessionBuilder::already_read).
    ///
    /// The builder takes what was agreed on, and ends in [`spawn`](SessionBuilder::spawn) or
    /// [`open`](SessionBuilder::open). For several connections with the same settings, use [`Sessions`].
    ///
    /// ```
    /// use tower_websocket::{Config, WebSocket, protocol::Role};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Two ends that need no handshake.
    /// let (here, there) = tokio::io::duplex(4096);
    /// let config = Config::default().max_message_size(64 << 10);
    /// let mut server = WebSocket::over(here, Role::Server).config(config).spawn()?;
    /// let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// client.send("hello").await?;
    /// assert_eq!(server.recv().await?, Some("hello".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn over(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        role: Role,
    ) -> SessionBuilder {
        Sessions::new(role).over(stream)
    }

    /// Begins a session over a stream that hyper has upgraded, on a server or a client.
    ///
    /// As [`over`](Self::over). What hyper has read beyond the handshake is not lost, and a TCP connection below is taken
    /// out of hyper's boxes, which makes it smaller. hyper upgrades nothing unless its connection is awaited with
    /// `with_upgrades`: a server's, and a client's as well.
    ///
    /// ```no_run
    /// use http::Response;
    /// use hyper::body::Incoming;
    /// use tower_websocket::{WebSocket, handshake::client::Offer, protocol::Role};
    ///
    /// /// A response to a handshake that was made by `handshake::client::offer`.
    /// async fn open(
    ///     response: Response<Incoming>,
    ///     offer: &Offer,
    /// ) -> Result<WebSocket, Box<dyn std::error::Error>> {
    ///     if !offer.is_accepted(response.status()) {
    ///         return Err(format!("refused: {}", response.status()).into());
    ///     }
    ///     let (head, body) = response.into_parts();
    ///     let accepted = offer.check(&head)?;
    ///     let response = Response::from_parts(head, body);
    ///     let upgraded = hyper::upgrade::on(response).await?;
    ///     let session = WebSocket::over_upgraded(upgraded, Role::Client).negotiated(accepted);
    ///     Ok(session.spawn()?)
    /// }
    /// ```
    pub fn over_upgraded(upgraded: Upgraded, role: Role) -> SessionBuilder {
        Sessions::new(role).over_upgraded(upgraded)
    }
}
