//! Groups: who gets a broadcast, in which order, and what becomes of those that are too slow.

use std::{
    collections::BTreeSet,
    future::pending,
    num::NonZeroUsize,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::join_all};
use tokio::{io::duplex, task::yield_now, time::Instant};
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Connections, Delivery, EndedBy, GroupEvent, Groups,
    JoinError, Membership, Message, Prepared, Sender, SlowMember, WebSocket, testing,
};

use crate::{
    crowd::{ask, registered},
    session::support::{
        Frame, Peer, Reports, SHAPES, Shape, close, hold, hold_compressed, hold_over, idle, lock,
        once, text, within,
    },
    support,
};

fn delivery(sent: u64, dropped: u64, closed: u64) -> Delivery {
    let mut delivery = Delivery::default();
    (delivery.sent, delivery.dropped, delivery.closed) = (sent, dropped, closed);
    delivery
}

/// A broadcast that no task has to be waited for.
fn at_once(broadcast: impl Future<Output = Delivery>) -> Delivery {
    let broadcast = tokio::task::unconstrained(broadcast);
    broadcast.now_or_never().expect("nothing is waited for")
}

#[tokio::test(start_paused = true)]
async fn members_get_what_is_broadcast_and_nobody_else() {
    for shape in SHAPES {
        let groups: Groups<&'static str> = Groups::new();
        let mut all = Vec::new();
        let mut memberships = Vec::new();
        for index in 0..4 {
            let (peer, socket, reports) = hold(shape, Config::default()).await;
            if index < 3 {
                let membership = groups.join("room", &socket.sender()).unwrap();
                assert_eq!(*membership.key(), "room");
                memberships.push(membership);
            }
            all.push((peer, socket, reports));
        }
        memberships.push(groups.join("other", &all[3].1.sender()).unwrap());
        assert_eq!((groups.len(), groups.is_empty()), (2, false));
        assert_eq!(groups.member_count("room"), 3);
        let keys: BTreeSet<_> = groups.keys().into_iter().collect();
        assert_eq!(keys, BTreeSet::from(["other", "room"]));
        let members = groups.members("room");
        assert_eq!(members.len(), 3);
        let is_member = |sender: &Sender| members.iter().any(|member| member.is_same(sender));
        for (index, (_, socket, _)) in all.iter().enumerate() {
            assert_eq!(is_member(&socket.sender()), index < 3);
        }

        let three = delivery(3, 0, 0);
        assert_eq!(at_once(groups.broadcast("room", "text")), three);
        let binary = Bytes::from_static(b"binary");
        assert_eq!(at_once(groups.broadcast("room", binary)), three);
        let plain = Message::text("plain").uncompressed();
        assert_eq!(at_once(groups.broadcast("room", plain)), three);
        let prepared = Prepared::new("prepared");
        assert_eq!(at_once(groups.broadcast("room", &prepared)), three);
        let sender = all[1].1.sender();
        let two = at_once(groups.broadcast_except("room", "except", &sender));
        assert_eq!(two, delivery(2, 0, 0));
        let stranger = all[3].1.sender();
        let three_more = at_once(groups.broadcast_except("room", "all", &stranger));
        assert_eq!(three_more, three);
        assert_eq!(
            at_once(groups.broadcast("nowhere", "lost")),
            delivery(0, 0, 0)
        );
        assert_eq!(groups.totals(), delivery(17, 0, 0));
        assert_eq!(
            (
                groups.members("nowhere").len(),
                groups.member_count("nowhere")
            ),
            (0, 0)
        );

        for (index, (peer, ..)) in all.iter_mut().take(3).enumerate() {
            assert_eq!(peer.frame().await, Frame::text("text"));
            assert_eq!(peer.frame().await, Frame::binary("binary"));
            assert_eq!(peer.frame().await, Frame::text("plain"));
            assert_eq!(peer.frame().await, Frame::text("prepared"));
            if index != 1 {
                assert_eq!(peer.frame().await, Frame::text("except"));
            }
            assert_eq!(peer.frame().await, Frame::text("all"));
        }
        drop(memberships);
        assert!(groups.is_empty());
        for (_, socket, _) in &all {
            socket.close(CloseCode::NORMAL);
        }
        for (peer, ..) in &mut all {
            let last = peer.frame().await;
            assert_eq!(last.code(), Some(1000), "nothing before: {last:?}");
        }
    }
}

/// Joins as it is told, and ends as it is told.
async fn member(mut socket: WebSocket, groups: Groups) {
    let membership = groups.join("room".to_owned(), &socket.sender()).unwrap();
    socket.send("joined").await.unwrap();
    let order = socket.recv().await;
    match order.ok().flatten().as_ref().and_then(Message::as_text) {
        Some("leave") => {
            membership.leave();
            pending().await
        }
        Some("drop") => {
            drop(membership);
            pending().await
        }
        Some("panic") => panic!("as ordered"),
        Some("abort") => {
            socket.sender().abort();
            pending().await
        }
        Some("close") => {
            socket.close(CloseCode::NORMAL);
            pending().await
        }
        // Kept for longer than the connection.
        _ => pending().await,
    }
}

#[tokio::test(start_paused = true)]
async fn membership_ends_however_the_member_does() {
    let orders = ["leave", "drop", "panic", "abort", "close", "bye", "reset"];
    for shape in SHAPES {
        for order in orders {
            let groups: Groups = Groups::new();
            let mut events = groups.events();
            let connections = Connections::sequential();
            let own = groups.clone();
            let service = registered(&connections, move |socket| member(socket, own.clone()));
            let mut peer = support::http::Peer::open(service, ask(shape)).await;
            assert_eq!(peer.frame().await, Some((0x1, "joined".into())));
            assert_eq!(groups.member_count("room"), 1);
            let id = connections.iter().next().unwrap().id();
            assert!(id.is_some());
            match order {
                "bye" => peer.write(&close(1000, "")).await,
                "reset" => drop(peer),
                "close" => {
                    peer.write(&text(order)).await;
                    peer.closed().await;
                }
                order => peer.write(&text(order)).await,
            }
            idle().await;
            // The closing handshake of the others is never answered: the deadlines end it.
            if ["bye", "panic"].contains(&order) {
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            assert!(groups.is_empty(), "{order}");
            let room = || "room".to_owned();
            for event in [
                GroupEvent::Created(room()),
                GroupEvent::Joined(room(), id),
                GroupEvent::Left(room(), id),
                GroupEvent::Destroyed(room()),
            ] {
                assert_eq!(events.recv().now_or_never(), Some(event), "{order}");
            }
            assert_eq!(events.recv().now_or_never(), None, "{order}");
            assert_eq!(at_once(groups.broadcast("room", "x")), delivery(0, 0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connection_joins_a_group_once_and_again_after_it_left() {
    let groups: Groups<u8> = Groups::new();
    let (_client, server) = testing::pair(Config::default());
    let sender = server.sender();
    let first = groups.join(1, &sender).unwrap();
    assert_eq!(
        groups.join(1, &server.sender()).unwrap_err(),
        JoinError::AlreadyMember
    );
    assert_eq!(groups.member_count(&1), 1);
    let other = groups.join(2, &sender).unwrap();
    first.leave();
    assert_eq!(groups.keys(), [2]);
    let again = groups.join(1, &sender).unwrap();
    assert_eq!(
        groups.join(1, &sender).unwrap_err(),
        JoinError::AlreadyMember
    );
    drop((again, other));
    assert!(groups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn connection_is_in_as_many_groups_as_it_may_be() {
    let groups: Groups<usize> = Groups::builder().max_groups_per_connection(3).build();
    let (_client, server) = testing::pair(Config::default());
    let (_other_client, other) = testing::pair(Config::default());
    let sender = server.sender();
    let mut joined: Vec<_> = (0..3)
        .map(|key| groups.join(key, &sender).unwrap())
        .collect();
    let limit = JoinError::TooManyGroups { limit: 3 };
    assert_eq!(groups.join(3, &sender).unwrap_err(), limit);
    assert_eq!(groups.len(), 3, "no group is left of it");
    // Another one has its own.
    let others: Vec<_> = (0..3)
        .map(|key| groups.join(key, &other.sender()).unwrap())
        .collect();
    assert_eq!(groups.join(3, &other.sender()).unwrap_err(), limit);
    drop(joined.remove(1));
    joined.push(groups.join(3, &sender).unwrap());
    assert_eq!(groups.join(4, &sender).unwrap_err(), limit);
    // Its end frees all of them.
    drop(other);
    idle().await;
    assert_eq!(groups.member_count(&0), 1);
    drop((joined, others));
    assert!(groups.is_empty());
    let unlimited: Groups<usize> = Groups::builder().max_groups_per_connection(None).build();
    let many: Vec<_> = (0..1000)
        .map(|key| unlimited.join(key, &sender).unwrap())
        .collect();
    assert_eq!(unlimited.len(), 1000);
    drop(server);
    idle().await;
    assert_eq!((unlimited.len(), many.len()), (0, 1000));
}

#[tokio::test(start_paused = true)]
async fn connection_that_is_over_joins_nothing() {
    let groups: Groups = Groups::new();
    let (client, server) = testing::pair(Config::default());
    let sender = server.sender();
    drop(client);
    drop(server);
    sender.closed().await;
    for _ in 0..2 {
        assert_eq!(
            groups.join("room".into(), &sender).unwrap_err(),
            JoinError::Closed
        );
        assert!(groups.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_told_in_order_to_all_who_listen() {
    let groups: Groups<u32> = Groups::new();
    let (_client, server) = testing::pair(Config::default());
    let (_other_client, other) = testing::pair(Config::default());
    let mut first = groups.events();
    let waiting = tokio::spawn(async move {
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(first.recv().await);
        }
        seen
    });
    idle().await;
    let a = groups.join(7, &server.sender()).unwrap();
    let second = groups.events();
    let b = groups.join(7, &other.sender()).unwrap();
    drop(a);
    drop(b);
    let expected = [
        GroupEvent::Created(7),
        GroupEvent::Joined(7, None),
        GroupEvent::Joined(7, None),
        GroupEvent::Left(7, None),
        GroupEvent::Left(7, None),
        GroupEvent::Destroyed(7),
    ];
    assert_eq!(within(waiting).await.unwrap(), expected);
    let late: Vec<_> = second.take(4).collect().await;
    assert_eq!(late, expected[2..]);
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_takes_are_missed_and_told_as_such() {
    let groups: Groups<u32> = Groups::new();
    let (_client, server) = testing::pair(Config::default());
    let mut events = groups.events();
    // Four events each: 1,024 of them fill the queue.
    let rounds = |rounds: std::ops::Range<u32>| {
        for key in rounds {
            groups.join(key, &server.sender()).unwrap().leave();
        }
    };
    let mut take = || events.recv().now_or_never();
    rounds(0..1024);
    rounds(1024..1026);
    for key in 0..1024 {
        assert_eq!(take(), Some(GroupEvent::Created(key)));
        if key == 0 {
            // There is room, but what was missed comes first.
            rounds(1026..1027);
        }
        if key == 1 {
            // There is room again, behind what was missed.
            rounds(2000..2001);
        }
        assert_eq!(take(), Some(GroupEvent::Joined(key, None)));
        assert_eq!(take(), Some(GroupEvent::Left(key, None)));
        assert_eq!(take(), Some(GroupEvent::Destroyed(key)));
    }
    assert_eq!(take(), Some(GroupEvent::Missed(12)));
    assert_eq!(take(), Some(GroupEvent::Created(2000)));
    assert_eq!(take(), Some(GroupEvent::Joined(2000, None)));
    assert_eq!(take(), Some(GroupEvent::Left(2000, None)));
    assert_eq!(take(), Some(GroupEvent::Destroyed(2000)));
    assert_eq!(take(), None);
}

/// Members in memory, of which nobody reads unless the test does.
fn pairs(groups: &Groups<u8>, count: usize) -> Vec<(WebSocket, WebSocket, Membership<u8>)> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let (client, server) = testing::pair(Config::default());
        let membership = groups.join(0, &server.sender()).unwrap();
        all.push((client, server, membership));
    }
    all
}

/// What a client has received, of messages that are its numbers.
async fn numbers(client: &mut WebSocket) -> Vec<u32> {
    let mut all = Vec::new();
    while let Some(message) = client.recv().now_or_never() {
        let message = message.unwrap().unwrap();
        all.push(message.as_text().unwrap().parse().unwrap());
    }
    all
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
        .filter(|(_, server, _)| server.sender().queued() == 0);
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
    assert_eq!(polls, MEMBERS.div_ceil(256));
    idle().await;
    let mut got = 10;
    for (client, ..) in all.iter_mut() {
        assert_eq!(numbers(client).await, [1], "once, and none is left out");
        got += 1;
    }
    others.push((client, server, back));
    for (client, ..) in &mut others {
        assert_eq!(numbers(client).await, [], "they came too late");
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
    assert_eq!(both, 256);
    assert_eq!(groups.totals(), delivery(600 + 256, 0, 0));
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

#[tokio::test(start_paused = true)]
async fn member_broadcasts_from_its_own_handler() {
    async fn chat(mut socket: WebSocket, rooms: Groups<u8>) {
        let sender = socket.sender();
        let _membership = rooms.join(0, &sender).unwrap();
        while let Ok(Some(message)) = socket.recv().await {
            rooms.broadcast(&0, message.clone()).await;
            rooms.broadcast_except(&0, message, &sender).await;
        }
    }

    for shape in SHAPES {
        let rooms = Groups::new();
        let connections = Connections::new();
        let mut peers = Vec::new();
        for _ in 0..3 {
            let rooms = rooms.clone();
            let service = registered(&connections, move |socket| chat(socket, rooms.clone()));
            peers.push(support::http::Peer::open(service, ask(shape)).await);
        }
        idle().await;
        peers[1].send(0x1, b"hi").await;
        for (index, times) in [2, 1, 2].into_iter().enumerate() {
            for _ in 0..times {
                assert_eq!(peers[index].frame().await, Some((0x1, "hi".into())));
            }
        }
        peers[1].send(0x2, b"end").await;
        assert_eq!(peers[1].frame().await, Some((0x2, "end".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn members_who_agreed_on_compression_get_a_compressed_form_and_the_others_a_plain_one() {
    for settings in [Compression::shared(), Compression::dedicated()] {
        let compressing = Config::default().compression(settings);
        let groups: Groups<u8> = Groups::new();
        let mut all = Vec::new();
        for index in 0..300 {
            let shape = SHAPES[index % 2];
            let (peer, socket) = if index % 10 < 2 {
                let (peer, socket, _) = hold(shape, Config::default()).await;
                (peer, socket)
            } else {
                hold_compressed(shape, compressing.clone()).await
            };
            let membership = groups.join(0, &socket.sender()).unwrap();
            all.push((peer, socket, membership));
        }
        let news = "all the same ".repeat(500);
        let sent = groups.broadcast(&0, news.clone()).await;
        assert_eq!(sent, delivery(300, 0, 0));
        let plain = groups.broadcast(&0, Message::text(news.clone()).uncompressed());
        assert_eq!(plain.await, delivery(300, 0, 0));
        let mut compressed = Vec::new();
        for (index, (peer, ..)) in all.iter_mut().enumerate() {
            let frame = peer.frame().await;
            if index % 10 < 2 {
                assert_eq!(frame, Frame::text(&news));
            } else {
                assert!(frame.is_compressed(), "{frame:?}");
                assert!(frame.payload.len() < 100, "{frame:?}");
                compressed.push(frame);
            }
            assert_eq!(peer.frame().await, Frame::text(&news));
        }
        // They are the first message of each, so that nothing is referred to.
        assert!(compressed.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

/// A connection whose peer has a small pipe, and whose queue is full with a few messages.
async fn stalled(shape: Shape) -> (Peer, WebSocket, Reports) {
    let config = Config::default()
        .max_send_queue(1000)
        .write_timeout(None)
        .ping_interval(None);
    let (ours, theirs) = duplex(64);
    let (socket, reports) = hold_over(shape, config, theirs).await;
    (Peer::new(ours), socket, reports)
}

/// A message of a hundred bytes that is a number.
fn padded(number: u64) -> String {
    format!("{number:0100}")
}

fn number(frame: &Frame) -> u64 {
    assert_eq!((frame.first, frame.payload.len()), (0x81, 100), "{frame:?}");
    str::from_utf8(&frame.payload).unwrap().parse().unwrap()
}

/// What a stopped member has received once it reads again, up to a last frame that is not a number.
async fn caught_up(peer: &mut Peer, last: u64) -> (Vec<u64>, Option<Frame>) {
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
        assert!(stopped.queued() <= 1000 + 102 + 40, "{}", stopped.queued());
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
                .any(|member| member.is_same(&socket.sender()))
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

/// A member whose queue is full with one message, in another thread perhaps.
fn narrow() -> (WebSocket, WebSocket) {
    testing::pair(Config::default().max_send_queue(0).max_send_messages(1))
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

/// Bytes whose owner leaves the group when it is dropped.
struct Leaving(Vec<u8>, Arc<Mutex<Option<Membership<u8>>>>, Arc<AtomicBool>);

impl AsRef<[u8]> for Leaving {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let membership = lock(&self.1).take();
        drop(membership);
        self.2.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_of_the_application_are_dropped_outside_all_locks() {
    for closes in [false, true] {
        let groups: Groups<u8> = Groups::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let (mut peer, socket, _reports) = stalled(Shape::H1).await;
        for number in 0..30 {
            // Fills the queue.
            let _full = socket.try_send(padded(number));
            idle().await;
        }
        let membership = Arc::new(Mutex::new(Some(groups.join(0, &socket.sender()).unwrap())));
        let dropped = Arc::new(AtomicBool::new(false));
        let owner = Leaving(vec![b'x'; 100], membership, dropped.clone());
        let message = Message::binary(Bytes::from_owner(owner));
        assert_eq!(at_once(groups.broadcast(&0, message)), delivery(1, 0, 0));
        assert!(!dropped.load(Ordering::Relaxed), "it waits");
        if closes {
            socket.close(CloseCode::NORMAL);
        }
        while peer.frame().await.first == 0x81 {}
        assert!(dropped.load(Ordering::Relaxed));
        assert!(groups.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_policy_leaves_everything_as_it_was() {
    let groups: Groups<u8> = Groups::builder()
        .max_groups_per_connection(1)
        .slow_members(|key| {
            assert_ne!(*key, 13, "as ordered");
            SlowMember::default()
        })
        .build();
    let (_client, server) = testing::pair(Config::default());
    let sender = server.sender();
    let unlucky =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| groups.join(13, &sender)));
    assert!(unlucky.is_err());
    assert!(groups.is_empty());
    let _lucky = groups.join(1, &sender).unwrap();
    assert_eq!(groups.len(), 1);
}

/// A key whose clone panics when it is told to, after so many.
#[derive(Debug)]
struct Brittle(u8, Arc<Mutex<usize>>);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        let mut left = lock(&self.1);
        *left = left.checked_sub(1).expect("as ordered");
        drop(left);
        Self(self.0, self.1.clone())
    }
}

impl PartialEq for Brittle {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Brittle {}

impl std::hash::Hash for Brittle {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_panics_when_cloned_leaves_no_half_a_member() {
    let (client, server) = testing::pair(Config::default());
    let sender = server.sender();
    for clones in 0..10 {
        let groups: Groups<Brittle> = Groups::builder().max_groups_per_connection(1).build();
        let left = Arc::new(Mutex::new(clones));
        let key = Brittle(1, left.clone());
        let join = std::panic::AssertUnwindSafe(|| groups.join(key, &sender));
        let joined = std::panic::catch_unwind(join);
        *lock(&left) = usize::MAX;
        match joined {
            Ok(membership) => drop(membership.unwrap()),
            Err(_) => assert!(clones < 3, "{clones}"),
        }
        assert!(groups.is_empty(), "after {clones}");
        let key = Brittle(2, left);
        groups.join(key, &sender).unwrap().leave();
    }
    drop(client);
}
