//! What is broadcast on one node, and comes on others.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep, sleep_until};
use tower_websocket::{
    Config, Groups, PreparedMessage,
    cluster::{PublishError, Remote},
    testing,
};

use super::{Node, links, nodes, ready};
use crate::session::support::{Frame, SHAPES, idle, within};

#[tokio::test(start_paused = true)]
async fn two_nodes_are_one_chat() {
    for shape in SHAPES {
        let [near, far] = nodes().await;
        let mut here = near.member_over(shape, "lobby").await;
        let mut there = far.member_over(shape, "lobby").await;
        let mut elsewhere = far.member_over(shape, "kitchen").await;

        let delivery = near.rooms.broadcast("lobby", "from near").await;
        assert_eq!((delivery.sent, delivery.remote), (1, Remote::Queued));
        far.rooms
            .broadcast("lobby", Bytes::from_static(b"\xff"))
            .await;
        assert_eq!(here.text().await, "from near");
        assert_eq!(here.peer.frame().await, Frame::binary(b"\xff"));
        let mut both = [there.peer.frame().await, there.peer.frame().await];
        both.sort_by_key(|frame| frame.first);
        assert_eq!(both, [Frame::text("from near"), Frame::binary(b"\xff")]);

        // To a group that has members on another node alone.
        let delivery = near.rooms.broadcast("kitchen", "tea").await;
        assert_eq!((delivery.sent, delivery.remote), (0, Remote::Queued));
        assert_eq!(elsewhere.text().await, "tea");
        // To one that has none.
        let delivery = near.rooms.broadcast("attic", "hello?").await;
        assert_eq!((delivery.sent, delivery.remote), (0, Remote::Queued));
        let but_one = near
            .rooms
            .broadcast_except("lobby", "but one", &here.socket.sender());
        assert_eq!(but_one.await.sent, 0);
        assert_eq!(there.text().await, "but one");
        let prepared = PreparedMessage::new("prepared");
        near.rooms.broadcast("lobby", &prepared).await;
        assert_eq!([here.text().await, there.text().await], ["prepared"; 2]);
        for member in [&mut here, &mut there, &mut elsewhere] {
            member.quiet().await;
        }
        // What others send counts where it is delivered.
        assert_eq!(near.rooms.totals().sent, 3);
        assert_eq!(far.rooms.totals().sent, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn groups_of_different_names_and_clusters_have_nothing_to_do_with_each_other() {
    let [near, far] = nodes().await;
    let mut room = far.member("7").await;
    let users: Groups<u64> = Groups::builder().cluster(&near.cluster, "users").build();
    let other = Node::with(far.link.link(), |_| {
        tower_websocket::cluster::Cluster::builder("shop-2")
    });
    ready(std::slice::from_ref(&other)).await;
    users.broadcast(&7, "to a user").await;
    other.rooms.broadcast("7", "of another cluster").await;
    room.quiet().await;
    near.rooms.broadcast("7", "to the room").await;
    assert_eq!(room.text().await, "to the room");
    assert_eq!(other.cluster.nodes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_sends_comes_in_the_order_of_its_broadcasts() {
    let [near, far] = nodes().await;
    let mut here = near.member("lobby").await;
    let mut there = far.member("lobby").await;
    let mut tasks = Vec::new();
    for task in 0..8 {
        let rooms = near.rooms.clone();
        tasks.push(tokio::spawn(async move {
            for count in 0..50 {
                rooms.broadcast("lobby", format!("{task}:{count}")).await;
                tokio::task::yield_now().await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..400 {
        let text = here.text().await;
        assert_eq!(there.text().await, text);
        order.push(text);
    }
    let turns = order.windows(2);
    let turns = turns.filter(|two| two[0].split(':').next() != two[1].split(':').next());
    assert!(turns.count() > 10, "they took turns");
}

#[tokio::test(start_paused = true)]
async fn members_of_the_node_never_wait_for_the_engine() {
    let [near, far] = nodes().await;
    let mut here = near.member("lobby").await;
    let mut there = far.member("lobby").await;
    for link in [&near.link, &far.link] {
        link.freeze();
    }
    let before = Instant::now();
    for count in 0..100 {
        let broadcast = near.rooms.broadcast("lobby", count.to_string());
        let delivery = broadcast.now_or_never().expect("it waits for nobody");
        assert_eq!((delivery.sent, delivery.remote), (1, Remote::Queued));
        assert_eq!(here.text().await, count.to_string());
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    there.quiet().await;
    for link in [&near.link, &far.link] {
        link.heal();
    }
    for count in 0..100 {
        assert_eq!(there.text().await, count.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_says_what_other_nodes_will_hear_of_it() {
    let alone: Groups = Groups::new();
    assert_eq!(alone.broadcast("lobby", "x").await.remote, Remote::Local);

    let [link] = links();
    let new = Node::on(link);
    let remote = new.rooms.broadcast("lobby", "x").await.remote;
    assert_eq!(remote, Remote::Waiting, "it is not connected yet");
    ready(std::slice::from_ref(&new)).await;
    let remote = new.rooms.broadcast("lobby", "x").await.remote;
    assert_eq!(remote, Remote::Queued);
    for refused in [Remote::Down, Remote::Full, Remote::TooLarge] {
        assert!(refused.is_refused());
    }
    for taken in [Remote::Local, Remote::Queued, Remote::Waiting] {
        assert!(!taken.is_refused());
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_connection_takes_is_kept_for_5_seconds_and_then_refused() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    let remote = async |text: &str| near.rooms.broadcast("lobby", text.to_owned()).await.remote;
    assert_eq!(remote("0").await, Remote::Queued);
    assert_eq!(there.text().await, "0");
    near.link.cut();
    idle().await;
    let broken = Instant::now();
    assert_eq!(remote("kept").await, Remote::Waiting);
    sleep_until(broken + Duration::from_millis(4900)).await;
    assert_eq!(remote("kept for less").await, Remote::Waiting);
    sleep_until(broken + Duration::from_secs(5)).await;
    assert_eq!(remote("refused").await, Remote::Down);
    assert_eq!(near.cluster.counters().refused.expired, 2);
    near.link.heal();
    ready(std::slice::from_ref(&near)).await;
    // For so long at most it waits for the other to be heard again.
    sleep(Duration::from_millis(2250)).await;
    // Nothing old comes late.
    there.quiet().await;
    assert_eq!(remote("after it").await, Remote::Queued);
    assert_eq!(there.text().await, "after it");

    near.link.cut();
    idle().await;
    assert_eq!(remote("short").await, Remote::Waiting);
    near.link.heal();
    within(near.cluster.connected()).await;
    // Other nodes may still be subscribing.
    assert_eq!(remote("shorter").await, Remote::Waiting);
    assert_eq!(there.texts().await, ["short", "shorter"]);
}

#[tokio::test(start_paused = true)]
async fn too_much_and_too_large_is_refused_and_the_members_here_have_it() {
    let [near_link, far_link] = links();
    let near = Node::with(near_link, |builder| {
        builder.max_message_size(1000).max_queue(3000)
    });
    let far = Node::on(far_link);
    let all = [near, far];
    ready(&all).await;
    let [near, far] = &all;
    let mut here = near.member("lobby").await;
    let mut there = far.member("lobby").await;
    near.link.freeze();
    let mut remotes = Vec::new();
    for len in [1001, 1000, 1000, 1000] {
        let delivery = near.rooms.broadcast("lobby", vec![7; len]).await;
        assert_eq!(delivery.sent, 1);
        assert_eq!(here.peer.frame().await.payload.len(), len);
        remotes.push(delivery.remote);
    }
    let queued = Remote::Queued;
    assert_eq!(remotes, [Remote::TooLarge, queued, queued, Remote::Full]);
    let confirmed = near.rooms.broadcast_confirmed("lobby", vec![7; 1000]).await;
    assert!(
        matches!(confirmed, Err(PublishError::Full)),
        "{confirmed:?}"
    );
    let counters = near.cluster.counters();
    assert_eq!((counters.refused.too_large, counters.refused.full), (1, 2));
    assert!(counters.queued_bytes <= 3000);
    near.link.heal();
    for _ in 0..2 {
        assert_eq!(there.peer.frame().await.payload.len(), 1000);
    }
    there.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_broadcast_ends_when_the_engine_has_it() {
    let [near, far] = nodes().await;
    let mut there = far.member("lobby").await;
    near.link.delay(Duration::from_millis(100));
    let before = Instant::now();
    let delivery = near
        .rooms
        .broadcast_confirmed("lobby", "hello")
        .await
        .unwrap();
    assert_eq!((delivery.sent, delivery.remote), (0, Remote::Queued));
    assert_eq!(before.elapsed(), Duration::from_millis(100));
    assert_eq!(there.text().await, "hello");

    let alone: Groups = Groups::new();
    let delivery = alone.broadcast_confirmed("lobby", "x").await.unwrap();
    assert_eq!(delivery.remote, Remote::Local);
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_broadcast_says_why_the_engine_does_not_have_it() {
    let [near, far] = nodes().await;
    let mut here = near.member("lobby").await;
    let mut there = far.member("lobby").await;
    near.link.cut();
    idle().await;
    let broken = Instant::now();
    let expired = within(near.rooms.broadcast_confirmed("lobby", "1")).await;
    assert!(matches!(expired, Err(PublishError::Expired)), "{expired:?}");
    let waited = broken.elapsed();
    assert!(waited <= Duration::from_secs(5), "{waited:?}");
    let down = near.rooms.broadcast_confirmed("lobby", "2").await;
    assert!(matches!(down, Err(PublishError::Down)), "{down:?}");
    near.link.heal();
    ready(std::slice::from_ref(&near)).await;
    let large = vec![0; (1 << 20) + 1];
    let large = near.rooms.broadcast_confirmed("lobby", large).await;
    assert!(matches!(large, Err(PublishError::TooLarge)), "{large:?}");
    assert_eq!(here.texts().await, ["1", "2"]);
    assert_eq!(here.peer.frame().await.payload.len(), (1 << 20) + 1);

    near.link.freeze();
    let waiting = tokio::spawn(near.rooms.broadcast_confirmed("lobby", "3"));
    idle().await;
    near.cluster.leave().await;
    let left = within(waiting).await.unwrap();
    assert!(matches!(left, Err(PublishError::Left)), "{left:?}");
    there.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_is_dropped_has_told_other_nodes_once_it_had_its_turn() {
    let [near, far] = nodes().await;
    let mut there = far.member("0").await;
    let mut all = Vec::new();
    for _ in 0..300 {
        let (client, server) = testing::pair(Config::default());
        let membership = near.rooms.join("0".to_owned(), &server.sender()).unwrap();
        all.push((client, server, membership));
    }
    let never_polled = near.rooms.broadcast("0", "never polled");
    drop(never_polled);
    let mut broadcast = Box::pin(near.rooms.broadcast("0", "begun"));
    assert!(
        broadcast.as_mut().now_or_never().is_none(),
        "there are many"
    );
    let waits = near
        .rooms
        .broadcast("0", "waits for its turn")
        .now_or_never();
    assert!(waits.is_none());
    drop(broadcast);
    near.rooms.broadcast("0", "after it").await;
    assert_eq!(there.texts().await, ["begun", "after it"]);
    let (last, ..) = all.last_mut().unwrap();
    let text = within(last.recv()).await.unwrap().unwrap();
    assert_eq!(text.as_text(), Some("after it"));
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_to_very_many_holds_up_no_other_group() {
    let [near, far] = nodes().await;
    let mut all = Vec::new();
    for _ in 0..6000 {
        let (client, server) = testing::pair(Config::default());
        let membership = far.rooms.join("many".to_owned(), &server.sender()).unwrap();
        all.push((client, server, membership));
    }
    let mut one = far.member("one").await;
    let group = far.rooms.clone();
    // Who watches sees how far the other one is when this one is there.
    let seen = tokio::spawn(async move {
        let text = one.text().await;
        (text, group.totals().sent)
    });
    near.rooms.broadcast("many", "to many").await;
    near.rooms.broadcast("many", "again").await;
    near.rooms.broadcast("one", "to one").await;
    let (text, sent) = within(seen).await.unwrap();
    assert_eq!(text, "to one");
    assert!(sent < 3000, "{sent} of 12,000 before it");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(far.rooms.totals().sent, 12_001);
    for (client, ..) in &mut all {
        for text in ["to many", "again"] {
            let message = client.recv().now_or_never().unwrap().unwrap().unwrap();
            assert_eq!(message.as_text(), Some(text));
        }
    }
}
