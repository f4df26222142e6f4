//! Broadcasts that may be dropped for those who lag behind.

use std::num::NonZeroUsize;

use tower_websocket::{
    CloseCode, Config, Groups, PreparedMessage,
    groups::{Broadcast, SlowMember},
    testing,
};

use super::{at_once, delivery, number, padded, stalled};
use crate::session::support::{Frame, SHAPES, hold, idle};

/// What may be dropped where more than 300 bytes are queued.
fn typing() -> Broadcast {
    Broadcast::new("typing").droppable(300)
}

#[tokio::test(start_paused = true)]
async fn it_is_dropped_for_whom_too_much_is_queued_and_nobody_is_closed() {
    let policies = [
        SlowMember::default(),
        SlowMember::DropNewest,
        SlowMember::DropOldest(NonZeroUsize::new(3).unwrap()),
        SlowMember::Conflate,
    ];
    for (index, policy) in policies.into_iter().cycle().take(8).enumerate() {
        let shape = SHAPES[index / 4];
        let groups: Groups<u8> = Groups::builder()
            .slow_members(move |_| policy.clone())
            .build();
        let (mut slow, slow_socket, _slow_reports) = stalled(shape).await;
        let (mut quick, quick_socket, _reports) = hold(shape, Config::default()).await;
        let _members =
            [&slow_socket, &quick_socket].map(|one| groups.join(0, &one.sender()).unwrap());
        let sender = slow_socket.sender();
        let mut sent = 0;
        while sender.queued_bytes() <= 300 {
            assert_eq!(at_once(groups.broadcast(&0, typing())), delivery(2, 0, 0));
            slow_socket.try_send(padded(sent)).unwrap();
            sent += 1;
            idle().await;
        }
        assert_eq!(at_once(groups.broadcast(&0, typing())), delivery(1, 1, 0));
        // Neither is anything else dropped for it, nor its connection closed, once the queue is full.
        while slow_socket.try_send(padded(sent)).is_ok() {
            sent += 1;
            idle().await;
        }
        let anything = Broadcast::new("typing").droppable(usize::MAX);
        assert_eq!(at_once(groups.broadcast(&0, anything)), delivery(1, 1, 0));
        assert!(sender.is_open());
        assert_eq!(groups.member_count(&0), 2);
        let (mut numbers, mut typed) = (0, 0);
        while numbers < sent {
            let frame = slow.frame().await;
            if frame == Frame::text("typing") {
                typed += 1;
            } else {
                assert_eq!(number(&frame), numbers);
                numbers += 1;
            }
        }
        for _ in 0..typed + 2 {
            assert_eq!(quick.frame().await, Frame::text("typing"));
        }
        idle().await;
        // It has caught up.
        assert_eq!(at_once(groups.broadcast(&0, typing())), delivery(2, 0, 0));
        assert_eq!(slow.frame().await, Frame::text("typing"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_beside_the_queue_is_not_given_up_for_it() {
    for shape in SHAPES {
        let groups: Groups<u8> = Groups::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let (mut peer, socket, _reports) = stalled(shape).await;
        let _member = groups.join(0, &socket.sender()).unwrap();
        while socket.try_send(padded(0)).is_ok() {
            idle().await;
        }
        assert_eq!(at_once(groups.broadcast(&0, padded(1))), delivery(1, 0, 0));
        let anything = Broadcast::new("typing").droppable(usize::MAX);
        // It waits for room, and is not given up for this.
        assert_eq!(at_once(groups.broadcast(&0, anything)), delivery(0, 1, 0));
        let mut frame = peer.frame().await;
        while frame == Frame::text(&padded(0)) {
            frame = peer.frame().await;
        }
        assert_eq!(number(&frame), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_can_be_sent_can_be_broadcast_and_closing_members_are_not_counted() {
    let groups: Groups<u8> = Groups::new();
    let (_client, closing) = testing::pair(Config::default());
    let (mut client, server) = testing::pair(Config::default());
    let (_other_client, other) = testing::pair(Config::default());
    let _members = [&closing, &server, &other].map(|one| groups.join(0, &one.sender()).unwrap());
    closing.close(CloseCode::NORMAL);
    let prepared = PreparedMessage::new("prepared");
    for message in [
        Broadcast::new("text").droppable(0),
        Broadcast::new(&prepared).droppable(100),
        Broadcast::from(tower_websocket::Message::text("plain").uncompressed()).droppable(100),
    ] {
        let but_one = groups.broadcast_except(&0, message, &other.sender());
        assert_eq!(at_once(but_one), delivery(1, 0, 0));
        idle().await;
    }
    for text in ["text", "prepared", "plain"] {
        let message = client.recv().await.unwrap().unwrap();
        assert_eq!(message.as_text(), Some(text));
    }
    assert_eq!(groups.totals(), delivery(3, 0, 0));
}
