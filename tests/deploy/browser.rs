//! A client that behaves as a page in a browser does.

use std::{net::SocketAddr, sync::Arc};

use http::{Request, Response, header};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tower_websocket::{
    Compression, Config, WebSocket,
    client::{Client, ConnectError, HttpVersion},
};

use crate::{Failure, HOST};

/// A browser that finds the proxy at the address of `chat.example.com`.
pub(crate) struct Browser {
    proxy: SocketAddr,
    tls: TlsConnector,
    version: HttpVersion,
}

/// An open connection.
pub(crate) struct Opened {
    pub(crate) response: Response<WebSocket>,
    /// From where it was opened.
    pub(crate) local: SocketAddr,
}

impl Browser {
    pub(crate) fn new(
        proxy: SocketAddr,
        pem: &[u8],
        version: HttpVersion,
    ) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem)?)?;
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        // What a browser offers for a connection of which it needs the one or the other.
        config.alpn_protocols = match version {
            HttpVersion::Http2 => vec![b"h2".to_vec()],
            _ => vec![b"http/1.1".to_vec()],
        };
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self {
            proxy,
            tls,
            version,
        })
    }

    /// Opens a WebSocket for a page of `origin`.
    pub(crate) async fn open(&self, path: &str, origin: &str) -> Result<Opened, ConnectError> {
        let stream = self.reach().await.map_err(ConnectError::Connect)?;
        let local = stream
            .get_ref()
            .0
            .local_addr()
            .map_err(ConnectError::Connect)?;
        let request = Request::builder()
            .uri(format!("wss://{HOST}{path}"))
            .header(header::ORIGIN, origin)
            .header(header::USER_AGENT, "Mozilla/5.0")
            .header(header::COOKIE, "session=42")
            .header(header::CACHE_CONTROL, "no-cache")
            .body(());
        let config = Config::default()
            .compression(Compression::shared())
            .ping_interval(None);
        let client = Client::new()
            .config(config)
            .http_version(self.version)
            .secured(true);
        let response = client
            .request_over(stream, request.map_err(ConnectError::Uri)?)
            .await?;
        Ok(Opened { response, local })
    }

    async fn reach(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.proxy).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(HOST).expect("the name is one");
        self.tls.connect(name, stream).await
    }
}
