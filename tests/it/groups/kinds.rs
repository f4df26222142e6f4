//! Members of different kinds: some take no more than a place in their queue, others are treated one by one.

use std::num::NonZeroUsize;

use tokio::io::AsyncWriteExt;
use tower_websocket::{
    CloseCode, Compression, Config, Connections, Groups, Message, MessageKind, WebSocket,
    groups::SlowMember, testing,
};

use super::{at_once, delivery, pairs};
use crate::{
    crowd::{ask, registered},
    session::support::{SHAPES, hold, idle},
    support::{self, within},
};

/// What a socket receives until nothing more comes.
async fn received(socket: &mut WebSocket) -> Vec<Message> {
    use futures_util::FutureExt;

    let mut all = Vec::new();
    while let Some(Ok(Some(message))) = socket.recv().now_or_never() {
        all.push(message);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn members_of_every_kind_get_each_message_once_and_in_order() {
    let policies = [
        SlowMember::default(),
        SlowMember::DropNewest,
        SlowMember::DropOldest(NonZeroUsize::MIN),
        SlowMember::Conflate,
    ];
    let long = "news ".repeat(400);
    for (policy, first) in policies.into_iter().zip(0..) {
        let groups: Groups<u8> = Groups::builder()
            .slow_members(move |_| policy.clone())
            .build();
        let plain = Config::default;
        let mut all = [
            testing::pair(plain()),
            testing::pair(plain().fragment_size(Some(4))),
            testing::pair(plain().compression(Compression::shared())),
            testing::pair(plain().compression(Compression::dedicated())),
            // A client masks what it sends.
            {
                let (client, server) = testing::pair(plain());
                (server, client)
            },
            // It sends a message piece by piece.
            testing::pair(plain()),
            // It is closing.
            testing::pair(plain()),
        ];
        // Another kind comes first each time, and may decide what is encoded first.
        all.rotate_left(first);
        let is_at = |kind: usize| (kind + 7 - first) % 7;
        let (writing, closing) = (is_at(5), is_at(6));
        let sender = all[writing].1.sender();
        let mut writer = within(sender.send_writer(MessageKind::Binary))
            .await
            .unwrap();
        writer.write_all(b"a").await.unwrap();
        writer.flush().await.unwrap();
        all[closing].1.close(CloseCode::NORMAL);
        let join = |(_, member): &(WebSocket, WebSocket)| groups.join(0, &member.sender()).unwrap();
        let memberships: Vec<_> = all.iter().map(join).collect();
        for text in ["short", &long] {
            for (index, (_, member)) in all.iter().enumerate() {
                assert_eq!(member.try_send("own").is_ok(), index != closing);
            }
            assert_eq!(at_once(groups.broadcast(&0, text)), delivery(6, 0, 0));
        }
        writer.write_all(b"b").await.unwrap();
        writer.finish().await.unwrap();
        idle().await;
        for (index, (peer, member)) in all.iter_mut().enumerate() {
            let mut expected = ["own", "short", "own", &long].map(Message::text).to_vec();
            if index == writing {
                expected.insert(0, Message::binary("ab"));
            }
            if index == closing {
                expected.clear();
            }
            assert_eq!(
                received(peer).await,
                expected,
                "{index} of those from {first} on"
            );
            assert_eq!(member.sender().is_open(), index != closing);
        }
        drop(memberships);
    }
}

#[tokio::test(start_paused = true)]
async fn members_get_fragments_of_the_size_that_was_set_for_them() {
    for shape in SHAPES {
        for sizes in [[None, Some(3)], [Some(3), None]] {
            let groups: Groups<u8> = Groups::new();
            let mut all = Vec::new();
            for size in sizes {
                let config = Config::default().fragment_size(size);
                let (peer, socket, _reports) = hold(shape, config).await;
                let membership = groups.join(0, &socket.sender()).unwrap();
                all.push((size, peer, socket, membership));
            }
            assert_eq!(at_once(groups.broadcast(&0, "abcde")), delivery(2, 0, 0));
            for (size, peer, ..) in &mut all {
                let expected = match size {
                    None => vec![(0x81, "abcde")],
                    Some(_) => vec![(0x01, "abc"), (0x80, "de")],
                };
                for (first, payload) in expected {
                    let frame = peer.frame().await;
                    assert_eq!((frame.first, &*frame.payload), (first, payload.as_bytes()));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_member_sends_around_its_own_broadcast_keeps_its_order() {
    async fn chat(mut socket: WebSocket, rooms: Groups<u8>) {
        let _membership = rooms.join(0, &socket.sender()).unwrap();
        while let Ok(Some(message)) = socket.recv().await {
            socket.send("before").await.unwrap();
            rooms.broadcast(&0, message).await;
            socket.send("after").await.unwrap();
        }
    }

    for shape in SHAPES {
        // With so many others it yields in between.
        for others in [0, 200] {
            let rooms = Groups::new();
            let early = pairs(&rooms, others / 2);
            let own = rooms.clone();
            let service = registered(&Connections::new(), move |socket| chat(socket, own.clone()));
            let mut peer = support::http::Peer::open(service, ask(shape)).await;
            idle().await;
            let late = pairs(&rooms, others / 2);
            // In one read, as far as that goes.
            for text in ["one", "two", "three"] {
                peer.send(0x1, text.as_bytes()).await;
            }
            for text in ["one", "two", "three"] {
                for expected in ["before", text, "after"] {
                    assert_eq!(peer.frame().await, Some((0x1, expected.into())));
                }
            }
            idle().await;
            for (mut client, ..) in early.into_iter().chain(late) {
                let expected = ["one", "two", "three"].map(Message::text);
                assert_eq!(received(&mut client).await, expected);
            }
        }
    }
}
