//! What a server can be told to listen on.

use std::{
    fmt,
    future::{Future, ready},
    io,
    net::SocketAddr,
};

use tokio::net::{TcpListener, ToSocketAddrs};

use super::listener::Listener;

/// What [`serve`](fn@crate::serve) listens on: a [`Listener`], or what one is made of.
///
/// An address, as text or as a [`SocketAddr`], is bound when the server is awaited or
/// [bound](super::Serve::bind). A name in it is looked up. Listeners of the standard library are used as they
/// are, such as one that systemd, or another process, has handed over:
///
/// ```
/// use std::{io, net::TcpListener};
/// # /*
/// use listenfd::ListenFd;
/// # */
/// # struct ListenFd;
/// # impl ListenFd {
/// #     fn from_env() -> Self { Self }
/// #     fn take_tcp_listener(&mut self, _: usize) -> io::Result<Option<TcpListener>> { Ok(None) }
/// # }
///
/// /// The socket of systemd's `.socket` unit (`LISTEN_FDS`), by the crate `listenfd`, or one of our own.
/// fn listener() -> io::Result<TcpListener> {
///     match ListenFd::from_env().take_tcp_listener(0)? {
///         Some(inherited) => Ok(inherited),
///         None => TcpListener::bind("127.0.0.1:8080"),
///     }
/// }
///
/// # async fn run(app: axum::Router) -> io::Result<()> {
/// tower_websocket::serve(listener()?, app).await?;
/// # Ok(())
/// # }
/// ```
pub trait Listen {
    /// The listener it becomes.
    type Listener: Listener;

    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// The address is malformed, cannot be looked up, or is in use; the error names it.
    fn listen(self) -> impl Future<Output = io::Result<Self::Listener>> + Send + 'static;
}

impl<L: Listener> Listen for L {
    type Listener = L;

    fn listen(self) -> impl Future<Output = io::Result<L>> + Send + 'static {
        ready(Ok(self))
    }
}

impl Listen for &str {
    type Listener = TcpListener;

    fn listen(self) -> impl Future<Output = io::Result<TcpListener>> + Send + 'static {
        bind(self.to_owned())
    }
}

impl Listen for String {
    type Listener = TcpListener;

    fn listen(self) -> impl Future<Output = io::Result<TcpListener>> + Send + 'static {
        bind(self)
    }
}

impl Listen for &String {
    type Listener = TcpListener;

    fn listen(self) -> impl Future<Output = io::Result<TcpListener>> + Send + 'static {
        bind(self.clone())
    }
}

impl Listen for SocketAddr {
    type Listener = TcpListener;

    fn listen(self) -> impl Future<Output = io::Result<TcpListener>> + Send + 'static {
        bind(self)
    }
}

impl Listen for std::net::TcpListener {
    type Listener = TcpListener;

    fn listen(self) -> impl Future<Output = io::Result<TcpListener>> + Send + 'static {
        adopt(self)
    }
}

#[cfg(unix)]
impl Listen for std::os::unix::net::UnixListener {
    type Listener = tokio::net::UnixListener;

    fn listen(self) -> impl Future<Output = io::Result<Self::Listener>> + Send + 'static {
        adopt_unix(self)
    }
}

/// Binds an address, and says which one it was if it cannot.
async fn bind<A: ToSocketAddrs + fmt::Display>(address: A) -> io::Result<TcpListener> {
    match TcpListener::bind(&address).await {
        Ok(listener) => Ok(listener),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("cannot listen on {address}: {error}"),
        )),
    }
}

/// Takes over a listener, in the runtime that is there once it is polled.
async fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

#[cfg(unix)]
async fn adopt_unix(
    listener: std::os::unix::net::UnixListener,
) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}
