//! Where connections come from, and what goes wrong there.

use std::{
    future::Future,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use http::Extensions;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::sleep,
};

use crate::{
    service::PeerAddr,
    session::{UNSENT_SHARED, set_notsent_lowat},
};

/// The source of connections for [`serve`](fn@crate::serve): TCP, Unix sockets, and other types that implement it.
///
/// ```
/// use std::{io, net::SocketAddr};
/// use http::Extensions;
/// use tokio::net::{TcpListener, TcpStream};
/// use tower_websocket::{serve::Listener, service::PeerAddr};
///
/// /// Accepts clients of this machine only.
/// struct Local(TcpListener);
///
/// impl Listener for Local {
///     type Io = TcpStream;
///     type Addr = SocketAddr;
///
///     async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
///         loop {
///             let (stream, address) = Listener::accept(&mut self.0).await?;
///             if address.ip().is_loopback() {
///                 return Ok((stream, address));
///             }
///         }
///     }
///
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
///
///     fn extend(address: &SocketAddr, extensions: &mut Extensions) {
///         extensions.insert(PeerAddr(*address));
///     }
///
///     fn tcp(stream: &TcpStream) -> Option<&TcpStream> {
///         Some(stream)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a server can listen on",
    label = "no address and no listener",
    note = "it may be an address, such as \"127.0.0.1:8080\", a TCP or Unix listener of tokio or of the \
            standard library, or whatever implements `serve::Listener`"
)]
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// An address, the client's or the listener's own.
    type Addr: Clone + Send + Sync + 'static;

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// The kind of the error decides what `serve` does. It continues after a connection that failed before it
    /// was accepted ([`ConnectionAborted`](ErrorKind::ConnectionAborted),
    /// [`ConnectionReset`](ErrorKind::ConnectionReset) and the like), ends after
    /// [`InvalidInput`](ErrorKind::InvalidInput), and calls again after a pause for any other kind.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the server stops, and at no other time.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;

    /// Returns the address that it listens on.
    ///
    /// # Errors
    ///
    /// The address is not known.
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// Puts the client's address among the extensions of a request.
    ///
    /// Default: the address itself. TCP wraps it in [`PeerAddr`].
    fn extend(address: &Self::Addr, extensions: &mut Extensions) {
        extensions.insert(address.clone());
    }

    /// Replaces the address of a connection by the client's that a proxy has announced.
    ///
    /// See [`Serve::proxy_protocol`](super::Serve::proxy_protocol). Default: the address stays. TCP replaces it. The
    /// requests have the announced one as [`PeerAddr`] in any case.
    fn announce(address: &mut Self::Addr, client: SocketAddr) {
        let _ = (address, client);
    }

    /// Returns the TCP connection below a connection, to set options of its socket.
    ///
    /// They are those of [`Serve::tcp_keepalive`](super::Serve::tcp_keepalive) and
    /// [`Serve::tcp_user_timeout`](super::Serve::tcp_user_timeout). Default: `None`, so that nothing is set.
    fn tcp(io: &Self::Io) -> Option<&TcpStream> {
        let _ = io;
        None
    }
}

/// Sets `TCP_NODELAY` on every connection and, on Linux and Android, `TCP_NOTSENT_LOWAT` to 128 KiB. A
/// WebSocket that has a TCP connection to itself and sends much raises it to 1 MiB, which is quicker.
///
/// The second option limits what waits in the kernel unsent. Without it up to 4 MiB do, which a
/// slow line takes minutes to carry. Until then pings, Close frames and the small messages of other
/// HTTP/2 streams wait behind them, and a slow peer looks like one that has gone. A
/// listener of your own for TCP should set both:
///
/// ```
/// # #[cfg(target_os = "linux")]
/// fn configure(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
///     stream.set_nodelay(true)?;
///     socket2::SockRef::from(stream).set_tcp_notsent_lowat(128 << 10)
/// }
/// ```
impl Listener for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = Self::accept(self).await?;
        // A client that has gone is noticed later.
        let _gone = stream.set_nodelay(true);
        let _elsewhere = set_notsent_lowat(&stream, UNSENT_SHARED);
        Ok((stream, address))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }

    fn extend(address: &SocketAddr, extensions: &mut Extensions) {
        extensions.insert(PeerAddr(*address));
    }

    fn announce(address: &mut SocketAddr, client: SocketAddr) {
        *address = client;
    }

    fn tcp(io: &TcpStream) -> Option<&TcpStream> {
        Some(io)
    }
}

/// The file stays after the server has stopped: remove it before binding again. The address,
/// `tokio::net::unix::SocketAddr`, is among the extensions of each request.
#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        Self::accept(self).await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Self::local_addr(self)
    }
}

/// Waits for a connection, whatever happens to others.
///
/// # Errors
///
/// The listener does not listen.
pub(super) async fn accept<L: Listener>(listener: &mut L) -> io::Result<(L::Io, L::Addr)> {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match listener.accept().await {
            Ok(accepted) => return Ok(accepted),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::InvalidInput => {
                tracing::error!(%error, "the listener does not listen: the server stops");
                return Err(error);
            }
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted => {
                tracing::debug!(%error, "a connection failed before it was accepted");
                yield_now().await;
            }
            _ => {
                tracing::error!(%error, ?pause, "no connection can be accepted: see `troubleshooting#descriptors-used-up`");
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

/// For how long nothing is accepted when descriptors or memory are out; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
