//! The bytes between nodes, as the page about envelopes has them: written and read by hand.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::sleep;
use tower_websocket::{
    CloseCode, Connections, Groups, Message,
    cluster::{
        Address, Backplane, BackplaneError, Cluster, Command, Inlet, Line, NodeId, Promises,
    },
};

use super::{SETTLING, patient};
use crate::session::support::{Frame, Peer, Shape, hold, idle, within};

type Run<'a> = Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>>;

/// An engine that keeps what is published, and hands in what the test has written.
#[derive(Clone, Default)]
struct Tap {
    inlet: Arc<Mutex<Option<Inlet>>>,
    published: Arc<Mutex<Vec<Published>>>,
}

/// A topic, and an envelope.
type Published = (Vec<u8>, Vec<u8>);

impl Backplane for Tap {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn promises(&self) -> Promises {
        let mut promises = Promises::default();
        promises.confirms = true;
        promises
    }

    fn run<'a>(&'a self, line: &'a mut Line) -> Run<'a> {
        Box::pin(async {
            *self.inlet.lock().unwrap() = Some(line.inlet());
            line.connected();
            loop {
                match line.next().await {
                    Command::Subscribe(topics) => line.subscribed(&topics),
                    Command::Publish(publish) => {
                        let topic = publish.topic().as_bytes().to_vec();
                        let envelope = [publish.head(), publish.payload()].concat();
                        self.published.lock().unwrap().push((topic, envelope));
                        line.published(publish.ticket(), Ok(()));
                    }
                    Command::Leave => return Ok(()),
                    _ => {}
                }
            }
        })
    }
}

impl Tap {
    /// Hands in what somebody has published.
    fn receive(&self, topic: &str, envelope: Vec<u8>) {
        let inlet = self.inlet.lock().unwrap();
        inlet
            .as_ref()
            .unwrap()
            .receive(topic.as_bytes(), envelope.into());
    }

    /// What was published since, without heartbeats.
    fn published(&self) -> Vec<(String, Vec<u8>)> {
        let all = std::mem::take(&mut *self.published.lock().unwrap());
        let all = all.into_iter().map(|(topic, envelope)| {
            let topic = String::from_utf8(topic).unwrap();
            (topic, envelope)
        });
        all.filter(|(_, envelope)| envelope[1] != 7).collect()
    }
}

/// 24 bytes, and what follows.
fn envelope(kind: u8, flags: u8, node: u64, run: u64, index: u32, rest: &[u8]) -> Vec<u8> {
    let mut envelope = vec![1, kind, flags, 0];
    envelope.extend(node.to_le_bytes());
    envelope.extend(run.to_le_bytes());
    envelope.extend(index.to_le_bytes());
    envelope.extend(rest);
    envelope
}

/// Of somebody outside, who is node 0 and does not number.
fn foreign(kind: u8, rest: &[u8]) -> Vec<u8> {
    envelope(kind, 0, 0, 0, 0, rest)
}

async fn tapped() -> (Tap, Cluster, Groups) {
    let tap = Tap::default();
    let cluster = Cluster::start("shop", tap.clone());
    let rooms: Groups = Groups::builder().cluster(&cluster, "rooms").build();
    within(cluster.connected()).await;
    sleep(SETTLING).await;
    (tap, cluster, rooms)
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_24_bytes_speaks_to_a_group_and_to_a_connection() {
    let (tap, cluster, rooms) = tapped().await;
    let (mut peer, socket, _reports) = hold(Shape::H1, patient()).await;
    let _membership = rooms.join("lobby".to_owned(), &socket.sender()).unwrap();
    idle().await;
    for _ in 0..2 {
        // The same twice is no double: it has no number.
        tap.receive("shop:1:rooms:lobby", foreign(1, "grüß Gott".as_bytes()));
        assert_eq!(peer.frame().await, Frame::text("grüß Gott"));
    }
    tap.receive("shop:1:rooms:lobby", foreign(2, b"\xff\0"));
    assert_eq!(peer.frame().await, Frame::binary(b"\xff\0"));
    // What is ignored is ignored.
    let mut odd = envelope(1, 0b1111_1000, 0, 9, 9, b"odd");
    odd[3] = 77;
    tap.receive("shop:1:rooms:lobby", odd);
    assert_eq!(peer.frame().await, Frame::text("odd"));
    tap.receive("shop:1:rooms:lobby", foreign(3, b"\x03\xf0signed out"));
    let close = peer.frame().await;
    assert_eq!(
        (close.code(), &close.payload[2..]),
        (Some(1008), &b"signed out"[..])
    );
    let counters = cluster.counters();
    assert_eq!((counters.doubles, counters.gaps, counters.lost), (0, 0, 0));

    let connections = Connections::new();
    cluster.attach(&connections);
    let service = crate::crowd::registered(&connections, |mut socket| async move {
        while let Ok(Some(_)) = socket.recv().await {}
    });
    let mut one = crate::support::http::Peer::open(service, crate::crowd::ask(Shape::H1)).await;
    idle().await;
    let id = connections.iter().next().unwrap().id().unwrap();
    let own = format!("shop:1:!:node-{:016x}", cluster.id().as_u64());
    let to = |rest: &[u8]| [&id.as_u64().to_le_bytes()[..], rest].concat();
    tap.receive(&own, foreign(4, &to(b"text")));
    assert_eq!(one.frame().await, Some((1, "text".into())));
    tap.receive(&own, foreign(5, &to(b"\xff")));
    assert_eq!(one.frame().await, Some((2, Bytes::from_static(b"\xff"))));
    tap.receive(&own, foreign(6, &to(b"")));
    assert_eq!(
        one.frame().await,
        Some((8, Bytes::from_static(b"\x03\xe8")))
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_is_laid_out_as_the_page_says() {
    let (tap, cluster, rooms) = tapped().await;
    let node = cluster.id().as_u64();
    rooms.broadcast("lobby", "text").await;
    rooms.broadcast("lobby", Bytes::from_static(b"\xff")).await;
    rooms
        .broadcast("lobby", Message::text("always").compressed())
        .await;
    rooms
        .broadcast("lobby", Message::text("never").uncompressed())
        .await;
    let frame = (CloseCode::POLICY_VIOLATION, "signed out");
    rooms.close("lobby", frame).await;
    rooms.broadcast("kitchen", "text").await;
    let address = Address {
        node: NodeId::new(0xff).unwrap(),
        ..format!("{:016x}-fedcba9876543210", 1).parse().unwrap()
    };
    cluster.send(address, "to one");
    cluster.close(address, CloseCode::NORMAL);
    idle().await;
    let published = tap.published();
    let run = u64::from_le_bytes(*published[0].1[12..].first_chunk().unwrap());
    let one = 0xfedc_ba98_7654_3210_u64.to_le_bytes();
    let lobby = |kind, flags, index, rest: &[u8]| {
        let envelope = envelope(kind, flags, node, run, index, rest);
        ("shop:1:rooms:lobby".to_owned(), envelope)
    };
    let expected = [
        lobby(1, 0, 0, b"text"),
        lobby(2, 0, 1, b"\xff"),
        lobby(1, 1, 2, b"always"),
        lobby(1, 2, 3, b"never"),
        lobby(3, 0, 4, b"\x03\xf0signed out"),
    ];
    assert_eq!(published[..5], expected);
    // Each topic has a run of its own.
    let of = |place: usize| {
        let (topic, envelope) = &published[place];
        let run = u64::from_le_bytes(*envelope[12..].first_chunk().unwrap());
        (topic.as_str(), run, envelope)
    };
    let (topic, kitchen_run, bytes) = of(5);
    assert_eq!(topic, "shop:1:rooms:kitchen");
    assert_eq!(*bytes, envelope(1, 0, node, kitchen_run, 0, b"text"));
    let (topic, run, bytes) = of(6);
    assert_eq!(topic, "shop:1:!:node-00000000000000ff");
    assert_eq!(
        *bytes,
        envelope(4, 0, node, run, 0, &[&one[..], b"to one"].concat())
    );
    let (_, run, bytes) = of(7);
    assert_eq!(
        *bytes,
        envelope(6, 0, node, run, 1, &[&one[..], b"\x03\xe8"].concat())
    );
    assert_eq!(published.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn what_is_malformed_is_dropped_and_counted_by_reason() {
    let (tap, cluster, rooms) = tapped().await;
    let (mut peer, socket, _reports) = hold(Shape::H1, patient()).await;
    let _membership = rooms.join("lobby".to_owned(), &socket.sender()).unwrap();
    idle().await;
    let lobby = "shop:1:rooms:lobby";
    let own = format!("shop:1:!:node-{:016x}", cluster.id().as_u64());
    let mut later = foreign(1, b"of a later version");
    later[0] = 2;
    let in_lobby = [
        vec![],
        vec![1; 23],
        later,
        foreign(0, b""),
        foreign(9, b""),
        foreign(10, b""),
        foreign(11, b"of a later version"),
        envelope(1, 0b100, 0, 0, 0, b"with a topic inside"),
        envelope(1, 0, 5, 0, u32::MAX, b"no such index"),
        foreign(1, b"\xff"),
        foreign(3, b"\x03"),
        foreign(3, b"\x03\xed"),
        foreign(3, &[b"\x03\xe8", &[b'x'; 124][..]].concat()),
        foreign(4, b"\x01\0\0\0\0\0\0\0to a connection"),
        foreign(6, b"\x01\0\0\0\0\0\0\0"),
        foreign(7, &[0; 22]),
        foreign(8, b""),
        foreign(1, &vec![b'x'; (1 << 20) + 9]),
    ];
    for malformed in in_lobby {
        tap.receive(lobby, malformed);
    }
    tap.receive(&own, foreign(1, b"to a group"));
    tap.receive(&own, foreign(3, b""));
    tap.receive(&own, foreign(4, b"short"));
    tap.receive("shop:1:!:all", foreign(1, b"to a group"));
    tap.receive("shop:1:!:all", foreign(7, &[0; 22]));
    tap.receive("shop:1:!:all", foreign(9, &[0; 10]));
    tap.receive("shop:1:!:all", envelope(9, 0, 5, 0, 0, &[0; 9]));
    tap.receive("shop:1:!:all", envelope(10, 0, 5, 0, 0, &[0; 12]));
    tap.receive(&own, foreign(10, &[0; 12]));
    tap.receive(&own, envelope(10, 0, 5, 0, 0, &[0; 11]));
    tap.receive(&own, envelope(9, 0, 5, 0, 0, &[0; 10]));
    tap.receive("shop:1:rooms:attic", foreign(1, b"nobody is there"));
    idle().await;
    let counters = cluster.counters();
    let malformed = &counters.malformed;
    assert_eq!(malformed.too_large, 1);
    assert_eq!(malformed.truncated, 3);
    assert_eq!(malformed.version, 1);
    assert_eq!(malformed.kind, 3);
    assert_eq!(malformed.number, 1);
    assert_eq!(malformed.misplaced, 11);
    assert_eq!(malformed.utf8, 1);
    assert_eq!(malformed.close, 3);
    assert_eq!(malformed.alive, 1);
    assert_eq!(malformed.question, 4);
    assert_eq!((counters.received, counters.uninterested), (30, 1));
    assert_eq!(cluster.nodes().len(), 1);
    // The longest message there may be.
    tap.receive(lobby, foreign(1, &vec![b'x'; 1 << 20]));
    assert_eq!(peer_len(&mut peer).await, 1 << 20);
}

async fn peer_len(peer: &mut Peer) -> usize {
    peer.frame().await.payload.len()
}

/// Of a node that says it is alive every second.
fn heartbeat(node: u64, index: u32, connections: u32) -> Vec<u8> {
    let mut rest = Vec::new();
    rest.extend(1000_u32.to_le_bytes());
    rest.extend(60_000_u64.to_le_bytes());
    rest.extend(connections.to_le_bytes());
    rest.extend(3_u32.to_le_bytes());
    rest.extend([1, 5]);
    rest.extend(b"Nadia");
    envelope(7, 0, node, 1, index, &rest)
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_makes_a_node_and_its_last_word_ends_it() {
    let (tap, cluster, _rooms) = tapped().await;
    let alive = |index, connections| heartbeat(0xabc, index, connections);
    let all = "shop:1:!:all";
    tap.receive(all, alive(0, 7));
    let nodes = cluster.nodes();
    let [_, node] = &nodes[..] else {
        panic!("{nodes:?}");
    };
    assert_eq!((node.id.as_u64(), &*node.name), (0xabc, "Nadia"));
    assert_eq!((node.connections, node.groups, node.draining), (7, 3, true));
    assert_eq!(cluster.connections(), 7);
    // Three of its intervals, not of ours.
    sleep(Duration::from_millis(2900)).await;
    assert_eq!(cluster.nodes().len(), 2);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(cluster.nodes().len(), 1);
    tap.receive(all, alive(1, 8));
    assert_eq!(cluster.connections(), 8);
    tap.receive(all, envelope(8, 0, 0xabc, 1, 2, b""));
    assert_eq!(cluster.nodes().len(), 1);
    // What comes late does not bring it back.
    tap.receive(all, alive(1, 8));
    assert_eq!((cluster.nodes().len(), cluster.connections()), (1, 0));
}

/// What is asked: the number of the question, the length of the topic, the topic.
fn question(id: u64, topic: &str) -> Vec<u8> {
    let len = u16::try_from(topic.len()).unwrap();
    [&id.to_le_bytes()[..], &len.to_le_bytes(), topic.as_bytes()].concat()
}

fn answer(id: u64, members: u32) -> Vec<u8> {
    [&id.to_le_bytes()[..], &members.to_le_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn questions_of_live_nodes_are_answered_and_of_nobody_else() {
    let (tap, cluster, rooms) = tapped().await;
    let node = cluster.id().as_u64();
    let (_peer, socket, _reports) = hold(Shape::H1, patient()).await;
    let _membership = rooms.join("lobby".to_owned(), &socket.sender()).unwrap();
    let all = "shop:1:!:all";
    tap.receive(all, heartbeat(0xabc, 0, 0));
    tap.published();
    let lobby = "shop:1:rooms:lobby";
    let ask = |from, id, topic: &str| {
        tap.receive(all, envelope(9, 0, from, 0, 0, &question(id, topic)));
    };
    ask(0xabc, 1, lobby);
    ask(0xabc, 2, "shop:1:rooms:attic");
    ask(0xabc, 3, all);
    // More may follow in a later version.
    let longer = [&question(4, lobby)[..], b"more"].concat();
    tap.receive(all, envelope(9, 0, 0xabc, 0, 0, &longer));
    // Nobody knows this one.
    ask(0xabd, 5, lobby);
    idle().await;
    let expected = [(1, 1), (2, 0), (3, 0), (4, 1)].map(|(id, members)| {
        let to = "shop:1:!:node-0000000000000abc".to_owned();
        (to, envelope(10, 0, node, 0, 0, &answer(id, members)))
    });
    assert_eq!(tap.published(), expected);
    assert_eq!(cluster.counters().uninterested, 1);
    // Nor any that has left.
    tap.receive(all, envelope(8, 0, 0xabc, 1, 1, b""));
    ask(0xabc, 6, lobby);
    idle().await;
    assert_eq!(tap.published(), []);
    assert_eq!(cluster.counters().uninterested, 2);
}

#[tokio::test(start_paused = true)]
async fn answers_to_what_was_asked_are_counted_once_and_no_others() {
    let (tap, cluster, rooms) = tapped().await;
    let own = format!("shop:1:!:node-{:016x}", cluster.id().as_u64());
    for node in [2, 3, 4] {
        tap.receive("shop:1:!:all", heartbeat(node, 0, 0));
    }
    tap.published();
    let counting = tokio::spawn(rooms.count("lobby"));
    idle().await;
    let published = tap.published();
    let [(topic, asked)] = &published[..] else {
        panic!("{published:?}");
    };
    let id = u64::from_le_bytes(*asked[24..].first_chunk().unwrap());
    let expected = question(id, "shop:1:rooms:lobby");
    assert_eq!(topic, "shop:1:!:all");
    assert_eq!(
        *asked,
        envelope(9, 0, cluster.id().as_u64(), 0, 0, &expected)
    );
    let say = |from, id, members| {
        tap.receive(&own, envelope(10, 0, from, 0, 0, &answer(id, members)));
    };
    say(2, id, 40);
    say(2, id, 1000);
    say(5, id, 1000);
    say(3, id.wrapping_add(1), 1000);
    // More may follow in a later version.
    let longer = [&answer(id, 2)[..], b"more"].concat();
    tap.receive(&own, envelope(10, 0, 3, 0, 0, &longer));
    idle().await;
    assert!(
        !counting.is_finished(),
        "the last one does not know the question"
    );
    sleep(Duration::from_secs(1)).await;
    let count = within(counting).await.unwrap();
    assert_eq!((count.members, count.nodes, count.missing), (42, 3, 1));
    say(4, id, 1000);
    let counters = cluster.counters();
    assert_eq!((counters.doubles, counters.uninterested), (1, 3));
    assert_eq!((counters.gaps, counters.lost), (0, 0));
    assert_eq!(parts_again(&rooms).await, (42, 3, 1));
}

async fn parts_again(rooms: &Groups) -> (u64, u64, u64) {
    let count = within(rooms.count("lobby")).await;
    (count.members, count.nodes, count.missing)
}
