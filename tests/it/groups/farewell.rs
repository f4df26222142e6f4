//! What is broadcast when a member leaves, on whatever way.

use std::{future::pending, pin::pin, thread, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::sleep;
use tower_websocket::{
    CloseCode, Config, Connections, Groups, Message, PreparedMessage, WebSocket,
    groups::{Membership, SlowMember},
    testing,
};

use super::{at_once, delivery, padded, stalled};
use crate::{
    crowd::{ask, registered, until},
    session::support::{Frame, SHAPES, close, hold, idle, once, within},
    support::{
        http::{Ask, Peer, Server},
        on_both,
    },
};

/// Joins, and leaves as it is told.
async fn leaver(mut socket: WebSocket, rooms: Groups) {
    let membership = rooms.join("room".to_owned(), &socket.sender()).unwrap();
    let membership = membership.on_leave("gone");
    socket.send("joined").await.unwrap();
    let order = socket.recv().await;
    match order.ok().flatten().as_ref().and_then(Message::as_text) {
        Some("leave") => membership.leave(),
        Some("drop") => drop(membership),
        Some("return") => return,
        Some("panic") => panic!("as ordered"),
        Some("say and leave") => {
            rooms.broadcast("room", "said").await;
            membership.leave();
        }
        Some("close") => {
            socket.close(CloseCode::NORMAL);
            pending().await
        }
        // Kept for longer than the connection.
        _ => pending().await,
    }
    pending().await
}

/// A member that stays, and the client that hears what it gets.
pub(super) fn listener(rooms: &Groups) -> (WebSocket, WebSocket, Membership) {
    let (client, server) = testing::pair(Config::default().ping_interval(None));
    let membership = rooms.join("room".to_owned(), &server.sender()).unwrap();
    (client, server, membership)
}

/// All that a client has received so far.
pub(super) fn heard(client: &mut WebSocket) -> Vec<String> {
    let next = || client.recv().now_or_never();
    std::iter::from_fn(next)
        .map(|message| message.unwrap().unwrap().as_text().unwrap().to_owned())
        .collect()
}

const ORDERS: [&str; 11] = [
    "leave",
    "drop",
    "return",
    "panic",
    "say and leave",
    "close",
    "bye",
    "reset",
    "abort",
    "remove",
    "close the group",
];

#[tokio::test(start_paused = true)]
async fn farewell_is_said_once_on_any_way_out() {
    for shape in SHAPES {
        for order in ORDERS {
            let rooms: Groups = Groups::new();
            let connections = Connections::new();
            let own = rooms.clone();
            let service = registered(&connections, move |socket| leaver(socket, own.clone()));
            let mut peer = Peer::open(service, ask(shape)).await;
            assert_eq!(peer.frame().await, Some((0x1, "joined".into())));
            let (mut client, server, _stays) = listener(&rooms);
            let sender = connections.iter().next().unwrap();
            match order {
                "bye" => peer.write(&close(1000, "")).await,
                "reset" => drop(peer),
                "abort" => sender.abort(),
                "remove" => assert!(rooms.remove("room", &sender)),
                "close the group" => {
                    let closing = rooms.close_except("room", CloseCode::NORMAL, &server.sender());
                    assert_eq!(closing.await.closed, 1);
                }
                order => peer.send(0x1, order.as_bytes()).await,
            }
            idle().await;
            // Closing handshakes are not answered: the deadline ends them.
            sleep(Duration::from_secs(20)).await;
            assert_eq!(rooms.member_count("room"), 1, "{order}");
            let mut expected = vec!["gone"];
            if order == "say and leave" {
                expected.insert(0, "said");
            }
            assert_eq!(heard(&mut client), expected, "{order}");
            // It is the end of it: neither who leaves later nor what else ends says it again.
            drop(sender);
            drop(connections);
            idle().await;
            assert_eq!(heard(&mut client), [""; 0], "{order}");
        }
    }
}

#[tokio::test]
async fn farewell_is_said_over_real_connections() {
    on_both(async |http| {
        let rooms: Groups = Groups::new();
        let own = rooms.clone();
        let connections = Connections::new();
        let app = registered(&connections, move |socket| leaver(socket, own.clone()));
        let server = Server::start(app).await;
        for order in ["leave", "return", "panic", "close", "bye", "reset"] {
            let mut stays = Ask::handshake(http, "/").send(&server).await.opened(http);
            assert_eq!(stays.frame().await, Some((0x1, "joined".into())));
            let mut leaves = Ask::handshake(http, "/").send(&server).await.opened(http);
            assert_eq!(leaves.frame().await, Some((0x1, "joined".into())));
            match order {
                "bye" => leaves.send(0x8, &1000_u16.to_be_bytes()).await,
                "reset" => drop(leaves),
                order => {
                    leaves.send(0x1, order.as_bytes()).await;
                    if ["return", "panic", "close"].contains(&order) {
                        leaves.closed().await;
                    }
                }
            }
            assert_eq!(stays.frame().await, Some((0x1, "gone".into())), "{order}");
            drop(stays);
            until(|| rooms.is_empty()).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn farewell_does_not_reach_who_has_left() {
    for shape in SHAPES {
        let rooms: Groups = Groups::new();
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let sender = socket.sender();
        let join = || rooms.join("room".to_owned(), &sender).unwrap();
        let (client, ..) = &mut listener(&rooms);
        let first = join().on_leave("first");
        // A broadcast has the turn, while it leaves and joins again.
        let others: Vec<_> = (0..100).map(|_| listener(&rooms)).collect();
        let mut broadcast = pin!(rooms.broadcast("room", "before"));
        assert!(once(broadcast.as_mut()).await.is_pending());
        first.leave();
        let _second = join();
        broadcast.await;
        idle().await;
        assert_eq!(heard(client), ["before", "first"]);
        assert_eq!(rooms.broadcast("room", "after").await.sent, 102);
        drop(others);
        assert_eq!(peer.frame().await, Frame::text("before"));
        assert_eq!(peer.frame().await, Frame::text("after"));
    }
}

#[tokio::test(start_paused = true)]
async fn last_farewell_that_was_set_counts_and_one_that_comes_late_is_said_at_once() {
    let rooms: Groups = Groups::new();
    let (client, ..) = &mut listener(&rooms);
    let (_other_client, other) = testing::pair(Config::default());
    let join = || rooms.join("room".to_owned(), &other.sender()).unwrap();
    let membership = join().on_leave("Ann has left").on_leave("Bob has left");
    idle().await;
    assert_eq!(heard(client), [""; 0]);
    drop(membership);
    idle().await;
    assert_eq!(heard(client), ["Bob has left"]);
    let membership = join().on_leave("removed");
    assert!(rooms.remove("room", &other.sender()));
    drop(membership.on_leave("once more"));
    idle().await;
    assert_eq!(heard(client), ["removed"]);
    let membership = join();
    assert!(rooms.remove("room", &other.sender()));
    idle().await;
    assert_eq!(heard(client), [""; 0]);
    let membership = membership.on_leave("late");
    idle().await;
    assert_eq!(heard(client), ["late"]);
    // It was said.
    drop(membership.on_leave("again"));
    idle().await;
    assert_eq!(heard(client), [""; 0]);
    assert_eq!(rooms.totals(), delivery(3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn farewells_of_thousands_are_each_said_to_all_that_are_left() {
    let rooms: Groups = Groups::new();
    let (client, ..) = &mut listener(&rooms);
    let leaves = |number: u32| {
        let (client, server) = testing::pair(Config::default().ping_interval(None));
        let membership = rooms.join("room".to_owned(), &server.sender()).unwrap();
        (client, server, membership.on_leave(number.to_string()))
    };
    let mut all: Vec<_> = (0..500).map(leaves).collect();
    assert_eq!(rooms.member_count("room"), 501);
    for number in 0..500 {
        drop(all.pop());
        if number % 10 == 0 {
            idle().await;
        }
    }
    idle().await;
    let mut farewells: Vec<u32> = heard(client)
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    farewells.sort_unstable();
    assert_eq!(farewells, (0..500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn member_that_is_closed_as_too_slow_is_said_farewell() {
    for shape in SHAPES {
        let rooms: Groups = Groups::new();
        let (client, ..) = &mut listener(&rooms);
        let (_peer, socket, _reports) = stalled(shape).await;
        let membership = rooms.join("room".to_owned(), &socket.sender()).unwrap();
        let membership = membership.on_leave("too slow");
        let mut sent = Vec::new();
        while rooms.member_count("room") == 2 {
            sent.push(padded(sent.len() as u64));
            rooms.broadcast("room", sent.last().unwrap().clone()).await;
        }
        idle().await;
        sent.push("too slow".to_owned());
        assert_eq!(heard(client), sent);
        drop(membership);
        drop(socket);
        idle().await;
        assert_eq!(heard(client), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_member_is_told_by_its_policy_of_who_has_left() {
    for shape in SHAPES {
        let rooms: Groups = Groups::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let (mut peer, socket, _reports) = stalled(shape).await;
        let _stays = rooms.join("room".to_owned(), &socket.sender()).unwrap();
        while socket.try_send(padded(0)).is_ok() {
            idle().await;
        }
        for number in 1..10 {
            let (_client, other) = testing::pair(Config::default());
            let membership = rooms.join("room".to_owned(), &other.sender()).unwrap();
            drop(membership.on_leave(padded(number)));
        }
        let mut last = peer.frame().await;
        while last == Frame::text(&padded(0)) {
            last = peer.frame().await;
        }
        assert_eq!(last, Frame::text(&padded(9)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn farewell_is_said_once_whatever_threads_do_meanwhile() {
    let rooms: Groups = Groups::new();
    let (mut client, _server, _stays) = listener(&rooms);
    const ROUNDS: usize = 200;
    for round in 0..ROUNDS {
        let (peer, server) = testing::pair(Config::default());
        let membership = rooms.join("room".to_owned(), &server.sender()).unwrap();
        let membership = membership.on_leave(round.to_string());
        let (own, sender) = (rooms.clone(), server.sender());
        let removing = tokio::spawn(async move { own.remove("room", &sender) });
        let dropping = tokio::spawn(async move { drop(membership) });
        let broadcasting = {
            let rooms = rooms.clone();
            tokio::spawn(async move { rooms.broadcast("room", "between").await })
        };
        let aborting = tokio::spawn(async move { server.sender().abort() });
        for task in [dropping, aborting] {
            within(task).await.unwrap();
        }
        within(removing).await.unwrap();
        within(broadcasting).await.unwrap();
        drop(peer);
    }
    let mut farewells = Vec::new();
    while farewells.len() < ROUNDS {
        let text = within(client.recv()).await.unwrap().unwrap();
        if text.as_text() != Some("between") {
            farewells.push(text.as_text().unwrap().parse::<usize>().unwrap());
        }
    }
    farewells.sort_unstable();
    assert_eq!(farewells, (0..ROUNDS).collect::<Vec<_>>());
    assert_eq!(rooms.member_count("room"), 1);
}

/// A payload whose drop panics.
struct Explodes(Vec<u8>);

impl AsRef<[u8]> for Explodes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Explodes {
    fn drop(&mut self) {
        panic!("as ordered");
    }
}

#[tokio::test(start_paused = true)]
async fn farewell_that_panics_when_it_is_dropped_harms_nobody() {
    for shape in SHAPES {
        let rooms: Groups = Groups::new();
        let (client, ..) = &mut listener(&rooms);
        let (peer, socket, mut reports) = hold(shape, Config::default()).await;
        let payload = Bytes::from_owner(Explodes(b"gone".to_vec()));
        let farewell = PreparedMessage::new(Message::binary(payload));
        let membership = rooms.join("room".to_owned(), &socket.sender()).unwrap();
        let _membership = membership.on_leave(farewell);
        // The session finds out, and is to end as any other.
        drop(peer);
        assert_eq!(reports.first().await.close_code, 1006);
        let message = within(client.recv()).await.unwrap().unwrap();
        assert_eq!(message.as_bytes(), b"gone");
        // Nor where its handler panics before.
        let own = rooms.clone();
        let service = registered(&Connections::new(), move |socket: WebSocket| {
            let payload = Bytes::from_owner(Explodes(b"gone, too".to_vec()));
            let farewell = PreparedMessage::new(Message::binary(payload));
            let membership = own.join("room".to_owned(), &socket.sender()).unwrap();
            let membership = membership.on_leave(farewell);
            async move {
                let _both = (socket, membership);
                panic!("as ordered");
            }
        });
        let mut peer = Peer::open(service, ask(shape)).await;
        let message = within(client.recv()).await.unwrap().unwrap();
        assert_eq!(message.as_bytes(), b"gone, too");
        assert_eq!(peer.closed().await.0, 1011);
        assert_eq!(at_once(rooms.broadcast("room", "after")), delivery(1, 0, 0));
    }
}

#[test]
fn farewell_needs_a_runtime_and_says_so() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let rooms: Groups = Groups::new();
    let (_client, server) = runtime.block_on(async { testing::pair(Config::default()) });
    let membership = rooms.join("room".to_owned(), &server.sender()).unwrap();
    let outside = thread::spawn(move || drop(membership.on_leave("gone")));
    let panic = outside.join().unwrap_err();
    let words = panic.downcast_ref::<String>().map_or("", |words| words);
    assert!(words.contains("Tokio"), "{words}");
    assert!(rooms.is_empty());
}
