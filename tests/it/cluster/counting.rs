//! How many members a group has on all nodes.

use std::time::Duration;

use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, sleep};
use tower_websocket::{
    Config, Connections, Groups,
    cluster::Memory,
    groups::{Count, Membership},
    session::Drain,
    testing,
};

use super::{Node, links, nodes, ready};
use crate::session::support::{Shape, idle, once, within};

/// Members, nodes, and those that are missing.
fn parts(count: Count) -> (u64, u64, u64) {
    (count.members, count.nodes, count.missing)
}

/// What a node counts, and how long that takes.
async fn counted(node: &Node, key: &str) -> ((u64, u64, u64), Duration) {
    let before = Instant::now();
    let count = within(node.rooms.count(key)).await;
    (parts(count), before.elapsed())
}

const AT_ONCE: Duration = Duration::ZERO;

const A_SECOND: Duration = Duration::from_secs(1);

/// A member whose connection is not looked at.
fn member(groups: &Groups, key: &str) -> (Membership, impl Sized + use<>) {
    let (client, server) = testing::pair(Config::default());
    let membership = groups.join(key.to_owned(), &server.sender());
    (membership.unwrap(), (client, server))
}

#[tokio::test(start_paused = true)]
async fn members_of_all_nodes_are_counted_whoever_has_them() {
    let all: [Node; 3] = nodes().await;
    let [near, far, empty] = &all;
    let _members = [
        near.member_over(Shape::H1, "lobby").await,
        near.member_over(Shape::H2, "lobby").await,
        far.member("lobby").await,
        far.member("attic").await,
    ];
    for node in [near, far, empty] {
        assert_eq!(counted(node, "lobby").await, ((3, 3, 0), AT_ONCE));
        assert_eq!(counted(node, "attic").await, ((1, 3, 0), AT_ONCE));
        assert_eq!(counted(node, "cellar").await, ((0, 3, 0), AT_ONCE));
    }
    assert_eq!(near.rooms.member_count("lobby"), 2);
    for node in &all {
        let counters = node.cluster.counters();
        // Three questions, and two answers to each of the two others.
        assert_eq!((counters.published, counters.confirmed), (9, 9));
        assert_eq!((counters.lost, counters.doubles), (0, 0));
        assert_eq!((counters.overrun, counters.uninterested), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_cluster_and_for_a_key_too_long_there_are_no_others() {
    let groups: Groups = Groups::new();
    let _member = member(&groups, "lobby");
    assert_eq!(parts(groups.count("lobby").await), (1, 1, 0));
    assert_eq!(parts(groups.count("attic").await), (0, 1, 0));
    let all: [Node; 2] = nodes().await;
    let long = counted(&all[0], &"x".repeat(513)).await;
    assert_eq!(long, ((0, 1, 0), AT_ONCE));
    let longest = counted(&all[0], &"x".repeat(512)).await;
    assert_eq!(longest, ((0, 2, 0), AT_ONCE));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_within_a_second_is_missing() {
    let all: [Node; 3] = nodes().await;
    let [near, far, frozen] = &all;
    let _members = [far.member("lobby").await, frozen.member("lobby").await];
    frozen.link.freeze();
    assert_eq!(counted(near, "lobby").await, ((1, 2, 1), A_SECOND));
    // That is known for another second.
    sleep(Duration::from_millis(900)).await;
    assert_eq!(counted(near, "lobby").await, ((1, 2, 1), AT_ONCE));
    sleep(Duration::from_millis(100)).await;
    frozen.link.heal();
    assert_eq!(counted(near, "lobby").await, ((2, 3, 0), AT_ONCE));

    // Or its answer was lost.
    sleep(A_SECOND).await;
    near.link.lose(1);
    let ((_, nodes, missing), after) = counted(near, "lobby").await;
    assert_eq!((nodes, missing, after), (2, 1, A_SECOND));
    sleep(A_SECOND).await;
    near.link.double(2);
    assert_eq!(counted(near, "lobby").await, ((2, 3, 0), AT_ONCE));
    idle().await;
    // The last one comes when nobody waits any more, and so does what was frozen.
    let counters = near.cluster.counters();
    assert_eq!((counters.doubles, counters.uninterested), (1, 2));
    assert_eq!(counters.lost, 0, "no answer is numbered");
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_it_returns_at_once() {
    let all: [Node; 3] = nodes().await;
    let [near, far, _] = &all;
    let _members = [near.member("lobby").await, far.member("lobby").await];
    let mut counting = Box::pin(near.rooms.count("lobby"));
    far.link.delay(Duration::from_millis(500));
    assert!(once(counting.as_mut()).await.is_pending());
    sleep(Duration::from_millis(100)).await;
    let before = Instant::now();
    near.link.cut();
    let count = within(counting).await;
    assert_eq!(parts(count), (1, 2, 1), "one has answered");
    assert_eq!(before.elapsed(), AT_ONCE);
    assert_eq!(counted(near, "lobby").await, ((1, 1, 2), AT_ONCE));
    near.link.heal();
    far.link.heal();
    within(near.cluster.connected()).await;
    // It leaves with all that is kept until others are there again.
    let (count, after) = counted(near, "lobby").await;
    assert_eq!(count, (2, 3, 0));
    assert!(after > AT_ONCE && after < A_SECOND, "{after:?}");

    let link = Memory::new();
    link.cut();
    let alone = Node::on(link);
    let _member = alone.joined(Shape::H1, "lobby").await;
    assert_eq!(counted(&alone, "lobby").await, ((1, 1, 0), AT_ONCE));
}

#[tokio::test(start_paused = true)]
async fn simultaneous_questions_are_one_and_the_answers_are_kept_for_a_second() {
    let all: [Node; 2] = nodes().await;
    let [near, far] = &all;
    let there = member(&far.rooms, "lobby");
    far.link.delay(Duration::from_millis(300));
    let before = Instant::now();
    let counts = join_all((0..1000).map(|_| near.rooms.count("lobby")));
    for count in within(counts).await {
        assert_eq!(parts(count), (1, 2, 0));
    }
    assert_eq!(before.elapsed(), Duration::from_millis(300));
    assert_eq!(near.cluster.counters().published, 1);
    // The members here are those that there are now.
    let _here = member(&near.rooms, "lobby");
    drop(there);
    sleep(Duration::from_millis(999)).await;
    assert_eq!(counted(near, "lobby").await, ((2, 2, 0), AT_ONCE));
    assert_eq!(near.cluster.counters().published, 1);
    sleep(Duration::from_millis(1)).await;
    let (count, after) = counted(near, "lobby").await;
    assert_eq!((count, after), ((1, 2, 0), Duration::from_millis(300)));
    assert_eq!(near.cluster.counters().published, 2);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_stops_nobody_else() {
    let all: [Node; 2] = nodes().await;
    let [near, far] = &all;
    let _there = member(&far.rooms, "lobby");
    far.link.delay(Duration::from_millis(300));
    let mut first = Box::pin(near.rooms.count("lobby"));
    let mut second = Box::pin(near.rooms.count("lobby"));
    assert!(once(first.as_mut()).await.is_pending());
    assert!(once(second.as_mut()).await.is_pending());
    drop(first);
    assert_eq!(parts(within(second).await), (1, 2, 0));

    // Of a question for whose answers nobody waits nothing is known.
    sleep(A_SECOND).await;
    let mut first = Box::pin(near.rooms.count("lobby"));
    assert!(once(first.as_mut()).await.is_pending());
    drop(first);
    sleep(Duration::from_millis(400)).await;
    assert_eq!(near.cluster.counters().uninterested, 1);
    let (_, after) = counted(near, "lobby").await;
    assert_eq!(after, Duration::from_millis(300));
    // Who was not polled has not asked.
    drop(near.rooms.count("attic"));
    assert_eq!(near.cluster.counters().published, 3);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_is_counted_and_one_that_has_left_is_not_missed() {
    let all: [Node; 3] = nodes().await;
    let [near, draining, leaving] = &all;
    let connections = Connections::new();
    draining.cluster.attach(&connections);
    let _there = member(&draining.rooms, "lobby");
    let _gone = member(&leaving.rooms, "lobby");
    tokio::spawn(async move { connections.drain(Drain::default()).await });
    sleep(Duration::from_secs(6)).await;
    assert!(near.cluster.nodes()[1..].iter().any(|node| node.draining));
    assert_eq!(counted(near, "lobby").await, ((2, 3, 0), AT_ONCE));

    // It is asked, and leaves without an answer.
    sleep(A_SECOND).await;
    draining.link.delay(Duration::from_millis(100));
    leaving.link.freeze();
    let mut counting = Box::pin(near.rooms.count("lobby"));
    assert!(once(counting.as_mut()).await.is_pending());
    sleep(Duration::from_millis(200)).await;
    let before = Instant::now();
    let left = leaving.cluster.leave();
    leaving.link.heal();
    assert_eq!(parts(within(counting).await), (1, 2, 0));
    assert_eq!(before.elapsed(), AT_ONCE);
    within(left).await;
    // And knows no more than its own members.
    let (count, after) = counted(leaving, "lobby").await;
    assert_eq!((count, after), ((1, 1, 2), AT_ONCE));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_groups_are_counted_at_once_and_of_more_the_members_here() {
    let all: [Node; 2] = nodes().await;
    let [near, far] = &all;
    let _here = member(&near.rooms, "1024");
    let _there = member(&far.rooms, "1024");
    let keys = (0..=1024).map(|number: u32| number.to_string());
    let counts = join_all(keys.map(|key| near.rooms.count(&key)));
    let mut counts = within(counts).await;
    assert_eq!(counts.pop().map(parts), Some((1, 1, 1)));
    assert!(counts.into_iter().all(|count| parts(count) == (0, 2, 0)));
    assert_eq!(counted(near, "1024").await, ((1, 1, 1), AT_ONCE));
    sleep(A_SECOND).await;
    assert_eq!(counted(near, "1024").await, ((2, 2, 0), AT_ONCE));
}

#[test]
fn a_node_whose_runtime_stands_still_keeps_nobody_waiting() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let first = runtime();
    let all: [Node; 2] = first.block_on(nodes());
    let other = runtime();
    other.block_on(async {
        let _here = member(&all[0].rooms, "lobby");
        assert_eq!(counted(&all[0], "lobby").await, ((1, 1, 1), A_SECOND));
        let mut counting = Box::pin(all[0].rooms.count("attic"));
        assert!(once(counting.as_mut()).await.is_pending());
        first.shutdown_background();
        assert_eq!(parts(within(counting).await), (0, 1, 1));
        assert_eq!(counted(&all[0], "cellar").await, ((0, 1, 1), AT_ONCE));
    });
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_not_listed_are_neither_asked_nor_answered() {
    let [first, second, third] = links();
    let near = Node::with(first, |builder| builder.max_nodes(1));
    let all = [near, Node::on(second), Node::on(third)];
    ready(&all).await;
    let members = all.each_ref().map(|node| member(&node.rooms, "lobby"));
    assert_eq!(counted(&all[0], "lobby").await, ((2, 2, 0), AT_ONCE));
    let listed = all[0].cluster.nodes()[1].id;
    for node in &all[1..] {
        let expected = match node.cluster.id() == listed {
            true => ((3, 3, 0), AT_ONCE),
            false => ((2, 2, 1), A_SECOND),
        };
        assert_eq!(counted(node, "lobby").await, expected);
    }
    drop(members);
}

#[tokio::test(start_paused = true)]
async fn keys_of_any_kind_are_counted_by_what_they_can_be_borrowed_as() {
    let [first, second] = links();
    let near = Node::on(first);
    let far = Node::on(second);
    let of = |node: &Node| {
        let bytes: Groups<Vec<u8>> = Groups::builder().cluster(&node.cluster, "bytes").build();
        let numbers: Groups<u64> = Groups::builder().cluster(&node.cluster, "numbers").build();
        (bytes, numbers)
    };
    let (here, there) = (of(&near), of(&far));
    ready(&[near, far]).await;
    let (_client, server) = testing::pair(Config::default());
    let _bytes = there.0.join(b"\xff".to_vec(), &server.sender()).unwrap();
    let _number = there.1.join(7, &server.sender()).unwrap();
    assert_eq!(parts(within(here.0.count(&b"\xff"[..])).await), (1, 2, 0));
    assert_eq!(parts(within(here.1.count(&7)).await), (1, 2, 0));
    assert_eq!(parts(within(here.1.count(&8)).await), (0, 2, 0));
    // It asks nothing before it is polled, and can be sent anywhere.
    let counting = tokio::spawn(here.1.count(&9));
    assert!(counting.now_or_never().is_none());
}
