//! One connection of another node.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};
use tower_websocket::{
    CloseCode, Config, Connections, WebSocket, WebSocketLayer,
    cluster::{Address, Remote},
    handler, testing,
};

use super::{Node, nodes, patient};
use crate::{
    crowd::ask,
    session::support::{SHAPES, Shape, idle, within},
    support::http::Peer,
};

/// A connection in `connections`, whose peer speaks bytes.
async fn connection(connections: &Connections, shape: Shape, config: Config) -> (Peer, WebSocket) {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let route = handler(move |socket| {
        let _gone = sender.send(socket);
        std::future::ready(())
    });
    let layer = WebSocketLayer::new(route).config(config);
    let service = layer.connections(connections).endpoint();
    let peer = Peer::open(service, ask(shape)).await;
    (peer, within(sockets.recv()).await.unwrap())
}

fn address_of(node: &Node, socket: &WebSocket) -> Address {
    node.cluster.address(&socket.sender()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_sent_to_and_closed_wherever_it_is() {
    for shape in SHAPES {
        let [near, far] = nodes().await;
        let connections = Connections::new();
        far.cluster.attach(&connections);
        far.cluster.attach(&connections);
        let (mut peer, socket) = connection(&connections, shape, patient()).await;
        let (mut beside, second) = connection(&connections, shape, patient()).await;
        let kept = address_of(&far, &socket).to_string();
        assert_eq!(kept.len(), 33);
        let address: Address = kept.parse().unwrap();
        assert_eq!(address.node, far.cluster.id());

        assert_eq!(near.cluster.send(address, "from afar"), Remote::Queued);
        assert_eq!(peer.frame().await, Some((0x1, "from afar".into())));
        let binary = bytes::Bytes::from_static(b"\xff");
        near.cluster.send(address, binary.clone());
        assert_eq!(peer.frame().await, Some((0x2, binary)));
        assert_eq!(far.cluster.send(address, "from here"), Remote::Local);
        assert_eq!(peer.frame().await, Some((0x1, "from here".into())));
        let frame = (CloseCode::POLICY_VIOLATION, "signed out");
        assert_eq!(near.cluster.close(address, frame), Remote::Queued);
        let close = peer.frame().await.unwrap();
        assert_eq!((close.0, &close.1[..2]), (0x8, &1008_u16.to_be_bytes()[..]));
        assert_eq!(&close.1[2..], b"signed out");

        let other = address_of(&far, &second);
        assert_eq!(
            far.cluster.close(other, CloseCode::GOING_AWAY),
            Remote::Local
        );
        let close = beside.frame().await.unwrap();
        assert_eq!((close.0, &close.1[..]), (0x8, &1001_u16.to_be_bytes()[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_attached_or_not_there_hears_nothing() {
    let [near, far] = nodes().await;
    let (_client, server) = testing::pair(Config::default());
    assert_eq!(
        far.cluster.address(&server.sender()),
        None,
        "it has no number"
    );

    let connections = Connections::new();
    let (mut peer, socket) = connection(&connections, Shape::H1, patient()).await;
    let address = address_of(&far, &socket);
    assert_eq!(near.cluster.send(address, "unheard"), Remote::Queued);
    idle().await;
    assert_eq!(far.cluster.send(address, "unheard"), Remote::Local);
    assert_eq!(far.cluster.counters().uninterested, 2);
    far.cluster.attach(&connections);
    near.cluster.send(address, "heard");
    assert_eq!(peer.frame().await, Some((0x1, "heard".into())));

    socket.sender().abort();
    drop((peer, socket));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(connections.len(), 0);
    near.cluster.send(address, "too late");
    near.cluster.close(address, CloseCode::NORMAL);
    idle().await;
    assert_eq!(far.cluster.counters().uninterested, 4);
    // A node that is not there: nobody can know.
    let nobody = Address {
        node: "00000000000000ff".parse().unwrap(),
        ..address
    };
    assert_eq!(near.cluster.send(nobody, "to nobody"), Remote::Queued);
}

#[tokio::test(start_paused = true)]
async fn what_a_full_queue_does_not_take_is_dropped_and_counted() {
    let [near, far] = nodes().await;
    let connections = Connections::new();
    far.cluster.attach(&connections);
    let config = patient().max_send_queue(0).max_send_messages(1);
    let (mut peer, socket) = connection(&connections, Shape::H1, config).await;
    let address = address_of(&far, &socket);
    // They come at once, before the connection has its turn to write.
    for count in 0..3 {
        near.cluster.send(address, count.to_string());
    }
    idle().await;
    assert_eq!(far.cluster.counters().overrun, 2);
    assert_eq!(peer.frame().await, Some((0x1, "0".into())));
    near.cluster.send(address, "it fits again");
    assert_eq!(peer.frame().await, Some((0x1, "it fits again".into())));
}

#[tokio::test(start_paused = true)]
async fn messages_to_a_connection_come_in_order() {
    let [near, far] = nodes().await;
    let connections = Connections::new();
    far.cluster.attach(&connections);
    let (mut peer, socket) = connection(&connections, Shape::H2, patient()).await;
    let address = address_of(&far, &socket);
    for count in 0..100 {
        near.cluster.send(address, count.to_string());
    }
    near.cluster.close(address, CloseCode::NORMAL);
    for count in 0..100 {
        assert_eq!(peer.frame().await, Some((0x1, count.to_string().into())));
    }
    assert_eq!(peer.frame().await.map(|(opcode, _)| opcode), Some(0x8));
}
