//! The registry of open connections: what it finds, what it counts, and that nothing stays in it.

mod abort;
mod counters;
mod nothing_left;

use std::{collections::HashSet, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    routing::{any, post},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use tokio::time::sleep;
use tower_websocket::{
    CloseCode, CloseFrame, Config, ConnectionId, Connections, Error, Event, Message, WebSocket,
    WebSocketLayer,
    session::{Drain, Drained},
    testing,
};

use crate::{
    crowd::{registered, until},
    session::{
        self,
        support::{SHAPES, hold, idle},
    },
    support::{
        self, Http, Log, echo, handler,
        http::{Ask, Server},
        on_both, open,
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

/// How many connections a drain still finds; it must not have to wait.
async fn gone(connections: &Connections) -> usize {
    let drained = connections.drain(Drain::default().timeout(Duration::ZERO));
    let drained = drained.now_or_never().expect("nothing is waited for");
    assert_eq!(drained, Drained::default());
    drained.ended + drained.aborted
}

/// Whether a drain finds nothing to do.
fn gone_by_now(connections: &Connections) -> bool {
    let drained = connections.drain(Drain::default());
    drained.now_or_never().is_some()
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
        assert_eq!(sender.queued_bytes(), 0);
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
