//! Closing groups, on this node and on all.

use std::num::NonZeroUsize;

use tower_websocket::{CloseCode, Groups, cluster::Cluster, groups::SlowMember};

use super::{Node, links, nodes, patient, ready};
use crate::session::support::{Frame, SHAPES, hold, idle};

#[tokio::test(start_paused = true)]
async fn without_a_cluster_all_members_are_closed_or_all_but_one() {
    for shape in SHAPES {
        let groups: Groups = Groups::new();
        let mut all = Vec::new();
        for _ in 0..3 {
            let (peer, socket, reports) = hold(shape, patient()).await;
            let membership = groups.join("user".to_owned(), &socket.sender()).unwrap();
            all.push((peer, socket, membership, reports));
        }
        groups.broadcast("user", "before").await;
        let me = all[0].1.sender();
        let frame = (CloseCode::POLICY_VIOLATION, "opened elsewhere");
        let delivery = groups.close_except("user", frame, &me).await;
        assert_eq!((delivery.sent, delivery.closed), (0, 2));
        assert_eq!(groups.member_count("user"), 1, "the others have left");
        for (peer, ..) in &mut all[1..] {
            assert_eq!(peer.frame().await, Frame::text("before"));
            let close = peer.frame().await;
            assert_eq!(close.code(), Some(1008));
            assert_eq!(&close.payload[2..], b"opened elsewhere");
        }
        groups.broadcast("user", "still here").await;
        let (peer, ..) = &mut all[0];
        assert_eq!(peer.frame().await, Frame::text("before"));
        assert_eq!(peer.frame().await, Frame::text("still here"));

        let delivery = groups.close("user", CloseCode::GOING_AWAY).await;
        assert_eq!(delivery.closed, 1);
        assert_eq!(peer.frame().await.code(), Some(1001));
        assert!(groups.is_empty());
        let nobody = groups.close("user", CloseCode::GOING_AWAY).await;
        assert_eq!(nobody.closed, 0);
        assert_eq!(groups.totals().closed, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_all_nodes_are_closed_behind_what_was_broadcast_before() {
    for shape in SHAPES {
        let [near, far] = nodes().await;
        let mut here = near.member_over(shape, "user").await;
        let mut there = [
            far.member_over(shape, "user").await,
            far.member_over(shape, "user").await,
        ];
        let mut other = far.member_over(shape, "other").await;
        for text in ["1", "2", "3"] {
            near.rooms.broadcast("user", text).await;
        }
        let frame = (CloseCode::POLICY_VIOLATION, "signed out");
        let delivery = near.rooms.close("user", frame).await;
        assert_eq!(delivery.closed, 1, "those of other nodes are not counted");
        near.rooms.broadcast("user", "after it").await;
        let [first, second] = &mut there;
        for member in [&mut here, first, second] {
            assert_eq!(member.texts().await, ["1", "2", "3"]);
            let close = member.peer.frame().await;
            assert_eq!(close.code(), Some(1008));
            assert_eq!(&close.payload[2..], b"signed out");
        }
        other.quiet().await;
        assert_eq!(far.rooms.member_count("user"), 0);
        assert_eq!(far.rooms.totals().closed, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn one_connection_is_kept_wherever_the_others_are() {
    let [near, far] = nodes().await;
    let mut me = near.member("user").await;
    let mut beside = near.member("user").await;
    let mut there = far.member("user").await;
    let sender = me.socket.sender();
    let code = CloseCode::new(4001).unwrap();
    let delivery = near.rooms.close_except("user", code, &sender).await;
    assert_eq!(delivery.closed, 1);
    assert_eq!(beside.closed().await, Some(4001));
    assert_eq!(there.closed().await, Some(4001));
    me.quiet().await;
    assert_eq!(near.rooms.member_count("user"), 1);
    far.rooms.broadcast("user", "you alone").await;
    assert_eq!(me.text().await, "you alone");
}

#[tokio::test(start_paused = true)]
async fn a_group_of_another_node_alone_is_closed_from_here() {
    let [near, far] = nodes().await;
    let mut there = far.member("user").await;
    let delivery = near.rooms.close("user", CloseCode::GOING_AWAY).await;
    assert_eq!(delivery.closed, 0);
    assert_eq!(there.closed().await, Some(1001));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_allows_it_to_none_closes_nothing_for_others() {
    let [near_link, far_link] = links();
    let near = Node::on(near_link);
    let far = Node::with(far_link, |builder| builder.remote_close(false));
    let all = [near, far];
    ready(&all).await;
    let [near, far] = &all;
    let mut here = near.member("user").await;
    let mut there = far.member("user").await;
    near.rooms.close("user", CloseCode::GOING_AWAY).await;
    assert_eq!(here.closed().await, Some(1001));
    there.quiet().await;
    assert_eq!(far.cluster.counters().closes_ignored, 1);
    // Its own say counts.
    far.rooms.close("user", CloseCode::NORMAL).await;
    assert_eq!(there.closed().await, Some(1000));
}

#[tokio::test(start_paused = true)]
async fn a_member_with_a_full_queue_gets_what_is_in_it_and_the_close() {
    let cluster = Cluster::start("shop", links::<1>()[0].clone());
    let rooms: Groups<u8> = Groups::builder()
        .slow_members(|_| SlowMember::DropOldest(NonZeroUsize::MIN))
        .cluster(&cluster, "rooms")
        .build();
    let (mut peer, socket, _reports) = hold(SHAPES[0], patient().max_send_messages(1)).await;
    let membership = rooms.join(1, &socket.sender()).unwrap();
    for text in ["queued", "beside the queue"] {
        rooms.broadcast(&1, text).await;
    }
    assert_eq!(rooms.close(&1, CloseCode::GOING_AWAY).await.closed, 1);
    idle().await;
    assert_eq!(peer.frame().await, Frame::text("queued"));
    assert_eq!(peer.frame().await.code(), Some(1001));
    drop(membership);
}
