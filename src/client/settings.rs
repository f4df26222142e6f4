//! A client, and what it can be told.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{connector::Connector, proxy::Proxies, version::HttpVersion};
use crate::{
    config::Config,
    session::{ConnectionInfo, SessionReport, Setup, params::PathParams},
    trust::Trust,
};

/// Connects to servers.
///
/// Clones are cheap. A connection keeps the settings it was made with.
///
/// ```no_run
/// use std::time::Duration;
/// use http::header::{AUTHORIZATION, HeaderValue};
/// use tower_websocket::{Compression, Config, client::{Client, HttpVersion}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::default()
///     .subprotocols(["chat.v2", "chat.v1"])
///     .compression(Compression::shared())
///     .max_message_size(16 << 20);
/// let client = Client::new()
///     .config(config)
///     .header(AUTHORIZATION, HeaderValue::from_static("Bearer 1234"))
///     .http_version(HttpVersion::Negotiated)
///     .connect_timeout(Duration::from_secs(3))
///     .tls_timeout(Duration::from_secs(3))
///     .handshake_timeout(Duration::from_secs(5))
///     .tcp_keepalive(Duration::from_secs(60))
///     .connection_info(true)
///     .on_end(|report| println!("{report:?}"));
/// let socket = client.connect("wss://example.com/chat").await?;
/// assert_eq!(socket.subprotocol(), Some("chat.v2"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) setup: Arc<Setup>,
    pub(super) headers: HeaderMap,
    pub(super) trust: Trust,
    pub(super) version: HttpVersion,
    pub(super) connector: Connector,
    pub(super) proxies: Proxies,
    pub(super) secured: bool,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) tls_timeout: Option<Duration>,
    pub(super) handshake_timeout: Option<Duration>,
    pub(super) keeps_info: bool,
}

/// Settings.
impl Client {
    /// Makes a client with default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets limits, deadlines, compression and subprotocols of the sockets.
    ///
    /// Settings that only a server uses, such as [`Config::origin`], have no effect. Default: [`Config::default`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        Arc::make_mut(&mut self.setup).config = config;
        self
    }

    /// Adds a header to every handshake, after those of the same name.
    ///
    /// A request that has the header itself keeps its own. The handshake's own headers cannot be
    /// set this way. Default: none.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the version of HTTP.
    ///
    /// Default: [`HttpVersion::Http1`].
    #[must_use]
    pub fn http_version(mut self, version: HttpVersion) -> Self {
        self.version = version;
        self
    }

    /// Trusts the servers with certificates from these roots.
    ///
    /// Default: those that the platform trusts, which are read once in a process.
    ///
    /// It replaces what [`add_root_pem`](Self::add_root_pem) added before. TLS uses the process's default
    /// `CryptoProvider` of rustls at the time when this client or a clone of it connects first. If there is none, it
    /// uses ring if the feature `ring` is enabled, as it is by default. An
    /// application that also builds its own rustls configurations should take `tokio-rustls` with
    /// `default-features = false` and `ring`, or call `CryptoProvider::install_default`: with two
    /// providers compiled in and none chosen, rustls' own builders panic.
    #[must_use]
    pub fn roots(mut self, roots: impl Into<Arc<RootCertStore>>) -> Self {
        self.trust = Trust::roots(roots);
        self
    }

    /// Trusts the certificates of a PEM text, too.
    ///
    /// They are trusted beside those of the platform, or beside [`roots`](Self::roots) set before.
    /// Use it for a server whose certificate is signed by an authority of your own, or by itself. The latter must not be an
    /// authority's, as openssl makes them by default: `openssl req -x509 -addext
    /// basicConstraints=critical,CA:FALSE` makes one that is not. The text may have several
    /// certificates; anything else in it is skipped.
    ///
    /// On Android, the platform's verifier takes no other roots: it works beside [`roots`](Self::roots) alone there.
    /// Without them every TLS handshake fails with an error that says so.
    ///
    /// ```no_run
    /// use tower_websocket::client::Client;
    ///
    /// # fn example() -> std::io::Result<Client> {
    /// Client::new().add_root_pem(std::fs::read("ca.pem")?)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) if the text has no certificate, or one that is
    /// malformed; [`InvalidInput`](io::ErrorKind::InvalidInput) after [`tls`](Self::tls), whose
    /// configuration has roots of its own.
    pub fn add_root_pem(mut self, pem: impl AsRef<[u8]>) -> io::Result<Self> {
        self.trust.add_pem(pem.as_ref())?;
        Ok(self)
    }

    /// Sets the TLS configuration, for client certificates and more.
    ///
    /// Its `alpn_protocols` are replaced by those of [`http_version`](Self::http_version). It replaces the
    /// [`roots`](Self::roots) set and those [added](Self::add_root_pem) before.
    ///
    /// Its roots and its verifier also apply to a [`proxy`](Self::proxy) of `https`. The client certificate does not:
    /// only the server gets it.
    #[must_use]
    pub fn tls(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.trust = Trust::Given(config.into());
        self
    }

    /// Limits the time to resolve the name and to connect, also through a proxy.
    ///
    /// After that it fails with [`ConnectError::Timeout`](super::ConnectError::Timeout). `None` means
    /// no limit, and zero fails as soon as there is something to wait for. This applies to the other two
    /// timeouts, too. Default: 10 seconds.
    ///
    /// If a name has several addresses, IPv6 and IPv4 are tried side by side.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = timeout.into();
        self
    }

    /// Limits the time of the TLS handshake.
    ///
    /// Default: 10 seconds.
    #[must_use]
    pub fn tls_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.tls_timeout = timeout.into();
        self
    }

    /// Limits the time from the first byte of HTTP to the head of the response.
    ///
    /// The body of a refusal has at most a second of that: see
    /// [`ConnectError::Rejected`](super::ConnectError::Rejected). Default: 10 seconds.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake_timeout = timeout.into();
        self
    }

    /// Keeps what is known of each connection as its [`ConnectionInfo`].
    ///
    /// [`WebSocket::info`](crate::WebSocket::info) and the [`SessionReport`] return it. It takes about 250 bytes per
    /// connection, and the path. Default: `false`.
    #[must_use]
    pub fn connection_info(mut self, keep: bool) -> Self {
        self.keeps_info = keep;
        self
    }

    /// Calls `hook` with one [`SessionReport`] per socket, when its transport has ended.
    #[must_use]
    pub fn on_end(mut self, hook: impl Fn(&SessionReport) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.setup).on_end = Some(Arc::new(hook));
        self
    }
}

impl Client {
    /// Offers no subprotocols but those of a request.
    pub(crate) fn without_subprotocols(mut self) -> Self {
        Arc::make_mut(&mut self.setup).config.subprotocols = [].into();
        self
    }

    /// Makes what a connection keeps of its request, if it is to keep that.
    pub(super) fn info(&self, peer: Option<SocketAddr>, head: &Parts) -> Option<ConnectionInfo> {
        let path = head.uri.path();
        let info = || ConnectionInfo::new(peer, path, PathParams::default(), head.version);
        self.keeps_info.then(info)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            setup: Arc::new(Setup::client()),
            headers: HeaderMap::new(),
            trust: Trust::default(),
            version: HttpVersion::default(),
            connector: Connector::default(),
            proxies: Proxies::default(),
            secured: false,
            connect_timeout: Some(PHASE_TIMEOUT),
            tls_timeout: Some(PHASE_TIMEOUT),
            handshake_timeout: Some(PHASE_TIMEOUT),
            keeps_info: false,
        }
    }
}

/// The default of every phase's time.
const PHASE_TIMEOUT: Duration = Duration::from_secs(10);
