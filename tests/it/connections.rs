//! The registry of open connections: what it finds, what it counts, and that nothing stays in it.

use std::{
    collections::{BTreeMap, HashSet},
    future::pending,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    response::IntoResponse,
    routing::{any, post},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use http::{Response, StatusCode};
use tokio::{
    io::{DuplexStream, duplex},
    task::yield_now,
    time::{Instant, sleep},
};
use tower::{BoxError, ServiceBuilder, ServiceExt, util::MapResponseLayer};
use tower_websocket::{
    Answer, CloseCode, CloseFrame, Config, ConnectionId, Connections, Counters, Drain, Drained,
    EndedBy, Error, Event, Groups, Handshake, Message, OnUpgrade, Sender, WebSocket,
    WebSocketLayer, handler, testing,
};

use crate::{
    crowd::{Kept, OnDrop, ask, registered, tasks, until},
    session::{
        self,
        support::{
            PIPE, Plan, SHAPES, Shape, Wire, client_frame, client_header, hold, hold_over, idle,
            lock, text,
        },
    },
    support::{
        self, Http, Log, close_after, echo,
        http::{Ask, Peer, Server},
        on_both, open, refused, within,
    },
};

/// Tells its number, then sends every message back.
async fn announce(socket: WebSocket) -> Result<(), Error> {
    let id = socket.id().expect("it is registered");
    assert_eq!(socket.sender().id(), Some(id));
    socket.send(id.to_string()).await?;
    echo(socket).await
}

/// Opens a connection that tells its number.
async fn announced(connections: &Connections, http: Http) -> (ConnectionId, WebSocket) {
    let mut client = open(registered(connections, announce), http, "/").await;
    let id = client.recv().await.unwrap().unwrap();
    (id.as_text().unwrap().parse().unwrap(), client)
}

fn ids(connections: &Connections) -> HashSet<ConnectionId> {
    connections
        .iter()
        .filter_map(|sender| sender.id())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn registry_has_the_open_connections_and_no_others() {
    on_both(async |http| {
        let connections = Connections::new();
        assert!(connections.is_empty());
        assert_eq!(connections.iter().count(), 0);
        let mut open = Vec::new();
        for _ in 0..40 {
            open.push(announced(&connections, http).await);
        }
        assert_eq!(connections.len(), 40);
        assert_eq!(connections.counters().open, 40);
        let known: HashSet<_> = open.iter().map(|(id, _)| *id).collect();
        assert_eq!(known.len(), 40);
        assert_eq!(ids(&connections), known);
        let (gone, client) = open.pop().unwrap();
        let sender = connections.get(gone).unwrap();
        assert_eq!(sender.id(), Some(gone));
        support::close(client).await;
        idle().await;
        assert!(connections.get(gone).is_none(), "it has ended");
        assert_eq!(sender.id(), Some(gone), "a handle keeps its number");
        assert_eq!((connections.len(), connections.iter().count()), (39, 39));
        assert!(!ids(&connections).contains(&gone));
        let unknown = gone.as_u64().wrapping_add(1);
        let unknown = format!("{unknown:016x}").parse().unwrap();
        assert!(connections.get(unknown).is_none());
        assert!(Connections::new().get(open[0].0).is_none(), "its own only");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn sender_found_by_number_sends_pings_and_closes() {
    on_both(async |http| {
        let connections = Connections::new();
        let (_, _other) = announced(&connections, http).await;
        let (id, mut client) = announced(&connections, http).await;
        let sender = connections.get(id).unwrap();
        assert!(sender.is_open());
        sender.send("pushed").await.unwrap();
        sender.try_send(Bytes::from_static(b"pushed")).unwrap();
        sender.ping("are you there").unwrap();
        let mut next = async || client.recv_event().await.unwrap().unwrap();
        assert_eq!(next().await, Event::Message("pushed".into()));
        let binary = Message::binary(Bytes::from_static(b"pushed"));
        assert_eq!(next().await, Event::Message(binary));
        assert_eq!(next().await, Event::Ping("are you there".into()));
        assert_eq!(sender.queued(), 0);
        let frame = CloseFrame::from((CloseCode::new(4001).unwrap(), "kicked"));
        sender.close(frame.clone());
        assert_eq!(next().await, Event::Close(Some(frame)));
        client.closed().await;
        sender.closed().await;
        assert!(!sender.is_open());
        assert_eq!(connections.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connection_in_its_closing_handshake_is_still_found() {
    let connections = Connections::new();
    let (id, _client) = announced(&connections, Http::One).await;
    connections.get(id).unwrap().close(CloseCode::NORMAL);
    let closing = connections.get(id).unwrap();
    assert!(!closing.is_open());
    assert_eq!(connections.len(), 1);
    // The client has taken a message, and has a moment to answer it before its Close does.
    sleep(Duration::from_millis(50)).await;
    assert!(connections.get(id).is_none());
}

#[tokio::test(start_paused = true)]
async fn two_layers_share_a_registry() {
    on_both(async |http| {
        let connections = Connections::sequential();
        let (first, _a) = announced(&connections, http).await;
        let (second, _b) = announced(&connections.clone(), http).await;
        assert_eq!((first.as_u64(), second.as_u64()), (1, 2));
        assert_eq!(connections.len(), 2);
        assert_eq!(ids(&connections), HashSet::from([first, second]));
        assert_eq!(connections.counters().accepted, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn socket_without_a_registry_has_no_number() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        assert_eq!(socket.id(), None);
        assert_eq!(socket.sender().id(), None);
        drop(socket);
        peer.send(session::support::close(1000, "")).await;
        peer.finish().await;
        peer.rest().await;
        assert_eq!(reports.only().await.id, None);
    }
    let (client, server) = testing::pair(Config::default());
    assert_eq!((client.id(), server.id()), (None, None));
}

#[tokio::test(start_paused = true)]
async fn report_has_the_number() {
    on_both(async |http| {
        let connections = Connections::new();
        let (pen, mut log) = Log::new();
        let layer = WebSocketLayer::new(handler(announce))
            .connections(&connections)
            .on_end(move |report| pen.write(report.id));
        let mut client = open(layer.endpoint(), http, "/").await;
        let id = client.recv().await.unwrap().unwrap();
        support::close(client).await;
        let reported = log.next().await.unwrap().to_string();
        assert_eq!(Some(&*reported), id.as_text());
    })
    .await;
}

/// An app that pushes what is posted, and its connections.
fn notifying() -> (Router, Connections) {
    async fn to_all(State(connections): State<Connections>, text: String) -> String {
        let sent = connections
            .iter()
            .filter(|socket| socket.try_send(text.clone()).is_ok());
        sent.count().to_string()
    }

    async fn to_one(
        State(connections): State<Connections>,
        Path((id, text)): Path<(String, String)>,
    ) -> StatusCode {
        let socket = id.parse().ok().and_then(|id| connections.get(id));
        match socket.map(|socket| socket.try_send(text)) {
            Some(Ok(())) => StatusCode::ACCEPTED,
            Some(Err(_)) => StatusCode::SERVICE_UNAVAILABLE,
            None => StatusCode::NOT_FOUND,
        }
    }

    let connections = Connections::new();
    let layer = WebSocketLayer::new(handler(announce)).connections(&connections);
    let app = Router::new()
        .route("/listen", any(async || "a page").layer(layer))
        .route("/notify", post(to_all))
        .route("/notify/{id}/{text}", post(to_one))
        .with_state(connections.clone());
    (app, connections)
}

#[tokio::test]
async fn plain_handler_of_the_same_app_pushes_to_one_and_to_all() {
    on_both(async |http| {
        let (app, connections) = notifying();
        let server = Server::start(app).await;
        let mut peers = Vec::new();
        for listener in [Http::One, Http::Two] {
            let answer = Ask::handshake(listener, "/listen").send(&server).await;
            let mut peer = answer.opened(listener);
            let (_, id) = peer.frame().await.unwrap();
            peers.push((String::from_utf8(id.into()).unwrap(), peer));
        }
        let post = async |path: &str| {
            let ask = Ask::plain(http, path).method("POST");
            ask.send(&server).await
        };
        assert_eq!(post("/notify").await.text(), "2");
        for (_, peer) in &mut peers {
            assert_eq!(peer.frame().await, Some((0x1, Bytes::new())));
        }
        let to_one = post(&format!("/notify/{}/hello", peers[1].0)).await;
        assert_eq!(to_one.status, StatusCode::ACCEPTED);
        let hello = Bytes::from_static(b"hello");
        assert_eq!(peers[1].1.frame().await, Some((0x1, hello)));
        let unknown = post("/notify/0000000000000000/hello").await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        let malformed = post("/notify/zero/hello").await;
        assert_eq!(malformed.status, StatusCode::NOT_FOUND);
        // The other one got nothing of it.
        peers[0].1.echoes("mine").await;
        let (gone, peer) = peers.remove(0);
        peer.close().await;
        until(|| connections.len() == 1).await;
        let closed = post(&format!("/notify/{gone}/hello")).await;
        assert_eq!(closed.status, StatusCode::NOT_FOUND);
        assert_eq!(post("/notify").await.text(), "1");
    })
    .await;
}

/// Counters that are zero but for what was accepted and is open.
fn counters(accepted: u64, open: usize) -> Counters {
    let mut counters = Counters::default();
    (counters.accepted, counters.open) = (accepted, open);
    counters
}

#[tokio::test(start_paused = true)]
async fn handshakes_are_counted_as_accepted_or_by_the_reason_of_their_refusal() {
    async fn admit(handshake: Handshake) -> Answer {
        if handshake.headers().contains_key("stranger") {
            handshake.refuse(StatusCode::FORBIDDEN)
        } else {
            handshake.accept()
        }
    }

    on_both(async |http| {
        let connections = Connections::new();
        let limited = ServiceBuilder::new()
            .concurrency_limit(1)
            .service(handler(echo));
        let layer = WebSocketLayer::new(limited)
            .connections(&connections)
            .on_handshake(admit);
        let service = layer.clone().endpoint();
        let request = || http.request("/");
        assert_eq!(connections.counters(), Counters::default());

        let mut expected = BTreeMap::new();
        let mut row = |name, count| *expected.entry(name).or_insert(0) += count;
        for _ in 0..3 {
            let old = request().header("sec-websocket-version", "8");
            refused(service.clone(), old).await;
        }
        row("UnsupportedVersion", 3);
        let strange = request().header("origin", "https://elsewhere.example");
        refused(service.clone(), strange).await;
        row("OriginRefused", 1);
        for _ in 0..2 {
            refused(service.clone(), request().header("stranger", "yes")).await;
        }
        row("Hook", 2);
        let cut_off = service.clone().oneshot(request().into_request()).await;
        assert_eq!(cut_off.unwrap().status(), 500);
        row("NotUpgradable", 1);
        let client = open(service.clone(), http, "/").await;
        idle().await;
        refused(service.clone(), request()).await;
        row("NotReady", 1);

        let mut now = counters(1, 1);
        now.refused = expected.clone();
        assert_eq!(connections.counters(), now);
        // What asks for no WebSocket is no handshake.
        let page = service.clone().oneshot(http.plain("/")).await.unwrap();
        assert!(page.status().is_client_error());
        assert_eq!(connections.counters(), now);

        let drained = connections.drain(Drain::default()).await;
        assert_eq!((drained.ended, drained.aborted), (1, 0));
        client.closed().await;
        for _ in 0..2 {
            refused(service.clone(), request()).await;
        }
        now.refused.insert("Draining", 2);
        now.open = 0;
        now.closed.insert(1001, 1);
        (now.bytes_received, now.bytes_sent) = {
            let seen = connections.counters();
            (seen.bytes_received, seen.bytes_sent)
        };
        assert_eq!(connections.counters(), now);
    })
    .await;
}

#[tokio::test]
async fn upgrades_that_fail_are_counted_and_leave_nothing() {
    within(async {
        // A server that cannot.
        let connections = Connections::new();
        let server = Server::without_upgrades(registered(&connections, announce)).await;
        let answer = Ask::handshake(Http::One, "/").send(&server).await;
        assert_eq!(answer.status, StatusCode::SWITCHING_PROTOCOLS);
        until(|| connections.counters().failed_upgrades == 1).await;
        let mut expected = counters(1, 0);
        expected.failed_upgrades = 1;
        assert_eq!(connections.counters(), expected);
        assert_eq!(gone(&connections).await, 0);
    })
    .await;
    on_both(async |http| {
        // An answer that another layer replaces.
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(announce)).connections(&connections);
        let app = Router::new().route("/", any(async || "page").layer(layer));
        let app = app.layer(MapResponseLayer::new(|response: Response<_>| {
            let mut own = (StatusCode::FORBIDDEN, "own").into_response();
            *own.extensions_mut() = response.extensions().clone();
            close_after(&mut own);
            own
        }));
        let server = Server::start(app).await;
        let answer = Ask::handshake(http, "/").send(&server).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        until(|| connections.counters().failed_upgrades == 1).await;
        assert_eq!(connections.counters().accepted, 1);
        assert!(connections.is_empty());
        assert_eq!(gone(&connections).await, 0);

        // A stream that is never handed over.
        let connections = Connections::new();
        let request = testing::upgradable(http.request("/").into_request());
        let answer = registered(&connections, announce).oneshot(request).await;
        assert_eq!(answer.unwrap().status(), http.accepted());
        until(|| connections.counters().failed_upgrades == 1).await;
        assert_eq!(gone(&connections).await, 0);
    })
    .await;
}

/// How many connections a drain still finds; it must not have to wait.
async fn gone(connections: &Connections) -> usize {
    let drained = connections.drain(Drain::default().timeout(Duration::ZERO));
    let drained = drained.now_or_never().expect("nothing is waited for");
    assert_eq!(drained, Drained::default());
    drained.ended + drained.aborted
}

#[tokio::test(start_paused = true)]
async fn traffic_is_counted_while_the_connection_lives() {
    for shape in SHAPES {
        let connections = Connections::new();
        let mut peer = Peer::open(registered(&connections, echo), ask(shape)).await;
        let mut other = Peer::open(registered(&connections, echo), ask(shape)).await;
        idle().await;
        assert_eq!(connections.counters(), counters(2, 2));
        peer.echoes("hello").await;
        peer.echoes("you").await;
        idle().await;
        let mut now = counters(2, 2);
        (now.messages_received, now.messages_sent) = (2, 2);
        // Received with the headers, sent without.
        (now.bytes_received, now.bytes_sent) = (6 + 5 + 6 + 3, 5 + 3);
        assert_eq!(connections.counters(), now);
        // A ping is no message.
        peer.send(0x9, b"p").await;
        assert_eq!(peer.frame().await, Some((0xa, "p".into())));
        idle().await;
        now.bytes_received += 7;
        assert_eq!(connections.counters(), now);
        other.echoes("!").await;
        idle().await;
        now.messages_received += 1;
        now.messages_sent += 1;
        now.bytes_received += 7;
        now.bytes_sent += 1;
        assert_eq!(connections.counters(), now);
        // The end adds the Close frame, and nothing a second time.
        peer.close().await;
        idle().await;
        now.open = 1;
        now.bytes_received += 8;
        now.closed.insert(1000, 1);
        assert_eq!(connections.counters(), now);
        drop(other);
        idle().await;
        now.open = 0;
        now.closed.insert(1006, 1);
        assert_eq!(connections.counters(), now);
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_is_counted_while_a_handler_outlives_its_connection() {
    let connections = Connections::new();
    let service = registered(&connections, |mut socket: WebSocket| async move {
        while let Ok(Some(_)) = socket.recv().await {}
        // Wakes the session again and again after its end.
        for _ in 0..10 {
            assert!(socket.send("nobody").await.is_err());
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut peer = Peer::open(service, ask(Shape::H1)).await;
    peer.send(0x1, b"hello").await;
    drop(peer);
    idle().await;
    let mut now = counters(1, 0);
    (now.messages_received, now.bytes_received) = (1, 11);
    now.closed.insert(1006, 1);
    assert_eq!(connections.counters(), now);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(connections.counters(), now);
    assert_eq!(gone(&connections).await, 0);
}

/// A stream on which there is always one more message to read.
struct Endless {
    frames: Vec<u8>,
    at: usize,
    stream: DuplexStream,
}

impl tokio::io::AsyncRead for Endless {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while buf.remaining() > 0 {
            let len = buf.remaining().min(self.frames.len() - self.at);
            buf.put_slice(&self.frames[self.at..self.at + len]);
            self.at = (self.at + len) % self.frames.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Endless {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_of_a_connection_that_never_rests_is_counted() {
    let connections = Connections::new();
    let (_ours, theirs) = duplex(1000);
    let endless = Endless {
        frames: client_frame(0x82, [7; 100]).repeat(10),
        at: 0,
        stream: theirs,
    };
    let service = registered(&connections, |mut socket: WebSocket| async move {
        while let Ok(Some(_)) = socket.recv().await {}
    });
    let mut request = ask(Shape::H1);
    request.extensions_mut().insert(OnUpgrade::new(endless));
    let answer = service.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    for _ in 0..20 {
        yield_now().await;
    }
    let counted = connections.counters();
    assert!(counted.messages_received > 0, "{counted:?}");
    assert!(counted.bytes_received > counted.messages_received * 100);
    connections.iter().for_each(|sender| sender.abort());
    idle().await;
    assert_eq!(connections.counters().open, 0);
}

#[tokio::test(start_paused = true)]
async fn ends_are_counted_by_their_code() {
    async fn obey(mut socket: WebSocket) -> Result<(), BoxError> {
        match socket.recv().await?.as_ref().and_then(Message::as_text) {
            Some("return") => Ok(()),
            Some("fail") => Err("as ordered".into()),
            Some("panic") => panic!("as ordered"),
            Some("leave") => {
                socket.close((CloseCode::GOING_AWAY, "bye"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    for shape in SHAPES {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(obey))
            .config(Config::default().max_message_size(1000))
            .connections(&connections);
        let rows: [(&[u8], u16); 12] = [
            (&text("return"), 1000),
            (&session::support::close(1000, "done"), 1000),
            (&session::support::close(3999, ""), 3999),
            (&session::support::close(4999, ""), 4999),
            (&client_frame(0x88, ""), 1005),
            (b"", 1006),
            (b"\x81", 1006),
            (&text("leave"), 1001),
            (&text("fail"), 1011),
            (&text("panic"), 1011),
            (b"\x81\x05Hello", 1002),
            (&client_header(0x82, 1001), 1009),
        ];
        let mut closed = BTreeMap::new();
        for (bytes, code) in rows {
            let mut peer = Peer::open(layer.clone().endpoint(), ask(shape)).await;
            peer.write(bytes).await;
            peer.end().await;
            within(peer.rest()).await;
            idle().await;
            *closed.entry(code).or_insert(0) += 1;
            assert_eq!(connections.counters().closed, closed, "{bytes:?}");
            assert!(connections.is_empty());
        }
        let sum: u64 = closed.values().sum();
        assert_eq!(connections.counters().accepted, sum);
        assert_eq!(gone(&connections).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn connection_accepted_only_to_be_closed_is_counted_like_another() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(echo))
            .connections(&connections)
            .on_handshake(async |handshake: Handshake| {
                handshake.accept_then_close((CloseCode::POLICY_VIOLATION, "no"))
            });
        let mut client = open(layer.endpoint(), http, "/").await;
        assert!(client.recv().await.unwrap().is_none());
        idle().await;
        let counted = connections.counters();
        assert_eq!((counted.accepted, counted.open), (1, 0));
        assert_eq!(counted.closed, BTreeMap::from([(1008, 1)]));
        assert_eq!(gone(&connections).await, 0);
    })
    .await;
}

/// What a handler of the crowd does.
async fn crowd(mut socket: WebSocket, groups: Groups, kept: Arc<()>) -> Result<(), BoxError> {
    let mine = groups.join("all".to_owned(), &socket.sender())?;
    let some = groups.join(
        format!("{}", socket.id().map_or(0, |id| id.as_u64() % 10)),
        &socket.sender(),
    )?;
    // Beside the socket, a task of the application's own.
    let copy = kept.clone();
    let sender = socket.sender();
    tokio::spawn(async move {
        sender.closed().await;
        drop(copy);
    });
    let order = socket.recv().await?;
    match order.as_ref().and_then(|order| order.as_text()) {
        Some("return") => Ok(()),
        Some("fail") => Err("as ordered".into()),
        Some("panic") => panic!("as ordered"),
        Some("abort") => {
            socket.sender().abort();
            pending().await
        }
        Some("run on") => {
            while let Ok(Some(_)) = socket.recv().await {}
            drop((mine, some, kept));
            Ok(())
        }
        _ => {
            while let Ok(Some(_)) = socket.recv().await {}
            Ok(())
        }
    }
}

/// How the connections of a crowd end: what the peer sends, and whether it leaves then.
const WAYS: [(&str, bool); 9] = [
    ("return", false),
    ("fail", false),
    ("panic", false),
    ("abort", false),
    ("run on", true),
    ("close", false),
    ("reset", true),
    ("time out", false),
    ("violate", false),
];

async fn end_in(way: &str, leaves: bool, mut peer: Peer) {
    match way {
        "close" => peer.send(0x8, &1000_u16.to_be_bytes()).await,
        "violate" => peer.write(b"\x81\x05Hello").await,
        "reset" | "time out" => {}
        order => peer.send(0x1, order.as_bytes()).await,
    }
    if leaves {
        return;
    }
    // Whatever comes, a client answers nothing, and waits for the end.
    within(peer.rest()).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_thousands_of_connections_however_they_end() {
    const CONNECTIONS: usize = 9_000;
    const AT_ONCE: usize = 500;
    let connections = Connections::new();
    let groups = Groups::new();
    let (value, kept) = Kept::new();
    let before = tasks();
    let config = Config::default()
        .idle_timeout(Duration::from_secs(60))
        .close_timeout(Duration::from_secs(1));
    let service = {
        let (groups, value) = (groups.clone(), value);
        WebSocketLayer::new(handler(move |socket| {
            crowd(socket, groups.clone(), value.clone())
        }))
        .config(config)
        .connections(&connections)
        .endpoint()
    };
    for start in (0..CONNECTIONS).step_by(AT_ONCE) {
        let all = (start..start + AT_ONCE).map(|index| {
            let shape = SHAPES[index % 2];
            let (way, leaves) = WAYS[index / 2 % WAYS.len()];
            let service = service.clone();
            async move {
                let peer = Peer::open(service, ask(shape)).await;
                end_in(way, leaves, peer).await;
            }
        });
        join_all(all).await;
    }
    sleep(Duration::from_secs(100)).await;
    assert_eq!(connections.counters().accepted, CONNECTIONS as u64);
    // The rest is drained.
    let mut peers = Vec::new();
    for index in 0..1000 {
        peers.push(Peer::open(service.clone(), ask(SHAPES[index % 2])).await);
    }
    idle().await;
    assert_eq!((connections.len(), groups.len()), (1000, 11));
    assert_eq!(groups.member_count("all"), 1000);
    assert_eq!(kept.count(), 2001);
    let drained = connections.drain(Drain::default()).await;
    assert_eq!((drained.ended, drained.aborted), (1000, 0));
    nothing_is_left(&connections, &groups).await;
    idle().await;
    assert_eq!(tasks(), before);
    drop(service);
    assert_eq!(kept.count(), 0);
    let closed: u64 = connections.counters().closed.values().sum();
    assert_eq!(closed, CONNECTIONS as u64 + 1000);
    drop(peers);
}

async fn nothing_is_left(connections: &Connections, groups: &Groups) {
    let counters = connections.counters();
    assert_eq!((connections.len(), counters.open), (0, 0));
    assert_eq!(connections.iter().count(), 0);
    assert_eq!((groups.len(), groups.member_count("all")), (0, 0));
    assert_eq!(counters.failed_upgrades, 0);
    assert_eq!(gone(connections).await, 0);
}

#[tokio::test]
async fn nothing_is_left_of_real_connections_however_they_end() {
    on_both(async |http| {
        let connections = Connections::new();
        let groups = Groups::new();
        let (value, kept) = Kept::new();
        let service = {
            let groups = groups.clone();
            let layer = WebSocketLayer::new(handler(move |socket| {
                crowd(socket, groups.clone(), value.clone())
            }));
            layer.connections(&connections).endpoint()
        };
        let server = Server::start(service).await;
        let mut opened = 0;
        for round in 0..8 {
            let client = match http {
                Http::One => None,
                Http::Two => Some(support::http::Http2::to(&server).await),
            };
            // None that a deadline ends: the clock is the world's.
            let ways = WAYS
                .iter()
                .filter(|(way, _)| !["time out", "panic"].contains(way));
            for (way, leaves) in ways {
                let ask = Ask::handshake(http, "/");
                let answer = match &client {
                    None => ask.send(&server).await,
                    Some(client) => client.send(ask).await,
                };
                let mut peer = answer.opened(http);
                opened += 1;
                match *way {
                    "close" if round % 2 == 0 => peer.close().await,
                    "return" => {
                        peer.send(0x1, b"return").await;
                        assert_eq!(peer.closed().await.0, 1000);
                    }
                    "fail" => {
                        peer.send(0x1, b"fail").await;
                        assert_eq!(peer.closed().await.0, 1011);
                    }
                    "violate" => drop(peer),
                    way => end_in(way, *leaves, peer).await,
                }
            }
        }
        until(|| connections.is_empty()).await;
        until(|| kept.count() == 1).await;
        let counted = connections.counters();
        assert_eq!(counted.accepted, opened);
        assert_eq!(counted.closed.values().sum::<u64>(), opened);
        until(|| gone_by_now(&connections)).await;
        nothing_is_left(&connections, &groups).await;
    })
    .await;
}

/// Whether a drain finds nothing to do.
fn gone_by_now(connections: &Connections) -> bool {
    let drained = connections.drain(Drain::default());
    drained.now_or_never().is_some()
}

#[tokio::test(start_paused = true)]
async fn aborted_connection_ends_at_once_and_says_nothing() {
    for shape in SHAPES {
        let connections = Connections::new();
        let (value, kept) = Kept::new();
        let (pen, mut log) = Log::new();
        let ended = pen.clone();
        let route = move |mut socket: WebSocket| {
            let (value, pen) = (value.clone(), pen.clone());
            async move {
                let _dropped = OnDrop(move || pen.write(None));
                let _value = value;
                while let Ok(Some(_)) = socket.recv().await {}
                unreachable_after_abort();
            }
        };
        // A place that comes back.
        let limited = ServiceBuilder::new()
            .concurrency_limit(1)
            .service(handler(route));
        let service = WebSocketLayer::new(limited)
            .connections(&connections)
            .on_end(move |report| ended.write(Some(report.clone())))
            .endpoint();
        let mut peer = Peer::open(service.clone(), ask(shape)).await;
        idle().await;
        let sender = connections.iter().next().unwrap();
        sender.try_send(vec![0; 500_000]).unwrap();
        sender.abort();
        assert!(sender.is_open(), "not before its task has had its turn");
        within(sender.closed()).await;
        idle().await;
        let report = log.next().await.unwrap();
        assert_eq!((report.close_code, report.clean), (1006, false));
        assert_eq!(report.ended_by, EndedBy::Disconnect);
        assert!(log.next().await.is_none(), "the handler goes last");
        assert_eq!(kept.count(), 1, "the service's own");
        assert!(connections.is_empty());
        assert_eq!(within(peer.rest()).await, "", "nothing was sent");
        assert!(sender.try_send("more").is_err());
        // Aborting twice, or after the end, has no effect.
        sender.abort();
        idle().await;
        assert!(log.is_empty());
        let _again = Peer::open(service, ask(shape)).await;
        idle().await;
        assert_eq!(connections.len(), 1);
    }
}

fn unreachable_after_abort() {
    panic!("it is not polled again");
}

#[tokio::test(start_paused = true)]
async fn handler_that_aborts_its_own_connection_sends_nothing_either() {
    for shape in SHAPES {
        for returns in [true, false] {
            let connections = Connections::new();
            let service = registered(&connections, move |socket: WebSocket| async move {
                socket.try_send("thrown away").unwrap();
                socket.sender().abort();
                if !returns {
                    pending::<()>().await;
                }
            });
            let mut peer = Peer::open(service, ask(shape)).await;
            let received = within(peer.rest()).await;
            assert_eq!(received, "", "{shape:?}, returns: {returns}");
            idle().await;
            let counted = connections.counters();
            assert_eq!(counted.closed, BTreeMap::from([(1006, 1)]));
            assert_eq!(gone(&connections).await, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn abort_while_the_session_writes_is_not_overlooked() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(PIPE);
        let aborts: Arc<Mutex<Option<Sender>>> = Arc::default();
        let hook = aborts.clone();
        let wire = Wire::new(theirs, Plan::default()).on_write(move || {
            if let Some(sender) = lock(&hook).take() {
                sender.abort();
            }
        });
        let (socket, mut reports) = hold_over(shape, Config::default(), wire).await;
        idle().await;
        *lock(&aborts) = Some(socket.sender());
        socket.try_send("hello").unwrap();
        let start = Instant::now();
        assert_eq!(reports.first().await.close_code, 1006);
        assert_eq!(start.elapsed(), Duration::ZERO, "no deadline ended it");
        drop(ours);
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_was_over_is_aborted_with_its_handler() {
    let connections = Connections::new();
    let (value, kept) = Kept::new();
    let service = registered(&connections, move |socket: WebSocket| {
        let value = value.clone();
        async move {
            let sender = socket.sender();
            let _value = value;
            sender.closed().await;
            pending::<()>().await;
        }
    });
    let peer = Peer::open(service, ask(Shape::H1)).await;
    idle().await;
    let sender = connections.iter().next().unwrap();
    drop(peer);
    within(sender.closed()).await;
    idle().await;
    // Its handler runs on; nobody finds it.
    assert_eq!((connections.len(), kept.count()), (0, 1));
    assert_eq!(connections.iter().count(), 0);
    assert!(connections.get(sender.id().unwrap()).is_none());
    sender.abort();
    idle().await;
    assert_eq!(kept.count(), 0);
    assert_eq!(connections.counters().closed, BTreeMap::from([(1006, 1)]));
    assert_eq!(gone(&connections).await, 0);
}
