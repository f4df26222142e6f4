//! Which nodes there are, what they carry, and what happens to them.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_websocket::{
    Connections, WebSocket,
    cluster::{Cluster, ClusterEvent, Memory},
    session::Drain,
};

use super::{Node, event, events_so_far, links, nodes, ready};
use crate::{
    crowd::{ask, registered},
    session::support::{Shape, idle},
    support::http::Peer,
};

#[tokio::test(start_paused = true)]
async fn nodes_know_each_other_and_what_they_carry() {
    let start = std::time::Instant::now();
    let [near_link, far_link] = links();
    let near = Node::with(near_link, |builder| builder.node_name("near"));
    let far = Node::with(far_link, |builder| builder.node_name("n".repeat(100)));
    let all = [near, far];
    ready(&all).await;
    let [near, far] = &all;
    let connections = Connections::new();
    far.cluster.attach(&connections);
    let service = registered(&connections, |mut socket: WebSocket| async move {
        while let Ok(Some(_)) = socket.recv().await {}
    });
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(Peer::open(service.clone(), ask(Shape::H1)).await);
    }
    let _member = far.member("lobby").await;

    // Its own are known at once, the others with the next heartbeat.
    assert_eq!(
        (far.cluster.connections(), near.cluster.connections()),
        (3, 0)
    );
    sleep(Duration::from_secs(6)).await;
    assert_eq!(
        (far.cluster.connections(), near.cluster.connections()),
        (3, 3)
    );
    let seen = near.cluster.nodes();
    let [own, other] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!((own.id, &*own.name), (near.cluster.id(), "near"));
    assert_eq!((own.connections, own.groups, own.draining), (0, 0, false));
    assert_eq!((other.id, other.name.len()), (far.cluster.id(), 64));
    assert_eq!(
        (other.connections, other.groups, other.draining),
        (3, 1, false)
    );
    assert!(
        other
            .started
            .is_some_and(|started| started < other.last_seen)
    );
    assert!(other.last_seen > start);
    assert_eq!(near.cluster.counters().nodes, 2);

    let draining = connections.clone();
    tokio::spawn(async move { draining.drain(Drain::default()).await });
    sleep(Duration::from_secs(6)).await;
    assert!(near.cluster.nodes()[1].draining);
    assert!(far.cluster.nodes()[0].draining);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_told_of_when_it_comes_and_when_it_is_not_heard_any_more() {
    let [near_link, far_link] = links();
    let near = Node::on(near_link);
    let mut events = near.cluster.events();
    let connected = event(&mut events, |_| true).await;
    assert!(matches!(connected, ClusterEvent::Connected { after: None }));
    let far = Node::on(far_link);
    let joined = event(&mut events, |_| true).await;
    let id = far.cluster.id();
    assert!(
        matches!(joined, ClusterEvent::NodeJoined(node) if node == id),
        "{joined:?}"
    );

    far.link.freeze();
    let silent = Instant::now();
    let left = event(&mut events, |_| true).await;
    assert!(
        matches!(left, ClusterEvent::NodeLeft(node) if node == id),
        "{left:?}"
    );
    let after = silent.elapsed();
    // Three of its intervals after the last heartbeat.
    let range = Duration::from_secs(8)..=Duration::from_secs(15);
    assert!(range.contains(&after), "{after:?}");
    assert_eq!(near.cluster.nodes().len(), 1);
    far.link.heal();
    let back = event(&mut events, |_| true).await;
    assert!(
        matches!(back, ClusterEvent::NodeJoined(node) if node == id),
        "{back:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_break_says_why_and_an_engine_that_cannot_be_reached_is_told_of_once_per_reason() {
    let [node] = nodes().await;
    let mut events = node.cluster.events();
    node.link.cut();
    let broken = event(&mut events, |_| true).await;
    let ClusterEvent::Disconnected(error) = broken else {
        panic!("{broken:?}");
    };
    assert_eq!(error.to_string(), "the connection to the engine broke");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the link was cut");
    sleep(Duration::from_secs(120)).await;
    let told = events_so_far(&mut events);
    let [ClusterEvent::Unreachable(error)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(error.to_string(), "the engine cannot be reached");
    node.link.heal();
    let connected = event(&mut events, |_| true).await;
    let ClusterEvent::Connected { after: Some(after) } = connected else {
        panic!("{connected:?}");
    };
    assert!(after >= Duration::from_secs(120));
    // A pause has at most 5 seconds and the half of that.
    assert!(after <= Duration::from_secs(128), "{after:?}");
    assert_eq!(node.cluster.counters().reconnects, 1);

    node.link.cut();
    sleep(Duration::from_secs(60)).await;
    let told = events_so_far(&mut events);
    let [ClusterEvent::Disconnected(_), ClusterEvent::Unreachable(_)] = &told[..] else {
        panic!("{told:?}");
    };
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_starts_anew_is_connected_to_at_once() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let mut events = far.cluster.events();
    near.link.restart();
    let broken = event(&mut events, |_| true).await;
    assert!(
        matches!(broken, ClusterEvent::Disconnected(_)),
        "{broken:?}"
    );
    let connected = event(&mut events, |_| true).await;
    let ClusterEvent::Connected { after: Some(after) } = connected else {
        panic!("{connected:?}");
    };
    assert!(after <= Duration::from_millis(251), "{after:?}");
    near.rooms.broadcast("lobby", "kept").await;
    assert_eq!(there.text().await, "kept");
}

#[tokio::test(start_paused = true)]
async fn a_node_to_whose_subscriptions_nobody_publishes_connects_again() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let mut events = far.cluster.events();
    let stale = Instant::now();
    near.link.forget();
    near.rooms.broadcast("lobby", "lost").await;
    let broken = event(&mut events, |event| {
        matches!(event, ClusterEvent::Disconnected(_))
    })
    .await;
    let ClusterEvent::Disconnected(error) = broken else {
        panic!("{broken:?}");
    };
    assert_eq!(error.to_string(), "the engine is silent");
    assert!(
        stale.elapsed() <= Duration::from_secs(16),
        "{:?}",
        stale.elapsed()
    );
    event(&mut events, |event| {
        matches!(event, ClusterEvent::Connected { .. })
    })
    .await;
    ready(&[near, far]).await;
    // The first one it does not know is missing is told with the next.
    there.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_nothing_is_given_up_after_3_seconds() {
    let [node] = nodes().await;
    let mut events = node.cluster.events();
    node.link.freeze();
    node.rooms.broadcast("lobby", "x").await;
    let stopped = Instant::now();
    let broken = event(&mut events, |_| true).await;
    let ClusterEvent::Disconnected(error) = broken else {
        panic!("{broken:?}");
    };
    assert_eq!(error.to_string(), "the engine is silent");
    let after = stopped.elapsed();
    assert!(after <= Duration::from_millis(3010), "{after:?}");
    assert!(after >= Duration::from_millis(3000), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_no_heartbeat_is_given_up() {
    let [node] = nodes().await;
    let mut events = node.cluster.events();
    node.link.freeze();
    let stopped = Instant::now();
    let broken = event(&mut events, |_| true).await;
    assert!(
        matches!(broken, ClusterEvent::Disconnected(_)),
        "{broken:?}"
    );
    // At most 6 seconds until the next one, and 3 more.
    assert!(
        stopped.elapsed() <= Duration::from_secs(9),
        "{:?}",
        stopped.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_takes_are_counted_beyond_4096() {
    let [node] = nodes().await;
    let mut events = node.cluster.events();
    let mut others = node.cluster.events();
    for _ in 0..2100 {
        node.link.cut();
        idle().await;
        node.link.heal();
        sleep(Duration::from_secs(8)).await;
        let _taken = events_so_far(&mut others);
    }
    let kept = events_so_far(&mut events);
    assert_eq!(kept.len(), 4097);
    let ClusterEvent::Missed(missed) = kept[4096] else {
        panic!("{:?}", kept[4096]);
    };
    // Each time it broke, and came back; now and then it could not be reached first.
    assert!(missed >= 104, "{missed}");
    assert!(
        kept[..4096]
            .iter()
            .all(|event| !matches!(event, ClusterEvent::Missed(_)))
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_beyond_the_limit_are_not_listed_and_their_messages_are_delivered() {
    let first = Memory::new();
    let near = Node::with(first.clone(), |builder| builder.max_nodes(2));
    let mut all = vec![near];
    all.extend((0..4).map(|_| Node::on(first.link())));
    ready(&all).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(all[0].cluster.nodes().len(), 3);
    assert_eq!(all[1].cluster.nodes().len(), 5);
    let mut member = all[0].member("lobby").await;
    for node in &all[1..] {
        node.rooms.broadcast("lobby", "hello").await;
        assert_eq!(member.text().await, "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn settings_and_handles_can_be_printed() {
    let [link] = links();
    let cluster = Cluster::start("shop", link.clone());
    let printed = format!("{cluster:?} {link:?} {:?}", Cluster::builder("shop"));
    for part in ["shop", "memory", &cluster.id().to_string()] {
        assert!(printed.contains(part), "{printed}");
    }
}
