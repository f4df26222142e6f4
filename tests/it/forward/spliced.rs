//! Extensions end to end, and bytes that are passed unread.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::pause,
};
use tower_websocket::{
    CloseCode, Compression, Config, Connections, WebSocket, client::Client, session::EndedBy,
};

use super::{accepting, answering, client, gateway, on_all, served, to, upstream, uri};
use crate::support::{
    Http, Log, close, echo, echoes,
    http::{Ask, Peer, Server},
    within,
};

/// A client and an upstream that say what the test wants said, and the gateway between them.
async fn between(here: Http, config: Config) -> (Peer, TcpStream, Server) {
    let (address, stream) = answering(|head| accepting(head, "").into_bytes()).await;
    let forward = to(address, Http::One).end_to_end(true);
    let forward = forward.client(Client::new().config(config.clone()));
    let gateway = served(forward.layer().config(config)).await;
    let answer = within(Ask::handshake(here, "/").send(&gateway)).await;
    (answer.opened(here), within(stream).await, gateway)
}

async fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// A Close for the upstream, which is masked: its code and reason.
async fn closed(stream: &mut TcpStream) -> (u16, String) {
    let head = read(stream, 6).await;
    assert_eq!((head[0], head[1] & 0x80), (0x88, 0x80), "{head:x?}");
    let mut payload = read(stream, usize::from(head[1] & 0x7f)).await;
    for (byte, key) in payload.iter_mut().zip(head[2..].iter().cycle()) {
        *byte ^= key;
    }
    let (code, reason) = payload.split_first_chunk().unwrap();
    (
        u16::from_be_bytes(*code),
        String::from_utf8(reason.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn client_and_upstream_agree_on_compression() {
    on_all(async |here, there| {
        let deflate = || Config::default().compression(Compression::dedicated());
        let upstream = upstream(deflate(), async |_, socket| {
            assert!(socket.is_compressed());
            let _ended = echo(socket).await;
        })
        .await;
        let (pen, mut ends) = Log::new();
        let layer = to(upstream.address, there).end_to_end(true).layer();
        let gateway = served(layer.on_end(move |report| {
            pen.write((
                report.messages_received,
                report.bytes_received,
                report.close_code,
            ));
        }))
        .await;
        let client = client(here).config(deflate());
        let mut socket = client.connect(uri(gateway.address, "/")).await.unwrap();
        assert!(socket.is_compressed());
        for _ in 0..10 {
            echoes(&mut socket, &"compressed ".repeat(500)).await;
        }
        close(socket).await;
        let (messages, bytes, code) = ends.next().await;
        assert_eq!((messages, code), (10, 1000));
        assert!(bytes < 2000, "{bytes} bytes");
    })
    .await;
}

#[tokio::test]
async fn extensions_of_any_kind_are_passed_and_none_that_was_not_offered() {
    for (answer, accepted) in [
        ("Sec-WebSocket-Extensions: x-two; a=1\r\n", true),
        ("Sec-WebSocket-Extensions: x-three\r\n", false),
        ("", true),
    ] {
        let (address, stream) = answering(move |head| accepting(head, answer).into_bytes()).await;
        tokio::spawn(async { drop(stream.await) });
        // The gateway's own compression is not in the way.
        let config = Config::default().compression(Compression::shared());
        let layer = to(address, Http::One).end_to_end(true).layer();
        let gateway = served(layer.config(config)).await;
        let ask = Ask::handshake(Http::Two, "/")
            .header("sec-websocket-extensions", "x-one, permessage-deflate")
            .header("sec-websocket-extensions", "x-two; a=2");
        let answered = within(ask.send(&gateway)).await;
        let expected = answer.split_once(": ").map(|(_, value)| value.trim());
        match accepted {
            true => {
                assert_eq!(answered.header("sec-websocket-extensions"), expected);
                answered.opened(Http::Two);
            }
            false => assert_eq!(answered.status, 502),
        }
    }
}

#[tokio::test]
async fn bytes_are_passed_as_they_are() {
    for here in [Http::One, Http::Two] {
        let (mut peer, mut stream, _gateway) = between(here, Config::default()).await;
        // Reserved bits and opcodes, a length in more bytes than needed, text that is none.
        let sent = b"\xf1\x83\x01\x02\x03\x04\xff\xfe\xfd\x03\xfe\x00\x02abcdxx\x89\x80keys";
        peer.write(sent).await;
        assert_eq!(read(&mut stream, sent.len()).await, sent);
        let back = b"\x73\x05\xff\xfe\x00hi\x8a\x01x";
        stream.write_all(back).await.unwrap();
        let frame = within(peer.whole_frame()).await.unwrap();
        assert_eq!((frame.0, &frame.1[..]), (0x73, &back[2..7]));
        let frame = within(peer.whole_frame()).await.unwrap();
        assert_eq!((frame.0, &frame.1[..]), (0x8a, &b"x"[..]));
    }
}

#[tokio::test]
async fn upstream_that_goes_between_two_frames_is_1014_and_in_a_frame_the_end() {
    for here in [Http::One, Http::Two] {
        for before in [&b""[..], b"\x81", b"\x82\x7e\x01", b"\x88\x02\x03"] {
            let (mut peer, mut stream, _gateway) = between(here, Config::default()).await;
            stream.write_all(b"\x81\x02hi").await.unwrap();
            stream.write_all(before).await.unwrap();
            drop(stream);
            let first = within(peer.frame()).await.unwrap();
            assert_eq!((first.0, &first.1[..]), (1, &b"hi"[..]));
            let close = within(peer.closed()).await;
            assert_eq!(close, (1014, "the upstream is gone".to_owned()));
        }
        let (mut peer, mut stream, _gateway) = between(here, Config::default()).await;
        stream.write_all(b"\x81\x05he").await.unwrap();
        drop(stream);
        assert_eq!(within(peer.rest()).await, &b"\x81\x05he"[..]);
    }
}

#[tokio::test]
async fn client_that_goes_between_two_frames_is_1001_and_in_a_frame_the_end() {
    for here in [Http::One, Http::Two] {
        let (mut peer, mut stream, _gateway) = between(here, Config::default()).await;
        peer.write(b"\x81\x82keysxx\x81\x82ke").await;
        assert_eq!(read(&mut stream, 8).await, b"\x81\x82keysxx");
        drop(peer);
        assert_eq!(
            closed(&mut stream).await,
            (1001, "the client is gone".to_owned())
        );
        let (mut peer, mut stream, _gateway) = between(here, Config::default()).await;
        peer.write(b"\x81\x82keysx").await;
        assert_eq!(read(&mut stream, 7).await, b"\x81\x82keysx");
        drop(peer);
        let mut rest = vec![];
        let _reset = within(stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "{rest:x?}");
    }
}

#[tokio::test]
async fn header_of_a_frame_that_may_not_be_is_not_passed() {
    let config = || Config::default().max_frame_size(1000);
    for (frame, code) in [
        (&b"\x81\x02hi"[..], 1002),
        (b"\x82\xfe\x03\xe9keys", 1009),
        (b"\x82\xff\x80\0\0\0\0\0\0\0keys", 1002),
        (b"\x89\xfe\x00\x80keys", 1002),
    ] {
        let (mut peer, mut stream, _gateway) = between(Http::One, config()).await;
        peer.write(b"\x81\x82keysxx").await;
        peer.write(frame).await;
        assert_eq!(read(&mut stream, 8).await, b"\x81\x82keysxx");
        assert_eq!(closed(&mut stream).await.0, 1001);
        assert_eq!(within(peer.closed()).await.0, code, "{frame:x?}");
    }
    for (frame, code) in [(&b"\x81\x82keysxx"[..], 1002), (b"\x82\x7e\x03\xe9", 1009)] {
        let (mut peer, mut stream, _gateway) = between(Http::Two, config()).await;
        stream.write_all(frame).await.unwrap();
        assert_eq!(within(peer.closed()).await.0, 1014);
        assert_eq!(closed(&mut stream).await.0, code, "{frame:x?}");
    }
    // At the limit it passes.
    let (mut peer, mut stream, _gateway) = between(Http::One, config()).await;
    peer.write(b"\x82\xfe\x03\xe8keys").await;
    assert_eq!(read(&mut stream, 8).await, b"\x82\xfe\x03\xe8keys");
}

#[tokio::test]
async fn close_waits_for_the_end_of_a_frame() {
    let connections = Connections::new();
    let (address, stream) = answering(|head| accepting(head, "").into_bytes()).await;
    let layer = to(address, Http::One).end_to_end(true).layer();
    let gateway = served(layer.connections(&connections)).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let ask = Ask::handshake(Http::One, "/").bytes();
    client.write_all(&ask).await.unwrap();
    let mut answer = vec![];
    while !answer.ends_with(b"\r\n\r\n") {
        answer.extend(read(&mut client, 1).await);
    }
    let mut stream = stream.await;
    stream.write_all(b"\x82\x04ab").await.unwrap();
    assert_eq!(read(&mut client, 4).await, b"\x82\x04ab");
    let drain = tokio::spawn({
        let connections = connections.clone();
        async move {
            connections
                .drain(tower_websocket::session::Drain::default())
                .await
        }
    });
    assert_eq!(closed(&mut stream).await.0, 1001);
    stream.write_all(b"cd\x82\x01x\x88\x00").await.unwrap();
    // What came after that frame is not passed.
    assert_eq!(read(&mut client, 6).await, b"cd\x88\x1d\x03\xe9");
    client.write_all(b"\x88\x80keys").await.unwrap();
    drop((stream, client));
    let drained = within(drain).await.unwrap();
    assert_eq!((drained.ended, drained.aborted), (1, 0));
}

#[tokio::test]
async fn connections_that_do_not_end_are_aborted_by_a_drain() {
    let connections = Connections::new();
    let (address, stream) = answering(|head| accepting(head, "").into_bytes()).await;
    let layer = to(address, Http::One).end_to_end(true).layer();
    let config = Config::default().close_timeout(Duration::from_secs(600));
    let gateway = served(layer.connections(&connections).config(config)).await;
    let answer = within(Ask::handshake(Http::One, "/").send(&gateway)).await;
    let (_peer, _stream) = (answer.opened(Http::One), stream.await);
    pause();
    let drain = connections.drain(tower_websocket::session::Drain::default());
    let drained = drain.await;
    assert_eq!((drained.ended, drained.aborted), (0, 1));
    assert_eq!(connections.len(), 0);
}

/// A connection of two sockets that say nothing by themselves.
async fn quiet(config: Config) -> (WebSocket, WebSocket, Server, Server, Log<(EndedBy, u16)>) {
    let silent = || {
        Config::default()
            .ping_interval(None)
            .write_timeout(None)
            .close_timeout(Duration::from_secs(900))
    };
    let (hand_over, mut sockets) = mpsc::unbounded_channel();
    let upstream = upstream(silent(), move |_, socket| {
        let hand_over = hand_over.clone();
        async move { hand_over.send(socket).unwrap() }
    })
    .await;
    let (pen, ends) = Log::new();
    let forward = to(upstream.address, Http::One).end_to_end(true);
    let forward = forward.client(Client::new().config(config.clone()));
    let layer = forward.layer().config(config);
    let layer = layer.on_end(move |report| pen.write((report.ended_by, report.close_code)));
    let gateway = served(layer).await;
    let client = Client::new().config(silent());
    let near = within(client.connect(uri(gateway.address, "/")))
        .await
        .unwrap();
    let far = within(sockets.recv()).await.unwrap();
    (near, far, gateway, upstream, ends)
}

#[tokio::test]
async fn quiet_connection_is_closed_where_that_is_asked_for() {
    let config = Config::default().idle_timeout(Duration::from_secs(60));
    let (mut near, mut far, _gateway, _upstream, mut ends) = quiet(config).await;
    pause();
    for socket in [&mut near, &mut far] {
        assert_eq!(socket.recv().await.unwrap(), None);
        let frame = socket.received_close().unwrap();
        assert_eq!(frame, (CloseCode::GOING_AWAY, "idle for too long").into());
    }
    assert_eq!(ends.next().await, (EndedBy::Timeout, 1001));
}

#[tokio::test]
async fn upstream_that_takes_nothing_is_given_up() {
    let (mut near, far, _gateway, _upstream, mut ends) = quiet(Config::default()).await;
    // Nobody receives from it, and the kernel takes what it takes.
    while near.queued_bytes() < 1 << 20 {
        near.try_send(vec![0; 100_000]).unwrap();
        crate::session::support::idle().await;
    }
    pause();
    assert_eq!(within(near.recv()).await.unwrap(), None);
    let close = near.received_close().unwrap();
    assert_eq!(
        close,
        (CloseCode::BAD_GATEWAY, "the upstream is gone").into()
    );
    near.abort();
    assert_eq!(ends.next().await, (EndedBy::Local, 1014));
    drop(far);
}

#[tokio::test]
async fn side_that_does_not_answer_a_close_is_not_waited_for_longer() {
    let (mut peer, mut stream, _gateway) = between(Http::One, Config::default()).await;
    peer.send(0x8, b"\x03\xe8").await;
    assert_eq!(closed(&mut stream).await.0, 1000);
    pause();
    assert!(within(peer.rest()).await.is_empty());
    let mut rest = vec![];
    let _reset = within(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn client_that_ends_with_its_close_gets_that_of_the_upstream() {
    for here in [Http::One, Http::Two] {
        let (mut peer, mut stream, _gateway) = between(here, Config::default()).await;
        peer.send(0x8, b"\x0f\xa9bye").await;
        peer.end().await;
        assert_eq!(closed(&mut stream).await, (4009, "bye".to_owned()));
        stream
            .write_all(b"\x81\x02hi\x88\x02\x0f\xa9")
            .await
            .unwrap();
        drop(stream);
        for (opcode, payload) in [(0x1, &b"hi"[..]), (0x8, b"\x0f\xa9")] {
            let frame = within(peer.frame()).await.unwrap();
            assert_eq!((frame.0, &frame.1[..]), (opcode, payload));
        }
        assert!(within(peer.rest()).await.is_empty());
    }
}

#[tokio::test]
async fn gateway_of_spliced_connections_counts_them() {
    let upstream = upstream(Config::default(), async |_, socket| {
        let _ended = echo(socket).await;
    })
    .await;
    let connections = Connections::new();
    let layer = to(upstream.address, Http::One).end_to_end(true).layer();
    let gateway = served(layer.connections(&connections)).await;
    let mut socket = client(Http::Two)
        .connect(uri(gateway.address, "/"))
        .await
        .unwrap();
    within(echoes(&mut socket, "hello")).await;
    assert_eq!((connections.len(), connections.iter().count()), (1, 0));
    within(close(socket)).await;
    within(async {
        while !connections.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let counters = connections.counters();
    assert_eq!((counters.messages_received, counters.messages_sent), (1, 1));
    assert_eq!(counters.closed[&1000], 1);
    drop(gateway);
}

#[tokio::test]
async fn large_transfer_passes_whole() {
    let upstream = upstream(Config::default(), async |_, socket| {
        let _ended = echo(socket).await;
    })
    .await;
    for here in [Http::One, Http::Two] {
        let forward = to(upstream.address, Http::Two).end_to_end(true);
        let gateway = gateway(forward.sockets_per_connection(4)).await;
        let mut socket = client(here)
            .connect(uri(gateway.address, "/"))
            .await
            .unwrap();
        for len in [1 << 20, 8191, 8192, 65_535, 65_536, 300_000] {
            let message =
                tower_websocket::Message::binary((0..len).map(|n| n as u8).collect::<Vec<_>>());
            socket.send(message.clone()).await.unwrap();
            assert!(within(socket.recv()).await.unwrap() == Some(message));
        }
        within(close(socket)).await;
    }
}
