//! The server for those who have none.

#[cfg(feature = "http2")]
mod accept;
#[cfg(feature = "http2")]
mod accept_errors;
#[cfg(feature = "http2")]
mod capacity;
#[cfg(feature = "http2")]
mod deadlines;
#[cfg(feature = "http2")]
mod ends;
#[cfg(feature = "axum")]
mod extractor;
#[cfg(not(feature = "http2"))]
mod http1_only;
#[cfg(feature = "http2")]
mod listening;
#[cfg(feature = "http2")]
mod pem;
#[cfg(feature = "http2")]
mod proxied;
#[cfg(feature = "http2")]
mod resets;
#[cfg(feature = "http2")]
mod shutdown;
#[cfg(feature = "http2")]
mod slow;
#[cfg(feature = "http2")]
mod stalls;
pub(crate) mod support;

use std::sync::Arc;

use axum::{Router, extract::Request, routing::any};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    },
};
use tower_websocket::{WebSocketLayer, endpoint, serve, service::PeerAddr};

use crate::support::{
    Http, echo, handler,
    http::{Ask, Http2, Peer, Server},
    on_both, within,
};

/// An echo at `/echo`, and a page that tells the client its address.
fn app() -> Router {
    let page = async |request: Request| match request.extensions().get() {
        Some(PeerAddr(address)) => address.to_string(),
        None => "nobody".to_owned(),
    };
    let websocket = WebSocketLayer::new(handler(echo));
    Router::new().route("/echo", any(page).layer(websocket))
}

async fn start(app: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Server::other(address, async {
        serve(listener, app).await.unwrap();
    })
}

async fn echoes(mut peer: Peer) {
    peer.send(1, b"hello").await;
    assert_eq!(peer.frame().await, Some((1, "hello".into())));
}

#[tokio::test]
async fn both_http_versions_are_served_in_the_clear() {
    let server = start(app()).await;
    on_both(async |http| {
        let answer = Ask::handshake(http, "/echo").send(&server).await;
        echoes(answer.opened(http)).await;
    })
    .await;
}

#[tokio::test]
async fn requests_tell_the_address_of_their_client() {
    let server = start(app()).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let ours = stream.local_addr().unwrap().to_string();
    let mut peer = Peer::over(stream);
    peer.write(&Ask::plain(Http::One, "/echo").bytes()).await;
    assert_eq!(within(peer.answer()).await.text(), ours);
    let stream = TcpStream::connect(server.address).await.unwrap();
    let ours = stream.local_addr().unwrap().to_string();
    let http2 = Http2::connect(stream).await;
    let answer = within(http2.send(Ask::plain(Http::Two, "/echo"))).await;
    assert_eq!(answer.text(), ours);
}

/// Little waits in the kernel, where nothing overtakes it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn accepted_tcp_connections_are_configured() {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _client = TcpStream::connect(address).await.unwrap();
    let accepted = serve::Listener::accept(&mut listener).await;
    let (stream, _) = accepted.unwrap();
    assert!(stream.nodelay().unwrap());
    let lowat = socket2::SockRef::from(&stream).tcp_notsent_lowat();
    assert_eq!(lowat.unwrap(), 128 << 10);
}

#[tokio::test]
async fn any_tower_service_can_be_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = serve(listener, endpoint(handler(echo)));
    assert_eq!(serving.local_addr().unwrap(), address);
    let server = Server::other(address, async {
        serving.await.unwrap();
    });
    on_both(async |http| {
        let answer = Ask::handshake(http, "/").send(&server).await;
        echoes(answer.opened(http)).await;
    })
    .await;
}

/// A certificate of our own, for a server and for a client.
fn certificates(alpn: &[&[u8]], offer: &[&[u8]]) -> (ServerConfig, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from(key))
        .unwrap();
    server.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = offer.iter().map(|name| name.to_vec()).collect();
    (server, TlsConnector::from(Arc::new(client)))
}

async fn dial_tls(server: &Server, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    within(connector.connect(name, stream)).await.unwrap()
}

async fn start_tls(config: ServerConfig) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Server::other(address, async {
        serve(listener, app()).tls(config).await.unwrap();
    })
}

#[tokio::test]
async fn tls_clients_choose_the_http_version_by_alpn() {
    for (offer, chosen) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let (config, connector) = certificates(&[], offer);
        let server = start_tls(config).await;
        let stream = dial_tls(&server, &connector).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        if chosen == Some(b"h2") {
            let http2 = Http2::connect(stream).await;
            let answer = within(http2.send(Ask::handshake(Http::Two, "/echo"))).await;
            within(echoes(answer.opened(Http::Two))).await;
        } else {
            let mut peer = Peer::over(stream);
            peer.write(&Ask::handshake(Http::One, "/echo").bytes())
                .await;
            let answer = within(peer.answer()).await;
            within(echoes(answer.opened(Http::One))).await;
        }
    }
}

#[tokio::test]
async fn protocols_that_the_configuration_names_are_left_alone() {
    let (config, connector) = certificates(&[b"http/1.1"], &[b"h2", b"http/1.1"]);
    let server = start_tls(config).await;
    let stream = dial_tls(&server, &connector).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_are_served_too() {
    use std::sync::atomic::{AtomicU32, Ordering};

    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tower-websocket-{}-{next}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    let _server = Server::other(address, async {
        serve(listener, app()).await.unwrap();
    });
    let connect = || tokio::net::UnixStream::connect(&path);
    let mut peer = Peer::over(connect().await.unwrap());
    peer.write(&Ask::handshake(Http::One, "/echo").bytes())
        .await;
    within(echoes(within(peer.answer()).await.opened(Http::One))).await;
    let http2 = Http2::connect(connect().await.unwrap()).await;
    let answer = within(http2.send(Ask::handshake(Http::Two, "/echo"))).await;
    within(echoes(answer.opened(Http::Two))).await;
    let page = within(http2.send(Ask::plain(Http::Two, "/echo"))).await;
    assert_eq!(page.text(), "nobody");
    std::fs::remove_file(path).unwrap();
}
