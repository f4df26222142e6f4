//! Handles: what an application holds, and what keeps a connection open.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, request::Parts};
use tokio::{io::duplex, sync::mpsc, time::sleep};
use tower::service_fn;
use tower_websocket::{
    CloseCode, CloseFrame, Config, Error, Event, Message, Sender, TrySendError, Utf8Bytes,
    WebSocket,
    protocol::State,
    service::{EventHandler, event_handler},
    session::EndedBy,
    testing,
};

use super::support::{
    Frame, PIPE, Peer, SHAPES, Shape, binary, client_frame, close, echo, hold, idle, lock, once,
    open, ping, pong, serve, text, within,
};
use crate::support::handler;

#[tokio::test(start_paused = true)]
async fn a_handler_may_split_spawn_and_return() {
    for shape in SHAPES {
        let (mut peer, reports) = open(shape, Config::default(), |socket: WebSocket| async {
            let (sender, mut receiver) = socket.split();
            tokio::spawn(async move {
                while let Ok(Some(message)) = receiver.recv().await {
                    sender.send(message).await.expect("it is open");
                    if receiver.state() != State::Open {
                        break;
                    }
                }
            });
        })
        .await;
        idle().await;
        for message in ["a", "b"] {
            peer.send(text(message)).await;
            assert_eq!(peer.frame().await, Frame::text(message));
        }
        peer.send(close(1000, "")).await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.finish().await;
        assert!(reports.only().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn the_connection_closes_when_the_handler_has_returned_and_the_receiver_is_gone() {
    for shape in SHAPES {
        let (mut peer, socket, mut reports) = hold(shape, Config::default()).await;
        let (sender, receiver) = socket.split();
        let clones = vec![sender.clone(); 10];
        idle().await;
        assert!(sender.is_open());
        drop(receiver);
        assert_eq!(peer.frame().await.code(), Some(1000));
        assert_eq!(sender.state(), State::Closing);
        for sender in &clones {
            assert!(sender.send("no").await.expect_err("closing").is_closed());
            let returned = sender.try_send("no").expect_err("closing");
            assert_eq!(returned, TrySendError::Closed("no".into()));
        }
        peer.send(close(1000, "")).await;
        peer.finish().await;
        assert_eq!(reports.first().await.ended_by, EndedBy::Local);
        assert_eq!(sender.state(), State::Closed);
        within(sender.closed()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receiver_discards_data_and_keeps_control_frames() {
    for shape in SHAPES {
        let config = Config::default().max_read_ahead(100);
        let (mut peer, _reports) = open(shape, config, |socket: WebSocket| async {
            let (sender, receiver) = socket.split();
            drop(receiver);
            sender.send("listening to nothing").await?;
            sender.closed().await;
            Ok::<(), Error>(())
        })
        .await;
        assert_eq!(peer.frame().await, Frame::text("listening to nothing"));
        for _ in 0..10 {
            peer.send(binary([0; 100_000])).await;
        }
        peer.send(ping("still there")).await;
        assert_eq!(peer.frame().await, Frame::pong("still there"));
        peer.send(close(4000, "")).await;
        assert_eq!(peer.frame().await.code(), Some(4000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_dropped_over_a_full_inbox_lets_reading_go_on() {
    for shape in SHAPES {
        let config = Config::default().max_read_ahead(1);
        let (sender, mut sockets) = mpsc::unbounded_channel();
        let route = move |socket: WebSocket| {
            let (keep, receiver) = socket.split();
            sender.send(receiver).expect("the test waits");
            async move { keep.closed().await }
        };
        let (mut peer, _reports) = open(shape, config, route).await;
        let receiver = within(sockets.recv()).await.expect("it was called");
        peer.send([text("a"), text("b"), text("c"), ping("p")].concat())
            .await;
        idle().await;
        drop(receiver);
        assert_eq!(peer.frame().await, Frame::pong("p"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_socket_closes_while_its_handler_runs_on() {
    for shape in SHAPES {
        let (done, mut ended) = mpsc::unbounded_channel();
        let route = move |socket: WebSocket| {
            let done = done.clone();
            async move {
                drop(socket);
                sleep(Duration::from_secs(60)).await;
                done.send(()).expect("the test waits");
            }
        };
        let (mut peer, mut reports) = open(shape, Config::default(), route).await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send(close(1000, "")).await;
        peer.finish().await;
        assert!(reports.first().await.clean);
        assert!(ended.try_recv().is_err(), "the handler has not ended");
        assert_eq!(within(ended.recv()).await, Some(()));
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_are_shown_to_those_who_ask() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        let waiting = tokio::spawn(async move {
            let mut events = vec![];
            while let Some(event) = socket.recv_event().await.expect("a clean end") {
                events.push(event);
            }
            events
        });
        idle().await;
        peer.send([ping("a"), text("b"), pong("c"), close(4000, "d")].concat())
            .await;
        assert_eq!(peer.frame().await, Frame::pong("a"));
        let code = CloseCode::new(4000).expect("a private code");
        let expected = [
            Event::Ping("a".into()),
            Event::Message("b".into()),
            Event::Pong("c".into()),
            Event::Close(Some(CloseFrame::new(code, "d"))),
        ];
        assert_eq!(within(waiting).await.expect("no panic"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_are_not_shown_to_those_who_do_not_ask() {
    for shape in SHAPES {
        let config = Config::default().max_read_ahead(1);
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        peer.send([ping("a"), pong("b"), ping("c"), text("d")].concat())
            .await;
        assert_eq!(peer.frame().await, Frame::pong("a"));
        assert_eq!(peer.frame().await, Frame::pong("c"));
        let event = within(socket.recv_event()).await.expect("a message");
        assert_eq!(event, Some(Event::Message("d".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_the_applications_without_auto_pong() {
    for shape in SHAPES {
        let config = Config::default().auto_pong(false);
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        let own = tokio::spawn(async move {
            while let Some(event) = socket.recv_event().await? {
                if let Event::Ping(payload) = event {
                    socket.pong([b"own ", &payload[..]].concat())?;
                }
            }
            Ok::<_, Error>(())
        });
        idle().await;
        peer.send(ping("a")).await;
        assert_eq!(peer.frame().await, Frame::pong("own a"));
        peer.send(client_frame(0x88, "")).await;
        assert!(peer.frame().await.is_close());
        within(own).await.expect("no panic").expect("a clean end");
    }
}

#[tokio::test(start_paused = true)]
async fn pings_and_pongs_are_cut_to_125_bytes() {
    let (mut peer, socket, _reports) = hold(Shape::H1, Config::default()).await;
    socket.ping(vec![1; 200]).expect("it is open");
    socket.sender().pong(vec![2; 126]).expect("it is open");
    assert_eq!(peer.frame().await, Frame::ping([1; 125]));
    assert_eq!(peer.frame().await, Frame::pong([2; 125]));
}

#[tokio::test(start_paused = true)]
async fn pings_and_pongs_take_text_and_bytes_of_any_kind() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let (sender, text, bytes) = (socket.sender(), "own".to_owned(), vec![1, 2]);
        socket.ping("text").expect("it is open");
        socket.ping(&text).expect("it is open");
        socket.ping(&bytes).expect("it is open");
        socket.ping(&bytes[1..]).expect("it is open");
        socket.ping([]).expect("it is open");
        sender.ping([3; 3]).expect("it is open");
        sender.ping(b"of bytes").expect("it is open");
        sender
            .pong(Bytes::from_static(b"Bytes"))
            .expect("it is open");
        sender.pong(Bytes::new()).expect("it is open");
        sender
            .pong(Utf8Bytes::from_static("Utf8"))
            .expect("it is open");
        sender.pong(vec![]).expect("it is open");
        sender.pong(text).expect("it is open");
        for payload in [
            &b"text"[..],
            b"own",
            &[1, 2],
            &[2],
            &[],
            &[3; 3],
            b"of bytes",
        ] {
            assert_eq!(peer.frame().await, Frame::ping(payload));
        }
        for payload in [&b"Bytes"[..], b"", b"Utf8", b"", b"own"] {
            assert_eq!(peer.frame().await, Frame::pong(payload));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn state_and_close_frame_follow_the_closing_handshake() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let sender = socket.sender();
        assert_eq!(
            (socket.state(), socket.received_close()),
            (State::Open, None)
        );
        peer.send(close(3000, "done")).await;
        assert_eq!(peer.frame().await.code(), Some(3000));
        idle().await;
        assert_eq!(socket.state(), State::Closing);
        let frame = socket.received_close().expect("it had a code");
        assert_eq!((frame.code().as_u16(), frame.reason()), (3000, "done"));
        peer.finish().await;
        within(sender.closed()).await;
        assert_eq!((socket.state(), sender.is_open()), (State::Closed, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_answers_what_its_sender_does() {
    let (client, server) = testing::pair(Config::default());
    assert!(client.is_open());
    assert_eq!(client.queued_bytes(), 0);
    client.try_send("12345678").expect("there is room");
    assert_eq!(
        client.queued_bytes(),
        2 + 4 + 8,
        "a header, a key and the text"
    );
    assert_eq!(client.sender().queued_bytes(), 14);
    server.close((CloseCode::GOING_AWAY, "bye"));
    within(client.closed()).await;
    assert!(!client.is_open());
    let theirs = client.sender().received_close().expect("it had a code");
    assert_eq!(client.received_close(), Some(theirs));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_socket_tells_its_peer_nothing() {
    let (client, mut server) = testing::pair(Config::default());
    client.abort();
    let end = within(server.recv()).await;
    assert!(matches!(end, Err(Error::Io(_))), "{end:?}");
    assert_eq!(server.received_close(), None);
}

#[tokio::test(start_paused = true)]
async fn the_number_is_known_to_every_handle() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let route = handler(move |socket| {
        sender.send(socket).expect("the test waits");
        std::future::ready(())
    });
    let connections = tower_websocket::Connections::new();
    let layer = tower_websocket::WebSocketLayer::new(route).connections(&connections);
    let (_, _client) = testing::connect(layer.endpoint(), testing::request("/"))
        .await
        .expect("accepted");
    let socket: WebSocket = within(sockets.recv()).await.expect("it was called");
    let id = socket.id();
    assert!(id.is_some());
    let (sender, receiver) = socket.split();
    assert_eq!((sender.id(), receiver.id()), (id, id));
}

#[tokio::test(start_paused = true)]
async fn the_subprotocol_is_known_to_every_handle() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let route = handler(move |socket| {
        sender.send(socket).expect("the test waits");
        std::future::ready(())
    });
    let config = Config::default().subprotocols(["chat.v2", "chat.v1"]);
    let layer = tower_websocket::WebSocketLayer::new(route).config(config);
    let request = testing::request("/").header("sec-websocket-protocol", "chat.v1");
    let (_, client) = testing::connect(layer.endpoint(), request)
        .await
        .expect("accepted");
    let socket: WebSocket = within(sockets.recv()).await.expect("it was called");
    assert_eq!(client.subprotocol(), Some("chat.v1"));
    assert_eq!(socket.subprotocol(), Some("chat.v1"));
    let (sender, receiver) = socket.split();
    assert_eq!(
        (sender.subprotocol(), receiver.subprotocol()),
        (Some("chat.v1"), Some("chat.v1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_a_stream_and_a_sink() {
    for shape in SHAPES {
        let (mut peer, reports) = open(shape, Config::default(), |socket: WebSocket| async {
            let (sink, stream) = StreamExt::split(socket);
            stream.forward(sink).await
        })
        .await;
        peer.send([text("a"), binary("b")].concat()).await;
        assert_eq!(peer.frame().await, Frame::text("a"));
        assert_eq!(peer.frame().await, Frame::binary("b"));
        peer.send(close(1000, "")).await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.finish().await;
        assert!(reports.only().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_waits_for_room_and_closes() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(0);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let (mut sender, mut receiver) = socket.split();
        let queue = sender.clone();
        let sending = tokio::spawn(async move {
            for _ in 0..5 {
                SinkExt::feed(&mut sender, Message::binary(vec![1; PIPE])).await?;
            }
            SinkExt::flush(&mut sender).await?;
            SinkExt::close(&mut sender).await
        });
        idle().await;
        assert!(
            queue.queued_bytes() <= PIPE + 14,
            "one message more at most"
        );
        for _ in 0..5 {
            assert_eq!(peer.frame().await, Frame::binary(vec![1; PIPE]));
        }
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send([text("late"), close(1000, "")].concat()).await;
        peer.finish().await;
        within(sending)
            .await
            .expect("no panic")
            .expect("a clean end");
        assert!(within(receiver.next()).await.is_none());
        assert!(within(receiver.next()).await.is_none());
    }
}

/// Notes every callback.
#[derive(Clone, Default)]
struct Notes {
    lines: Arc<Mutex<Vec<String>>>,
    takes_binary: bool,
}

impl Notes {
    fn add(&self, line: impl Into<String>) {
        lock(&self.lines).push(line.into());
    }
}

impl EventHandler for Notes {
    async fn on_open(&mut self, socket: &Sender, head: &Parts) {
        socket.send("welcome").await.expect("it is open");
        sleep(Duration::from_millis(10)).await;
        self.add(format!("open {}", head.uri.path()));
    }

    async fn on_text(&mut self, _: &Sender, text: Utf8Bytes) {
        // Callbacks run one after the other, however long they take.
        sleep(Duration::from_millis(10)).await;
        self.add(format!("text {}", text.as_str()));
    }

    async fn on_binary(&mut self, socket: &Sender, payload: Bytes) {
        if self.takes_binary {
            self.add(format!("binary {}", payload.len()));
        } else {
            socket.close(CloseCode::UNSUPPORTED_DATA);
        }
    }

    async fn on_ping(&mut self, _: &Sender, payload: Bytes) {
        self.add(format!("ping {}", payload.len()));
    }

    async fn on_pong(&mut self, _: &Sender, payload: Bytes) {
        self.add(format!("pong {}", payload.len()));
    }

    async fn on_close(&mut self, _: &Sender, frame: Option<CloseFrame>) {
        self.add(format!(
            "close {:?}",
            frame.map(|frame| frame.code().as_u16())
        ));
    }

    async fn on_error(&mut self, _: &Sender, error: Error) {
        self.add(format!("error {}", error.is_disconnect()));
    }
}

#[tokio::test(start_paused = true)]
async fn callbacks_come_in_order_with_open_first_and_close_last() {
    for shape in SHAPES {
        let notes = Notes {
            takes_binary: true,
            ..Notes::default()
        };
        let (ours, theirs) = duplex(PIPE);
        let service = event_handler(notes.clone());
        let reports = serve(shape, Config::default(), service, theirs).await;
        let mut peer = Peer::new(ours);
        peer.send([ping("12"), text("a"), binary("b"), pong("")].concat())
            .await;
        peer.send(close(4000, "")).await;
        let frames = [peer.frame().await, peer.frame().await];
        assert_eq!(frames, [Frame::pong("12"), Frame::text("welcome")]);
        peer.finish().await;
        assert_eq!(reports.only().await.messages_received, 2);
        let lines = lock(&notes.lines).clone();
        assert_eq!(
            lines,
            [
                "open /",
                "ping 2",
                "text a",
                "binary 1",
                "pong 0",
                "close Some(4000)"
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_the_last_callback_of_a_connection_that_fails() {
    for shape in SHAPES {
        for (bytes, last) in [
            (client_frame(0x83, ""), "error false"),
            (vec![], "error true"),
        ] {
            let notes = Notes::default();
            let (ours, theirs) = duplex(PIPE);
            let reports = serve(
                shape,
                Config::default(),
                event_handler(notes.clone()),
                theirs,
            )
            .await;
            let mut peer = Peer::new(ours);
            peer.send([text("a"), bytes].concat()).await;
            peer.finish().await;
            reports.only().await;
            let lines = lock(&notes.lines).clone();
            assert_eq!(lines, ["open /", "text a", last]);
        }
    }
}

/// Takes whatever has no callback.
#[derive(Clone)]
struct Nothing;

impl EventHandler for Nothing {}

#[tokio::test(start_paused = true)]
async fn data_without_a_callback_is_1003() {
    for shape in SHAPES {
        for data in [text("a"), binary("b")] {
            let (ours, theirs) = duplex(PIPE);
            let reports = serve(shape, Config::default(), event_handler(Nothing), theirs).await;
            let mut peer = Peer::new(ours);
            peer.send([ping("fine"), data].concat()).await;
            assert_eq!(peer.frame().await, Frame::pong("fine"));
            assert_eq!(peer.frame().await.code(), Some(1003));
            peer.send(close(1003, "")).await;
            peer.finish().await;
            assert_eq!(reports.only().await.ended_by, EndedBy::Local);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_several_things_at_once_is_woken_for_each() {
    // Combinators have wakers of their own.
    for shape in SHAPES {
        let (news, receiver) = mpsc::unbounded_channel::<&'static str>();
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let route = move |socket: WebSocket| {
            let receiver = receiver.clone();
            async move {
                let (sender, mut incoming) = socket.split();
                let mut tasks = futures_util::stream::FuturesUnordered::new();
                let other = sender.clone();
                tasks.push(Box::pin(async move {
                    while let Ok(Some(message)) = incoming.recv().await {
                        sender.send(message).await.expect("it is open");
                    }
                })
                    as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);
                tasks.push(Box::pin(async move {
                    let mut receiver = receiver.lock().await;
                    while let Some(news) = receiver.recv().await {
                        other.send(news).await.expect("it is open");
                    }
                }));
                while tasks.next().await.is_some() {}
            }
        };
        let (mut peer, _reports) = open(shape, Config::default(), route).await;
        for _ in 0..10 {
            peer.send(text("echo")).await;
            assert_eq!(peer.frame().await, Frame::text("echo"));
            news.send("news").expect("the handler waits");
            assert_eq!(peer.frame().await, Frame::text("news"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_recv_loses_nothing() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        for number in 0..100_u32 {
            {
                let mut receiving = pin!(socket.recv());
                assert!(once(receiving.as_mut()).await.is_pending());
            }
            peer.send(binary(number.to_be_bytes())).await;
            if number % 2 == 0 {
                idle().await;
            }
            let message = within(socket.recv()).await.expect("a message");
            assert_eq!(message, Some((&number.to_be_bytes()).into()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_send_sends_all_or_nothing() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut expected = vec![];
        for number in 0..40_u32 {
            let payload = [number as u8; 20_000];
            let mut sending = pin!(socket.send(&payload));
            // Beyond 64 KiB it yields once; dropped there, nothing was queued.
            if let Poll::Ready(result) = once(sending.as_mut()).await {
                result.expect("it is open");
                expected.push(number);
            } else if number % 3 == 0 {
                sending.await.expect("it is open");
                expected.push(number);
            }
        }
        assert!((4..40).contains(&expected.len()), "some were dropped");
        for number in expected {
            assert_eq!(peer.frame().await, Frame::binary([number as u8; 20_000]));
        }
        socket.close(CloseCode::NORMAL);
        assert_eq!(peer.frame().await.code(), Some(1000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_cancelled_while_it_waits_for_room_queues_nothing() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(0);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        socket.try_send("first").expect("it is empty");
        for _ in 0..3 {
            let mut waiting = pin!(socket.send("cancelled"));
            assert!(once(waiting.as_mut()).await.is_pending());
        }
        within(socket.send("last")).await.expect("it is open");
        socket.close(CloseCode::NORMAL);
        assert_eq!(peer.frame().await, Frame::text("first"));
        assert_eq!(peer.frame().await, Frame::text("last"));
        assert_eq!(peer.frame().await.code(), Some(1000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_cancelled_while_the_session_is_to_write_queues_nothing() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        socket.try_send(vec![1; 64 << 10]).expect("it is empty");
        {
            let mut yielding = pin!(socket.send("cancelled"));
            assert!(once(yielding.as_mut()).await.is_pending());
        }
        within(socket.send("last")).await.expect("it is open");
        socket.close(CloseCode::NORMAL);
        assert_eq!(peer.frame().await, Frame::binary(vec![1; 64 << 10]));
        assert_eq!(peer.frame().await, Frame::text("last"));
        assert_eq!(peer.frame().await.code(), Some(1000));
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_request_reaches_a_service_fn() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(PIPE);
        let route = service_fn(|request: Request<WebSocket>| async move {
            let path = request.uri().path().to_owned();
            request.into_body().send(path).await
        });
        let _reports = serve(shape, Config::default(), route, theirs).await;
        let mut peer = Peer::new(ours);
        assert_eq!(peer.frame().await, Frame::text("/"));
        assert_eq!(peer.frame().await.code(), Some(1000));
    }
}

#[tokio::test(start_paused = true)]
async fn two_ends_in_memory_hold_a_conversation() {
    let (mut client, server) = testing::pair(Config::default());
    tokio::spawn(echo(server));
    for message in ["a", "b"] {
        client.send(message).await.expect("it is open");
        assert_eq!(
            within(client.recv()).await.expect("an echo"),
            Some(message.into())
        );
    }
    client.close(CloseCode::NORMAL);
    assert_eq!(within(client.recv()).await.expect("a clean end"), None);
    within(client.closed()).await;
}
