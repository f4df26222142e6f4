//! What an idle connection takes.

use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use axum::{Router, body::Body, routing::any};
use http::Request;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot};
#[cfg(feature = "serve")]
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    client::Resumption,
    pki_types::{PrivatePkcs8KeyDer, ServerName},
    server::NoServerSessionStorage,
};
use tower::service_fn;
use tower_websocket::{
    Config, Error, WebSocket, WebSocketLayer, handshake::server, protocol::Role,
    service::PathParams, session::Sessions,
};

use super::Rise;

/// What is kept with each connection.
#[derive(Clone, Copy, Default)]
struct Kept {
    info: bool,
    data: bool,
}

/// The handler of the measured app: it keeps a room, and shares a count.
fn count(
    request: Request<WebSocket>,
    total: Arc<AtomicUsize>,
    kept: Kept,
) -> impl Future<Output = Result<(), Error>> + Send {
    let (head, mut socket) = request.into_parts();
    if kept.data {
        socket.set_data(7_u64);
    }
    let params = head.extensions.get::<PathParams>();
    let room: Box<str> = params
        .and_then(|params| params.get("room"))
        .unwrap_or_default()
        .into();
    drop(head);
    async move {
        while let Some(message) = socket.recv().await? {
            total.fetch_add(room.len(), Ordering::Relaxed);
            socket.send(message).await?;
        }
        Ok(())
    }
}

/// Opens a connection to the measured app with some more headers; gives the answer, too.
pub(super) fn opened(address: SocketAddr, headers: &str) -> (TcpStream, String) {
    upgraded(TcpStream::connect(address).expect("it listens"), headers)
}

fn upgraded<S: Read + Write>(mut stream: S, headers: &str) -> (S, String) {
    let request = format!(
        "GET /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = [0; 1024];
    let mut len = 0;
    while !answer[..len].ends_with(b"\r\n\r\n") {
        len += stream.read(&mut answer[len..]).expect("it answers");
    }
    let answer = str::from_utf8(&answer[..len]).expect("a head");
    (stream, answer.to_owned())
}

/// Opens a connection to the measured app, and has 100 bytes echoed.
pub(super) fn echoed(address: SocketAddr) -> TcpStream {
    echoed_on(TcpStream::connect(address).expect("it listens"), "")
}

fn echoed_on<S: Read + Write>(stream: S, headers: &str) -> S {
    let (mut stream, _) = upgraded(stream, headers);
    let mut frame = [b'x'; 106];
    frame[..6].copy_from_slice(b"\x82\xe4\0\0\0\0");
    stream.write_all(&frame).expect("it reads");
    let mut answer = [0; 102];
    stream.read_exact(&mut answer).expect("it echoes");
    stream
}

/// The heap that an idle connection of an axum app takes once `open` has had something echoed.
pub(super) fn idle_connection(
    connections: usize,
    config: Config,
    open: fn(SocketAddr) -> TcpStream,
) -> usize {
    idle_connection_of(measured(config), connections, open)
}

/// The measured app.
fn measured(config: Config) -> Router {
    measured_with(config, Kept::default())
}

fn measured_with(config: Config, kept: Kept) -> Router {
    let total = Arc::new(AtomicUsize::new(0));
    let route = service_fn(move |request| count(request, total.clone(), kept));
    let layer = WebSocketLayer::new(route)
        .config(config)
        .connection_info(kept.info)
        .path("/rooms/{room}");
    let page = any(async || "a page").layer(layer);
    Router::new().route("/rooms/{room}", page)
}

/// The heap that an idle connection of this app takes.
fn idle_connection_of(app: Router, connections: usize, open: fn(SocketAddr) -> TcpStream) -> usize {
    let serve = async |listener, app, stop: Stop| {
        let serve = axum::serve(listener, app).with_graceful_shutdown(async {
            let _over = stop.await;
        });
        serve.await.expect("it serves");
    };
    idle_connection_with(serve, app, connections, open)
}

type Stop = oneshot::Receiver<()>;

/// The heap that an idle connection of this app takes, on such a server.
fn idle_connection_with(
    serve: impl AsyncFnOnce(TcpListener, Router, Stop) + Send + 'static,
    app: Router,
    connections: usize,
    open: impl Fn(SocketAddr) -> TcpStream,
) -> usize {
    let (addresses, listens) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("its address");
            addresses.send(address).expect("the test waits");
            serve(listener, app, stopped).await;
        });
    });
    let address = listens.recv().expect("it listens");
    let mut held = Vec::with_capacity(4 * connections);
    let mut least = usize::MAX;
    for _ in 0..4 {
        // The first round warms the threads' buffers up; the least of the others counts.
        let rise = Rise::begin();
        held.extend((0..connections).map(|_| open(address)));
        least = least.min(rise.now() / connections);
    }
    drop(held);
    stop.send(()).expect("it serves");
    server.join().expect("it ends");
    least
}

pub(super) fn an_idle_connection_of_an_axum_app_takes_at_most_a_thousand_bytes() {
    let bytes = idle_connection(200, Config::default(), echoed);
    assert!(bytes <= 1000, "{bytes} bytes");
}

/// Of the head only the path is kept, and not what its headers lie in.
pub(super) fn what_is_kept_with_a_connection_takes_as_much_as_documented() {
    let bytes = |info, data| {
        let app = measured_with(Config::default(), Kept { info, data });
        idle_connection_of(app, 200, |address| {
            let stream = TcpStream::connect(address).expect("it listens");
            let headers = format!("Cookie: {}\r\n", "x".repeat(4000));
            echoed_on(stream, &headers)
        })
    };
    let nothing = bytes(false, false);
    assert!(nothing <= 1000, "{nothing} bytes");
    // The path is "/rooms/lobby"; the parameter lies in three pieces.
    let path = 12 + 16 + 2 * 16 + "room".len() + "lobby".len();
    let info = bytes(true, false) - nothing;
    assert!((200..=250 + path).contains(&info), "{info} bytes");
    let both = bytes(true, true) - nothing;
    assert_eq!(both - info, 32 + 8);
    let data = bytes(false, true) - nothing;
    assert!((200..=300 + 32 + 8).contains(&data), "{data} bytes");
}

/// A route that answers the handshake by itself, with two tasks for a connection.
fn by_hand() -> Router {
    let sessions = Sessions::new(Role::Server);
    let answer = any(async move |mut request: Request<Body>| {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let accepted = server::negotiate(&head, None, sessions.configuration());
        let accepted = accepted.expect("a handshake");
        let response = accepted.response();
        tokio::spawn(async move {
            let upgraded = TokioIo::new(upgrade.await.expect("it was answered"));
            let session = sessions.over(upgraded).negotiated(accepted);
            let mut socket = session.spawn().expect("what was negotiated fits");
            tokio::spawn(async move {
                while let Some(message) = socket.recv().await? {
                    socket.send(message).await?;
                }
                Ok::<_, Error>(())
            });
        });
        response.map(|()| Body::empty())
    });
    Router::new().route("/rooms/{room}", answer)
}

/// Hyper's boxes are not kept: they would take more.
pub(super) fn an_idle_connection_over_an_upgraded_stream_takes_as_much_as_documented() {
    let bytes = idle_connection_of(by_hand(), 200, echoed);
    println!("{bytes} bytes over an upgraded stream");
    assert!(bytes <= 1400, "{bytes} bytes");
}

/// Its streams are watched until the handshake is answered, and TCP as it is from then on.
#[cfg(feature = "serve")]
pub(super) fn an_idle_connection_of_a_server_of_ours_takes_no_more() {
    let serve = async |listener, app, stop: Stop| {
        // Not gracefully: there would be a registry.
        tokio::select! {
            ended = tower_websocket::serve(listener, app) => drop(ended.expect("it serves")),
            _over = stop => {}
        }
    };
    let app = measured(Config::default());
    let bytes = idle_connection_with(serve, app, 200, echoed);
    assert!(bytes <= 1000, "{bytes} bytes");
}

#[cfg(feature = "serve")]
pub(super) fn an_idle_connection_over_tls_takes_as_much_as_documented() {
    let (client, server) = tls();
    let serve = async |listener, app, stop: Stop| {
        tokio::select! {
            ended = tower_websocket::serve(listener, app).tls(server) => drop(ended.expect("it serves")),
            _over = stop => {}
        }
    };
    let open = |address| {
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(client.clone(), name).expect("a configuration");
        let stream = TcpStream::connect(address).expect("it listens");
        // Several writes make a handshake.
        stream.set_nodelay(true).expect("it is TCP");
        // What the client keeps for it is dropped here; the connection goes on.
        echoed_on(StreamOwned::new(session, stream), "").sock
    };
    let app = measured(Config::default());
    let bytes = idle_connection_with(serve, app, 40, open);
    assert!((8000..=9500).contains(&bytes), "{bytes} bytes");
}

/// A client and a server that trust each other, without what they would keep of each other.
#[cfg(feature = "serve")]
fn tls() -> (Arc<ClientConfig>, ServerConfig) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let certified = certified.expect("a certificate");
    let certificate = certified.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .expect("a key");
    server.session_storage = Arc::new(NoServerSessionStorage {});
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder().with_root_certificates(roots);
    let mut client = client.with_no_client_auth();
    client.resumption = Resumption::disabled();
    (Arc::new(client), server)
}

#[cfg(feature = "axum")]
pub(super) mod extract {
    use tower_websocket::extract::WebSocketUpgrade;

    use super::*;

    fn app(set: fn(WebSocketUpgrade) -> WebSocketUpgrade) -> Router {
        let chat = any(async move |ws: WebSocketUpgrade| {
            set(ws).on_upgrade(async |mut socket: WebSocket| {
                while let Some(message) = socket.recv().await? {
                    socket.send(message).await?;
                }
                Ok::<_, Error>(())
            })
        });
        Router::new().route("/rooms/{room}", chat)
    }

    pub(crate) fn an_idle_connection_takes_no_more_than_with_the_layer() {
        let bytes = idle_connection_of(app(|ws| ws), 200, echoed);
        assert!(bytes <= 1000, "{bytes} bytes");
    }

    pub(crate) fn an_idle_connection_with_settings_of_its_own_takes_as_much_as_documented() {
        let bytes = idle_connection_of(app(|ws| ws.max_message_size(4096)), 200, echoed);
        assert!(bytes <= 1000 + 450, "{bytes} bytes");
    }
}
