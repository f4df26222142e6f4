//! Nodes that talk to each other.

use tower_websocket::cluster::{PublishError, Remote};

use crate::{
    node::{Node, in_words, within},
    server::NatsServer,
};

#[tokio::test]
async fn node_hears_in_order_what_another_sends() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let (a, b) = (
        Node::connected(&server.url()).await,
        Node::connected(&server.url()).await,
    );
    let (mut here, mut there) = (a.member(b"lobby").await, b.member(b"lobby").await);
    for number in 0..1000 {
        a.rooms.broadcast(&b"lobby"[..], number.to_string()).await;
        assert_eq!(here.hears().await, number.to_string());
    }
    a.send(b"lobby", "last").await.unwrap();
    for number in 0..1000 {
        assert_eq!(there.hears().await, number.to_string());
    }
    assert_eq!(there.hears().await, "last");
    assert_eq!(here.hears().await, "last");
    let (sent, received) = (a.cluster.counters(), b.cluster.counters());
    assert_eq!(
        (sent.published, sent.confirmed, sent.own_echoes),
        (1001, 1001, 0)
    );
    assert_eq!((received.lost, received.doubles), (0, 0));
}

#[tokio::test]
async fn key_may_have_any_bytes_and_means_no_other_room() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let (a, b) = (
        Node::connected(&server.url()).await,
        Node::connected(&server.url()).await,
    );
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let rooms: [&[u8]; 8] = [
        b"",
        b"*",
        b">",
        b"a.b",
        b"a b",
        b"=",
        "\u{e9}".as_bytes(),
        &all,
    ];
    let mut members = Vec::new();
    for room in rooms {
        members.push(b.member(room).await);
    }
    for room in rooms {
        a.send(room, &format!("to {room:?}")).await.unwrap();
    }
    for (room, member) in rooms.iter().zip(&mut members) {
        assert_eq!(member.hears().await, format!("to {room:?}"));
    }
    for room in rooms {
        a.send(room, "nothing else").await.unwrap();
    }
    for member in &mut members {
        assert_eq!(member.hears().await, "nothing else");
    }
}

#[tokio::test]
async fn somebody_who_looks_on_disturbs_nobody() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let a = Node::connected(&server.url()).await;
    a.send(b"lobby", "before").await.unwrap();
    let _watching = server.look_on("{}");
    for number in 0..20 {
        a.send(b"lobby", &number.to_string()).await.unwrap();
    }
    assert_eq!(a.cluster.counters().reconnects, 0);
}

#[tokio::test]
async fn stream_that_answers_all_that_is_published_disturbs_nobody() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let store = server.file("store", "");
    std::fs::remove_file(&store).unwrap();
    server.set(&format!("jetstream {{ store_dir: \"{store}\" }}"));
    let mut server = server;
    server.kill();
    server.start_again();
    server.make_stream("all", "shop.>");
    let (a, b) = (
        Node::connected(&server.url()).await,
        Node::connected(&server.url()).await,
    );
    let mut there = b.member(b"lobby").await;
    for number in 0..20 {
        a.send(b"lobby", &number.to_string()).await.unwrap();
        assert_eq!(there.hears().await, number.to_string());
    }
    assert_eq!(a.cluster.counters().reconnects, 0);
}

#[tokio::test]
async fn message_that_the_server_would_not_take_is_refused_and_the_connection_stays() {
    let Some(server) = NatsServer::start("max_payload: 1024") else {
        return;
    };
    let (a, b) = (
        Node::connected(&server.url()).await,
        Node::connected(&server.url()).await,
    );
    let mut there = b.member(b"lobby").await;
    let most = 1024 - 24;
    a.send(b"lobby", &"a".repeat(most)).await.unwrap();
    assert_eq!(there.hears().await.len(), most);
    let refused = a.send(b"lobby", &"a".repeat(most + 1)).await.unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge), "{refused:?}");
    a.send(b"lobby", "after").await.unwrap();
    assert_eq!(there.hears().await, "after");
    assert_eq!(a.cluster.counters().reconnects, 0);
}

#[tokio::test]
async fn message_that_was_kept_and_is_too_large_for_the_next_connection_harms_no_other() {
    let Some(mut server) = NatsServer::start("") else {
        return;
    };
    let mut a = Node::connected(&server.url()).await;
    a.up().await;
    server.kill();
    a.down().await;
    let sending = async {
        let large = "a".repeat(2000);
        tokio::join!(a.send(b"lobby", &large), a.send(b"lobby", "small"))
    };
    server.set("max_payload: 1024");
    let starting = async { server.start_again() };
    let ((large, small), ()) = tokio::join!(sending, starting);
    let Err(PublishError::Rejected(error)) = large else {
        panic!("{large:?}");
    };
    assert!(error.is_unsupported());
    assert!(
        in_words(&error).contains("2024 bytes exceeds max_payload of 1024"),
        "{error:?}"
    );
    small.unwrap();
    assert_eq!(a.cluster.counters().reconnects, 1);
}

#[tokio::test]
async fn member_that_joins_again_hears_what_comes_then() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let a = Node::connected(&server.url()).await;
    let b = {
        let nats = tower_websocket::cluster::Nats::new(&server.url()).unwrap();
        // A topic without a member is given up at once.
        Node::with(nats, |builder| builder.max_lingering(0))
    };
    within("connecting", b.cluster.connected()).await;
    for number in 0..50 {
        let mut there = b.member(b"lobby").await;
        a.send(b"lobby", &number.to_string()).await.unwrap();
        assert_eq!(there.hears().await, number.to_string());
        drop(there);
        let given_up = async {
            while b.cluster.counters().topics_subscribed != 2 {
                tokio::task::yield_now().await;
            }
        };
        within("giving up", given_up).await;
    }
    assert_eq!(b.cluster.counters().doubles, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rooms_are_subscribed_and_heard() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let (a, b) = (
        Node::connected(&server.url()).await,
        Node::connected(&server.url()).await,
    );
    let rooms: Vec<Vec<u8>> = (0..10_000_u32)
        .map(|number| number.to_be_bytes().to_vec())
        .collect();
    let mut members: Vec<_> = rooms.iter().map(|room| b.member_at_once(room)).collect();
    for member in &members {
        within("subscribing", member.membership.subscribed()).await;
    }
    for room in &rooms {
        let sent = a.rooms.broadcast(room.as_slice(), "hi").await;
        assert_eq!(sent.remote, Remote::Queued);
    }
    for member in &mut members {
        assert_eq!(member.hears().await, "hi");
    }
    let counters = b.cluster.counters();
    assert_eq!((counters.lost, counters.reconnects), (0, 0));
}

#[tokio::test]
async fn members_of_all_nodes_are_counted() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let (a, b) = (
        Node::connected(&server.url()).await,
        Node::connected(&server.url()).await,
    );
    let _members = [a.member(b"lobby").await, b.member(b"lobby").await];
    for node in [&a, &b] {
        let counted = async {
            // They may not know each other yet, and the machine may be busy for a second.
            loop {
                let count = node.rooms.count(&b"lobby"[..]).await;
                if (count.nodes, count.missing) == (2, 0) {
                    return count.members;
                }
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(within("counting", counted).await, 2);
    }
}
