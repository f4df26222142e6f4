//! What a client can be told about its way to a server.

use std::{net::IpAddr, time::Duration};

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{BoxError, Service};

use super::settings::Client;

/// The way to a server.
impl Client {
    /// Makes the streams below with a service, in place of TCP: for names that are resolved otherwise, Unix sockets,
    /// a network in memory, or a way of one's own.
    ///
    /// It is asked for each connection, once it is ready, with a clone; for
    /// [`reconnect`](Self::reconnect) and [`connect_http2`](Self::connect_http2), too. It has the [`connect_timeout`](Self::connect_timeout); where
    /// it fails, so does the connection, with [`ConnectError::Connect`](super::ConnectError::Connect). Fail with an
    /// [`io::Error`](std::io::Error) of the kind `InvalidInput` or `Unsupported` where trying again makes no sense.
    ///
    /// What it is asked for is `http://host:port/`, for `wss`, too, for TLS is done over what it returns: unless that
    /// [is secured](Self::secured), and then it is asked for `https://host:port/` for `wss`.
    /// [`local_address`](Self::local_address) and [`tcp_keepalive`](Self::tcp_keepalive) are for the TCP that it
    /// replaces. The connectors of hyper are such services, once their streams are tokio's:
    ///
    /// ```no_run
    /// use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
    /// use tower::ServiceExt;
    /// use tower_websocket::client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut connector = HttpConnector::new();
    /// connector.set_nodelay(true);
    /// let client = Client::new().connector(connector.map_response(TokioIo::into_inner));
    /// // A connector whose streams are not tokio's underneath is wrapped instead: `map_response(TokioIo::new)`.
    /// let socket = client.connect("wss://example.com/chat").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A function is one, too:
    ///
    /// ```no_run
    /// use tokio::net::UnixStream;
    /// use tower::service_fn;
    /// use tower_websocket::client::Client;
    ///
    /// let client = Client::new().connector(service_fn(|_| UnixStream::connect("/run/chat")));
    /// ```
    #[must_use]
    pub fn connector<C>(mut self, connector: C) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        self.connector.replace(connector);
        self
    }

    /// Says that the streams of the application have TLS already, where the URI wants it: none is done over those of
    /// a [connector](Self::connector), and of [`connect_over`](Self::connect_over) and its like. Default: `false`.
    ///
    /// The server's choice of a version of HTTP is not seen then: [`HttpVersion::Http2`](super::HttpVersion::Http2)
    /// is used where it is set, and any other means HTTP/1.1. Over TCP TLS is done in any case.
    #[must_use]
    pub fn secured(mut self, secured: bool) -> Self {
        self.secured = secured;
        self
    }

    /// Connects from this address of the machine. Default: the system's choice.
    ///
    /// Only servers with addresses of the same kind, IPv4 or IPv6, are reached then.
    #[must_use]
    pub fn local_address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.connector.tcp.local_address = address.into();
        self
    }

    /// Has the kernel probe a TCP connection on which nothing has come for so long, and as often again while no
    /// answer comes; after the third probe it counts as broken. Default: `None`, no probes.
    ///
    /// In whole seconds: what is less than one asks for none. The pings of
    /// [`Config::ping_interval`](crate::Config::ping_interval) find a lost server, too, and one that hangs; probes
    /// keep what stands between, as a NAT, from forgetting a connection whose pings are off.
    #[must_use]
    pub fn tcp_keepalive(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.connector.tcp.keepalive = after.into().filter(|after| after.as_secs() > 0);
        self
    }
}
