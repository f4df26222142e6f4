//! What a client can be told about its way to a server.

use std::{net::IpAddr, time::Duration};

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{BoxError, Service};

use super::{
    proxy::{InvalidProxy, Proxies},
    settings::Client,
};

/// The way to a server.
impl Client {
    /// Asks a proxy for the way to every server. Default: none is asked.
    ///
    /// | scheme | how | port |
    /// | --- | --- | --- |
    /// | `http` | `CONNECT` of HTTP/1.1 (RFC 9110 §9.3.6), for `ws`, too; where none is written, it is this one | 80 |
    /// | `https` | the same over TLS: the proxy's certificate has to be one that is [trusted](Self::roots) | 443 |
    /// | `socks5` | SOCKS5 (RFC 1928); the server's name is resolved here, and the first address taken | 1080 |
    /// | `socks5h` | SOCKS5; the server's name is resolved by the proxy | 1080 |
    ///
    /// Its address may have a zone, as that of a server: `http://[fe80::1%25eth0]:3128`.
    ///
    /// User and password of the URI are told to the proxy, percent-decoded: as `Proxy-Authorization: Basic`, or as
    /// those of RFC 1929. Nothing shows them, neither an error nor `Debug`. All else is the server's: TLS, the
    /// handshake, the headers. Roots and verifier of [`tls`](Self::tls) hold for a proxy of `https`, too, but its
    /// certificate of a client is shown to the server alone.
    ///
    /// [`connect_timeout`](Self::connect_timeout) is for the whole way, and a proxy that takes too long is
    /// [`Phase::Proxy`](super::Phase::Proxy). The head of an HTTP proxy's answer may have 64 KiB. The proxy itself is
    /// reached by TCP or by the [connector](Self::connector). [`connect_over`](Self::connect_over) and its like ask
    /// none. It replaces what [`proxy_from_env`](Self::proxy_from_env) has read.
    ///
    /// ```no_run
    /// use tower_websocket::client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::new().proxy("http://user:secret@proxy.example:3128")?;
    /// let socket = client.connect("wss://example.com/chat").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The text names no such proxy.
    pub fn proxy(mut self, uri: impl AsRef<str>) -> Result<Self, InvalidProxy> {
        self.proxies = Proxies::one(uri.as_ref())?;
        Ok(self)
    }

    /// Asks the proxies that the environment names, as curl does: reads the variables now, once.
    ///
    /// The first of these that is there and not empty names the proxy, as [`proxy`](Self::proxy) takes it:
    ///
    /// - for `wss`: `wss_proxy`, `WSS_PROXY`, `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`;
    /// - for `ws`: `ws_proxy`, `WS_PROXY`, `http_proxy`, `HTTP_PROXY`, `all_proxy`, `ALL_PROXY`. A program in whose
    ///   environment there is a `REQUEST_METHOD`, as a CGI script has it, does not read `HTTP_PROXY`, which may be a
    ///   header of the request; nor `http_proxy` on Windows, where it is the same variable.
    ///
    /// `no_proxy`, or else `NO_PROXY`, names servers that are reached without, separated by commas or blanks: a name
    /// with all that is below it, with or without a leading dot; an address; a network such as `10.0.0.0/8`; or `*`
    /// for all, names and addresses. A zone, and the dot at the end of a name, make no difference.
    ///
    /// ```no_run
    /// use tower_websocket::client::Client;
    ///
    /// # fn example() -> Result<Client, tower_websocket::client::InvalidProxy> {
    /// Client::new().proxy_from_env()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A variable that would be used names no proxy: the error names it. Nothing is connected to without the proxy
    /// that somebody wanted.
    pub fn proxy_from_env(mut self) -> Result<Self, InvalidProxy> {
        self.proxies = Proxies::environment()?;
        Ok(self)
    }

    /// Makes the streams below with a service, in place of TCP: for names that are resolved otherwise, Unix sockets,
    /// a network in memory, or a way of one's own.
    ///
    /// It is asked for each connection, once it is ready, with a clone; for
    /// [`reconnect`](Self::reconnect) and [`connect_http2`](Self::connect_http2), too, and where a
    /// [`proxy`](Self::proxy) is set for the way to that. It has the [`connect_timeout`](Self::connect_timeout); where
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
    /// A function is one, too, with `service_fn` around it; the type of its errors has to be said:
    ///
    /// ```no_run
    /// use std::io;
    /// use http::Uri;
    /// use tokio::net::TcpStream;
    /// use tower::service_fn;
    /// use tower_websocket::client::Client;
    ///
    /// let client = Client::new().connector(service_fn(async |uri: Uri| {
    ///     let host = uri.host().unwrap_or_default();
    ///     let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    ///     stream.set_nodelay(true)?;
    ///     Ok::<_, io::Error>(stream)
    /// }));
    /// ```
    ///
    /// So is one that leads to a Unix socket:
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
    /// is used where it is set, and any other means HTTP/1.1. Over TCP and through a [`proxy`](Self::proxy) TLS is
    /// done in any case.
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
