//! Joining a group that spans nodes: keys, names, and when what others send arrives.

use std::{borrow::Cow, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use tower_websocket::{
    CloseCode, Config, Groups,
    cluster::{Cluster, ClusterEvent, ToTopic},
    groups::JoinError,
    testing,
};

use super::{Node, event, links, nodes, ready};
use crate::session::support::{Shape, idle, once, within};

#[tokio::test(start_paused = true)]
async fn without_a_cluster_a_member_waits_for_nothing() {
    let groups: Groups = Groups::new();
    let (_client, server) = testing::pair(Config::default());
    let membership = groups.join("lobby".to_owned(), &server.sender()).unwrap();
    assert_eq!(membership.subscribed().now_or_never(), Some(()));
}

#[tokio::test(start_paused = true)]
async fn the_first_member_waits_for_the_engine_and_the_next_one_for_nothing() {
    let [near, far] = nodes().await;
    far.link.delay(Duration::from_millis(100));
    let before = Instant::now();
    let mut first = far.joined(Shape::H1, "lobby").await;
    assert!(first.membership.subscribed().now_or_never().is_none());
    within(first.membership.subscribed()).await;
    assert_eq!(before.elapsed(), Duration::from_millis(100));
    let second = far.joined(Shape::H2, "lobby").await;
    assert_eq!(second.membership.subscribed().now_or_never(), Some(()));
    // Nothing slips in between.
    near.rooms.broadcast("lobby", "after it").await;
    assert_eq!(first.text().await, "after it");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_had_a_member_a_moment_ago_is_subscribed_still() {
    let [near, far] = nodes().await;
    drop(far.member("lobby").await);
    far.link.freeze();
    let mut again = far.joined(Shape::H1, "lobby").await;
    assert_eq!(again.membership.subscribed().now_or_never(), Some(()));
    far.link.heal();
    near.rooms.broadcast("lobby", "hello").await;
    assert_eq!(again.text().await, "hello");
    // A reload later it is, 5 seconds later it is not.
    drop(again);
    assert_eq!(far.cluster.counters().topics_subscribed, 3);
    sleep(Duration::from_millis(4900)).await;
    assert_eq!(far.cluster.counters().topics_subscribed, 3);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(far.cluster.counters().topics_subscribed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_member_waits_for_a_connection_and_for_permission() {
    let [link] = links();
    link.cut();
    let node = Node::on(link.clone());
    let member = node.joined(Shape::H1, "lobby").await;
    let mut subscribed = Box::pin(member.membership.subscribed());
    sleep(Duration::from_secs(60)).await;
    assert!(once(subscribed.as_mut()).await.is_pending());
    link.heal();
    within(subscribed).await;

    let mut events = node.cluster.events();
    link.deny(|topic| topic.key() == b"secret");
    let denied = node.joined(Shape::H1, "secret").await;
    let mut subscribed = Box::pin(denied.membership.subscribed());
    let told = event(&mut events, |event| {
        matches!(event, ClusterEvent::Denied(_))
    })
    .await;
    let ClusterEvent::Denied(topics) = told else {
        panic!("{told:?}");
    };
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0].as_bytes(), b"shop:1:rooms:secret");
    link.deny(|_| false);
    sleep(Duration::from_secs(29)).await;
    assert!(once(subscribed.as_mut()).await.is_pending());
    sleep(Duration::from_secs(2)).await;
    assert!(
        once(subscribed.as_mut()).await.is_ready(),
        "it was asked again"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_group_that_goes_waits_no_longer() {
    let [node] = nodes().await;
    node.link.freeze();
    let (_client, server) = testing::pair(Config::default());
    let membership = node
        .rooms
        .join("lobby".to_owned(), &server.sender())
        .unwrap();
    let subscribed = membership.subscribed();
    drop(membership);
    assert_eq!(subscribed.now_or_never(), Some(()));

    // Also whoever begins to wait when it is gone.
    let membership = node
        .rooms
        .join("lobby".to_owned(), &server.sender())
        .unwrap();
    server.sender().abort();
    idle().await;
    assert!(node.rooms.is_empty());
    assert_eq!(membership.subscribed().now_or_never(), Some(()));

    // And whoever waits when the node leaves.
    let other = node.joined(Shape::H1, "kitchen").await;
    let waiting = tokio::spawn(other.membership.subscribed());
    idle().await;
    node.cluster.leave().await;
    within(waiting).await.unwrap();
    assert_eq!(other.membership.subscribed().now_or_never(), Some(()));
}

/// A key of which some share a topic.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Careless(u8, Box<str>);

impl ToTopic for Careless {
    fn to_topic(&self) -> Cow<'_, [u8]> {
        self.1.as_bytes().into()
    }
}

#[tokio::test(start_paused = true)]
async fn keys_with_a_long_topic_or_one_that_is_taken_join_nothing() {
    let [node] = nodes().await;
    let (_client, server) = testing::pair(Config::default());
    let sender = server.sender();
    let longest = node.rooms.join("x".repeat(512), &sender);
    assert!(longest.is_ok());
    let long = "x".repeat(513);
    let error = node.rooms.join(long.clone(), &sender).unwrap_err();
    assert_eq!(error, JoinError::LongKey { len: 513 });
    // There is no such group, so it has no members.
    let delivery = node.rooms.broadcast(&long, "to nobody").await;
    assert_eq!(delivery.sent, 0);

    let groups: Groups<Careless> = Groups::builder().cluster(&node.cluster, "careless").build();
    let mut events = groups.events();
    let first = groups.join(Careless(1, "a".into()), &sender).unwrap();
    let error = groups.join(Careless(2, "a".into()), &sender).unwrap_err();
    assert_eq!(error, JoinError::TopicTaken);
    assert_eq!(groups.len(), 1);
    drop(first);
    let _second = groups.join(Careless(2, "a".into()), &sender).unwrap();
    while let Some(event) = events.recv().now_or_never() {
        println!("{event:?}");
    }
    // Without a cluster both are groups.
    let alone: Groups<Careless> = Groups::new();
    let _both = [1, 2].map(|key| alone.join(Careless(key, "a".into()), &sender).unwrap());
    assert_eq!(alone.len(), 2);
}

/// What a panic says.
fn panics<T>(that: impl FnOnce() -> T) -> String {
    let panic = std::panic::catch_unwind(AssertUnwindSafe(that));
    let panic = panic.err().expect("it panics");
    let words = panic.downcast::<String>().expect("it says why");
    *words
}

#[tokio::test(start_paused = true)]
async fn names_that_are_none_and_names_that_are_taken_are_a_panic_that_says_so() {
    let [link] = links();
    for name in ["", "Shop", "shop:1", "a_b", "a b", &"a".repeat(33)] {
        let words = panics(|| Cluster::start(name, link.clone()));
        assert!(words.contains("1 to 32") && words.contains(name), "{words}");
    }
    let cluster = Cluster::start("shop", link.clone());
    for name in ["", "!", "Rooms", &"a".repeat(33)] {
        let words = panics(|| Groups::<u8>::builder().cluster(&cluster, name));
        assert!(words.contains("1 to 32") && words.contains(name), "{words}");
    }
    let first: Groups<u8> = Groups::builder().cluster(&cluster, "rooms").build();
    let build = || Groups::<u64>::builder().cluster(&cluster, "rooms").build();
    let words = panics(build);
    assert!(
        words.contains("rooms") && words.contains("already"),
        "{words}"
    );
    // In another cluster, and by another name, and once they are gone.
    let other = Cluster::start("shop", link.link());
    let _there: Groups<u8> = Groups::builder().cluster(&other, "rooms").build();
    let _beside: Groups<u8> = Groups::builder().cluster(&cluster, "users").build();
    let (_client, server) = testing::pair(Config::default());
    let membership = first.join(1, &server.sender()).unwrap();
    drop(first);
    panics(build);
    drop(membership);
    drop(build());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_hears_nothing_more_and_joins_again() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let staying = far.member("other").await;
    there.membership.leave();
    near.rooms.broadcast("lobby", "unheard").await;
    idle().await;
    let counters = far.cluster.counters();
    assert_eq!(counters.uninterested, 1, "it lingers: {counters:?}");
    there.membership = far
        .rooms
        .join("lobby".to_owned(), &there.socket.sender())
        .unwrap();
    near.rooms.broadcast("lobby", "heard").await;
    assert_eq!(there.text().await, "heard");
    there.socket.close(CloseCode::NORMAL);
    drop(staying);
    ready(&[near, far]).await;
}
