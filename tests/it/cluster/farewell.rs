//! What is said of a member that has left, on all nodes.

use std::time::Duration;

use tower_websocket::{CloseCode, Connections, Groups, WebSocket, session::Drain};

use super::nodes;
use crate::{
    crowd::{ask, registered},
    session::support::{SHAPES, idle, within},
    support::http::Peer,
};

#[tokio::test(start_paused = true)]
async fn members_of_all_nodes_are_told_once_and_in_order() {
    for shape in SHAPES {
        let [near, far] = nodes().await;
        let leaves = near.member_over(shape, "lobby").await;
        let mut here = near.member_over(shape, "lobby").await;
        let mut there = far.member_over(shape, "lobby").await;
        let membership = leaves.membership.on_leave("gone");
        near.rooms.broadcast("lobby", "before").await;
        drop(membership);
        near.rooms.broadcast("lobby", "after").await;
        for member in [&mut here, &mut there] {
            assert_eq!(member.texts().await, ["before", "gone", "after"]);
            member.quiet().await;
        }
        // The last one here is told of by all others.
        drop(here.membership.on_leave("gone, too"));
        assert!(near.rooms.is_empty());
        assert_eq!(there.text().await, "gone, too");
        there.quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_closed_from_another_node_is_told_of_there() {
    for shape in SHAPES {
        let [near, far] = nodes().await;
        let mut here = near.member_over(shape, "user").await;
        let mut there = far.member_over(shape, "user").await;
        let _left = there.membership.on_leave("gone");
        let frame = (CloseCode::POLICY_VIOLATION, "opened elsewhere");
        near.rooms
            .close_except("user", frame, &here.socket.sender())
            .await;
        let close = there.peer.frame().await;
        assert_eq!(close.code(), Some(1008));
        assert_eq!(here.text().await, "gone");
        here.quiet().await;
    }
}

async fn visit(mut socket: WebSocket, rooms: Groups, name: usize) {
    let membership = rooms.join("lobby".to_owned(), &socket.sender()).unwrap();
    let _membership = membership.on_leave(format!("{name} has left"));
    while let Ok(Some(_)) = socket.recv().await {}
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_drained_says_farewell_for_all_it_had() {
    for shape in SHAPES {
        let [near, far] = nodes().await;
        let mut there = far.member_over(shape, "lobby").await;
        let connections = Connections::new();
        let mut peers = Vec::new();
        for name in 0..100 {
            let rooms = near.rooms.clone();
            let visit = move |socket| visit(socket, rooms.clone(), name);
            let peer = Peer::open(registered(&connections, visit), ask(shape)).await;
            // Half of them answer the Close, the others are aborted.
            let answers = name % 2 == 0;
            peers.push(tokio::spawn(async move {
                let mut peer = peer;
                if answers {
                    while peer.frame().await.is_some_and(|frame| frame.0 != 0x8) {}
                    peer.send(0x8, &1001_u16.to_be_bytes()).await;
                }
                peer.rest().await;
            }));
        }
        idle().await;
        assert_eq!(near.rooms.member_count("lobby"), 100);
        let drain = Drain::default().timeout(Duration::from_secs(2));
        connections.drain(drain).await;
        within(near.cluster.leave()).await;
        let mut left = Vec::new();
        for _ in 0..100 {
            left.push(there.text().await);
        }
        left.sort_unstable();
        let mut expected: Vec<_> = (0..100).map(|name| format!("{name} has left")).collect();
        expected.sort_unstable();
        assert_eq!(left, expected);
        there.quiet().await;
    }
}
