//! What a server does not permit.

use std::collections::HashSet;

use tower_websocket::cluster::{ClusterEvent, Nats, PublishError};

use crate::{
    node::{Member, Node, in_words, within},
    server::NatsServer,
};

/// The rights of the user of the tests.
fn rights(publish: &str, subscribe: &str) -> String {
    format!(
        "authorization {{ users: [ {{ user: chat, password: chat, permissions: {{ publish: {publish}, subscribe: {subscribe} }} }} ] }}"
    )
}

const ALL: &str = r#"["shop.1.>"]"#;

fn nats(server: &NatsServer) -> Nats {
    Nats::new(&server.url())
        .unwrap()
        .user_and_password("chat", "chat")
}

#[tokio::test]
async fn user_with_the_rights_of_the_docs_can_do_all() {
    let Some(server) = NatsServer::start(&rights(ALL, ALL)) else {
        return;
    };
    let (a, b) = (Node::start(nats(&server)), Node::start(nats(&server)));
    let mut there = b.member(b"lobby").await;
    within("connecting", a.cluster.connected()).await;
    a.send(b"lobby", "hi").await.unwrap();
    assert_eq!(there.hears().await, "hi");
}

#[tokio::test]
async fn refused_subscription_is_told_and_others_are_not_harmed() {
    let subscribe = r#"{ allow: ["shop.1.>"], deny: ["shop.1.rooms.secret"] }"#;
    let Some(server) = NatsServer::start(&rights(ALL, subscribe)) else {
        return;
    };
    let mut b = Node::start(nats(&server));
    let _secret = b.member_at_once(b"secret");
    let mut there = b.member(b"lobby").await;
    let topics = b.denied().await;
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0].as_bytes(), b"shop:1:rooms:secret");
    b.cluster.connected().await;
    let a = Node::start(nats(&server));
    a.send(b"lobby", "hi").await.unwrap();
    assert_eq!(there.hears().await, "hi");
    assert_eq!(b.cluster.counters().topics_subscribed, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_refused_subscriptions_are_all_told() {
    let subscribe = r#"{ allow: ["shop.1.>"], deny: ["shop.1.rooms.*"] }"#;
    let Some(server) = NatsServer::start(&rights(ALL, subscribe)) else {
        return;
    };
    let mut node = Node::start(nats(&server));
    let rooms: Vec<_> = (0..1000_u32)
        .map(|number| number.to_string().into_bytes())
        .collect();
    let _members: Vec<_> = rooms.iter().map(|room| node.member_at_once(room)).collect();
    let mut told = HashSet::new();
    while told.len() < rooms.len() {
        let topics = node.denied().await;
        told.extend(topics.iter().map(|topic| topic.key().to_vec()));
    }
    assert_eq!(told, rooms.into_iter().collect());
    within("connecting", node.cluster.connected()).await;
    assert_eq!(node.cluster.counters().topics_subscribed, 2);
}

/// Adds members to so many rooms at a server that has room for fewer; returns those of the others.
async fn denied_of(node: &mut Node, rooms: u32, fit: usize) -> (Vec<Member>, HashSet<Vec<u8>>) {
    let members: Vec<_> = (0..rooms)
        .map(|room| node.member_at_once(&room.to_be_bytes()))
        .collect();
    let mut told = HashSet::new();
    while told.len() < rooms as usize - fit {
        let topics = node.denied().await;
        told.extend(topics.iter().map(|topic| topic.key().to_vec()));
    }
    (members, told)
}

#[tokio::test]
async fn subscriptions_beyond_those_of_a_connection_are_told_and_the_others_heard() {
    for (settings, rooms, fit) in [
        // One is for answers, and two are for what nodes tell each other.
        ("max_subscriptions: 10", 20, 7),
        ("max_subscriptions: 10", 8, 7),
        ("max_subscriptions: 4", 3, 1),
        ("max_subscriptions: 300", 2000, 297),
    ] {
        let Some(server) = NatsServer::start(settings) else {
            return;
        };
        let mut b = Node::connected(&server.url()).await;
        let (mut members, told) = denied_of(&mut b, rooms, fit).await;
        assert_eq!(told.len(), rooms as usize - fit, "{settings}");
        within("connecting", b.cluster.connected()).await;
        assert_eq!(b.cluster.counters().topics_subscribed, fit as u64 + 2);
        let a = Node::connected(&server.url()).await;
        for (room, there) in (0..rooms).zip(&mut members) {
            let room = room.to_be_bytes();
            if !told.contains(&room[..]) {
                a.send(&room, "hi").await.unwrap();
                assert_eq!(there.hears().await, "hi");
            }
        }
        assert_eq!(b.cluster.counters().reconnects, 0);
    }
}

#[tokio::test]
async fn what_a_node_tells_others_is_subscribed_before_what_is_too_much() {
    let Some(server) = NatsServer::start("max_subscriptions: 4") else {
        return;
    };
    let mut b = Node::start(Nats::new(&server.url()).unwrap());
    // Before there is a connection.
    let (_members, told) = denied_of(&mut b, 1000, 1).await;
    assert_eq!(told.len(), 999);
    within("connecting", b.cluster.connected()).await;
    let a = Node::connected(&server.url()).await;
    let joined = |event| match event {
        ClusterEvent::NodeJoined(node) => Some(node),
        _ => None,
    };
    assert_eq!(b.event(joined).await, a.cluster.id());
}

#[tokio::test]
async fn right_that_is_taken_away_is_told() {
    let Some(server) = NatsServer::start(&rights(ALL, ALL)) else {
        return;
    };
    let mut node = Node::start(nats(&server));
    let _lobby = node.member(b"lobby").await;
    server.set(&rights(
        ALL,
        r#"{ allow: ["shop.1.>"], deny: ["shop.1.rooms.lobby"] }"#,
    ));
    server.reload();
    let topics = node.denied().await;
    assert_eq!(topics[0].as_bytes(), b"shop:1:rooms:lobby");
    assert_eq!(node.cluster.counters().topics_subscribed, 2);
}

#[tokio::test]
async fn right_to_a_thousand_topics_that_is_taken_away_is_told_of_all() {
    let Some(server) = NatsServer::start(&rights(ALL, ALL)) else {
        return;
    };
    let mut node = Node::start(nats(&server));
    let _members = node.members(1000).await;
    server.set(&rights(
        ALL,
        r#"{ allow: ["shop.1.>"], deny: ["shop.1.rooms.*"] }"#,
    ));
    server.reload();
    let mut told = HashSet::new();
    while told.len() < 1000 {
        let topics = node.denied().await;
        told.extend(topics.iter().map(|topic| topic.key().to_vec()));
    }
    within("connecting", node.cluster.connected()).await;
    assert_eq!(node.cluster.counters().topics_subscribed, 2);
}

#[tokio::test]
async fn none_of_a_thousand_refused_messages_is_confirmed() {
    let publish = r#"{ allow: ["shop.1.>"], deny: ["shop.1.rooms.*"] }"#;
    let Some(server) = NatsServer::start(&rights(publish, ALL)) else {
        return;
    };
    let node = Node::start(nats(&server));
    within("connecting", node.cluster.connected()).await;
    let rooms: Vec<_> = (0..1000_u32).map(u32::to_be_bytes).collect();
    let sent = rooms.iter().map(|room| node.send(room, "psst"));
    for refused in futures_util::future::join_all(sent).await {
        let Err(PublishError::Rejected(error)) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.is_denied());
    }
    let counters = node.cluster.counters();
    assert_eq!((counters.refused.rejected, counters.reconnects), (1000, 0));
}

#[tokio::test]
async fn refused_message_is_said_to_its_sender_and_others_go_on() {
    let publish = r#"{ allow: ["shop.1.>"], deny: ["shop.1.rooms.secret"] }"#;
    let Some(server) = NatsServer::start(&rights(publish, ALL)) else {
        return;
    };
    let node = Node::start(nats(&server));
    within("connecting", node.cluster.connected()).await;
    for _ in 0..20 {
        let (refused, taken) =
            tokio::join!(node.send(b"secret", "psst"), node.send(b"lobby", "hi"));
        taken.unwrap();
        let Err(PublishError::Rejected(error)) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.is_denied());
        let words = in_words(&error);
        assert!(
            words.contains(r#"Permissions Violation for Publish to "shop.1.rooms.secret""#),
            "{words}"
        );
    }
    let counters = node.cluster.counters();
    assert_eq!(
        (
            counters.confirmed,
            counters.refused.rejected,
            counters.reconnects
        ),
        (20, 20, 0)
    );
}

#[tokio::test]
async fn right_without_which_nothing_works_is_named() {
    let no_answers = r#"{ allow: ["shop.1.>"], deny: ["shop.1.!.inbox.>"] }"#;
    let no_questions = r#"{ allow: ["shop.1.>"], deny: ["shop.1.!.yes.>"] }"#;
    for (publish, subscribe, subject) in [
        (ALL, no_answers, "Subscription to \"shop.1.!.inbox."),
        (ALL, no_questions, "Subscription to \"shop.1.!.yes."),
        (no_questions, ALL, "Publish to \"shop.1.!.yes."),
    ] {
        let Some(server) = NatsServer::start(&rights(publish, subscribe)) else {
            return;
        };
        let down = Node::start(nats(&server)).down().await;
        assert!(down.is_denied, "{down:?}");
        assert!(down.words.contains(subject), "{down:?}");
    }
}
