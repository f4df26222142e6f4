//! Which connection this is: what is known of it, and what the application keeps with it.

use std::{net::SocketAddr, sync::Arc};

use super::{receiver::Receiver, sender::Sender, socket::WebSocket};
use crate::session::info::ConnectionInfo;

/// Which connection it is.
impl WebSocket {
    /// Reports whether compression was agreed on (permessage-deflate, RFC 7692).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.sending().is_compressed()
    }

    /// Returns what is known of the connection: the peer's address, the path, since when it is open, and more.
    ///
    /// `None` where it is not kept: it is with
    /// [`WebSocketLayer::connection_info`](crate::WebSocketLayer::connection_info), its like of the extractor
    /// and of the client, and where the hook has [set data](crate::Handshake::set_data). It stays when the
    /// connection has ended, as long as a handle does.
    #[must_use]
    pub fn info(&self) -> Option<&ConnectionInfo> {
        self.sending().info()
    }

    /// Returns the peer's address: [`ConnectionInfo::peer_addr`].
    ///
    /// `None` where it is not known, and where no [`info`](Self::info) is kept, as is the default.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.sending().peer_addr()
    }

    /// Returns the application's value of this type, if one was [set](Self::set_data).
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
    /// It is dropped when the connection is over and its handler has returned, whatever handles are left, so
    /// that handles may be in it; from then on nothing is kept.
    ///
    /// It costs 32 bytes and the value, without an [`info`](Self::info) about 300 more, and nothing where it
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
