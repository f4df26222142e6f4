//! What is known of a connection beside its messages.

use std::{fmt, net::SocketAddr, time::SystemTime};

use http::Version;

use super::{data::Data, params::PathParams};
use crate::lock::Lock;

/// What is known of a connection: the peer's address, the path, since when it is open.
///
/// A connection keeps it if that was enabled, by
/// [`WebSocketLayer::connection_info`](crate::WebSocketLayer::connection_info) and its like, or if the
/// hook has [set data](crate::Handshake::set_data). All handles return it
/// ([`WebSocket::info`](crate::WebSocket::info)), so it is at hand wherever a
/// [`Sender`](crate::Sender) is: from [`Connections`](crate::Connections), and of the members of
/// [`Groups`](crate::Groups). The [`SessionReport`](super::SessionReport) has it, too. What the application itself
/// knows of a connection is [`data`](crate::WebSocket::set_data).
///
/// ```
/// use tower_websocket::{Connections, WebSocket, WebSocketLayer, handler};
///
/// /// The connections and their rooms, for a page of the administrator.
/// fn listed(connections: &Connections) -> Vec<String> {
///     let infos = connections.iter().filter_map(|socket| {
///         let info = socket.info()?;
///         let room = info.path_params().get("room").unwrap_or("no room").to_owned();
///         Some(format!("{:?} in {room}, since {:?}", info.peer_addr(), info.connected_at()))
///     });
///     infos.collect()
/// }
///
/// # async fn chat(_: WebSocket) {}
/// let connections = Connections::new();
/// let layer = WebSocketLayer::new(handler(chat))
///     .path("/rooms/{room}")
///     .connections(&connections)
///     .connection_info(true);
/// ```
///
/// It costs about 250 bytes per connection, and the path with its parameters. Nothing else of the request is
/// kept for it: no header, and no query, which may have a token in it.
pub struct ConnectionInfo {
    peer_addr: Option<SocketAddr>,
    path: Box<str>,
    params: PathParams,
    version: Version,
    connected_at: SystemTime,
    subprotocol: Option<Box<str>>,
    compressed: bool,
    data: Lock<Data>,
}

impl ConnectionInfo {
    /// Makes that of a connection which is asked for.
    pub(crate) fn new(
        peer_addr: Option<SocketAddr>,
        path: &str,
        params: PathParams,
        version: Version,
    ) -> Self {
        Self {
            peer_addr,
            path: path.into(),
            params,
            version,
            connected_at: SystemTime::UNIX_EPOCH,
            subprotocol: None,
            compressed: false,
            data: Lock::default(),
        }
    }

    /// Adds what the application has set before the connection began.
    pub(crate) fn with_data(mut self, data: Data) -> Self {
        self.data = Lock::new(data);
        self
    }

    /// Adds what the handshake has settled, for a connection that is open from now on.
    pub(super) fn settled(mut self, subprotocol: Option<Box<str>>, compressed: bool) -> Self {
        self.connected_at = SystemTime::now();
        self.subprotocol = subprotocol;
        self.compressed = compressed;
        self
    }

    /// Returns the address of the peer, if it is known.
    ///
    /// On a server it is the one in [`PeerAddr`](crate::service::PeerAddr), which also explains where it comes
    /// from: behind a proxy it may be the proxy's. For a client it is the address that it has connected to;
    /// over a stream of the application's own it is not known.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// Returns the path that was requested, as in [`Uri::path`](http::Uri::path): escaped, without the query.
    ///
    /// In a nested router of axum it is the part that is left of it there.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the parameters of the path, decoded; none if it has none.
    ///
    /// They are those of [`WebSocketLayer::path`](crate::WebSocketLayer::path), or otherwise, with the feature
    /// `axum`, those of axum's route. A client has none.
    #[must_use]
    pub fn path_params(&self) -> &PathParams {
        &self.params
    }

    /// Returns the version of HTTP of the opening handshake.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use std::net::SocketAddr;
    ///
    /// let (here, _there) = tokio::io::duplex(4096);
    /// let peer = SocketAddr::from(([192, 0, 2, 1], 50_000));
    /// let uri = "/chat?token=42".parse()?;
    /// let socket = WebSocket::over(here, Role::Server).peer_addr(peer).uri(&uri).spawn()?;
    /// let info = socket.info().expect("it is kept");
    /// assert_eq!(info.version(), http::Version::HTTP_11);
    /// assert_eq!(info.path(), "/chat"); // the query is not kept
    /// assert_eq!(info.peer_addr(), Some(peer));
    /// assert!(info.path_params().iter().next().is_none());
    /// assert_eq!(info.subprotocol(), None);
    /// assert!(!info.is_compressed());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the time at which the connection was opened, by the clock of this machine.
    #[must_use]
    pub fn connected_at(&self) -> SystemTime {
        self.connected_at
    }

    /// Returns the subprotocol that both sides agreed on, if any (RFC 6455 §1.9).
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Reports whether compression was agreed on (permessage-deflate, RFC 7692).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    pub(super) fn data(&self) -> &Lock<Data> {
        &self.data
    }
}

impl fmt::Debug for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionInfo")
            .field("peer_addr", &self.peer_addr)
            .field("path", &self.path)
            .field("version", &self.version)
            .field("connected_at", &self.connected_at)
            .field("subprotocol", &self.subprotocol)
            .field("compressed", &self.compressed)
            .finish_non_exhaustive()
    }
}
