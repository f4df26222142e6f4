//! Which connection this is: what is known of it, and what the application keeps with it.

use std::{net::SocketAddr, sync::Arc};

use super::{receiver::Receiver, sender::Sender, socket::WebSocket};
use crate::{
    protocol::{CloseFrame, State},
    session::{id::ConnectionId, info::ConnectionInfo},
};

/// Which connection it is.
impl WebSocket {
    /// Returns the peer's Close frame, if one with a code has been received.
    #[must_use]
    pub fn received_close(&self) -> Option<CloseFrame> {
        self.sending().received_close()
    }

    /// Returns the state of the connection: open, closing or closed.
    #[must_use]
    pub fn state(&self) -> State {
        self.sending().state()
    }

    /// Reports whether messages can still be sent: the closing handshake has not begun on either side.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sending().is_open()
    }

    /// Returns the number of bytes that are queued and that the transport does not have yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.sending().queued_bytes()
    }

    /// Returns the connection's number, if it is registered in [`Connections`](crate::Connections).
    #[must_use]
    pub fn id(&self) -> Option<ConnectionId> {
        self.sending().id()
    }

    /// Returns the subprotocol that both sides agreed on, if any (RFC 6455 §1.9).
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.sending().subprotocol()
    }

    /// Reports whether compression was agreed on (permessage-deflate, RFC 7692).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.sending().is_compressed()
    }

    /// Returns what is known of the connection: the peer's address, the path, since when it is open, and more.
    ///
    /// It is `None` unless it is kept: by
    /// [`WebSocketLayer::connection_info`](crate::WebSocketLayer::connection_info), by the method of that name of the
    /// extractor and of the client, or because the hook has [set data](crate::Handshake::set_data). It outlives the
    /// connection as long as a handle does.
    #[must_use]
    pub fn info(&self) -> Option<&ConnectionInfo> {
        self.sending().info()
    }

    /// Returns the peer's address: [`ConnectionInfo::peer_addr`].
    ///
    /// It is `None` if the address is not known, and if no [`info`](Self::info) is kept, which is the default.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.sending().peer_addr()
    }

    /// Returns the application's value of this type, if one was [set](Self::set_data).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// struct Name(&'static str);
    ///
    /// assert!(server.data::<Name>().is_none());
    /// server.set_data(Name("ann"));
    /// let sender = server.sender();
    /// assert_eq!(sender.data::<Name>().map(|name| name.0), Some("ann")); // all handles have it
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.sending().data()
    }

    /// Keeps a value with the connection, one of each type; returns the one that it replaces.
    ///
    /// All handles of the connection return it, and so does the
    /// [`SessionReport`](crate::session::SessionReport). What is set by the hook, with
    /// [`Handshake::set_data`](crate::Handshake::set_data), is there, too. The value is shared, not copied: what
    /// has to change in it needs a lock or an atomic.
    ///
    /// The value is dropped when the connection is over and its handler has returned, whatever handles are left. So
    /// it may hold handles itself. From then on nothing is kept.
    ///
    /// It costs 32 bytes and the value, about 300 bytes more without an [`info`](Self::info), and nothing if it
    /// is not used.
    ///
    /// ```
    /// use tower_websocket::{Connections, Error, WebSocket};
    ///
    /// struct Name(String);
    ///
    /// /// The first message of a client is its name.
    /// async fn chat(mut socket: WebSocket) -> Result<(), Error> {
    ///     while let Some(message) = socket.recv().await? {
    ///         match (socket.data::<Name>(), message.as_text()) {
    ///             (None, Some(name)) => drop(socket.set_data(Name(name.to_owned()))),
    ///             (Some(name), Some(text)) => println!("{}: {text}", name.0),
    ///             _ => {}
    ///         }
    ///     }
    ///     Ok(())
    /// }
    ///
    /// fn names(connections: &Connections) -> Vec<String> {
    ///     let named = connections.iter().filter_map(|socket| socket.data::<Name>());
    ///     named.map(|name| name.0.clone()).collect()
    /// }
    /// ```
    pub fn set_data<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        self.sending().set_data(value)
    }
}

/// Which connection it is.
impl Sender {
    /// Reports whether compression was agreed on; as
    /// [`WebSocket::is_compressed`](crate::WebSocket::is_compressed).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.shared().is_compressed()
    }

    /// Returns what is known of the connection; as [`WebSocket::info`](crate::WebSocket::info).
    #[must_use]
    pub fn info(&self) -> Option<&ConnectionInfo> {
        self.shared().info_or_warning()
    }

    /// Returns the peer's address; as [`WebSocket::peer_addr`](crate::WebSocket::peer_addr).
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.info()?.peer_addr()
    }

    /// Returns the application's value of this type; as [`WebSocket::data`](crate::WebSocket::data).
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.shared().data()
    }

    /// Keeps a value with the connection; as [`WebSocket::set_data`](crate::WebSocket::set_data).
    pub fn set_data<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        self.shared().set_data(value)
    }
}

/// Which connection it is.
impl Receiver {
    /// Reports whether compression was agreed on; as
    /// [`WebSocket::is_compressed`](crate::WebSocket::is_compressed).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.sender().is_compressed()
    }

    /// Returns what is known of the connection; as [`WebSocket::info`](crate::WebSocket::info).
    #[must_use]
    pub fn info(&self) -> Option<&ConnectionInfo> {
        self.sender().info()
    }

    /// Returns the peer's address; as [`WebSocket::peer_addr`](crate::WebSocket::peer_addr).
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.sender().peer_addr()
    }

    /// Returns the application's value of this type; as [`WebSocket::data`](crate::WebSocket::data).
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.sender().data()
    }

    /// Keeps a value with the connection; as [`WebSocket::set_data`](crate::WebSocket::set_data).
    pub fn set_data<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        self.sender().set_data(value)
    }
}
