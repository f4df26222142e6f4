//! Real sockets: hyper's servers, a raw TCP client, a raw h2 client, and threads.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, ext::Protocol};
use http::{Method, Request, StatusCode, Version};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tower_websocket::{
    CloseCode, Config, Error, Message, Sender, WebSocket, WebSocketLayer,
    service::HandlerOutput,
    session::{EndedBy, SessionReport},
};

use super::support::{
    Frame, PIPE, Peer, Shape, Wire, binary, client_frame, client_header, close, echo, hold_over,
    ping, text,
};
use crate::support::handler;

/// Fails a test that hangs, with all the time a busy machine may need.
async fn guarded<T>(test: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(120), test)
        .await
        .expect("it does not hang")
}

/// A hyper server for HTTP/1.1 and HTTP/2, and the reports of its sessions.
async fn listen<F, Fut>(
    config: Config,
    route: F,
) -> (SocketAddr, mpsc::UnboundedReceiver<SessionReport>)
where
    F: FnMut(WebSocket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: HandlerOutput,
{
    let (sender, reports) = mpsc::unbounded_channel();
    let service = WebSocketLayer::new(handler(route))
        .config(config)
        .on_end(move |report| {
            let _gone = sender.send(report.clone());
        })
        .endpoint();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().enable_connect_protocol();
                let connection =
                    server.serve_connection_with_upgrades(TokioIo::new(stream), service);
                let _gone = connection.await;
            });
        }
    });
    (address, reports)
}

/// Opens a WebSocket over a raw TCP connection; `early` is sent with the handshake.
async fn connect_h1(address: SocketAddr, early: &[u8]) -> Peer<TcpStream> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    );
    let bytes = [request.as_bytes(), early].concat();
    stream.write_all(&bytes).await.expect("the server reads");
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        head.escape_ascii()
    );
    Peer::new(stream)
}

/// A WebSocket on a stream of a raw h2 client.
struct H2Peer {
    send: SendStream<Bytes>,
    recv: RecvStream,
    received: Vec<u8>,
    /// Keeps the connection open.
    _requests: h2::client::SendRequest<Bytes>,
}

/// Opens a WebSocket over HTTP/2 with a stream window of `window` bytes.
async fn connect_h2(address: SocketAddr, window: u32) -> H2Peer {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (mut requests, mut connection) =
        builder.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
    // The server's settings have to be seen before an Extended CONNECT may be sent.
    let mut pings = connection.ping_pong().expect("the first");
    tokio::spawn(async move {
        let _gone = connection.await;
    });
    pings.ping(h2::Ping::opaque()).await.expect("an answer");
    requests = requests.ready().await.expect("a stream");
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{address}/"))
        .version(Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(())
        .expect("a request");
    let (response, send) = requests.send_request(request, false).expect("it is sent");
    let response = response.await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    H2Peer {
        send,
        recv: response.into_body(),
        received: vec![],
        _requests: requests,
    }
}

impl H2Peer {
    fn send(&mut self, bytes: Vec<u8>, end: bool) {
        self.send
            .send_data(bytes.into(), end)
            .expect("the stream is open");
    }

    /// Sends, piece by piece, what the windows have room for.
    async fn send_in_window(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.send.reserve_capacity(bytes.len());
            while self.send.capacity() == 0 {
                let more = poll_fn(|cx| self.send.poll_capacity(cx)).await;
                more.expect("the stream is open").expect("no reset");
            }
            let len = self.send.capacity().min(bytes.len());
            self.send(bytes[..len].to_vec(), false);
            bytes = &bytes[len..];
        }
    }

    /// Receives a frame; `None` at END_STREAM, an error where the stream is reset.
    async fn next(&mut self) -> Result<Option<Frame>, h2::Error> {
        loop {
            if let Some(frame) = Frame::take(&mut self.received) {
                return Ok(Some(frame));
            }
            match self.recv.data().await.transpose()? {
                None => return Ok(None),
                Some(data) => {
                    self.recv.flow_control().release_capacity(data.len())?;
                    self.received.extend_from_slice(&data);
                }
            }
        }
    }

    async fn frame(&mut self) -> Frame {
        self.next().await.expect("no reset").expect("a frame comes")
    }
}

#[tokio::test]
async fn a_conversation_over_http1_may_begin_with_the_handshake() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), echo).await;
        let early = [text("early"), ping("p")].concat();
        let mut peer = connect_h1(address, &early).await;
        let frames = [peer.frame().await, peer.frame().await];
        assert_eq!(frames, [Frame::pong("p"), Frame::text("early")]);
        peer.send(binary(vec![7; 900_000])).await;
        assert_eq!(peer.frame().await, Frame::binary(vec![7; 900_000]));
        peer.send(close(1000, "")).await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        assert_eq!(peer.next().await, None, "the server ends first");
        drop(peer);
        let report = reports.recv().await.expect("a report");
        assert!(report.clean);
    })
    .await;
}

#[tokio::test]
async fn an_http1_connection_that_is_reset_is_1006() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), echo).await;
        let mut peer = connect_h1(address, b"").await;
        peer.send(text("hello")).await;
        assert_eq!(peer.frame().await, Frame::text("hello"));
        peer.send(&text("cut in the middle")[..9]).await;
        socket_reset(peer.stream);
        let report = reports.recv().await.expect("a report");
        assert_eq!(
            (report.ended_by, report.close_code),
            (EndedBy::Disconnect, 1006)
        );
    })
    .await;
}

#[tokio::test]
async fn a_tcp_connection_is_dropped_once_both_have_closed() {
    guarded(async {
        let config = Config::default().linger(Duration::from_secs(3600));
        let (address, mut reports) = listen(config, echo).await;
        let mut peer = connect_h1(address, b"").await;
        peer.send([text("last"), close(1000, "")].concat()).await;
        assert_eq!(peer.frame().await, Frame::text("last"));
        assert_eq!(peer.frame().await.code(), Some(1000));
        assert_eq!(peer.next().await, None);
        // The peer has not ended its side.
        let report = reports.recv().await.expect("a report");
        assert!(report.clean);
    })
    .await;
}

#[tokio::test]
async fn a_tcp_connection_with_unread_bytes_is_not_reset() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), echo).await;
        let mut peer = connect_h1(address, b"").await;
        // More than a read takes, and more than the peer's system sends unasked.
        let behind = vec![0; 900_000];
        peer.send([close(1000, ""), behind].concat()).await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        assert_eq!(peer.next().await, None, "the end, not a reset");
        drop(peer);
        let report = reports.recv().await.expect("a report");
        assert!(report.clean);
    })
    .await;
}

/// Closes a connection with RST instead of FIN.
fn socket_reset(stream: TcpStream) {
    stream.set_zero_linger().expect("a socket of TCP");
    drop(stream);
}

#[tokio::test]
async fn a_conversation_over_http2_ends_in_order() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), echo).await;
        let mut peer = connect_h2(address, 65_535).await;
        peer.send([text("hello"), ping("p")].concat(), false);
        let frames = [peer.frame().await, peer.frame().await];
        assert_eq!(frames, [Frame::text("hello"), Frame::pong("p")]);
        peer.send(close(1000, ""), false);
        assert_eq!(peer.frame().await.code(), Some(1000));
        // END_STREAM comes without waiting for ours, and no reset after it.
        assert_eq!(peer.next().await.expect("no reset"), None);
        assert!(reports.try_recv().is_err(), "the peer's end is waited for");
        peer.send(vec![], true);
        let report = reports.recv().await.expect("a report");
        assert!(report.clean);
        assert!(peer.recv.is_end_stream());
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_leaves_over_http2_before_the_end_of_the_stream() {
    guarded(async {
        let route = async |socket: WebSocket| {
            for number in 0..60_u8 {
                socket
                    .try_send(vec![number; 15_000])
                    .expect("there is room");
            }
        };
        let (address, mut reports) = listen(Config::default(), route).await;
        let mut peer = connect_h2(address, 20_000).await;
        for number in 0..60_u8 {
            assert_eq!(peer.frame().await, Frame::binary([number; 15_000]));
        }
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send(close(1000, ""), false);
        assert_eq!(peer.next().await.expect("no reset"), None);
        peer.send(vec![], true);
        let report = reports.recv().await.expect("a report");
        assert!(report.clean, "{report:?}");
        assert_eq!(report.messages_sent, 60);
    })
    .await;
}

#[tokio::test]
async fn an_http2_stream_that_ends_or_is_reset_inside_a_message_is_1006() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), echo).await;
        let resets = [
            Some(Reason::CANCEL),
            Some(Reason::NO_ERROR),
            Some(Reason::INTERNAL_ERROR),
            None,
        ];
        for reset in resets {
            let mut peer = connect_h2(address, 65_535).await;
            peer.send(text("hello"), false);
            assert_eq!(peer.frame().await, Frame::text("hello"));
            peer.send(client_frame(0x01, "begun"), reset.is_none());
            if let Some(reason) = reset {
                peer.send.send_reset(reason);
            } else {
                assert_eq!(peer.next().await.expect("no reset"), None);
            }
            let report = reports.recv().await.expect("a report");
            assert_eq!(
                (report.ended_by, report.close_code, report.clean),
                (EndedBy::Disconnect, 1006, false),
                "{reset:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_http2_reset_right_after_the_peers_close_is_a_clean_end() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), echo).await;
        for reason in [Reason::CANCEL, Reason::NO_ERROR] {
            let mut peer = connect_h2(address, 65_535).await;
            peer.send(close(1000, ""), false);
            assert_eq!(peer.frame().await.code(), Some(1000));
            peer.send.send_reset(reason);
            let report = reports.recv().await.expect("a report");
            assert!(report.clean, "{report:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_http2_peer_that_never_opens_its_window_is_left_after_write_timeout() {
    guarded(async {
        let config = Config::default().write_timeout(Duration::from_millis(200));
        let route = async |mut socket: WebSocket| {
            socket.send(vec![0; 900_000]).await?;
            socket.recv().await?;
            Ok::<(), Error>(())
        };
        let (address, mut reports) = listen(config, route).await;
        let _peer = connect_h2(address, 0).await;
        let report = reports.recv().await.expect("a report");
        assert_eq!(report.ended_by, EndedBy::Timeout);
        // The stream itself is hyper's now, which holds two writes of 16 KiB until it may send.
        // Its siblings live.
        let mut sibling = connect_h2(address, 2 << 20).await;
        assert_eq!(sibling.frame().await, Frame::binary(vec![0; 900_000]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_in_other_threads_lose_nothing_while_the_peer_echoes() {
    guarded(async {
        const SENDERS: u32 = 6;
        const MESSAGES: u32 = 3000;
        for shape in [Shape::H1, Shape::H2] {
            let (ours, theirs) = duplex(PIPE);
            let config = Config::default().max_send_queue(10_000).ping_interval(None);
            let wire = Wire::new(theirs, Default::default());
            let (socket, mut reports) = hold_over(shape, config, wire).await;
            // The far end sends every message back.
            let far = tokio::spawn(async move {
                let mut peer = Peer::new(ours);
                loop {
                    let frame = peer.frame().await;
                    if frame.is_close() {
                        peer.send(close(1000, "")).await;
                        peer.finish().await;
                        return peer.rest().await;
                    }
                    peer.send(binary(&frame.payload)).await;
                }
            });
            let (sender, mut receiver) = socket.split();
            for id in 0..SENDERS {
                let sender: Sender = sender.clone();
                tokio::spawn(async move {
                    for number in 0..MESSAGES {
                        let message = [id.to_be_bytes(), number.to_be_bytes()].concat();
                        sender.send(message).await.expect("it is open");
                        if number % 64 == 0 {
                            sender.flush().await.expect("it is open");
                        }
                    }
                });
            }
            let mut next = [0; SENDERS as usize];
            for _ in 0..SENDERS * MESSAGES {
                let message = receiver.recv().await.expect("no error").expect("a message");
                let (id, number) = message.as_bytes().split_at(4);
                let id = u32::from_be_bytes(id.try_into().expect("four bytes")) as usize;
                let number = u32::from_be_bytes(number.try_into().expect("four bytes"));
                assert_eq!(number, next[id], "in order, each once");
                next[id] += 1;
            }
            drop(receiver);
            assert_eq!(far.await.expect("no panic"), []);
            assert!(reports.first().await.clean);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_from_another_thread_at_any_moment_ends_the_connection() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), |socket: WebSocket| async move {
            let (sender, mut receiver) = socket.split();
            tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
            for number in 0..20_u32 {
                if sender
                    .send(Message::from(&number.to_be_bytes()))
                    .await
                    .is_err()
                {
                    break;
                }
            }
            tokio::spawn(async move { sender.close(CloseCode::GOING_AWAY) });
        })
        .await;
        for _ in 0..200 {
            let mut peer = connect_h1(address, &text("hello")).await;
            let mut frames = 0;
            while peer.frame().await.code().is_none() {
                frames += 1;
            }
            assert_eq!(frames, 20);
            peer.send(close(1001, "")).await;
            assert_eq!(peer.next().await, None);
            drop(peer);
            let report = reports.recv().await.expect("a report");
            assert_eq!((report.ended_by, report.clean), (EndedBy::Local, true));
        }
    })
    .await;
}

/// What a peer sends that reads nothing before all of it has left: the first message, and the rest.
fn megabytes(of_one_message: bool, len: usize) -> (Vec<u8>, usize) {
    const PIECE: usize = 100_000;
    let begin = if of_one_message {
        client_header(0x82, len as u64)
    } else {
        binary("go")
    };
    (begin, len.div_ceil(PIECE))
}

fn piece(of_one_message: bool) -> Vec<u8> {
    if of_one_message {
        vec![0; 100_000]
    } else {
        binary(vec![0; 100_000])
    }
}

/// Closes with 4001 after the first message; a message beyond 1 MiB fails with 1009.
async fn close_at_first(mut socket: WebSocket) {
    if let Ok(Some(_)) = socket.recv().await {
        socket.close((CloseCode::new(4001).unwrap(), "enough"));
    }
    socket.closed().await;
}

#[tokio::test]
async fn the_code_reaches_an_http1_peer_that_sends_megabytes_before_it_reads() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), close_at_first).await;
        for (len, rounds) in [(4 << 20, 20), (8 << 20, 10), (64 << 20, 1)] {
            for (one, code) in [(false, 4001), (true, 1009)] {
                for round in 0..rounds {
                    let mut peer = connect_h1(address, b"").await;
                    let (begin, pieces) = megabytes(one, len);
                    peer.send(begin).await;
                    let piece = piece(one);
                    for _ in 0..pieces {
                        peer.send(&piece).await;
                    }
                    let frame = peer.frame().await;
                    assert_eq!(frame.code(), Some(code), "{len} bytes, round {round}");
                    drop(peer);
                    assert_eq!(reports.recv().await.unwrap().close_code, code);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_code_reaches_an_http2_peer_that_sends_megabytes_before_it_reads() {
    guarded(async {
        let (address, mut reports) = listen(Config::default(), close_at_first).await;
        for (len, rounds) in [(4 << 20, 5), (64 << 20, 1)] {
            for (one, code) in [(false, 4001), (true, 1009)] {
                for round in 0..rounds {
                    let mut peer = connect_h2(address, 1 << 20).await;
                    let (begin, pieces) = megabytes(one, len);
                    peer.send(begin, false);
                    let piece = piece(one);
                    for _ in 0..pieces {
                        peer.send_in_window(&piece).await;
                    }
                    let frame = peer.frame().await;
                    assert_eq!(frame.code(), Some(code), "{len} bytes, round {round}");
                    peer.send(close(code, ""), true);
                    let ended = peer.next().await;
                    assert!(matches!(ended, Ok(None)), "{ended:?}");
                    assert_eq!(reports.recv().await.unwrap().close_code, code);
                }
            }
        }
    })
    .await;
}

/// What is sent in one go is not left to the kernel, where it would stand before every ping.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_is_asked_to_keep_little_unsent_where_much_is_sent() {
    use socket2::SockRef;
    guarded(async {
        for (len, count, bounded) in [
            (100, 100, false),
            (1 << 20, 1, true),
            (64 << 10, 1, true),
            (1000, 200, true),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            let stream = TcpStream::connect(address).await.expect("a connection");
            let (server, _) = listener.accept().await.expect("a connection");
            let server = server.into_std().expect("a socket");
            let before = SockRef::from(&server).tcp_notsent_lowat().unwrap();
            let other = server.try_clone().expect("a descriptor");
            let server = TcpStream::from_std(server).expect("a socket");
            let (socket, _reports) = hold_over(Shape::H1, Config::default(), server).await;
            let mut peer = Peer::new(stream);
            for _ in 0..count {
                socket.send(vec![7; len]).await.expect("it is open");
                assert_eq!(peer.frame().await.payload.len(), len);
            }
            let after = SockRef::from(&other).tcp_notsent_lowat().unwrap();
            assert_eq!(after == 1 << 20, bounded, "{count} of {len}: {after}");
            assert_eq!(after == before, !bounded);
        }
    })
    .await;
}
