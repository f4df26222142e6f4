//! What comes first: the function that makes an implementation for a connection.

use axum::{Router, routing::any};
use tower_websocket::{
    CloseCode, Connections, Groups, Sender, Utf8Bytes, WebSocketLayer,
    groups::Membership,
    service::{EventHandler, PathParams, event_handler_with},
};

use super::{Notes, Told};
use crate::{
    crowd::until,
    support::{
        Http, Log, Pen,
        http::{Ask, Peer, Server},
        on_both, open, within,
    },
};

/// A member of a room, which cannot be cloned.
struct Member {
    rooms: Groups,
    membership: Membership,
    ends: Pen<String>,
}

impl EventHandler for Member {
    async fn on_text(&mut self, _: &Sender, text: Utf8Bytes) {
        assert_ne!(text, "panic", "as ordered");
        self.rooms.broadcast(self.membership.key(), text).await;
    }

    fn on_end(&mut self, _: &Sender) {
        self.ends.write(self.membership.key().clone());
    }
}

/// A server with rooms, and the names of those whose members' end was told.
async fn rooms(rooms: &Groups, connections: &Connections) -> (Server, Log<String>) {
    let (ends, log) = Log::new();
    let rooms = rooms.clone();
    let members = event_handler_with(move |socket, head| {
        let params = head.extensions.get::<PathParams>().unwrap();
        let room = params.get("room").unwrap().to_owned();
        Member {
            membership: rooms.join(room, socket).unwrap(),
            rooms: rooms.clone(),
            ends: ends.clone(),
        }
    });
    let layer = WebSocketLayer::new(members).connections(connections);
    let layer = layer.path("/rooms/{room}");
    let app = Router::new().fallback(any(async || "a page")).layer(layer);
    (Server::start(app).await, log)
}

#[tokio::test]
async fn member_made_with_its_connection_leaves_with_it() {
    on_both(async |http| {
        for end in ["close", "vanish", "panic", "abort"] {
            let (groups, connections) = (Groups::new(), Connections::new());
            let (server, mut ends) = rooms(&groups, &connections).await;
            let mut peer = enter(http, &server).await;
            peer.echoes("hello").await;
            assert_eq!(groups.member_count("blue"), 1);
            match end {
                "close" => peer.close().await,
                "vanish" => drop(peer),
                "panic" => {
                    peer.send(0x1, b"panic").await;
                    assert_eq!(peer.closed().await.0, 1011);
                }
                _ => connections.iter().for_each(|sender| sender.abort()),
            }
            assert_eq!(ends.next().await, "blue", "{end}");
            until(|| groups.is_empty()).await;
            until(|| connections.is_empty()).await;
            assert!(ends.is_empty(), "{end}");
        }
    })
    .await;
}

async fn enter(http: Http, server: &Server) -> Peer {
    let ask = Ask::handshake(http, "/rooms/blue");
    ask.send(server).await.opened(http)
}

#[tokio::test(start_paused = true)]
async fn connection_can_be_closed_where_its_callbacks_are_made() {
    on_both(async |http| {
        let notes = Notes::default();
        let made = notes.clone();
        let full = CloseCode::new(4000).unwrap();
        let members = event_handler_with(move |socket, _| {
            socket.close((full, "no room"));
            made.told()
        });
        let mut client = open(WebSocketLayer::new(members).endpoint(), http, "/").await;
        assert_eq!(within(client.recv()).await.unwrap(), None);
        assert_eq!(client.received_close().unwrap().reason(), "no room");
        until(|| notes.alive() == 0).await;
        assert_eq!(notes.lines(), ["open", "on_close 4000", "end"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn panic_where_callbacks_are_made_closes_with_1011() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(event_handler_with(|_, _| -> Told {
            panic!("as ordered");
        }));
        let layer = layer.connections(&connections);
        let mut client = open(layer.endpoint(), http, "/").await;
        assert_eq!(within(client.recv()).await.unwrap(), None);
        let code = client.received_close().unwrap().code();
        assert_eq!(code, CloseCode::INTERNAL_ERROR);
        until(|| connections.is_empty()).await;
    })
    .await;
}
