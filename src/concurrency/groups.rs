//! Groups, while members join, leave and end.

use std::num::NonZeroUsize;

use super::{
    Line, Seen, end, explore, give_up,
    line::{close_frame, peer},
    start,
};
use crate::{
    config::Config,
    groups::{GroupEvent, JoinError, SlowConnection, SlowMember, handle::Groups},
    protocol::CloseCode,
    session::{ConnectionId, Connections, WebSocket},
};

/// Receives until the connection ends.
async fn receive(mut socket: WebSocket) {
    while let Ok(Some(_)) = socket.recv().await {}
}

/// Returns which of the broadcasts a peer has seen, each at most once and in order.
fn in_order(seen: &Seen) -> usize {
    let mut sorted = seen.messages.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, seen.messages, "in order, and each once");
    seen.messages.len()
}

/// A member that stays gets all, in order; one that leaves, ends or joins gets what is counted for it.
/// Nothing is left of a group without members.
#[test]
fn broadcast_beside_a_leave_a_join_and_an_end_counts_what_arrives() {
    explore(async || {
        let groups: Groups = Groups::new();
        let lines = [0; 3].map(|_| Line::open(Config::default(), 8));
        let [stays, leaves, ends] = lines;
        let senders = [&stays, &leaves, &ends].map(|line| line.socket.sender());
        let mut members = senders
            .iter()
            .map(|sender| groups.join("room".to_owned(), sender));
        let membership = members.next().unwrap().unwrap();
        let leaving = members.next().unwrap().unwrap();
        let ending = members.next().unwrap().unwrap();
        drop(members);
        let broadcasting = {
            let groups = groups.clone();
            start(async move {
                let mut sent = 0;
                for text in ["0", "1"] {
                    sent += groups.broadcast("room", text).await.sent;
                }
                sent
            })
        };
        let rejoining = {
            let (groups, sender) = (groups.clone(), senders[1].clone());
            start(async move {
                leaving.leave();
                // It may be closing by then.
                drop(groups.join("room".to_owned(), &sender).unwrap());
            })
        };
        let sockets = [stays.socket, leaves.socket, ends.socket];
        let receiving = sockets.map(|socket| start(receive(socket)));
        let peers = [
            start(peer(stays.peer, Vec::new())),
            start(peer(leaves.peer, Vec::new())),
            start(peer(ends.peer, close_frame())),
        ];
        let sent = end(broadcasting).await;
        end(rejoining).await;
        for sender in &senders {
            sender.close(CloseCode::NORMAL);
        }
        let mut arrived = Vec::new();
        for peer in peers {
            arrived.push(in_order(&end(peer).await));
        }
        for task in receiving {
            end(task).await;
        }
        assert_eq!(arrived[0], 2, "who stays gets all");
        assert_eq!(arrived.iter().sum::<usize>() as u64, sent);
        assert_eq!(groups.totals().sent, sent);
        for line in [stays.session, leaves.session, ends.session] {
            line.report().await;
        }
        // The end of the connection has ended the membership.
        assert!(groups.is_empty() && groups.member_count("room") == 0);
        drop((membership, ending));
        assert!(groups.is_empty());
        assert!(matches!(
            groups.join("room".to_owned(), &senders[0]),
            Err(JoinError::Closed)
        ));
        assert!(groups.is_empty());
    });
}

/// No broadcast relies on a wake-up of another one.
#[test]
fn broadcasts_of_two_tasks_arrive_in_the_same_order() {
    explore(async || {
        let groups: Groups = Groups::new();
        let lines = [0; 2].map(|_| Line::open(Config::default(), 8));
        let senders = lines.each_ref().map(|line| line.socket.sender());
        let members = senders
            .each_ref()
            .map(|sender| groups.join("room".to_owned(), sender));
        let broadcasting = ["0", "1"].map(|text| {
            let groups = groups.clone();
            start(async move { groups.broadcast("room", text).await.sent })
        });
        let mut peers = Vec::new();
        let mut rest = Vec::new();
        for line in lines {
            peers.push(start(peer(line.peer, Vec::new())));
            rest.push((start(receive(line.socket)), line.session));
        }
        for task in broadcasting {
            assert_eq!(end(task).await, 2);
        }
        for sender in &senders {
            // The messages leave without it, too: nothing else may be needed.
            sender.flush().await.unwrap();
            sender.close(CloseCode::NORMAL);
        }
        let first = end(peers.remove(0)).await.messages;
        let second = end(peers.remove(0)).await.messages;
        assert_eq!((first.len(), first), (2, second));
        for (receiving, session) in rest {
            end(receiving).await;
            session.report().await;
        }
        assert!(groups.is_empty());
        drop(members);
    });
}

/// What waits beside a full queue continues when there is room, though no task polls for it.
#[test]
fn messages_kept_for_a_slow_member_arrive() {
    explore(async || {
        let groups: Groups = Groups::builder()
            .slow_members(|_| SlowMember::DropOldest(NonZeroUsize::new(4).unwrap()))
            .build();
        let line = Line::open(Config::default().max_send_messages(1), 2);
        let sender = line.socket.sender();
        let _membership = groups.join("room".to_owned(), &sender).unwrap();
        let broadcasting = {
            let groups = groups.clone();
            start(async move {
                for text in ["0", "1", "2"] {
                    let delivery = groups.broadcast("room", text).await;
                    assert_eq!((delivery.sent, delivery.dropped), (1, 0));
                }
            })
        };
        // Other senders wait for the same room.
        let sends = sender.clone();
        let sending = start(async move { sends.send("x").await.unwrap() });
        let receiving = start(receive(line.socket));
        let came = line.peer.has_come();
        let closing = start(async move {
            end(broadcasting).await;
            end(sending).await;
            // All of it takes twelve bytes; it comes without anything else happening.
            while came.written() < 12 {
                sender.flush().await.unwrap();
                shuttle::future::yield_now().await;
            }
            sender.close(CloseCode::NORMAL);
        });
        let mut seen = peer(line.peer, Vec::new()).await;
        end(closing).await;
        end(receiving).await;
        seen.messages.retain(|text| text != "x");
        assert_eq!(seen.messages, ["0", "1", "2"]);
        line.session.report().await;
        assert!(groups.is_empty());
    });
}

/// An event, with the number of its member.
fn numbered(event: GroupEvent) -> GroupEvent<String, Option<ConnectionId>> {
    match event {
        GroupEvent::Created(key) => GroupEvent::Created(key),
        GroupEvent::Joined(key, member) => GroupEvent::Joined(key, member.id()),
        GroupEvent::Left(key, member) => GroupEvent::Left(key, member.id()),
        GroupEvent::Destroyed(key) => GroupEvent::Destroyed(key),
        GroupEvent::Missed(missed) => GroupEvent::Missed(missed),
    }
}

/// A subscriber is woken for each change, in order, from whichever task.
#[test]
fn events_of_groups_tell_of_every_change() {
    explore(async || {
        let groups: Groups = Groups::new();
        let mut events = groups.events();
        let line = Line::open(Config::default(), 64);
        let sender = line.socket.sender();
        let joining = ["a", "b"].map(|room| {
            let (groups, sender) = (groups.clone(), sender.clone());
            start(async move {
                drop(groups.join(room.to_owned(), &sender));
            })
        });
        let receiving = start(receive(line.socket));
        let peer = start(peer(line.peer, close_frame()));
        let mut told = Vec::new();
        for _ in 0..8 {
            told.push(events.recv().await);
        }
        for room in ["a", "b"] {
            let of_it = |event: &&GroupEvent| match event {
                GroupEvent::Created(key) | GroupEvent::Destroyed(key) => key == room,
                GroupEvent::Joined(key, _) | GroupEvent::Left(key, _) => key == room,
                GroupEvent::Missed(_) => panic!("nothing is missed"),
            };
            let told: Vec<_> = told.iter().filter(of_it).cloned().map(numbered).collect();
            let room = || room.to_owned();
            let expected = [
                GroupEvent::Created(room()),
                GroupEvent::Joined(room(), None),
                GroupEvent::Left(room(), None),
                GroupEvent::Destroyed(room()),
            ];
            assert_eq!(told, expected);
        }
        for task in joining {
            end(task).await;
        }
        end(receiving).await;
        end(peer).await;
        line.session.report().await;
        assert!(groups.is_empty());
    });
}

/// A group that its last member leaves is there, once, for a task that joins it.
#[test]
fn join_beside_the_last_leave_and_another_join_is_one_membership() {
    explore(async || {
        let groups: Groups = Groups::new();
        let [leaves, joins] = [0; 2].map(|_| Line::open(Config::default(), 64));
        let membership = groups
            .join("room".to_owned(), &leaves.socket.sender())
            .unwrap();
        let leaving = start(async move { membership.leave() });
        let joining = [0; 2].map(|_| {
            let (groups, sender) = (groups.clone(), joins.socket.sender());
            start(async move { groups.join("room".to_owned(), &sender) })
        });
        let mut memberships = Vec::new();
        for task in joining {
            match end(task).await {
                Ok(membership) => memberships.push(membership),
                Err(error) => assert_eq!(error, JoinError::AlreadyMember),
            }
        }
        end(leaving).await;
        assert_eq!(memberships.len(), 1);
        assert_eq!((groups.len(), groups.member_count("room")), (1, 1));
        assert_eq!(groups.broadcast("room", "0").await.sent, 1);
        drop(memberships);
        assert!(groups.is_empty());
        for (line, expected) in [(leaves, 0), (joins, 1)] {
            drop(line.socket);
            assert_eq!(peer(line.peer, Vec::new()).await.messages.len(), expected);
            line.session.report().await;
        }
    });
}

/// Whatever ends the membership first, and wherever: those that stay are told once, behind what was broadcast
/// before, and whoever has left is not.
#[test]
fn farewell_is_said_once_beside_a_leave_a_removal_an_end_and_a_broadcast() {
    explore(async || {
        let groups: Groups = Groups::new();
        let [stays, leaves] = [0; 2].map(|_| Line::open(Config::default(), 64));
        let [staying, leaving] = [&stays, &leaves].map(|line| line.socket.sender());
        let _stays = groups.join("room".to_owned(), &staying).unwrap();
        let membership = groups.join("room".to_owned(), &leaving).unwrap();
        assert_eq!(groups.broadcast("room", "0").await.sent, 2);
        let tasks = [
            start(async move { drop(membership.on_leave("gone")) }),
            start({
                let (groups, sender) = (groups.clone(), leaving.clone());
                async move {
                    groups.remove("room", &sender);
                }
            }),
        ];
        let broadcasting = {
            let groups = groups.clone();
            start(async move { groups.broadcast("room", "1").await.sent })
        };
        let receiving = [stays.socket, leaves.socket].map(|socket| start(receive(socket)));
        let first = start(peer(stays.peer, Vec::new()));
        let second = start(peer(leaves.peer, close_frame()));
        for task in tasks {
            end(task).await;
        }
        let [receiving_first, receiving_second] = receiving;
        end(receiving_second).await;
        leaves.session.report().await;
        let sent = 2 + end(broadcasting).await;
        // It may have waited for the turn of the broadcast.
        while groups.totals().sent == sent {
            shuttle::future::yield_now().await;
        }
        staying.close(CloseCode::NORMAL);
        let mut seen = end(first).await.messages;
        assert_eq!(seen.remove(0), "0");
        seen.sort();
        assert_eq!(seen, ["1", "gone"]);
        assert!(!end(second).await.messages.contains(&"gone".to_owned()));
        end(receiving_first).await;
        stays.session.report().await;
        assert!(groups.is_empty());
    });
}

/// Whoever is moved out has left once, and a membership of before ends none of after.
#[test]
fn removal_beside_a_leave_and_a_join_leaves_one_member_or_none() {
    explore(async || {
        let groups: Groups<String, u8> = Groups::default();
        let mut events = groups.events();
        let line = Line::open(Config::default(), 64);
        let sender = line.socket.sender();
        let first = groups.join_as("room".to_owned(), &sender, 1).unwrap();
        let removing = start({
            let (groups, sender) = (groups.clone(), sender.clone());
            async move { groups.remove("room", &sender) }
        });
        let leaving = start(async move { first.leave() });
        let joining = start({
            let (groups, sender) = (groups.clone(), sender.clone());
            async move { groups.join_as("room".to_owned(), &sender, 2) }
        });
        let present = groups.presence("room");
        assert!(present.iter().all(|(_, data)| [1, 2].contains(&**data)));
        end(leaving).await;
        let second = end(joining).await;
        let removed = end(removing).await;
        let here = groups.member_count("room");
        let (mut joined, mut left) = (0, 0);
        while let Some(event) = give_up(events.recv(), 1).await {
            joined += usize::from(matches!(event, GroupEvent::Joined(..)));
            left += usize::from(matches!(event, GroupEvent::Left(..)));
        }
        assert_eq!(
            (joined, joined - left),
            (1 + usize::from(second.is_ok()), here)
        );
        match second {
            Ok(second) => {
                assert!(here == 1 || removed, "only a removal ends it");
                drop(second);
            }
            Err(error) => assert_eq!((error, here), (JoinError::AlreadyMember, 0)),
        }
        assert!(groups.is_empty() && groups.presence("room").is_empty());
        drop(line.socket);
        peer(line.peer, Vec::new()).await;
        line.session.report().await;
    });
}

/// Of two that move somebody out, one is told that it was a member.
#[test]
fn one_of_two_removals_has_moved_the_member_out() {
    explore(async || {
        let groups: Groups = Groups::new();
        let line = Line::open(Config::default(), 64);
        let sender = line.socket.sender();
        let membership = groups.join("room".to_owned(), &sender).unwrap();
        let removing = [0; 2].map(|_| {
            let (groups, sender) = (groups.clone(), sender.clone());
            start(async move { groups.remove("room", &sender) })
        });
        let mut removed = 0;
        for task in removing {
            removed += usize::from(end(task).await);
        }
        assert_eq!(removed, 1);
        drop(membership);
        assert!(groups.is_empty());
        drop(line.socket);
        peer(line.peer, Vec::new()).await;
        line.session.report().await;
    });
}

/// Two broadcasts to all are in one order, and none relies on a wake-up of another one.
#[test]
fn broadcasts_to_all_arrive_in_the_same_order() {
    explore(async || {
        let connections = Connections::new();
        let place = || connections.accept().ok();
        let lines = [0; 2].map(|_| Line::open_at(Config::default(), 8, place()));
        let senders = lines.each_ref().map(|line| line.socket.sender());
        let broadcasting = ["0", "1"].map(|text| {
            let all = connections.broadcast(text, SlowConnection::DropNewest);
            start(async move { all.await.sent })
        });
        let mut peers = Vec::new();
        let mut rest = Vec::new();
        for line in lines {
            peers.push(start(peer(line.peer, Vec::new())));
            rest.push((start(receive(line.socket)), line.session));
        }
        for task in broadcasting {
            assert_eq!(end(task).await, 2);
        }
        for sender in &senders {
            sender.flush().await.unwrap();
            sender.close(CloseCode::NORMAL);
        }
        let first = end(peers.remove(0)).await.messages;
        let second = end(peers.remove(0)).await.messages;
        assert_eq!((first.len(), first), (2, second));
        for (receiving, session) in rest {
            end(receiving).await;
            session.report().await;
        }
        assert!(connections.is_empty());
    });
}
