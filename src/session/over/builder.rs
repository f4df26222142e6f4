//! One session, before it begins.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{Uri, Version};

use super::{error::OpenError, future::SessionFuture};
use crate::{
    compression::Compression,
    config::Config,
    handshake::{Negotiated, deflate::Agreement, is_token},
    protocol::Role,
    session::{
        agreed::Agreed,
        driver::Opened,
        handle::WebSocket,
        info::ConnectionInfo,
        params::PathParams,
        registry::Connections,
        setup::Setup,
        task::{Nothing, Session},
        transport::Transport,
    },
};

/// The settings of a session over a stream whose opening handshake is over, before it begins.
///
/// It is made by [`WebSocket::over`] and [`Sessions`](super::Sessions). Nothing is read or written before it is
/// [spawned](Self::spawn) or [opened](Self::open); dropping it drops the stream.
#[must_use = "a session has to be spawned or opened"]
pub struct SessionBuilder {
    setup: Arc<Setup>,
    connections: Option<Connections>,
    transport: Transport,
    /// What the caller has read beyond the handshake.
    given: Bytes,
    /// What hyper has, behind it.
    read: Bytes,
    version: Version,
    /// Whose view was given of the handshake.
    view: Option<Role>,
    subprotocol: Option<Box<str>>,
    deflate: Option<Agreement>,
    peer_addr: Option<SocketAddr>,
    path: Option<Box<str>>,
}

impl SessionBuilder {
    pub(super) fn new(
        setup: Arc<Setup>,
        connections: Option<Connections>,
        transport: Transport,
        read: Bytes,
    ) -> Self {
        Self {
            setup,
            connections,
            transport,
            given: Bytes::new(),
            read,
            version: Version::HTTP_11,
            view: None,
            subprotocol: None,
            deflate: None,
            peer_addr: None,
            path: None,
        }
    }

    /// Sets limits, deadlines and compression of this session alone.
    ///
    /// Default: those of its [`Sessions`](super::Sessions), or [`Config::default`]. The session keeps a copy of its own. For
    /// many sessions with the same, use [`Sessions`](super::Sessions::config).
    pub fn config(mut self, config: Config) -> Self {
        Arc::make_mut(&mut self.setup).config = config;
        self
    }

    /// Takes what the handshake has settled: version, subprotocol and compression.
    ///
    /// It is an [`Accepted`](crate::handshake::server::Accepted) of the server, or
    /// [one](crate::handshake::client::Accepted) of the client. Make the response of it before, as this takes it.
    pub fn negotiated(mut self, negotiated: impl Into<Negotiated>) -> Self {
        let negotiated = negotiated.into();
        self.view = Some(negotiated.role());
        self.version = negotiated.version();
        (self.subprotocol, self.deflate) = negotiated.into_parts();
        self
    }

    /// Sets the subprotocol that both sides agreed on (RFC 6455 §1.9).
    ///
    /// Default: none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// let (here, _there) = tokio::io::duplex(4096);
    /// let socket = WebSocket::over(here, Role::Server).subprotocol("chat").spawn()?;
    /// assert_eq!(socket.subprotocol(), Some("chat"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn subprotocol<'a>(mut self, name: impl Into<Option<&'a str>>) -> Self {
        self.subprotocol = name.into().map(Into::into);
        self
    }

    /// Sets the compression that both sides agreed on (RFC 7692).
    ///
    /// It is for applications that have negotiated with [`handshake::deflate`](crate::handshake::deflate) alone.
    /// [`Config::compression`] has to be the setting that it was negotiated with. Default: none.
    pub fn deflate(mut self, agreement: impl Into<Option<Agreement>>) -> Self {
        self.deflate = agreement.into();
        self
    }

    /// Sets the version of HTTP by which the stream was opened.
    ///
    /// Default: HTTP/1.1, or as [negotiated](Self::negotiated). From HTTP/2 on, the stream is one of many on its connection:
    /// it is written in larger pieces, and ended without being reset.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Adds bytes that were read beyond the handshake; they come before those of the stream.
    ///
    /// They may end anywhere in a frame, and are held to the same limits as everything else. Further calls append to them.
    /// What hyper has read is known to its stream, and need not be added. Default: none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// let (here, _there) = tokio::io::duplex(4096);
    /// let frame = [0x81, 0x02, b'h', b'i']; // came in one read with the response
    /// let mut socket = WebSocket::over(here, Role::Client).already_read(frame.to_vec()).spawn()?;
    /// assert_eq!(socket.recv().await?, Some("hi".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn already_read(mut self, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        self.given = join(self.given, bytes);
        self
    }

    /// Keeps the peer's address with the connection, which then has a [`ConnectionInfo`].
    ///
    /// Default: none.
    pub fn peer_addr(mut self, address: impl Into<Option<SocketAddr>>) -> Self {
        self.peer_addr = address.into();
        self
    }

    /// Keeps the path that was requested with the connection, which then has a [`ConnectionInfo`].
    ///
    /// The rest of the URI is not kept. Default: none.
    pub fn uri(mut self, uri: &Uri) -> Self {
        self.path = Some(uri.path().into());
        self
    }

    /// Starts the session in a task of its own.
    ///
    /// The task answers pings, keeps deadlines and writes messages whatever the application does with the [`WebSocket`], as on
    /// a connection of [`WebSocketLayer`](crate::WebSocketLayer). Dropping the `WebSocket` closes the connection with 1000.
    ///
    /// # Errors
    ///
    /// The settings contradict the handshake; see [`OpenError`].
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with time enabled.
    pub fn spawn(self) -> Result<WebSocket, OpenError> {
        let (session, socket) = self.start()?;
        tokio::spawn(session);
        Ok(socket)
    }

    /// Starts the session as a future that the caller polls, in any task, also in that of the [`WebSocket`].
    ///
    /// ```
    /// use tokio::{io::duplex, join};
    /// use tower_websocket::{CloseCode, Error, WebSocket, protocol::Role};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (stream, peer) = duplex(4096);
    /// # let mut peer = WebSocket::over(peer, Role::Server).spawn()?;
    /// # tokio::spawn(async move { while let Ok(Some(message)) = peer.recv().await { drop(peer.send(message).await); } });
    /// let (mut socket, session) = WebSocket::over(stream, Role::Client).open()?;
    /// let talk = async {
    ///     socket.send("hello").await?;
    ///     let answer = socket.recv().await?;
    ///     socket.close(CloseCode::NORMAL);
    ///     Ok::<_, Error>(answer)
    /// };
    /// // The session is over when the closing handshake is.
    /// let ((), answer) = join!(session, talk);
    /// assert_eq!(answer?, Some("hello".into()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The settings contradict the handshake; see [`OpenError`].
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with time enabled. The runtime need not run any task of the session: it is enough that
    /// a runtime is [entered](tokio::runtime::Handle::enter), whose timers run.
    pub fn open(self) -> Result<(WebSocket, SessionFuture), OpenError> {
        let (session, socket) = self.start()?;
        Ok((socket, SessionFuture::new(session)))
    }

    fn start(mut self) -> Result<(Session<Nothing>, WebSocket), OpenError> {
        self.check()?;
        let info = self.info();
        let agreed = Agreed::default()
            .subprotocol(self.subprotocol.as_deref())
            .deflate(&self.setup, self.deflate);
        let agreed = match info {
            Some(info) => agreed.info(info),
            None => agreed,
        };
        let (mut place, mut closed) = (None, None);
        if let Some(connections) = &self.connections {
            match connections.accept() {
                Ok(kept) => place = Some(kept),
                Err(rejection) => {
                    connections.refuse(&rejection);
                    closed = connections.farewell();
                }
            }
        }
        let (session, socket) = Session::held(Opened {
            transport: self.transport.multiplexed(self.version >= Version::HTTP_2),
            read: join(self.given, self.read),
            setup: self.setup,
            agreed,
            place,
        });
        if let Some(frame) = closed {
            socket.close(frame);
        }
        Ok((session, socket))
    }

    /// Makes what the connection keeps of its request, if it is to keep that.
    fn info(&mut self) -> Option<ConnectionInfo> {
        if self.peer_addr.is_none() && self.path.is_none() {
            return None;
        }
        let path = self.path.take().unwrap_or_default();
        let params = PathParams::default();
        Some(ConnectionInfo::new(
            self.peer_addr,
            &path,
            params,
            self.version,
        ))
    }

    /// Checks what was said of the handshake.
    fn check(&self) -> Result<(), OpenError> {
        let role = self.setup.role;
        if let Some(view) = self.view.filter(|view| *view != role) {
            return Err(OpenError::Role(view));
        }
        let is_token = |name: &str| is_token(name.as_bytes());
        if !self.subprotocol.as_deref().is_none_or(is_token) {
            return Err(OpenError::Subprotocol);
        }
        match &self.deflate {
            Some(agreement) => {
                check_deflate(agreement, role, self.setup.config.compression.as_ref())
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("role", &self.setup.role)
            .field("version", &self.version)
            .field("subprotocol", &self.subprotocol)
            .field("deflate", &self.deflate)
            .finish_non_exhaustive()
    }
}

/// Checks that compression was negotiated as this endpoint, with settings that allow what was agreed on.
fn check_deflate(
    agreement: &Agreement,
    role: Role,
    settings: Option<&Compression>,
) -> Result<(), OpenError> {
    if agreement.role() != role {
        return Err(OpenError::Role(agreement.role()));
    }
    let settings = settings.ok_or(OpenError::CompressionOff)?;
    let params = agreement.params();
    let peer = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let (ours, theirs) = (params.direction(role), params.direction(peer));
    let too_large = |bits: u8, limit: u8| (bits > limit).then_some((bits, limit));
    let too_large = too_large(ours.window_bits, settings.max_window_bits).or_else(|| {
        // A server cannot limit every client (RFC 7692 §7.1.2.2).
        let limit = settings.peer_max_window_bits;
        too_large(theirs.window_bits, limit).filter(|_| role == Role::Client)
    });
    if let Some((bits, limit)) = too_large {
        return Err(OpenError::WindowTooLarge { bits, limit });
    }
    if !settings.context_takeover && (ours.context_takeover || theirs.context_takeover) {
        return Err(OpenError::ContextTakeover);
    }
    Ok(())
}

/// Puts bytes one behind the other, without a copy where one of them is empty.
fn join(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    if second.is_empty() {
        return first;
    }
    let mut joined = BytesMut::from(first);
    joined.extend_from_slice(&second);
    joined.freeze()
}
