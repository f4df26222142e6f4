//! How a node leaves.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use tower_websocket::cluster::{ClusterEvent, Remote};

use super::{Node, event, events_so_far, links, nodes, ready};
use crate::{
    crowd::tasks,
    session::support::{Shape, idle, within},
};

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_sends_what_is_queued_and_says_goodbye() {
    let [near, far] = nodes().await;
    let mut here = near.member("lobby").await;
    let mut there = far.member("lobby").await;
    let mut events = far.cluster.events();
    for count in 0..1000 {
        near.rooms.broadcast("lobby", count.to_string()).await;
    }
    let before = Instant::now();
    within(near.cluster.leave()).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
    for count in 0..1000 {
        assert_eq!(here.text().await, count.to_string());
        assert_eq!(there.text().await, count.to_string());
    }
    let id = near.cluster.id();
    let told = event(&mut events, |_| true).await;
    assert!(
        matches!(told, ClusterEvent::NodeLeft(node) if node == id),
        "{told:?}"
    );
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(far.cluster.nodes().len(), 1);

    // The members here go on.
    let delivery = near.rooms.broadcast("lobby", "among us").await;
    assert_eq!((delivery.sent, delivery.remote), (1, Remote::Down));
    assert_eq!(here.text().await, "among us");
    far.rooms.broadcast("lobby", "to nobody else").await;
    assert_eq!(there.text().await, "to nobody else");
    here.quiet().await;
    let late = near.joined(Shape::H1, "kitchen").await;
    assert_eq!(late.membership.subscribed().now_or_never(), Some(()));
    assert!(!near.cluster.counters().connected);
    within(near.cluster.leave()).await;
}

#[tokio::test(start_paused = true)]
async fn leaving_takes_2_seconds_at_most() {
    let [frozen] = nodes().await;
    frozen.link.freeze();
    frozen.rooms.broadcast("lobby", "never there").await;
    let before = Instant::now();
    within(frozen.cluster.leave()).await;
    assert_eq!(before.elapsed(), Duration::from_secs(2));

    let [cut] = nodes().await;
    cut.link.cut();
    idle().await;
    cut.rooms.broadcast("lobby", "never there").await;
    let before = Instant::now();
    within(cut.cluster.leave()).await;
    assert_eq!(before.elapsed(), Duration::from_secs(2));

    // With nothing to send there is nothing to wait for.
    let [idle_one] = nodes().await;
    idle_one.link.cut();
    idle().await;
    let before = Instant::now();
    within(idle_one.cluster.leave()).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_before_it_is_ready_sends_what_it_kept() {
    let [near_link, far_link] = links();
    let far = Node::on(far_link);
    ready(std::slice::from_ref(&far)).await;
    let mut there = far.member("lobby").await;
    let near = Node::on(near_link);
    near.rooms.broadcast("lobby", "a short life").await;
    within(near.cluster.leave()).await;
    assert_eq!(there.text().await, "a short life");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_leave_goes_on() {
    let [near, far] = nodes().await;
    let mut events = far.cluster.events();
    drop(near.cluster.leave());
    let told = event(&mut events, |_| true).await;
    assert!(matches!(told, ClusterEvent::NodeLeft(_)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_drop_of_the_last_handle_leaves_and_no_task_is_left() {
    let before = tasks();
    let [near, far] = nodes().await;
    let mut events = far.cluster.events();
    let Node { cluster, rooms, .. } = near;
    let again = cluster.clone();
    drop(cluster);
    drop(again);
    sleep(Duration::from_secs(60)).await;
    let told = events_so_far(&mut events);
    assert!(told.is_empty(), "its groups need it: {told:?}");
    let waiting = rooms.broadcast("lobby", "x");
    drop(rooms);
    waiting.await;
    let told = event(&mut events, |_| true).await;
    assert!(matches!(told, ClusterEvent::NodeLeft(_)), "{told:?}");
    drop(far);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(tasks(), before);
}

#[test]
fn a_node_whose_runtime_is_gone_refuses_what_is_for_others_and_keeps_nobody_waiting() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let first = runtime();
    let node = first.block_on(async {
        let [node] = nodes().await;
        node
    });
    let other = runtime();
    other.block_on(async {
        // It waits for the engine while the node's runtime stands still.
        let waiting = tokio::spawn(node.rooms.broadcast_confirmed("lobby", "1"));
        let member = node.joined(Shape::H1, "lobby").await;
        let subscribed = tokio::spawn(member.membership.subscribed());
        idle().await;
        first.shutdown_background();
        let confirmed = within(waiting).await.unwrap();
        assert!(confirmed.is_err(), "{confirmed:?}");
        within(subscribed).await.unwrap();
        let delivery = node.rooms.broadcast("lobby", "2").await;
        assert_eq!((delivery.sent, delivery.remote), (1, Remote::Down));
        within(node.cluster.leave()).await;
        assert!(!node.cluster.counters().connected);
    });
}

#[test]
fn a_runtime_that_ends_before_it_has_begun_keeps_nobody_waiting() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let first = runtime();
    let node = {
        let _inside = first.enter();
        Node::on(links::<1>()[0].clone())
    };
    let other = runtime();
    other.block_on(async {
        let waiting = tokio::spawn(node.rooms.broadcast_confirmed("lobby", "1"));
        let connected = tokio::spawn(node.cluster.connected());
        idle().await;
        first.shutdown_background();
        let confirmed = within(waiting).await.unwrap();
        assert!(confirmed.is_err(), "{confirmed:?}");
        within(connected).await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_node_that_has_left_to_be_connected() {
    let [node] = nodes().await;
    node.link.cut();
    idle().await;
    let connected = tokio::spawn(node.cluster.connected());
    idle().await;
    within(node.cluster.leave()).await;
    within(connected).await.unwrap();
    within(node.cluster.connected()).await;
}
