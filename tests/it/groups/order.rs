//! The order of broadcasts, and what goes on during one.

use std::{num::NonZeroUsize, pin::pin, task::Poll};

use futures_util::future::join_all;
use tokio::task::yield_now;
use tower_websocket::{CloseCode, Config, Groups, groups::SlowMember, testing};

use super::{at_once, delivery, narrow, numbers, padded, pairs, stalled};
use crate::{
    session::support::{Shape, idle, once},
    support,
};

/// After so many members a broadcast yields.
const STRETCH: usize = 60;

#[tokio::test(start_paused = true)]
async fn ten_thousand_members_are_reached_64_at_most_between_two_yields() {
    let groups: Groups<u8> = Groups::builder()
        .slow_members(|_| SlowMember::DropNewest)
        .build();
    let mut all = Vec::new();
    for index in 0..10_000 {
        let full = index % 100 == 0;
        let (client, server) = if full {
            narrow()
        } else {
            testing::pair(Config::default())
        };
        let membership = groups.join(0, &server.sender()).unwrap();
        all.push((client, server, membership));
    }
    idle().await;
    for (index, (_, server, _)) in all.iter().enumerate() {
        match index % 100 {
            0 => server.try_send("it is full").unwrap(),
            1 => server.close(CloseCode::NORMAL),
            _ => {}
        }
    }
    let mut broadcast = pin!(groups.broadcast(&0, "1"));
    let mut before = delivery(0, 0, 0);
    loop {
        let poll = once(broadcast.as_mut()).await;
        let now = groups.totals();
        let reached = now.sent + now.dropped - before.sent - before.dropped;
        assert!(reached <= 64, "{reached} at once");
        before = now;
        if poll.is_ready() {
            break;
        }
    }
    assert_eq!(before, delivery(9800, 100, 0));
}

#[tokio::test(start_paused = true)]
async fn all_members_get_concurrent_broadcasts_in_one_order() {
    let groups: Groups<u8> = Groups::new();
    // More than one stretch, so that broadcasts do meet.
    let mut all = pairs(&groups, 600);
    let broadcasters = (0..5_u32).map(|who| {
        let groups = groups.clone();
        tokio::spawn(async move {
            for round in 0..6 {
                let message = (who * 100 + round).to_string();
                assert_eq!(groups.broadcast(&0, message).await, delivery(600, 0, 0));
                yield_now().await;
            }
        })
    });
    for broadcaster in join_all(broadcasters).await {
        broadcaster.unwrap();
    }
    idle().await;
    let order = numbers(&mut all[0].0).await;
    assert_eq!(order.len(), 30);
    for who in 0..5 {
        let own: Vec<_> = order.iter().filter(|number| *number / 100 == who).collect();
        assert!(own.is_sorted() && own.len() == 6, "{order:?}");
    }
    let turns = order
        .windows(2)
        .filter(|pair| pair[0] / 100 != pair[1] / 100);
    assert!(turns.count() > 4, "they did not meet: {order:?}");
    for (client, ..) in &mut all[1..] {
        assert_eq!(numbers(client).await, order);
    }
    assert_eq!(groups.totals(), delivery(600 * 30, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn broadcast_yields_and_holds_up_neither_joining_nor_leaving() {
    const MEMBERS: usize = 2700;
    let groups: Groups<u8> = Groups::new();
    let mut all = pairs(&groups, MEMBERS);
    let mut broadcast = pin!(groups.broadcast(&0, "1"));
    assert!(once(broadcast.as_mut()).await.is_pending());
    idle().await;
    let reached = all
        .iter()
        .filter(|(_, server, _)| server.sender().queued_bytes() == 0);
    assert_eq!(reached.count(), MEMBERS, "it has gone out");
    // Some who have it, some who will not, and one who comes.
    let early: Vec<_> = all.drain(..10).collect();
    let late: Vec<_> = all.drain(MEMBERS - 30..).collect();
    for (_, _, membership) in early.into_iter().chain(late) {
        membership.leave();
    }
    assert_eq!(groups.member_count(&0), MEMBERS - 30);
    let mut others = pairs(&groups, 3);
    assert_eq!(groups.members(&0).len(), MEMBERS - 27);
    // One who ends, and one who leaves and comes back.
    drop(all.remove(1000));
    let (client, server, membership) = all.remove(1500);
    membership.leave();
    let back = groups.join(0, &server.sender()).unwrap();
    idle().await;
    let mut polls = 1;
    let sent = loop {
        polls += 1;
        match once(broadcast.as_mut()).await {
            Poll::Ready(delivery) => break delivery.sent as usize,
            Poll::Pending => {}
        }
    };
    assert_eq!(polls, MEMBERS.div_ceil(STRETCH));
    idle().await;
    let mut got = 10;
    for (client, ..) in all.iter_mut() {
        assert_eq!(numbers(client).await, [1], "once, and none is left out");
        got += 1;
    }
    others.push((client, server, back));
    for (client, ..) in &mut others {
        assert_eq!(
            numbers(client).await,
            Vec::<u32>::new(),
            "they came too late"
        );
    }
    assert_eq!(sent, got);
}

#[tokio::test(start_paused = true)]
async fn cancelled_broadcast_stops_where_it_is_and_holds_nobody_up() {
    let groups: Groups<u8> = Groups::new();
    let mut all = pairs(&groups, 600);
    {
        let mut broadcast = pin!(groups.broadcast(&0, "1"));
        assert!(once(broadcast.as_mut()).await.is_pending());
        // Others wait for it, and one of them is cancelled, too.
        let mut waiting = Box::pin(groups.broadcast(&0, "2"));
        assert!(once(waiting.as_mut()).await.is_pending());
    }
    assert_eq!(groups.broadcast(&0, "3").await, delivery(600, 0, 0));
    idle().await;
    let mut both = 0;
    for (client, ..) in &mut all {
        match &*numbers(client).await {
            [1, 3] => both += 1,
            [3] => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(both, STRETCH);
    assert_eq!(groups.totals(), delivery(600 + STRETCH as u64, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn member_that_is_closing_is_passed_over_and_counted_nowhere() {
    let policies = [
        SlowMember::default(),
        SlowMember::DropNewest,
        SlowMember::DropOldest(NonZeroUsize::MIN),
        SlowMember::Conflate,
    ];
    for policy in policies {
        let slow = policy.clone();
        let groups: Groups<u8> = Groups::builder()
            .slow_members(move |_| slow.clone())
            .build();
        let (_peer, socket, _reports) = stalled(Shape::H1).await;
        let _membership = groups.join(0, &socket.sender()).unwrap();
        let mut others = pairs(&groups, 2);
        for number in 0..100 {
            at_once(groups.broadcast(&0, padded(number)));
            if groups.totals().dropped > 0 || groups.member_count(&0) < 3 {
                break;
            }
        }
        socket.close(CloseCode::NORMAL);
        assert_eq!(
            at_once(groups.broadcast(&0, padded(1))),
            delivery(2, 0, 0),
            "{policy:?}"
        );
        others[0].1.close(CloseCode::NORMAL);
        assert_eq!(
            at_once(groups.broadcast(&0, padded(2))),
            delivery(1, 0, 0),
            "{policy:?}"
        );
        others.clear();
        idle().await;
        assert_eq!(
            at_once(groups.broadcast(&0, padded(3))),
            delivery(0, 0, 0),
            "{policy:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_of_members_that_come_and_go_in_many_threads() {
    let groups: Groups<u8> = Groups::builder()
        .max_groups_per_connection(3)
        .slow_members(|key| match key {
            0 => SlowMember::Conflate,
            1 => SlowMember::DropNewest,
            _ => SlowMember::default(),
        })
        .build();
    let tasks = (0..8_u8).map(|task| {
        let groups = groups.clone();
        tokio::spawn(async move {
            for round in 0..60_u8 {
                let (client, server) = narrow();
                let sender = server.sender();
                let memberships: Vec<_> = (0..3).map(|key| groups.join(key, &sender)).collect();
                for key in 0..3 {
                    groups.broadcast(&key, vec![round; 10]).await;
                }
                // Ends before, while and after it leaves.
                match (task + round) % 4 {
                    0 => sender.abort(),
                    1 => drop(server),
                    2 => drop(client),
                    _ => {}
                }
                let again = groups.join(task % 3, &sender);
                drop(memberships);
                groups.broadcast(&(round % 3), "x").await;
                drop(again);
            }
        })
    });
    for task in support::within(join_all(tasks)).await {
        task.unwrap();
    }
    assert!(groups.is_empty(), "{:?}", groups.keys());
    // Nobody is counted any more.
    let (_client, server) = narrow();
    let all: Vec<_> = (0..3)
        .map(|key| groups.join(key, &server.sender()).unwrap())
        .collect();
    assert_eq!(groups.len(), all.len());
}
