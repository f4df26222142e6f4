//! Members that do not keep up.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::Instant;
use tower_websocket::{
    CloseCode, CloseFrame, Config, Groups, WebSocket,
    groups::{Delivery, Membership, SlowMember},
    session::EndedBy,
    testing,
};

use super::{at_once, delivery, narrow, number, padded, pairs, stalled};
use crate::{
    session::support::{Frame, Peer, Reports, SHAPES, Shape, close, idle, lock, within},
    support,
};

/// What a stopped member has received once it reads again, up to a last frame that is not a number.
pub(super) async fn caught_up(peer: &mut Peer, last: u64) -> (Vec<u64>, Option<Frame>) {
    let mut all = Vec::new();
    loop {
        let frame = peer.frame().await;
        if frame.first != 0x81 {
            return (all, Some(frame));
        }
        all.push(number(&frame));
        if all.last() == Some(&last) {
            return (all, None);
        }
    }
}

/// Broadcasts to many members, of whom one has stopped reading; gives that one and all deliveries.
async fn one_stops(
    shape: Shape,
    members: usize,
    policy: SlowMember,
) -> (
    Groups<u8>,
    Peer,
    WebSocket,
    Reports,
    Membership<u8>,
    Vec<Delivery>,
) {
    let slow = policy.clone();
    let groups: Groups<u8> = Groups::builder()
        .slow_members(move |_| slow.clone())
        .build();
    let (peer, socket, reports) = stalled(shape).await;
    let stopped = socket.sender();
    let mut others = pairs(&groups, members / 2);
    let membership = groups.join(0, &stopped).unwrap();
    others.extend(pairs(&groups, members - 1 - members / 2));
    let mut deliveries = Vec::new();
    for number in 0..MESSAGES {
        let start = Instant::now();
        deliveries.push(groups.broadcast(&0, padded(number)).await);
        for (client, ..) in &mut others {
            let message = within(client.recv()).await.unwrap().unwrap();
            assert_eq!(message.as_text(), Some(&*padded(number)));
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "no later than without it");
        assert!(
            stopped.queued_bytes() <= 1000 + 102 + 40,
            "{}",
            stopped.queued_bytes()
        );
    }
    (groups, peer, socket, reports, membership, deliveries)
}

const MESSAGES: u64 = 30;

/// Sums up what became of a member's messages, where all others got theirs.
fn sum(deliveries: &[Delivery]) -> Delivery {
    deliveries.iter().fold(Delivery::default(), |sum, next| {
        delivery(
            sum.sent + next.sent,
            sum.dropped + next.dropped,
            sum.closed + next.closed,
        )
    })
}

#[tokio::test(start_paused = true)]
async fn slow_member_is_closed_and_the_others_notice_nothing() {
    let custom = CloseFrame::from((CloseCode::new(4008).unwrap(), "sorry"));
    for (shape, members, policy, code) in [
        (Shape::H1, 1000, SlowMember::default(), 1013),
        (Shape::H2, 20, SlowMember::default(), 1013),
        (Shape::H2, 20, SlowMember::Close(custom), 4008),
    ] {
        let (groups, mut peer, socket, mut reports, membership, deliveries) =
            one_stops(shape, members, policy).await;
        let others = members as u64 - 1;
        let at = deliveries
            .iter()
            .position(|delivery| delivery.closed > 0)
            .unwrap();
        for (index, seen) in deliveries.iter().enumerate() {
            let expected = match index.cmp(&at) {
                std::cmp::Ordering::Less => delivery(others + 1, 0, 0),
                std::cmp::Ordering::Equal => delivery(others, 0, 1),
                std::cmp::Ordering::Greater => delivery(others, 0, 0),
            };
            assert_eq!(*seen, expected, "{index} of {at}");
        }
        assert_eq!(groups.totals(), sum(&deliveries));
        assert!(reports.none_yet());
        let members = groups.members(&0);
        assert!(
            !members
                .iter()
                .any(|member| member.same_connection(&socket.sender()))
        );
        // It left at once; what was queued still comes, then the Close.
        let (received, last) = caught_up(&mut peer, u64::MAX).await;
        assert_eq!(received, (0..at as u64).collect::<Vec<_>>());
        assert_eq!(last.and_then(|frame| frame.code()), Some(code));
        peer.send(close(code, "")).await;
        peer.finish().await;
        let report = reports.first().await;
        assert_eq!((report.close_code, report.ended_by), (code, EndedBy::Local));
        assert_eq!(*membership.key(), 0);
        drop(membership);
        // The others were dropped by now.
        assert!(groups.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn slow_member_misses_the_newest() {
    for (shape, members) in [(Shape::H1, 1000), (Shape::H2, 20)] {
        let (groups, mut peer, socket, _reports, _membership, deliveries) =
            one_stops(shape, members, SlowMember::DropNewest).await;
        let others = members as u64 - 1;
        let got = deliveries
            .iter()
            .take_while(|seen| seen.dropped == 0)
            .count();
        assert!(got > 5 && got < 20);
        for (index, seen) in deliveries.iter().enumerate() {
            let expected = if index < got {
                delivery(others + 1, 0, 0)
            } else {
                delivery(others, 1, 0)
            };
            assert_eq!(*seen, expected, "{index}");
        }
        let (received, _) = caught_up(&mut peer, got as u64 - 1).await;
        assert_eq!(received, (0..got as u64).collect::<Vec<_>>());
        idle().await;
        assert_eq!(
            at_once(groups.broadcast(&0, padded(100))),
            delivery(1, 0, 0)
        );
        assert_eq!(number(&peer.frame().await), 100, "it is there again");
        drop(socket);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_member_misses_the_oldest_and_gets_the_latest() {
    for (shape, members, kept) in [
        (Shape::H1, 1000, 3),
        (Shape::H2, 20, 1),
        (Shape::H1, 20, 10),
        (Shape::H2, 1000, 0),
    ] {
        let policy = match NonZeroUsize::new(kept) {
            Some(kept) => SlowMember::DropOldest(kept),
            None => SlowMember::Conflate,
        };
        let kept = kept.max(1) as u64;
        let (groups, mut peer, _socket, _reports, _membership, deliveries) =
            one_stops(shape, members, policy).await;
        for (index, seen) in deliveries.iter().enumerate() {
            let dropped = seen.dropped;
            assert_eq!(*seen, delivery(members as u64, dropped, 0), "{index}");
            assert!(dropped <= 1);
        }
        assert!(deliveries.is_sorted_by_key(|seen| seen.dropped));
        let dropped = sum(&deliveries).dropped;
        let first = MESSAGES - dropped - kept;
        assert!(dropped > 0 && first > 5, "{dropped}");
        let (received, _) = caught_up(&mut peer, MESSAGES - 1).await;
        let expected: Vec<_> = (0..first).chain(MESSAGES - kept..MESSAGES).collect();
        assert_eq!(received, expected);
        idle().await;
        assert_eq!(
            at_once(groups.broadcast(&0, padded(100))),
            delivery(1, 0, 0)
        );
        assert_eq!(number(&peer.frame().await), 100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn latest_message_arrives_whatever_threads_do_meanwhile() {
    let policies = [
        SlowMember::Conflate,
        SlowMember::DropOldest(NonZeroUsize::MIN),
    ];
    for policy in policies {
        let groups: Groups<u8> = Groups::builder()
            .slow_members(move |_| policy.clone())
            .build();
        let mut readers = Vec::new();
        for _ in 0..30 {
            let (mut client, server) = narrow();
            let membership = groups.join(0, &server.sender()).unwrap();
            readers.push(tokio::spawn(async move {
                let mut last = 0;
                while last < 2000 {
                    let message = client.recv().await.unwrap().unwrap();
                    let next: u32 = message.as_text().unwrap().parse().unwrap();
                    assert!(next > last, "{next} after {last}");
                    last = next;
                }
                drop((server, membership));
            }));
        }
        for number in 1..=2000_u32 {
            groups.broadcast(&0, number.to_string()).await;
        }
        for reader in support::within(join_all(readers)).await {
            reader.unwrap();
        }
        assert!(groups.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn policy_is_asked_once_for_each_group_that_is_made() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let groups: Groups<u8> = Groups::builder()
        .slow_members(move |key| {
            lock(&log).push(*key);
            SlowMember::DropNewest
        })
        .build();
    let (_client, server) = testing::pair(Config::default());
    let (_other_client, other) = testing::pair(Config::default());
    let a = groups.join(1, &server.sender()).unwrap();
    let b = groups.join(1, &other.sender()).unwrap();
    drop((a, b));
    let _again = groups.join(1, &other.sender()).unwrap();
    let _other = groups.join(2, &other.sender()).unwrap();
    assert_eq!(*lock(&asked), [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_member_that_leaves_is_not_sent() {
    for shape in SHAPES {
        let groups: Groups<u8> = Groups::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let (mut peer, socket, _reports) = stalled(shape).await;
        let membership = groups.join(0, &socket.sender()).unwrap();
        let mut queued = 0;
        for number in 0..30 {
            let before = groups.totals().dropped;
            at_once(groups.broadcast(&0, padded(number)));
            idle().await;
            if groups.totals().dropped == before {
                queued = number;
            }
        }
        membership.leave();
        socket.close(CloseCode::NORMAL);
        let (received, last) = caught_up(&mut peer, u64::MAX).await;
        assert_eq!(received, (0..queued).collect::<Vec<_>>());
        assert_eq!(last.and_then(|frame| frame.code()), Some(1000));
    }
}
