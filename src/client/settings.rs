//! What a client can be told.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Client, HTTP1, HTTP2, tls::Trust};
use crate::{
    config::Config,
    session::{Report, Setup},
};

/// Settings.
impl Client {
    /// Makes a client with default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets limits, deadlines, compression and subprotocols of the sockets. Default:
    /// [`Config::default`].
    ///
    /// What a server decides by, such as [`Config::origin`], has no meaning here.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        Arc::make_mut(&mut self.setup).config = config;
        self
    }

    /// Adds a header to every handshake, behind those of the same name. Default: none.
    ///
    /// A request that has the header itself keeps its own. The handshake's own headers cannot be
    /// set.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the version of HTTP. Default: [`HttpVersion::Http1`].
    #[must_use]
    pub fn http_version(mut self, version: HttpVersion) -> Self {
        self.version = version;
        self
    }

    /// Trusts the servers with certificates from these roots. Default: those the platform trusts,
    /// which are read once in a process.
    ///
    /// TLS is done by the process's default `CryptoProvider` of rustls, and by ring where there is
    /// none. Whoever builds configurations of rustls beside it takes `tokio-rustls` with
    /// `default-features = false` and `ring`, or calls `CryptoProvider::install_default`: with two
    /// providers compiled in and none chosen rustls' own builders panic.
    #[must_use]
    pub fn roots(mut self, roots: impl Into<Arc<RootCertStore>>) -> Self {
        self.trust = Trust::roots(roots);
        self
    }

    /// Does TLS by these settings, for client certificates and more. Its `alpn_protocols` are
    /// replaced by what [`http_version`](Self::http_version) asks for.
    #[must_use]
    pub fn tls(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.trust = Trust::Given(config.into());
        self
    }

    /// Limits the time to resolve the name and to connect. Default: 10 seconds.
    ///
    /// Then it fails with [`ConnectError::Timeout`](super::ConnectError::Timeout). `None` means no
    /// limit, and zero leaves no time for anything that has to be waited for; both hold for the
    /// other two timeouts, too.
    ///
    /// Where a name has several addresses, IPv6 and IPv4 are tried side by side.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = timeout.into();
        self
    }

    /// Limits the time of the TLS handshake. Default: 10 seconds.
    #[must_use]
    pub fn tls_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.tls_timeout = timeout.into();
        self
    }

    /// Limits the time from the first byte of HTTP to the head of the answer. Default: 10 seconds.
    ///
    /// The body of a refusal is waited for no longer than that, nor than a second: see
    /// [`ConnectError::Refused`](super::ConnectError::Refused).
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake_timeout = timeout.into();
        self
    }

    /// Hands one [`Report`] per socket to `hook`, when its transport has ended.
    #[must_use]
    pub fn on_end(mut self, hook: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.setup).on_end = Some(Arc::new(hook));
        self
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            setup: Arc::new(Setup::client()),
            headers: HeaderMap::new(),
            trust: Trust::default(),
            version: HttpVersion::default(),
            connect_timeout: Some(PHASE_TIMEOUT),
            tls_timeout: Some(PHASE_TIMEOUT),
            handshake_timeout: Some(PHASE_TIMEOUT),
        }
    }
}

/// Which HTTP a connection is opened with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.1: a TCP connection for each socket, understood by every server.
    #[default]
    Http1,
    /// HTTP/2, over TLS announced as such, over TCP by prior knowledge. [`Client::http2`] has many
    /// sockets over one connection.
    Http2,
    /// What the server prefers, told in the TLS handshake (ALPN). A server that has HTTP/2 without
    /// WebSocket, or requires HTTP/1.1 for it (RFC 9113 §7), is connected to again, with HTTP/1.1.
    /// Without TLS it is HTTP/1.1.
    Negotiated,
}

impl HttpVersion {
    pub(super) fn alpn(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[HTTP1],
            Self::Http2 => &[HTTP2],
            Self::Negotiated => &[HTTP2, HTTP1],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// The default of every phase's time.
const PHASE_TIMEOUT: Duration = Duration::from_secs(10);
