//! The server behind the proxy.

use std::{net::SocketAddr, path::Path, time::Duration};

use axum::{Router, routing::any};
use http::{Request, header::HOST};
use tokio::{
    net::TcpListener,
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, unbounded_channel},
    },
};
use tower::service_fn;
use tower_websocket::{
    CloseCode, Compression, Config, Connections, Error, WebSocket, WebSocketLayer, serve,
    serve::PemFiles, service::PeerAddr,
};

use crate::Failure;

/// The codes with which connections have ended, one after the other.
pub(crate) type Ended = Mutex<UnboundedReceiver<u16>>;

/// Much shorter than the second after which the proxies are told to end what is silent.
const PING_INTERVAL: Duration = Duration::from_millis(300);

/// Starts a server that speaks HTTP/1.1 and HTTP/2: `/echo` pings its clients, and `/silent` does not.
pub(crate) async fn start(
    address: SocketAddr,
    certificate: Option<&Path>,
    proxy_protocol: bool,
) -> Result<Ended, Failure> {
    let (ended, seen) = unbounded_channel();
    let layer = |interval: Option<Duration>| {
        let config = Config::default()
            .ping_interval(interval)
            .compression(Compression::shared());
        let ended = ended.clone();
        WebSocketLayer::new(service_fn(converse))
            .config(config)
            .on_end(move |report| {
                let _checked = ended.send(report.close_code);
            })
    };
    let app = Router::new()
        .route("/", any(async || "a page"))
        .route_service("/echo", layer(Some(PING_INTERVAL)).endpoint())
        .route_service("/silent", layer(None).endpoint());
    let mut server = serve(TcpListener::bind(address).await?, app).connections(&Connections::new());
    if let Some(directory) = certificate {
        let files = PemFiles::open(directory.join("fullchain.pem"), directory.join("key.pem"))?;
        server = server.tls(files);
    }
    if proxy_protocol {
        server = server.proxy_protocol();
    }
    tokio::spawn(server.into_future());
    Ok(Mutex::new(seen))
}

/// Says what has reached it, and echoes until it is asked to close.
async fn converse(request: Request<WebSocket>) -> Result<(), Error> {
    let seen = describe(&request);
    let mut socket = request.into_body();
    socket.send(seen).await?;
    while let Some(message) = socket.recv().await? {
        match message.as_text() {
            Some("close") => socket.close((CloseCode::new(4002).expect("an own code"), "enough")),
            _ => socket.send(message).await?,
        }
    }
    Ok(())
}

/// Returns the version of HTTP, the host, the address of the peer, and the last one that a proxy has added.
fn describe(request: &Request<WebSocket>) -> String {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = request.uri().authority().map(|host| host.as_str());
    let host = host.or_else(|| text(HOST.as_str())).unwrap_or("-");
    let peer = request.extensions().get::<PeerAddr>();
    let peer = peer.map_or_else(|| "-".to_owned(), |PeerAddr(peer)| peer.to_string());
    let forwarded = text("x-forwarded-for").and_then(|list| list.rsplit(',').next());
    let forwarded = forwarded.map_or("-", str::trim);
    format!("{:?} {host} {peer} {forwarded}", request.version())
}
