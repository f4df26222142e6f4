//! What the examples with a TLS port share: a server for HTTP/1.1 and HTTP/2.

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use tower::{BoxError, Service};

/// A listener, with TLS or without.
pub(crate) struct Port {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Port {
    pub(crate) async fn plain(address: &str) -> Result<Self, BoxError> {
        Ok(Self {
            listener: listen(address).await?,
            tls: None,
        })
    }

    /// TLS with a certificate made on the spot, and HTTP/2 offered by ALPN.
    pub(crate) async fn tls(address: &str) -> Result<Self, BoxError> {
        let names = [
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let certificate = rcgen::generate_simple_self_signed(names)?;
        let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.cert.der().clone()],
                PrivateKeyDer::from(key),
            )?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tls = Some(TlsAcceptor::from(Arc::new(config)));
        Ok(Self {
            listener: listen(address).await?,
            tls,
        })
    }

    pub(crate) fn address(&self) -> Result<SocketAddr, BoxError> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves `app` to every client, forever.
    pub(crate) async fn serve<S, B>(self, app: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        loop {
            let Ok((stream, _peer)) = self.listener.accept().await else {
                // Out of descriptors, most likely: others have to end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            tokio::spawn(connection(stream, self.tls.clone(), app.clone()));
        }
    }
}

async fn listen(address: &str) -> Result<TcpListener, BoxError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("cannot listen on {address}: {error}").into())
}

async fn connection<S, B>(stream: TcpStream, tls: Option<TlsAcceptor>, app: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let _unsupported = stream.set_nodelay(true);
    let result = match tls {
        None => http(stream, app).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => http(stream, app).await,
            Ok(Err(_)) | Err(_) => Ok(()),
        },
    };
    // A client that leaves is no news.
    let _gone = result;
}

async fn http<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: S,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server
        .http2()
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .keep_alive_interval(Duration::from_secs(20));
    server
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(app))
        .await
}

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
