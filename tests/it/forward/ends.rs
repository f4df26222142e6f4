//! How the end of one side becomes that of the other.

use tokio::{io::AsyncReadExt, sync::mpsc};
use tower_websocket::{
    CloseCode, CloseFrame, Config, Connections, Event, WebSocket,
    session::{Drain, EndedBy},
};

use super::{accepting, answering, client, gateway, on_all_ways, served, to, upstream, uri};
use crate::support::{
    Http, Log,
    http::{Ask, Server},
    within,
};

/// A server whose connections are in the hands of the test.
async fn holding() -> (Server, mpsc::UnboundedReceiver<WebSocket>) {
    let (hand_over, sockets) = mpsc::unbounded_channel();
    let upstream = upstream(Config::default(), move |_, socket| {
        let hand_over = hand_over.clone();
        async move { hand_over.send(socket).unwrap() }
    })
    .await;
    (upstream, sockets)
}

/// Receives up to the end.
async fn end(socket: &mut WebSocket) -> Option<CloseFrame> {
    while let Ok(Some(_)) = socket.recv().await {}
    socket.closed().await;
    socket.received_close()
}

fn frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame::new(CloseCode::new(code).unwrap(), reason.to_owned())
}

#[tokio::test]
async fn close_of_either_side_reaches_the_other_behind_all_that_came_before() {
    on_all_ways(async |here, there, end_to_end| {
        let (upstream, mut sockets) = holding().await;
        let gateway = gateway(to(upstream.address, there).end_to_end(end_to_end)).await;
        for from_client in [true, false] {
            let near = client(here).connect(uri(gateway.address, "/")).await;
            let (near, far) = (near.unwrap(), sockets.recv().await.unwrap());
            let (from, mut at) = if from_client {
                (near, far)
            } else {
                (far, near)
            };
            for n in 0..100 {
                from.send(n.to_string()).await.unwrap();
            }
            from.close(frame(4321, "so long"));
            for n in 0..100 {
                assert_eq!(at.recv().await.unwrap(), Some(n.to_string().into()));
            }
            assert_eq!(end(&mut at).await, Some(frame(4321, "so long")));
            from.closed().await;
            assert_eq!(from.received_close(), Some(frame(4321, "so long")));
        }
    })
    .await;
}

#[tokio::test]
async fn close_without_a_code_stays_without() {
    for (here, end_to_end) in [
        (Http::One, false),
        (Http::Two, false),
        (Http::One, true),
        (Http::Two, true),
    ] {
        let (upstream, mut sockets) = holding().await;
        let gateway = gateway(to(upstream.address, Http::One).end_to_end(end_to_end)).await;
        let mut peer = Ask::handshake(here, "/").send(&gateway).await.opened(here);
        let mut far = within(sockets.recv()).await.unwrap();
        peer.send(0x8, b"").await;
        assert_eq!(
            within(far.recv_event()).await.unwrap(),
            Some(Event::Close(None))
        );
        let (opcode, payload) = within(peer.frame()).await.unwrap();
        assert_eq!((opcode, &payload[..]), (0x8, &b""[..]));
        // And the other way.
        let (address, stream) =
            answering(|head| [accepting(head, "").as_bytes(), b"\x88\x00"].concat()).await;
        let gateway = super::gateway(to(address, Http::One).end_to_end(end_to_end)).await;
        let mut socket = client(here)
            .connect(uri(gateway.address, "/"))
            .await
            .unwrap();
        let event = within(socket.recv_event()).await.unwrap();
        assert_eq!(event, Some(Event::Close(None)));
        let mut stream = stream.await;
        assert_eq!(within(stream.read_u8()).await.unwrap(), 0x88);
        assert_eq!(within(stream.read_u8()).await.unwrap(), 0x80);
    }
}

#[tokio::test]
async fn client_that_is_killed_is_1001_to_the_upstream() {
    on_all_ways(async |here, there, end_to_end| {
        let (upstream, mut sockets) = holding().await;
        let gateway = gateway(to(upstream.address, there).end_to_end(end_to_end)).await;
        let near = client(here)
            .connect(uri(gateway.address, "/"))
            .await
            .unwrap();
        near.send("last").await.unwrap();
        near.flush().await.unwrap();
        let mut far = sockets.recv().await.unwrap();
        assert_eq!(far.recv().await.unwrap(), Some("last".into()));
        near.abort();
        assert_eq!(end(&mut far).await, Some(frame(1001, "the client is gone")));
    })
    .await;
}

#[tokio::test]
async fn upstream_that_is_killed_is_1014_to_the_client() {
    on_all_ways(async |here, there, end_to_end| {
        let (upstream, mut sockets) = holding().await;
        let gateway = gateway(to(upstream.address, there).end_to_end(end_to_end)).await;
        let mut near = client(here)
            .connect(uri(gateway.address, "/"))
            .await
            .unwrap();
        let far = sockets.recv().await.unwrap();
        far.send("last").await.unwrap();
        far.flush().await.unwrap();
        assert_eq!(near.recv().await.unwrap(), Some("last".into()));
        far.abort();
        assert_eq!(
            end(&mut near).await,
            Some(frame(1014, "the upstream is gone"))
        );
    })
    .await;
}

#[tokio::test]
async fn violation_of_one_side_is_its_own_and_the_end_of_the_other() {
    let (upstream, mut sockets) = holding().await;
    let gateway = gateway(to(upstream.address, Http::One)).await;
    let mut peer = Ask::handshake(Http::One, "/")
        .send(&gateway)
        .await
        .opened(Http::One);
    let mut far = within(sockets.recv()).await.unwrap();
    peer.send(0x1, b"\xff").await;
    assert_eq!(within(peer.closed()).await.0, 1007);
    assert_eq!(
        within(end(&mut far)).await,
        Some(frame(1001, "the client is gone"))
    );

    let (address, stream) =
        answering(|head| [accepting(head, "").as_bytes(), b"\x81\x01\xff"].concat()).await;
    let gateway = super::gateway(to(address, Http::One)).await;
    let mut near = client(Http::Two)
        .connect(uri(gateway.address, "/"))
        .await
        .unwrap();
    assert_eq!(
        within(end(&mut near)).await,
        Some(frame(1014, "the upstream is gone"))
    );
    // What it is told is masked: 1007.
    let mut close = [0; 8];
    let mut stream = stream.await;
    within(stream.read_exact(&mut close)).await.unwrap();
    assert_eq!(close[0], 0x88);
    let code = [close[6] ^ close[2], close[7] ^ close[3]];
    assert_eq!(u16::from_be_bytes(code), 1007);
}

#[tokio::test]
async fn drain_ends_both_sides() {
    on_all_ways(async |here, there, end_to_end| {
        let (upstream, mut sockets) = holding().await;
        let connections = Connections::new();
        let (pen, mut ends) = Log::new();
        let layer = to(upstream.address, there)
            .end_to_end(end_to_end)
            .layer()
            .connections(&connections)
            .on_end(move |report| pen.write((report.ended_by, report.close_code)));
        let gateway = served(layer).await;
        let mut near = client(here)
            .connect(uri(gateway.address, "/"))
            .await
            .unwrap();
        let mut far = sockets.recv().await.unwrap();
        near.send("counted").await.unwrap();
        assert_eq!(far.recv().await.unwrap(), Some("counted".into()));
        assert_eq!(connections.len(), 1);
        let ends_of_sockets = async { tokio::join!(end(&mut near), end(&mut far)) };
        let (drained, (near, far)) =
            tokio::join!(connections.drain(Drain::default()), ends_of_sockets);
        assert_eq!((drained.ended, drained.aborted), (1, 0));
        for close in [near, far] {
            assert_eq!(close, Some(frame(1001, "the server is shutting down")));
        }
        assert_eq!(ends.next().await, (EndedBy::Local, 1001));
        let counters = connections.counters();
        assert_eq!((counters.messages_received, counters.accepted), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn client_that_never_comes_for_its_answer_leaves_no_upstream() {
    for end_to_end in [false, true] {
        let (upstream, mut sockets) = holding().await;
        let forward = to(upstream.address, Http::One).end_to_end(end_to_end);
        // It cannot upgrade.
        let endpoint = forward.layer().endpoint();
        let gateway = Server::without_upgrades(endpoint).await;
        let asked = Ask::handshake(Http::One, "/").send(&gateway).await;
        drop(asked);
        let mut far = within(sockets.recv()).await.unwrap();
        // Bytes that nobody has sent are not made up.
        let close = (!end_to_end).then(|| frame(1001, "the client is gone"));
        assert_eq!(within(end(&mut far)).await, close);
    }
}
