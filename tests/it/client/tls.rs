//! TLS, and the version of HTTP that is agreed on in it.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, routing::any};
use bytes::Bytes;
use h2::Reason;
use http::Version;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use tower_websocket::{
    WebSocketLayer,
    client::{Client, ConnectError, HttpVersion},
};

use crate::support::{Log, Pen, close, echo, echoes, handler, within};

/// A server with TLS, which tells what it is asked for.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) certificate: CertificateDer<'static>,
    /// The name and the version of HTTP of each connection.
    log: Log<(Option<String>, Option<Vec<u8>>)>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(alpn: &[&str], extended_connect: bool) -> Self {
        Self::with(certified(alpn), extended_connect).await
    }

    /// Starts with the certificate of an authority, as `openssl req -x509` makes them.
    pub(super) async fn authority(alpn: &[&str]) -> Self {
        let any = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::with(signed(alpn, any), true).await
    }

    async fn with(
        (certificate, config): (CertificateDer<'static>, ServerConfig),
        extended_connect: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (pen, log) = Log::new();
        let task = tokio::spawn(serve(listener, config, extended_connect, pen));
        Self {
            address,
            certificate,
            log,
            task,
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    pub(super) fn client(&self, version: HttpVersion) -> Client {
        Client::new().roots(self.roots()).http_version(version)
    }

    pub(super) fn uri(&self, host: &str) -> String {
        format!("wss://{host}:{}/", self.address.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A certificate, and the settings of a server that has it.
pub(super) fn certified(alpn: &[&str]) -> (CertificateDer<'static>, ServerConfig) {
    signed(alpn, IsCa::NoCa)
}

fn signed(alpn: &[&str], is_ca: IsCa) -> (CertificateDer<'static>, ServerConfig) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut certificate = CertificateParams::new(names).unwrap();
    certificate.is_ca = is_ca;
    let key = KeyPair::generate().unwrap();
    let certificate = certificate.self_signed(&key).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from(key))
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    (certificate, config)
}

async fn serve(
    listener: TcpListener,
    config: ServerConfig,
    extended_connect: bool,
    pen: Pen<(Option<String>, Option<Vec<u8>>)>,
) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let layer = WebSocketLayer::new(handler(echo));
    let app = Router::new().route("/", any(async || "a page").layer(layer));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(stream) = acceptor.accept(stream).await else {
            continue;
        };
        let tls = stream.get_ref().1;
        pen.write((
            tls.server_name().map(str::to_owned),
            tls.alpn_protocol().map(<[u8]>::to_vec),
        ));
        let app = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            if extended_connect {
                server.http2().enable_connect_protocol();
            }
            let _gone = server
                .serve_connection_with_upgrades(TokioIo::new(stream), app)
                .await;
        });
    }
}

pub(super) const BOTH: &[&str] = &["h2", "http/1.1"];
const ONE: &[&str] = &["http/1.1"];
const TWO: &[&str] = &["h2"];
const H2: Option<&str> = Some("h2");
const H1: Option<&str> = Some("http/1.1");

#[tokio::test]
async fn version_of_http_is_agreed_on() {
    use HttpVersion::{Http1, Http2, Negotiated};
    type Case<'a> = (HttpVersion, &'a [&'a str], bool, &'a [Option<&'a str>]);
    let cases: [Case<'_>; 10] = [
        (Http1, BOTH, true, &[H1]),
        (Http1, ONE, true, &[H1]),
        (Http1, &[], true, &[None]),
        (Http2, BOTH, true, &[H2]),
        (Http2, TWO, true, &[H2]),
        (Negotiated, BOTH, true, &[H2]),
        (Negotiated, TWO, true, &[H2]),
        (Negotiated, ONE, true, &[H1]),
        (Negotiated, &[], true, &[None]),
        // HTTP/2 without WebSocket: a second connection.
        (Negotiated, BOTH, false, &[H2, H1]),
    ];
    for (version, alpn, extended_connect, expected) in cases {
        let mut server = Server::start(alpn, extended_connect).await;
        let client = server.client(version);
        let response = within(client.request(server.uri("localhost")))
            .await
            .unwrap();
        let by_http2 = expected.last() == Some(&H2);
        assert_eq!(
            response.version() == Version::HTTP_2,
            by_http2,
            "{version:?}, {alpn:?}"
        );
        let mut socket = response.into_body();
        within(echoes(&mut socket, &"x".repeat(100_000))).await;
        within(close(socket)).await;
        for expected in expected {
            let (_, found) = within(server.log.next()).await;
            let expected = expected.map(|name| name.as_bytes().to_vec());
            assert_eq!(found, expected, "{version:?}, {alpn:?}");
        }
    }
}

#[tokio::test]
async fn http2_that_is_not_to_be_had_is_told() {
    for alpn in [ONE, &[]] {
        let server = Server::start(alpn, true).await;
        let client = server.client(HttpVersion::Http2);
        let error = within(client.connect(server.uri("localhost")))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::NoHttp2),
            "{alpn:?}: {error:?}"
        );
        let error = within(client.connect_http2(server.uri("localhost")))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::NoHttp2),
            "{alpn:?}: {error:?}"
        );
    }
    let server = Server::start(BOTH, false).await;
    let client = server.client(HttpVersion::Http2);
    let error = within(client.connect(server.uri("localhost")))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::NoExtendedConnect),
        "{error:?}"
    );
    let error = within(client.connect_http2(server.uri("localhost")))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::NoExtendedConnect),
        "{error:?}"
    );
}

#[tokio::test]
async fn server_of_another_version_is_an_error_of_tls() {
    let server = Server::start(TWO, true).await;
    let client = server.client(HttpVersion::Http1);
    let error = within(client.connect(server.uri("localhost")))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn certificate_is_checked() {
    let server = Server::start(BOTH, true).await;
    let stranger = Server::start(BOTH, true).await;
    for version in [
        HttpVersion::Http1,
        HttpVersion::Http2,
        HttpVersion::Negotiated,
    ] {
        // Neither one of nobody known nor one for another name is taken.
        let unknown = stranger
            .client(version)
            .connect(server.uri("localhost"))
            .await;
        let error = unknown.unwrap_err();
        assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
        let misnamed = server
            .client(version)
            .connect(server.uri("127.1.2.3"))
            .await;
        let error = misnamed.unwrap_err();
        assert!(
            matches!(error, ConnectError::Connect(_) | ConnectError::Tls(_)),
            "{error:?}"
        );
    }
    let one = Client::new().roots(RootCertStore::empty());
    let error = one
        .connect_http2(server.uri("localhost"))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn name_is_checked() {
    // `ip6-localhost` and others lead here, too; the certificate has none of them.
    let names = vec!["elsewhere.example".to_owned()];
    let certificate = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let der = certificate.cert.der().clone();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], PrivateKeyDer::from(key))
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (pen, _log) = Log::new();
    let task = tokio::spawn(serve(listener, config, true, pen));
    let mut roots = RootCertStore::empty();
    roots.add(der).unwrap();
    let client = Client::new().roots(roots);
    for host in ["localhost", "127.0.0.1"] {
        let uri = format!("wss://{host}:{}/", address.port());
        let error = within(client.connect(uri)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
    }
    task.abort();
}

/// RFC 6066 §3: the name is told, an address is not.
#[tokio::test]
async fn server_is_told_its_name() {
    let mut server = Server::start(BOTH, true).await;
    for (host, expected) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        let client = server.client(HttpVersion::Http1);
        let socket = within(client.connect(server.uri(host))).await.unwrap();
        within(close(socket)).await;
        let (name, _) = within(server.log.next()).await;
        assert_eq!(name.as_deref(), expected);
    }
}

#[tokio::test]
async fn given_settings_are_used_but_for_the_version() {
    let mut server = Server::start(BOTH, true).await;
    let mut config = ClientConfig::builder()
        .with_root_certificates(server.roots())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"x-mine".to_vec()];
    config.enable_sni = false;
    let client = Client::new().tls(config).http_version(HttpVersion::Http2);
    let connection = client.connect_http2(server.uri("localhost")).await.unwrap();
    let mut socket = within(connection.connect("/")).await.unwrap();
    within(echoes(&mut socket, "hello")).await;
    within(close(socket)).await;
    let (name, alpn) = within(server.log.next()).await;
    assert_eq!((name, alpn), (None, Some(b"h2".to_vec())));
}

#[tokio::test]
async fn server_without_tls_is_an_error_of_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer)
            .await
            .unwrap();
        stream
    };
    let client = Client::new().roots(RootCertStore::empty());
    let connecting = client.connect(format!("wss://{address}/"));
    let (error, _stream) = within(async { tokio::join!(connecting, server) }).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
}

/// How an HTTP/2 server says that it wants HTTP/1.1 for WebSocket (RFC 9113 §7).
#[derive(Clone, Copy, Debug)]
enum Requires {
    Reset,
    /// As soon as it has the request, or the connection.
    GoAway,
    GoAwayAtOnce,
}

/// Serves WebSocket over HTTP/1.1, and answers HTTP/2 with this.
async fn serve_http1(listener: TcpListener, config: ServerConfig, how: Requires, code: Reason) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(stream) = acceptor.accept(stream).await else {
            continue;
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.enable_connect_protocol();
                let mut server = builder.handshake::<_, Bytes>(stream).await.unwrap();
                if let Requires::GoAwayAtOnce = how {
                    server.abrupt_shutdown(code);
                }
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    match how {
                        Requires::Reset => respond.send_reset(code),
                        _ => server.abrupt_shutdown(code),
                    }
                }
            });
        } else {
            let layer = WebSocketLayer::new(handler(echo));
            let app = TowerToHyperService::new(layer.endpoint());
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), app)
                    .with_upgrades(),
            );
        }
    }
}

#[tokio::test]
async fn server_that_requires_http1_gets_it_where_both_would_do() {
    for how in [Requires::Reset, Requires::GoAway, Requires::GoAwayAtOnce] {
        for code in [Reason::HTTP_1_1_REQUIRED, Reason::INTERNAL_ERROR] {
            let (certificate, config) = certified(BOTH);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
            let task = tokio::spawn(serve_http1(listener, config, how, code));
            let mut roots = RootCertStore::empty();
            roots.add(certificate).unwrap();
            let client = Client::new().roots(roots);
            let negotiated = client.clone().http_version(HttpVersion::Negotiated);
            let result = within(negotiated.request(&uri)).await;
            if code == Reason::HTTP_1_1_REQUIRED {
                let response = result.unwrap();
                assert_eq!(response.version(), Version::HTTP_11, "{how:?}");
                let mut socket = response.into_body();
                echoes(&mut socket, "hello").await;
                close(socket).await;
            } else {
                let error = result.unwrap_err();
                assert!(matches!(error, ConnectError::Io(_)), "{how:?}: {error:?}");
            }
            // Nothing else is wanted, and so nothing else is tried.
            let http2 = client.http_version(HttpVersion::Http2);
            let error = within(http2.connect(&uri)).await.unwrap_err();
            assert!(matches!(error, ConnectError::Io(_)), "{how:?}: {error:?}");
            task.abort();
        }
    }
}
