//! What does not come, comes twice or too late, and who is told.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;
use tower_websocket::{
    CloseCode, Config,
    cluster::Remote,
    groups::{GroupEvent, GroupEvents},
    testing,
};

use super::{Node, links, nodes, ready};
use crate::session::support::{idle, within};

/// What was missing, and where, of all events that have come.
fn gaps(events: &mut GroupEvents, from: &Node) -> Vec<(String, u64)> {
    let mut gaps = Vec::new();
    while let Some(event) = events.recv().now_or_never() {
        if let GroupEvent::Gap(key, gap) = event {
            assert_eq!(gap.from, from.cluster.id());
            gaps.push((key, gap.missed));
        }
    }
    gaps
}

fn gap(key: &str, missed: u64) -> Vec<(String, u64)> {
    vec![(key.to_owned(), missed)]
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_the_way_is_told_with_what_comes_next() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let mut other = far.member("other").await;
    let mut events = far.rooms.events();
    near.rooms.broadcast("lobby", "0").await;
    near.rooms.broadcast("other", "0").await;
    idle().await;
    far.link.lose(3);
    for text in ["1", "2", "3"] {
        near.rooms.broadcast("lobby", text).await;
    }
    idle().await;
    assert!(gaps(&mut events, &near).is_empty(), "the tail is not known");
    near.rooms.broadcast("other", "1").await;
    near.rooms.broadcast("lobby", "4").await;
    assert_eq!(there.texts().await, ["0", "4"]);
    assert_eq!(other.texts().await, ["0", "1"]);
    assert_eq!(gaps(&mut events, &near), gap("lobby", 3));
    let counters = far.cluster.counters();
    assert_eq!((counters.gaps, counters.lost), (1, 3));
    assert_eq!(near.cluster.counters().lost, 0);
    // Of a sender that is heard for the first time nothing is known.
    let new = Node::on(near.link.link());
    ready(std::slice::from_ref(&new)).await;
    far.link.lose(1);
    new.rooms.broadcast("lobby", "lost").await;
    new.rooms.broadcast("lobby", "first").await;
    assert_eq!(there.text().await, "first");
    assert!(gaps(&mut events, &new).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_comes_twice_is_delivered_once() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let mut events = far.rooms.events();
    far.link.double(2);
    for text in ["0", "1", "2"] {
        near.rooms.broadcast("lobby", text).await;
    }
    assert_eq!(there.texts().await, ["0", "1", "2"]);
    there.quiet().await;
    assert_eq!(far.cluster.counters().doubles, 2);
    assert!(gaps(&mut events, &near).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_overtaken_is_missing() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let mut events = far.rooms.events();
    near.rooms.broadcast("lobby", "0").await;
    idle().await;
    far.link.reorder();
    for text in ["1", "2", "3"] {
        near.rooms.broadcast("lobby", text).await;
    }
    assert_eq!(there.texts().await, ["0", "2", "3"]);
    there.quiet().await;
    assert_eq!(gaps(&mut events, &near), gap("lobby", 1));
    assert_eq!(far.cluster.counters().doubles, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_the_connection_broke_comes_once() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let mut events = far.rooms.events();
    near.link.delay(Duration::from_millis(100));
    for text in ["0", "1", "2"] {
        assert_eq!(
            near.rooms.broadcast("lobby", text).await.remote,
            Remote::Queued
        );
    }
    idle().await;
    // The engine has them, and has passed them on; its answers are lost.
    assert_eq!(there.texts().await, ["0", "1", "2"]);
    assert_eq!(near.cluster.counters().in_flight, 3);
    near.link.cut();
    idle().await;
    near.link.heal();
    near.rooms.broadcast("lobby", "3").await;
    ready(std::slice::from_ref(&near)).await;
    assert_eq!(there.text().await, "3");
    there.quiet().await;
    assert_eq!(far.cluster.counters().doubles, 3);
    assert_eq!(near.cluster.counters().confirmed, 4);
    assert!(gaps(&mut events, &near).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_reaches_the_engine_late_is_dropped() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    near.link.freeze();
    near.rooms.broadcast("lobby", "0").await;
    // The connection is given up, and another one waits.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(
        near.rooms.broadcast("lobby", "1").await.remote,
        Remote::Waiting
    );
    near.link.heal();
    // The old one comes first, from the connection that was given up.
    assert_eq!(there.text().await, "0");
    ready(std::slice::from_ref(&near)).await;
    assert_eq!(there.text().await, "1");
    there.quiet().await;
    assert_eq!(far.cluster.counters().doubles, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_or_given_up_is_missing_too() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let mut events = far.rooms.events();
    near.rooms.broadcast("lobby", "0").await;
    near.rooms.broadcast("lobby", vec![0; (1 << 20) + 1]).await;
    near.rooms.broadcast("lobby", "1").await;
    assert_eq!(there.texts().await, ["0", "1"]);
    assert_eq!(gaps(&mut events, &near), gap("lobby", 1));
    near.link.cut();
    idle().await;
    for _ in 0..10 {
        near.rooms.broadcast("lobby", "x").await;
        sleep(Duration::from_secs(1)).await;
    }
    near.link.heal();
    ready(std::slice::from_ref(&near)).await;
    near.rooms.broadcast("lobby", "2").await;
    assert_eq!(there.text().await, "2");
    assert_eq!(gaps(&mut events, &near), gap("lobby", 10));
}

#[tokio::test(start_paused = true)]
async fn who_was_cut_off_hears_for_how_long_and_then_what_is_missing() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let _other = far.member("other").await;
    near.rooms.broadcast("lobby", "0").await;
    idle().await;
    let mut events = far.rooms.events();
    let mut second = far.rooms.events();
    far.link.cut();
    idle().await;
    for text in ["1", "2"] {
        assert_eq!(
            near.rooms.broadcast("lobby", text).await.remote,
            Remote::Queued
        );
    }
    sleep(Duration::from_secs(20)).await;
    far.link.heal();
    for events in [&mut events, &mut second] {
        // Once for all groups.
        let GroupEvent::Reconnected(after) = within(events.recv()).await else {
            panic!("it was reconnected");
        };
        let range = Duration::from_secs(20)..Duration::from_secs(28);
        assert!(range.contains(&after), "{after:?}");
        assert_eq!(events.recv().now_or_never(), None);
    }
    near.rooms.broadcast("lobby", "3").await;
    assert_eq!(there.texts().await, ["0", "3"]);
    assert_eq!(gaps(&mut events, &near), gap("lobby", 2));
}

#[tokio::test(start_paused = true)]
async fn what_a_node_cannot_keep_up_with_is_dropped_and_told() {
    let [near_link, far_link] = links();
    let near = Node::on(near_link);
    let far = Node::with(far_link, |builder| builder.max_inbound(10_000));
    let all = [near, far];
    ready(&all).await;
    let [near, far] = &all;
    let mut there = far.member("lobby").await;
    let mut members = Vec::new();
    for _ in 0..100 {
        let (client, server) = testing::pair(Config::default());
        let membership = far
            .rooms
            .join("lobby".to_owned(), &server.sender())
            .unwrap();
        members.push((client, server, membership));
    }
    let mut events = far.rooms.events();
    near.rooms.broadcast("lobby", "0").await;
    idle().await;
    // Somebody has the group's turn, and does not go on.
    let mut broadcast = Box::pin(far.rooms.broadcast("lobby", "slow"));
    assert!(broadcast.as_mut().now_or_never().is_none());
    for count in 0..20 {
        let text = format!("{count:01000}");
        near.rooms.broadcast("lobby", text).await;
    }
    idle().await;
    let counters = far.cluster.counters();
    assert!(counters.inbound_bytes <= 10_000, "{counters:?}");
    let kept = 10_000 / (24 + 1000 + 128);
    assert_eq!(counters.overrun, 20 - kept);
    broadcast.await;
    assert_eq!(there.texts().await, ["0", "slow"]);
    for count in 0..kept {
        assert_eq!(there.text().await.parse(), Ok(count));
    }
    assert_eq!(far.cluster.counters().inbound_bytes, 0);
    near.rooms.broadcast("lobby", "after it").await;
    assert_eq!(there.text().await, "after it");
    assert_eq!(gaps(&mut events, near), gap("lobby", 20 - kept));
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_before_a_close_that_is_not_obeyed_is_told() {
    let [near_link, far_link] = links();
    let near = Node::on(near_link);
    let far = Node::with(far_link, |builder| builder.remote_close(false));
    let all = [near, far];
    ready(&all).await;
    let [near, far] = &all;
    let mut there = far.member("lobby").await;
    let mut events = far.rooms.events();
    near.rooms.broadcast("lobby", "0").await;
    idle().await;
    far.link.lose(2);
    near.rooms.broadcast("lobby", "1").await;
    near.rooms.broadcast("lobby", "2").await;
    near.rooms.close("lobby", CloseCode::GOING_AWAY).await;
    near.rooms.broadcast("lobby", "3").await;
    assert_eq!(there.texts().await, ["0", "3"]);
    assert_eq!(gaps(&mut events, near), gap("lobby", 2));
}
