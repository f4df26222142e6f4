//! What a client can be told about its way to a server.

use std::{net::IpAddr, time::Duration};

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{BoxError, Service};

use super::{
    proxy::{InvalidProxy, Proxies},
    settings::Client,
};

/// How a server is reached.
impl Client {
    /// Connects to every server through a proxy.
    ///
    /// Default: no proxy.
    ///
    /// | scheme | how | port |
    /// | --- | --- | --- |
    /// | `http`, or none | `CONNECT` of HTTP/1.1 (RFC 9110 §9.3.6), for `ws`, too | 80 |
    /// | `https` | the same over TLS: the proxy's certificate has to be one that is [trusted](Self::roots) | 443 |
    /// | `socks5` | SOCKS5 (RFC 1928); the server's name is resolved here, and the first address taken | 1080 |
    /// | `socks5h` | SOCKS5; the server's name is resolved by the proxy | 1080 |
    ///
    /// Its address may have a zone, as that of a server: `http://[fe80::1%25eth0]:3128`.
    ///
    /// User and password of the URI are sent to the proxy, percent-decoded: as `Proxy-Authorization: Basic`, or as
    /// those of RFC 1929. Nothing shows them, neither an error nor `Debug`. Everything else is for the server: TLS,
    /// the handshake, the headers. Roots and verifier of [`tls`](Self::tls) also apply to a proxy of `https`, but
    /// only the server gets the client certificate.
    ///
    /// [`connect_timeout`](Self::connect_timeout) limits the whole way, and a proxy that takes too long is
    /// [`Phase::Proxy`](super::Phase::Proxy). The head of an HTTP proxy's response may have 64 KiB. The proxy itself is
    /// reached by TCP or by the [connector](Self::connector). [`connect_over`](Self::connect_over) and its like use
    /// no proxy. A later call of this, or of [`proxy_from_env`](Self::proxy_from_env), replaces the earlier one.
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

    /// Connects through the proxies that the environment names, as curl does.
    ///
    /// The variables are read now, once. The first of these that is set and not empty names the proxy, as
    /// [`proxy`](Self::proxy) takes it:
    ///
    /// - for `wss`: `wss_proxy`, `WSS_PROXY`, `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`;
    /// - for `ws`: `ws_proxy`, `WS_PROXY`, `http_proxy`, `HTTP_PROXY`, `all_proxy`, `ALL_PROXY`. A program in whose
    ///   environment there is a `REQUEST_METHOD`, as a CGI script has it, does not read `HTTP_PROXY`, which may be a
    ///   header of the request; nor `http_proxy` on Windows, where it is the same variable.
    ///
    /// `no_proxy`, or otherwise `NO_PROXY`, names servers that are reached without a proxy, separated by commas or
    /// blanks: a name with all names below it, with or without a leading dot; an address; a network such as
    /// `10.0.0.0/8`; or `*` for all, names and addresses. A zone, and the dot at the end of a name, make no difference.
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
    /// A variable that would be used names no proxy: the error names the variable. So a client never connects
    /// without the proxy that the environment asks for.
    pub fn proxy_from_env(mut self) -> Result<Self, InvalidProxy> {
        self.proxies = Proxies::environment()?;
        Ok(self)
    }

    /// Makes the streams below with a service, instead of TCP.
    ///
    /// Use it for names that are resolved in another way, Unix sockets, a network in memory, or a way of your own.
    ///
    /// A clone of it is called for each connection, once it is ready. This includes
    /// [`reconnect`](Self::reconnect), [`connect_http2`](Self::connect_http2), and the way to a
    /// [`proxy`](Self::proxy) if one is set. It has the [`connect_timeout`](Self::connect_timeout). If
    /// it fails, so does the connection, with [`ConnectError::Connect`](super::ConnectError::Connect). Fail with an
    /// [`io::Error`](std::io::Error) of the kind `InvalidInput` or `Unsupported` if trying again makes no sense.
    ///
    /// It is called with `http://host:port/`, for `wss`, too, since TLS is done over what it returns. If that
    /// [is secured](Self::secured), it is called with `https://host:port/` for `wss`.
    /// [`local_address`](Self::local_address) and [`tcp_keepalive`](Self::tcp_keepalive) apply only to the TCP that it
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
    /// `service_fn` makes such a service of a function; name the type of its errors:
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

    /// Disables TLS over the application's streams, which have it already if the URI wants it.
    ///
    /// These are the streams of a [connector](Self::connector), and of [`connect_over`](Self::connect_over) and its like.
    /// The client does not see the server's choice of a version of HTTP then:
    /// [`HttpVersion::Http2`](super::HttpVersion::Http2) is used if it is set, and any other means HTTP/1.1. Over TCP and
    /// through a [`proxy`](Self::proxy) TLS is done in any case. Default: `false`.
    #[must_use]
    pub fn secured(mut self, secured: bool) -> Self {
        self.secured = secured;
        self
    }

    /// Connects from this address of the machine.
    ///
    /// Only servers with addresses of the same kind, IPv4 or IPv6, are reached then. Default: the system's choice.
    #[must_use]
    pub fn local_address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.connector.tcp.local_address = address.into();
        self
    }

    /// Enables probes of the kernel on a TCP connection on which nothing has arrived for this long.
    ///
    /// They are repeated after the same time while no answer arrives; after the third probe the connection counts as
    /// broken. Default: `None`, no probes.
    ///
    /// The time is in whole seconds; less than one disables the probes. The pings of
    /// [`Config::ping_interval`](crate::Config::ping_interval) find a lost server, too, and one that hangs. Probes
    /// keep what stands between, such as a NAT, from forgetting a connection whose pings are disabled.
    #[must_use]
    pub fn tcp_keepalive(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.connector.tcp.keepalive = after.into().filter(|after| after.as_secs() > 0);
        self
    }
}
