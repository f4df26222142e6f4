//! Groups: who gets a broadcast, in which order, and what becomes of those that are too slow.

mod droppable;
mod ends;
mod everyone;
mod farewell;
mod kinds;
mod lent;
mod order;
mod presence;
mod slow;
mod written;

use std::{collections::BTreeSet, future::pending, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::io::duplex;
use tower_websocket::{
    CloseCode, Compression, Config, ConnectionId, Connections, Groups, Message, PreparedMessage,
    Sender, WebSocket,
    groups::{Delivery, GroupEvent, JoinError, Membership},
    testing,
};

use crate::{
    crowd::{ask, registered},
    session::support::{
        Frame, Peer, Reports, SHAPES, Shape, close, hold, hold_compressed, hold_over, idle, text,
        within,
    },
    support,
};

fn delivery(sent: u64, dropped: u64, closed: u64) -> Delivery {
    let mut delivery = Delivery::default();
    (delivery.sent, delivery.dropped, delivery.closed) = (sent, dropped, closed);
    delivery
}

/// An event, with the number of its member.
fn numbered<K>(event: GroupEvent<K>) -> GroupEvent<K, Option<ConnectionId>> {
    match event {
        GroupEvent::Created(key) => GroupEvent::Created(key),
        GroupEvent::Joined(key, member) => GroupEvent::Joined(key, member.id()),
        GroupEvent::Left(key, member) => GroupEvent::Left(key, member.id()),
        GroupEvent::Destroyed(key) => GroupEvent::Destroyed(key),
        GroupEvent::Missed(missed) => GroupEvent::Missed(missed),
        _ => panic!("there is no cluster"),
    }
}

/// A broadcast that no task has to be waited for.
fn at_once(broadcast: impl Future<Output = Delivery>) -> Delivery {
    let broadcast = tokio::task::unconstrained(broadcast);
    broadcast.now_or_never().expect("nothing is waited for")
}

#[tokio::test(start_paused = true)]
async fn members_get_what_is_broadcast_and_nobody_else() {
    for shape in SHAPES {
        let groups: Groups<&'static str> = Groups::new();
        let mut all = Vec::new();
        let mut memberships = Vec::new();
        for index in 0..4 {
            let (peer, socket, reports) = hold(shape, Config::default()).await;
            if index < 3 {
                let membership = groups.join("room", &socket.sender()).unwrap();
                assert_eq!(*membership.key(), "room");
                memberships.push(membership);
            }
            all.push((peer, socket, reports));
        }
        memberships.push(groups.join("other", &all[3].1.sender()).unwrap());
        assert_eq!((groups.len(), groups.is_empty()), (2, false));
        assert_eq!(groups.member_count("room"), 3);
        let keys: BTreeSet<_> = groups.keys().into_iter().collect();
        assert_eq!(keys, BTreeSet::from(["other", "room"]));
        let members = groups.members("room");
        assert_eq!(members.len(), 3);
        let is_member =
            |sender: &Sender| members.iter().any(|member| member.same_connection(sender));
        for (index, (_, socket, _)) in all.iter().enumerate() {
            assert_eq!(is_member(&socket.sender()), index < 3);
        }

        let three = delivery(3, 0, 0);
        assert_eq!(at_once(groups.broadcast("room", "text")), three);
        let binary = Bytes::from_static(b"binary");
        assert_eq!(at_once(groups.broadcast("room", binary)), three);
        let plain = Message::text("plain").uncompressed();
        assert_eq!(at_once(groups.broadcast("room", plain)), three);
        let prepared = PreparedMessage::new("prepared");
        assert_eq!(at_once(groups.broadcast("room", &prepared)), three);
        let sender = all[1].1.sender();
        let two = at_once(groups.broadcast_except("room", "except", &sender));
        assert_eq!(two, delivery(2, 0, 0));
        let stranger = all[3].1.sender();
        let three_more = at_once(groups.broadcast_except("room", "all", &stranger));
        assert_eq!(three_more, three);
        assert_eq!(
            at_once(groups.broadcast("nowhere", "lost")),
            delivery(0, 0, 0)
        );
        assert_eq!(groups.totals(), delivery(17, 0, 0));
        assert_eq!(
            (
                groups.members("nowhere").len(),
                groups.member_count("nowhere")
            ),
            (0, 0)
        );

        for (index, (peer, ..)) in all.iter_mut().take(3).enumerate() {
            assert_eq!(peer.frame().await, Frame::text("text"));
            assert_eq!(peer.frame().await, Frame::binary("binary"));
            assert_eq!(peer.frame().await, Frame::text("plain"));
            assert_eq!(peer.frame().await, Frame::text("prepared"));
            if index != 1 {
                assert_eq!(peer.frame().await, Frame::text("except"));
            }
            assert_eq!(peer.frame().await, Frame::text("all"));
        }
        drop(memberships);
        assert!(groups.is_empty());
        for (_, socket, _) in &all {
            socket.close(CloseCode::NORMAL);
        }
        for (peer, ..) in &mut all {
            let last = peer.frame().await;
            assert_eq!(last.code(), Some(1000), "nothing before: {last:?}");
        }
    }
}

/// Members in memory, of which nobody reads unless the test does.
fn pairs(groups: &Groups<u8>, count: usize) -> Vec<(WebSocket, WebSocket, Membership<u8>)> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let (client, server) = testing::pair(Config::default());
        let membership = groups.join(0, &server.sender()).unwrap();
        all.push((client, server, membership));
    }
    all
}

/// What a client has received, of messages that are its numbers.
async fn numbers(client: &mut WebSocket) -> Vec<u32> {
    let mut all = Vec::new();
    while let Some(message) = client.recv().now_or_never() {
        let message = message.unwrap().unwrap();
        all.push(message.as_text().unwrap().parse().unwrap());
    }
    all
}

/// A connection whose peer has a small pipe, and whose queue is full with a few messages.
async fn stalled(shape: Shape) -> (Peer, WebSocket, Reports) {
    let config = Config::default()
        .max_send_queue(1000)
        .write_timeout(None)
        .ping_interval(None);
    let (ours, theirs) = duplex(64);
    let (socket, reports) = hold_over(shape, config, theirs).await;
    (Peer::new(ours), socket, reports)
}

/// A message of a hundred bytes that is a number.
fn padded(number: u64) -> String {
    format!("{number:0100}")
}

fn number(frame: &Frame) -> u64 {
    assert_eq!((frame.first, frame.payload.len()), (0x81, 100), "{frame:?}");
    str::from_utf8(&frame.payload).unwrap().parse().unwrap()
}

/// A member whose queue is full with one message, in another thread perhaps.
fn narrow() -> (WebSocket, WebSocket) {
    testing::pair(Config::default().max_send_queue(0).max_send_messages(1))
}

/// Joins as it is told, and ends as it is told.
async fn member(mut socket: WebSocket, groups: Groups) {
    let membership = groups.join("room".to_owned(), &socket.sender()).unwrap();
    socket.send("joined").await.unwrap();
    let order = socket.recv().await;
    match order.ok().flatten().as_ref().and_then(Message::as_text) {
        Some("leave") => {
            membership.leave();
            pending().await
        }
        Some("drop") => {
            drop(membership);
            pending().await
        }
        Some("panic") => panic!("as ordered"),
        Some("abort") => {
            socket.sender().abort();
            pending().await
        }
        Some("close") => {
            socket.close(CloseCode::NORMAL);
            pending().await
        }
        // Kept for longer than the connection.
        _ => pending().await,
    }
}

#[tokio::test(start_paused = true)]
async fn membership_ends_however_the_member_does() {
    let orders = ["leave", "drop", "panic", "abort", "close", "bye", "reset"];
    for shape in SHAPES {
        for order in orders {
            let groups: Groups = Groups::new();
            let mut events = groups.events();
            let connections = Connections::sequential();
            let own = groups.clone();
            let service = registered(&connections, move |socket| member(socket, own.clone()));
            let mut peer = support::http::Peer::open(service, ask(shape)).await;
            assert_eq!(peer.frame().await, Some((0x1, "joined".into())));
            assert_eq!(groups.member_count("room"), 1);
            let id = connections.iter().next().unwrap().id();
            assert!(id.is_some());
            match order {
                "bye" => peer.write(&close(1000, "")).await,
                "reset" => drop(peer),
                "close" => {
                    peer.write(&text(order)).await;
                    peer.closed().await;
                }
                order => peer.write(&text(order)).await,
            }
            idle().await;
            // The closing handshake of the others is never answered: the deadlines end it.
            if ["bye", "panic"].contains(&order) {
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            assert!(groups.is_empty(), "{order}");
            let room = || "room".to_owned();
            for event in [
                GroupEvent::Created(room()),
                GroupEvent::Joined(room(), id),
                GroupEvent::Left(room(), id),
                GroupEvent::Destroyed(room()),
            ] {
                let told = events.recv().now_or_never().map(numbered);
                assert_eq!(told, Some(event), "{order}");
            }
            assert_eq!(events.recv().now_or_never(), None, "{order}");
            assert_eq!(at_once(groups.broadcast("room", "x")), delivery(0, 0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connection_joins_a_group_once_and_again_after_it_left() {
    let groups: Groups<u8> = Groups::new();
    let (_client, server) = testing::pair(Config::default());
    let sender = server.sender();
    let first = groups.join(1, &sender).unwrap();
    assert_eq!(
        groups.join(1, &server.sender()).unwrap_err(),
        JoinError::AlreadyMember
    );
    assert_eq!(groups.member_count(&1), 1);
    let other = groups.join(2, &sender).unwrap();
    first.leave();
    assert_eq!(groups.keys(), [2]);
    let again = groups.join(1, &sender).unwrap();
    assert_eq!(
        groups.join(1, &sender).unwrap_err(),
        JoinError::AlreadyMember
    );
    drop((again, other));
    assert!(groups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn connection_is_in_as_many_groups_as_it_may_be() {
    let groups: Groups<usize> = Groups::builder().max_groups_per_connection(3).build();
    let (_client, server) = testing::pair(Config::default());
    let (_other_client, other) = testing::pair(Config::default());
    let sender = server.sender();
    let mut joined: Vec<_> = (0..3)
        .map(|key| groups.join(key, &sender).unwrap())
        .collect();
    let limit = JoinError::TooManyGroups { limit: 3 };
    assert_eq!(groups.join(3, &sender).unwrap_err(), limit);
    assert_eq!(groups.len(), 3, "no group is left of it");
    // Another one has its own.
    let others: Vec<_> = (0..3)
        .map(|key| groups.join(key, &other.sender()).unwrap())
        .collect();
    assert_eq!(groups.join(3, &other.sender()).unwrap_err(), limit);
    drop(joined.remove(1));
    joined.push(groups.join(3, &sender).unwrap());
    assert_eq!(groups.join(4, &sender).unwrap_err(), limit);
    // Its end frees all of them.
    drop(other);
    idle().await;
    assert_eq!(groups.member_count(&0), 1);
    drop((joined, others));
    assert!(groups.is_empty());
    let unlimited: Groups<usize> = Groups::builder().max_groups_per_connection(None).build();
    let many: Vec<_> = (0..1000)
        .map(|key| unlimited.join(key, &sender).unwrap())
        .collect();
    assert_eq!(unlimited.len(), 1000);
    drop(server);
    idle().await;
    assert_eq!((unlimited.len(), many.len()), (0, 1000));
}

#[tokio::test(start_paused = true)]
async fn connection_that_is_over_joins_nothing() {
    let groups: Groups = Groups::new();
    let (client, server) = testing::pair(Config::default());
    let sender = server.sender();
    drop(client);
    drop(server);
    sender.closed().await;
    for _ in 0..2 {
        assert_eq!(
            groups.join("room".into(), &sender).unwrap_err(),
            JoinError::Closed
        );
        assert!(groups.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_told_in_order_to_all_who_listen() {
    let groups: Groups<u32> = Groups::new();
    let (_client, server) = testing::pair(Config::default());
    let (_other_client, other) = testing::pair(Config::default());
    let mut first = groups.events();
    let waiting = tokio::spawn(async move {
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(numbered(first.recv().await));
        }
        seen
    });
    idle().await;
    let a = groups.join(7, &server.sender()).unwrap();
    let second = groups.events();
    let b = groups.join(7, &other.sender()).unwrap();
    drop(a);
    drop(b);
    let expected = [
        GroupEvent::Created(7),
        GroupEvent::Joined(7, None),
        GroupEvent::Joined(7, None),
        GroupEvent::Left(7, None),
        GroupEvent::Left(7, None),
        GroupEvent::Destroyed(7),
    ];
    assert_eq!(within(waiting).await.unwrap(), expected);
    let late: Vec<_> = second.map(numbered).take(4).collect().await;
    assert_eq!(late, expected[2..]);
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_takes_are_missed_and_told_as_such() {
    let groups: Groups<u32> = Groups::new();
    let (_client, server) = testing::pair(Config::default());
    let mut events = groups.events();
    // Four events each: 1,024 of them fill the queue.
    let rounds = |rounds: std::ops::Range<u32>| {
        for key in rounds {
            groups.join(key, &server.sender()).unwrap().leave();
        }
    };
    let mut take = || events.recv().now_or_never().map(numbered);
    rounds(0..1024);
    rounds(1024..1026);
    for key in 0..1024 {
        assert_eq!(take(), Some(GroupEvent::Created(key)));
        if key == 0 {
            // There is room, but what was missed comes first.
            rounds(1026..1027);
        }
        if key == 1 {
            // There is room again, behind what was missed.
            rounds(2000..2001);
        }
        assert_eq!(take(), Some(GroupEvent::Joined(key, None)));
        assert_eq!(take(), Some(GroupEvent::Left(key, None)));
        assert_eq!(take(), Some(GroupEvent::Destroyed(key)));
    }
    assert_eq!(take(), Some(GroupEvent::Missed(12)));
    assert_eq!(take(), Some(GroupEvent::Created(2000)));
    assert_eq!(take(), Some(GroupEvent::Joined(2000, None)));
    assert_eq!(take(), Some(GroupEvent::Left(2000, None)));
    assert_eq!(take(), Some(GroupEvent::Destroyed(2000)));
    assert_eq!(take(), None);
}

#[tokio::test(start_paused = true)]
async fn member_broadcasts_from_its_own_handler() {
    async fn chat(mut socket: WebSocket, rooms: Groups<u8>) {
        let sender = socket.sender();
        let _membership = rooms.join(0, &sender).unwrap();
        while let Ok(Some(message)) = socket.recv().await {
            rooms.broadcast(&0, message.clone()).await;
            rooms.broadcast_except(&0, message, &sender).await;
        }
    }

    for shape in SHAPES {
        let rooms = Groups::new();
        let connections = Connections::new();
        let mut peers = Vec::new();
        for _ in 0..3 {
            let rooms = rooms.clone();
            let service = registered(&connections, move |socket| chat(socket, rooms.clone()));
            peers.push(support::http::Peer::open(service, ask(shape)).await);
        }
        idle().await;
        peers[1].send(0x1, b"hi").await;
        for (index, times) in [2, 1, 2].into_iter().enumerate() {
            for _ in 0..times {
                assert_eq!(peers[index].frame().await, Some((0x1, "hi".into())));
            }
        }
        peers[1].send(0x2, b"end").await;
        assert_eq!(peers[1].frame().await, Some((0x2, "end".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn members_who_agreed_on_compression_get_a_compressed_form_and_the_others_a_plain_one() {
    for settings in [Compression::shared(), Compression::dedicated()] {
        let compressing = Config::default().compression(settings);
        let groups: Groups<u8> = Groups::new();
        let mut all = Vec::new();
        for index in 0..300 {
            let shape = SHAPES[index % 2];
            let (peer, socket) = if index % 10 < 2 {
                let (peer, socket, _) = hold(shape, Config::default()).await;
                (peer, socket)
            } else {
                hold_compressed(shape, compressing.clone()).await
            };
            let membership = groups.join(0, &socket.sender()).unwrap();
            all.push((peer, socket, membership));
        }
        let news = "all the same ".repeat(500);
        let sent = groups.broadcast(&0, news.clone()).await;
        assert_eq!(sent, delivery(300, 0, 0));
        let plain = groups.broadcast(&0, Message::text(news.clone()).uncompressed());
        assert_eq!(plain.await, delivery(300, 0, 0));
        let mut compressed = Vec::new();
        for (index, (peer, ..)) in all.iter_mut().enumerate() {
            let frame = peer.frame().await;
            if index % 10 < 2 {
                assert_eq!(frame, Frame::text(&news));
            } else {
                assert!(frame.is_compressed(), "{frame:?}");
                assert!(frame.payload.len() < 100, "{frame:?}");
                compressed.push(frame);
            }
            assert_eq!(peer.frame().await, Frame::text(&news));
        }
        // They are the first message of each, so that nothing is referred to.
        assert!(compressed.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
