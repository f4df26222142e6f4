//! What the pages promise of both sides, where it is not easily kept.

use std::{panic::resume_unwind, time::Duration};

use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, pause, resume},
};
use tower_websocket::{
    CloseCode, CloseFrame, Config, Connections, Event, WebSocket, client::Client, forward::Forward,
    session::Drain,
};

use super::{accepting, answering, client, gateway, served, to, upstream, uri};
use crate::{
    session::support::idle,
    support::{
        Http, Log, close, echo,
        http::{Ask, Server},
        within,
    },
};

/// A server whose connections are in the hands of the test.
async fn holding(config: Config) -> (Server, mpsc::UnboundedReceiver<WebSocket>) {
    let (hand_over, sockets) = mpsc::unbounded_channel();
    let upstream = upstream(config, move |_, socket| {
        let hand_over = hand_over.clone();
        async move { hand_over.send(socket).unwrap() }
    })
    .await;
    (upstream, sockets)
}

async fn echoing() -> Server {
    upstream(Config::default(), async |_, socket| {
        let _ended = echo(socket).await;
    })
    .await
}

/// Reads a short frame that is masked.
async fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 6];
    within(stream.read_exact(&mut head)).await.unwrap();
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    within(stream.read_exact(&mut payload)).await.unwrap();
    for (byte, key) in payload.iter_mut().zip(head[2..].iter().cycle()) {
        *byte ^= key;
    }
    (head[0], payload)
}

#[tokio::test]
async fn messages_and_the_close_behind_them_reach_an_upstream_that_still_sends() {
    for there in [Http::One, Http::Two] {
        let (upstream, mut sockets) = holding(Config::default()).await;
        let layer = to(upstream.address, there).layer();
        let gateway = served(layer.config(Config::default().max_read_ahead(256 << 20))).await;
        let near = client(Http::One).connect(uri(gateway.address, "/")).await;
        let (near, mut far) = (near.unwrap(), sockets.recv().await.unwrap());
        for _ in 0..30 {
            near.send(vec![0; 1 << 20]).await.unwrap();
        }
        let so_long = CloseFrame::new(CloseCode::new(4321).unwrap(), "so long");
        near.close(so_long.clone());
        within(near.closed()).await;
        assert_eq!(near.received_close(), Some(so_long.clone()));
        // Nobody is there to take it.
        far.send("hi").await.unwrap();
        far.flush().await.unwrap();
        idle().await;
        for n in 0..30 {
            let message = within(far.recv()).await.unwrap();
            assert!(message.is_some_and(|all| all.len() == 1 << 20), "{n}");
        }
        assert_eq!(within(far.recv()).await.unwrap(), None);
        assert_eq!(far.received_close(), Some(so_long));
    }
}

#[tokio::test]
async fn quiet_connection_is_closed_on_time_and_in_order() {
    let silent = || {
        let config = Config::default().ping_interval(None);
        config.close_timeout(Duration::from_secs(900))
    };
    let (upstream, mut sockets) = holding(silent()).await;
    let config = Config::default()
        .idle_timeout(Duration::from_secs(60))
        .close_timeout(Duration::from_secs(100));
    let forward = to(upstream.address, Http::One).end_to_end(true);
    let (pen, mut ends) = Log::new();
    let layer = forward.layer().config(config);
    let gateway = served(layer.on_end(move |report| pen.write(report.clean))).await;
    let near = Client::new().config(silent());
    let mut near = near.connect(uri(gateway.address, "/")).await.unwrap();
    let mut far = sockets.recv().await.unwrap();
    pause();
    let start = Instant::now();
    let ends_of_sockets = tokio::join!(near.recv(), far.recv());
    assert!(matches!(ends_of_sockets, (Ok(None), Ok(None))));
    let waited = start.elapsed().as_secs();
    assert!((58..=61).contains(&waited), "{waited} s");
    assert!(ends.next().await);
}

#[tokio::test]
async fn close_in_the_middle_of_a_streamed_message_passes_its_code() {
    let (address, stream) = answering(|head| accepting(head, "").into_bytes()).await;
    let layer = to(address, Http::One).layer();
    let gateway = served(layer.config(Config::default().streaming(true))).await;
    let answer = within(Ask::handshake(Http::One, "/").send(&gateway)).await;
    let (mut peer, mut stream) = (answer.opened(Http::One), within(stream).await);
    peer.write(b"\x02\x82\0\0\0\0xx\x88\x82\0\0\0\0\x10\xe1")
        .await;
    loop {
        let (head, payload) = frame(&mut stream).await;
        if head == 0x88 {
            assert_eq!(payload, 4321_u16.to_be_bytes());
            break;
        }
    }
}

#[tokio::test]
async fn own_headers_of_the_gateway_win() {
    let told = async |head: http::request::Parts, socket: WebSocket| {
        let lines = head.headers.get_all("authorization").iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
        socket.send(lines.join(" and ")).await.unwrap();
    };
    let upstream = upstream(Config::default(), told).await;
    let request = Request::get(uri(upstream.address, "/")).header("authorization", "Bearer own");
    let gateway = gateway(Forward::to(request.body(()).unwrap()).unwrap()).await;
    let ask = || Ask::handshake(Http::One, "/");
    for ask in [ask(), ask().header("authorization", "Bearer client")] {
        let mut peer = within(ask.send(&gateway)).await.opened(Http::One);
        let (_, text) = within(peer.whole_frame()).await.unwrap();
        assert_eq!(text, "Bearer own");
    }
}

#[tokio::test]
async fn forwarded_line_with_an_open_quote_is_left_out() {
    let told = async |head: http::request::Parts, socket: WebSocket| {
        let lines = head.headers.get_all("forwarded").iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
        socket.send(lines.join(", ")).await.unwrap();
    };
    let upstream = upstream(Config::default(), told).await;
    let gateway = gateway(to(upstream.address, Http::One).forwarded(true)).await;
    let ask = Ask::handshake(Http::One, "/")
        .authority("example.com")
        .header("forwarded", "for=\"192.0.2.1\"")
        .header("forwarded", "for=192.0.2.2;by=\"");
    let mut peer = within(ask.send(&gateway)).await.opened(Http::One);
    let (_, text) = within(peer.whole_frame()).await.unwrap();
    assert_eq!(text, "for=\"192.0.2.1\", for=unknown;host=\"example.com\"");
}

#[tokio::test]
async fn frame_that_is_on_its_way_comes_whole_before_the_close_of_a_violation() {
    let (address, stream) = answering(|head| accepting(head, "").into_bytes()).await;
    let gateway = gateway(to(address, Http::One).end_to_end(true)).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let ask = Ask::handshake(Http::One, "/").bytes();
    client.write_all(&ask).await.unwrap();
    let mut answer = vec![];
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within(client.read_u8()).await.unwrap());
    }
    let mut stream = within(stream).await;
    stream.write_all(b"\x82\x04ab").await.unwrap();
    let mut got = [0; 4];
    within(client.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"\x82\x04ab");
    // It is not masked.
    client.write_all(b"\x81\x02hi").await.unwrap();
    let (head, payload) = frame(&mut stream).await;
    assert_eq!((head, &payload[..2]), (0x88, &b"\x03\xe9"[..]));
    idle().await;
    stream.write_all(b"cd").await.unwrap();
    let mut got = [0; 6];
    within(client.read_exact(&mut got)).await.unwrap();
    assert_eq!((&got[..3], &got[4..]), (&b"cd\x88"[..], &b"\x03\xea"[..]));
}

#[tokio::test]
async fn hook_that_panics_leaves_nothing_in_the_registry() {
    let upstream = echoing().await;
    for end_to_end in [false, true] {
        let connections = Connections::new();
        let (pen, mut ends) = Log::new();
        let forward = to(upstream.address, Http::One).end_to_end(end_to_end);
        let layer = forward.layer().connections(&connections);
        let gateway = served(layer.on_end(move |_| {
            pen.write(());
            // Quietly.
            resume_unwind(Box::new("as ordered"));
        }))
        .await;
        let socket = client(Http::One).connect(uri(gateway.address, "/")).await;
        within(close(socket.unwrap())).await;
        within(ends.next()).await;
        pause();
        let start = Instant::now();
        let drained = connections.drain(Drain::default()).await;
        assert_eq!(drained.aborted, 0);
        assert!(start.elapsed() < Duration::from_secs(1));
        assert!(connections.is_empty());
        resume();
    }
}

#[tokio::test]
async fn client_that_is_aborted_here_is_1001_to_the_upstream() {
    let (upstream, mut sockets) = holding(Config::default()).await;
    let connections = Connections::new();
    let layer = to(upstream.address, Http::One).layer();
    let gateway = served(layer.connections(&connections)).await;
    let _near = client(Http::One).connect(uri(gateway.address, "/")).await;
    let mut far = within(sockets.recv()).await.unwrap();
    for connection in connections.iter() {
        connection.abort();
    }
    let gone = CloseFrame::new(CloseCode::GOING_AWAY, "the client is gone");
    let event = within(far.recv_event()).await.unwrap();
    assert_eq!(event, Some(Event::Close(Some(gone))));
}

#[tokio::test]
async fn longest_deadlines_are_none() {
    let upstream = echoing().await;
    let config = Config::default()
        .close_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX);
    let layer = to(upstream.address, Http::One).end_to_end(true).layer();
    let gateway = served(layer.config(config)).await;
    let socket = client(Http::One).connect(uri(gateway.address, "/")).await;
    let socket = socket.unwrap();
    let frame = CloseFrame::new(CloseCode::NORMAL, "so long");
    socket.close(frame.clone());
    within(socket.closed()).await;
    assert_eq!(socket.received_close(), Some(frame));
}

#[test]
fn password_of_the_upstream_is_not_logged() {
    let forward = Forward::to("ws://admin:secret@10.0.0.7:9000/v2").unwrap();
    let text = format!("{forward:?}");
    assert!(text.contains("ws://10.0.0.7:9000/v2"), "{text}");
    assert!(
        !text.contains("admin") && !text.contains("secret"),
        "{text}"
    );
}
