//! What passes once both connections are open.

use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tower_websocket::{Compression, Config, Message, MessageKind, WebSocket};

use super::{accepting, answering, client, gateway, on_all, on_all_ways, to, upstream, uri};
use crate::{
    session::support::idle,
    support::{Http, close, echo, echoes, within},
};

async fn echo_all(_: http::request::Parts, socket: WebSocket) {
    let _ended = echo(socket).await;
}

#[tokio::test]
async fn messages_pass_both_ways() {
    on_all_ways(async |here, there, end_to_end| {
        let upstream = upstream(Config::default(), echo_all).await;
        let gateway = gateway(to(upstream.address, there).end_to_end(end_to_end)).await;
        let mut socket = client(here)
            .connect(uri(gateway.address, "/"))
            .await
            .unwrap();
        echoes(&mut socket, "hello").await;
        echoes(&mut socket, "").await;
        for len in [0, 1, 125, 126, 70_000, 1 << 20] {
            let message = Message::binary(vec![7; len]);
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(message));
        }
        close(socket).await;
    })
    .await;
}

#[tokio::test]
async fn compression_is_agreed_on_with_each_side() {
    let deflate = || Config::default().compression(Compression::shared());
    for (outside, inside) in [(true, false), (false, true), (true, true)] {
        let upstream = upstream(deflate(), echo_all).await;
        let mut forward = to(upstream.address, Http::One);
        if inside {
            forward = forward.client(client(Http::One).config(deflate()));
        }
        let mut layer = forward.layer();
        if outside {
            layer = layer.config(deflate());
        }
        let gateway = super::served(layer).await;
        let client = client(Http::Two).config(deflate());
        let mut socket = client.connect(uri(gateway.address, "/")).await.unwrap();
        assert_eq!(socket.is_compressed(), outside);
        echoes(&mut socket, &"compressed ".repeat(500)).await;
        within(close(socket)).await;
    }
}

#[tokio::test]
async fn what_comes_with_the_upstreams_answer_is_passed() {
    let (address, upstream) = answering(|head| {
        let mut answer = accepting(head, "").into_bytes();
        answer.extend_from_slice(b"\x81\x05hello\x88\x02\x0f\xa0");
        answer
    })
    .await;
    let gateway = gateway(to(address, Http::One)).await;
    let mut socket = within(client(Http::Two).connect(uri(gateway.address, "/")))
        .await
        .unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
    assert_eq!(within(socket.recv()).await.unwrap(), None);
    assert_eq!(socket.received_close().unwrap().code().as_u16(), 4000);
    drop(upstream.await);
}

#[tokio::test]
async fn large_message_is_passed_as_it_arrives_where_that_is_asked_for() {
    on_all(async |here, there| {
        let streaming = || Config::default().streaming(true);
        let upstream = upstream(streaming(), async |_, mut socket: WebSocket| {
            // The end of the message is sent once its beginning was received here, and passed back.
            let (sender, receiver) = (socket.sender(), &mut socket);
            let mut message = receiver.recv_reader().await.unwrap().unwrap();
            let mut back = sender.send_writer(message.kind()).await.unwrap();
            while let Some(piece) = message.chunk().await.unwrap() {
                back.send(piece).await.unwrap();
            }
            back.finish().await.unwrap();
            drop(message);
            while let Ok(Some(_)) = socket.recv().await {}
        })
        .await;
        let forward = to(upstream.address, there).client(client(there).config(streaming()));
        let gateway = super::served(forward.layer().config(streaming())).await;
        let client = client(here).config(streaming());
        let mut socket = client.connect(uri(gateway.address, "/")).await.unwrap();
        let sender = socket.sender();
        let mut message = sender.send_writer(MessageKind::Binary).await.unwrap();
        message.send(vec![1; 5000]).await.unwrap();
        message.flush().await.unwrap();
        let mut received = 0;
        let mut back = socket.recv_reader().await.unwrap().unwrap();
        for _ in 0..30 {
            message.send(vec![1; 100_000]).await.unwrap();
            received += back.chunk().await.unwrap().unwrap().len();
        }
        message.finish().await.unwrap();
        while let Some(piece) = back.chunk().await.unwrap() {
            received += piece.len();
        }
        assert_eq!(received, 3_005_000);
        drop(back);
        close(socket).await;
    })
    .await;
}

#[tokio::test]
async fn side_that_does_not_read_stops_the_other_and_nobody_else() {
    on_all_ways(async |here, there, end_to_end| {
        let (hand_over, mut sockets) = mpsc::unbounded_channel();
        let upstream = upstream(Config::default(), move |head, socket| {
            let held = head.uri.path() == "/held";
            let hand_over = hand_over.clone();
            async move {
                if held {
                    hand_over.send(socket).unwrap();
                } else {
                    let _ended = echo(socket).await;
                }
            }
        })
        .await;
        let forward = to(upstream.address, there).end_to_end(end_to_end);
        let forward = there.pick(forward.clone(), forward.sockets_per_connection(8));
        let gateway = gateway(forward).await;
        let client = client(here);
        let socket = client.connect(uri(gateway.address, "/held")).await.unwrap();
        let mut held: WebSocket = sockets.recv().await.unwrap();
        let message = || Message::binary(vec![0; 100_000]);
        let mut sent = 0;
        // It fills what is between the two, and then no more is taken.
        while socket.queued_bytes() < 1 << 20 {
            socket.try_send(message()).unwrap();
            sent += 1;
            idle().await;
            assert!(sent < 1000, "100 MB are taken from who is not read");
        }
        let mut other = client.connect(uri(gateway.address, "/")).await.unwrap();
        echoes(&mut other, "not held up").await;
        close(other).await;
        socket.close(tower_websocket::CloseCode::NORMAL);
        let mut received = 0;
        while let Some(_message) = held.recv().await.unwrap() {
            received += 1;
        }
        assert_eq!(received, sent, "nothing is lost");
    })
    .await;
}

#[tokio::test]
async fn sockets_share_connections_of_http2_where_that_is_asked_for() {
    let upstream = upstream(Config::default(), echo_all).await;
    let address = upstream.address;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let counted = listener.local_addr().unwrap();
    let (connected, mut connections) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connected.send(()).unwrap();
            tokio::spawn(async move {
                let mut other = TcpStream::connect(address).await.unwrap();
                let _ended = copy_bidirectional(&mut stream, &mut other).await;
                let _gone = stream.shutdown().await;
            });
        }
    });
    let forward = to(counted, Http::Two).sockets_per_connection(3);
    let gateway = gateway(forward).await;
    let open = async || {
        let client = client(Http::One);
        client.connect(uri(gateway.address, "/")).await.unwrap()
    };
    let mut sockets = vec![];
    for _ in 0..7 {
        sockets.push(within(open()).await);
    }
    assert_eq!(connections.len(), 3);
    for mut socket in sockets {
        within(echoes(&mut socket, "shared")).await;
        within(close(socket)).await;
    }
    // Those that are left are used again.
    within(close(within(open()).await)).await;
    while connections.try_recv().is_ok() {}
    within(close(within(open()).await)).await;
    assert_eq!(connections.len(), 0);
}
