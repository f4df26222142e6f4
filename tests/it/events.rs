//! A connection as a `Stream` and a `Sink` of events.

use std::pin::pin;

use futures_util::{SinkExt, Stream, StreamExt, future::try_join};
use tokio::io::AsyncWriteExt;
use tower_websocket::{
    CloseCode, CloseFrame, Config, Error, Event, Message, WebSocket,
    session::{EndedBy, EventSink, EventSocket, EventStream},
};

use crate::{
    session::support::{Frame, SHAPES, client_frame, close, hold, idle, once, ping, pong, text},
    support::{Http, echo, handler, on_both, open, within},
};

const KICKED: CloseCode = CloseCode::new(4001).unwrap();

/// A connection that the test holds at both ends, and that closes by itself only when one is dropped.
async fn pair(http: Http) -> (WebSocket, WebSocket) {
    let (sender, mut sockets) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = tower_websocket::endpoint(handler(move |socket| {
        let _gone = sender.send(socket);
        std::future::ready(())
    }));
    let client = open(endpoint, http, "/").await;
    (client, within(sockets.recv()).await.unwrap())
}

async fn all(events: impl Stream<Item = Result<Event, Error>>) -> Vec<Event> {
    within(events.map(Result::unwrap).collect()).await
}

#[tokio::test(start_paused = true)]
async fn sink_sends_every_kind_of_event_in_order() {
    for shape in SHAPES {
        let (mut peer, socket, mut reports) = hold(shape, Config::default()).await;
        let mut events = socket.into_events();
        let sent = [
            "hello".into(),
            Event::Ping("are you there?".into()),
            Event::from(vec![1, 2]),
            Event::Pong("as always".into()),
            (KICKED, "enough").into_event(),
        ];
        for event in sent {
            events.feed(event).await.unwrap();
        }
        SinkExt::flush(&mut events).await.unwrap();
        let frames = [
            Frame::text("hello"),
            Frame::ping("are you there?"),
            Frame::binary([1, 2]),
            Frame::pong("as always"),
        ];
        for frame in frames {
            assert_eq!(peer.frame().await, frame);
        }
        assert_eq!(peer.frame().await.code(), Some(4001));
        peer.send(close(4001, "")).await;
        let frame = Some(KICKED.into());
        assert_eq!(all(&mut events).await, [Event::Close(frame)]);
        let report = reports.first().await;
        assert_eq!((report.ended_by, report.close_code), (EndedBy::Local, 4001));
        assert!(report.clean);
    }
}

/// What a test writes shorter so.
trait IntoEvent {
    fn into_event(self) -> Event;
}

impl<T: Into<CloseFrame>> IntoEvent for T {
    fn into_event(self) -> Event {
        self.into().into()
    }
}

#[tokio::test(start_paused = true)]
async fn stream_shows_every_kind_of_event_in_order() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        peer.send(text("before")).await;
        idle().await;
        let events = socket.into_events();
        for frame in [text("hello"), ping("one"), pong("two"), close(4001, "bye")] {
            peer.send(frame).await;
        }
        let received = [
            "before".into(),
            "hello".into(),
            Event::Ping("one".into()),
            Event::Pong("two".into()),
            (KICKED, "bye").into_event(),
        ];
        assert_eq!(all(events).await, received);
        assert_eq!(peer.frame().await, Frame::pong("one"));
    }
}

#[tokio::test(start_paused = true)]
async fn sent_close_without_code_is_an_empty_frame() {
    for shape in SHAPES {
        for by_sink in [true, false] {
            let (mut peer, socket, mut reports) = hold(shape, Config::default()).await;
            let mut events = socket.into_events();
            if by_sink {
                events.send(Event::Close(None)).await.unwrap();
            } else {
                events.get_ref().close_without_code();
            }
            assert_eq!(peer.frame().await.bytes(), b"\x88\x00");
            peer.send(client_frame(0x88, "")).await;
            assert_eq!(all(&mut events).await, [Event::Close(None)]);
            let report = reports.first().await;
            assert_eq!((report.ended_by, report.close_code), (EndedBy::Local, 1005));
            assert!(report.clean);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_close_can_be_sent_after_a_close() {
    on_both(async |http| {
        let (client, server) = pair(http).await;
        let (mut client, mut server) = (client.into_events(), server.into_events());
        client.send(KICKED.into()).await.unwrap();
        let close = server.next().await.unwrap().unwrap();
        // Whoever closed, and whoever was closed.
        for events in [&mut client, &mut server] {
            let late = [
                "late".into(),
                Event::Ping("".into()),
                Event::Pong("".into()),
            ];
            for event in late {
                let error = events.send(event).await.unwrap_err();
                assert!(error.is_closed(), "{error:?}");
            }
            events.send(close.clone()).await.unwrap();
            events.send(CloseCode::GOING_AWAY.into()).await.unwrap();
        }
        assert_eq!(all(&mut client).await, [KICKED.into()]);
        assert_eq!(all(&mut server).await, []);
        // It is over, and stays so.
        client.get_ref().closed().await;
        client.send(KICKED.into()).await.unwrap();
        assert!(client.send("late".into()).await.unwrap_err().is_closed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn events_may_be_sent_back_with_the_close_that_ends_them() {
    on_both(async |http| {
        let (client, server) = pair(http).await;
        let (sink, stream) = server.into_events().split();
        let echo = tokio::spawn(stream.forward(sink));
        let mut client = client.into_events();
        client.send("hello".into()).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), "hello".into());
        client.send((KICKED, "bye").into_event()).await.unwrap();
        assert_eq!(all(client).await, [(KICKED, "bye").into_event()]);
        within(echo).await.unwrap().unwrap();
    })
    .await;
}

/// Passes on all that happens between two connections, until both are over.
async fn pass_on(one: WebSocket, other: WebSocket) -> Result<(), Error> {
    let (to_one, from_one) = one.into_events().split();
    let (to_other, from_other) = other.into_events().split();
    try_join(from_one.forward(to_other), from_other.forward(to_one)).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn forwarding_passes_messages_and_the_close_of_either_side() {
    for closes in [Some(KICKED.into()), None] {
        for by_client in [true, false] {
            on_both(async |http| {
                let (client, door) = pair(http).await;
                let (way, server) = pair(http).await;
                let passing = tokio::spawn(pass_on(door, way));
                let (mut client, mut server) = (client.into_events(), server.into_events());
                client.send("up".into()).await.unwrap();
                server.send("down".into()).await.unwrap();
                assert_eq!(server.next().await.unwrap().unwrap(), "up".into());
                assert_eq!(client.next().await.unwrap().unwrap(), "down".into());
                let (first, second) = if by_client {
                    (&mut client, &mut server)
                } else {
                    (&mut server, &mut client)
                };
                let close = Event::Close(closes.clone());
                first.send(close).await.unwrap();
                for events in [second, first] {
                    assert_eq!(all(events).await, [Event::Close(closes.clone())]);
                }
                within(passing).await.unwrap().unwrap();
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn payload_of_sent_control_frames_is_cut_to_125_bytes() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut events = socket.into_events();
        for len in [125, 126, 70_000] {
            events.send(Event::Ping(vec![1; len].into())).await.unwrap();
            events.send(Event::Pong(vec![2; len].into())).await.unwrap();
            assert_eq!(peer.frame().await, Frame::ping([1; 125]));
            assert_eq!(peer.frame().await, Frame::pong([2; 125]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sink_waits_for_room_and_for_a_close_in_its_place() {
    const BIG: usize = 1 << 20;
    for shape in SHAPES {
        for closed in [true, false] {
            let config = Config::default().max_send_queue(BIG);
            let (mut peer, socket, _reports) = hold(shape, config).await;
            let mut events = socket.into_events();
            events.feed(vec![0; 2 * BIG].into()).await.unwrap();
            let mut ping = pin!(events.feed(Event::Ping("".into())));
            idle().await;
            assert!(once(ping.as_mut()).await.is_pending());
            if closed {
                peer.send(close(4001, "")).await;
            }
            idle().await;
            let first = peer.frame().await;
            assert_eq!(first.payload.len(), 2 * BIG);
            let sent = within(ping).await;
            if closed {
                assert!(sent.unwrap_err().is_closed());
                assert_eq!(peer.frame().await.code(), Some(4001));
            } else {
                sent.unwrap();
                assert_eq!(peer.frame().await, Frame::ping(""));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pings_passed_on_to_one_who_reads_nothing_do_not_pile_up() {
    const FLOOD: usize = 10_000;
    const MOST: usize = 16 << 10;
    for shape in SHAPES {
        let config = Config::default()
            .control_frame_rate(None)
            .max_send_queue(MOST);
        let (mut flooding, from, _reports) = hold(shape, config.clone()).await;
        let (_reading_nothing, to, _reports) = hold(shape, config).await;
        let sender = to.sender();
        let passing = from.into_events().forward(to.into_events());
        let passing = tokio::spawn(passing);
        let flood = ping([1; 125]).repeat(FLOOD);
        let flooding = tokio::spawn(async move { flooding.stream.write_all(&flood).await });
        idle().await;
        let queued = sender.queued_bytes();
        assert!((MOST..2 * MOST).contains(&queued), "{queued}");
        // What is not read is not taken from the one who sends it.
        assert!(!flooding.is_finished());
        flooding.abort();
        passing.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn closing_the_sink_closes_with_1000_unless_it_was_closed() {
    for shape in SHAPES {
        for first in [None, Some(KICKED)] {
            let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
            let (mut sink, stream) = socket.into_events().split();
            if let Some(code) = first {
                sink.send(code.into()).await.unwrap();
            }
            let mut closing = pin!(sink.close());
            assert!(once(closing.as_mut()).await.is_pending());
            let code = first.map_or(1000, CloseCode::as_u16);
            assert_eq!(peer.frame().await.code(), Some(code));
            idle().await;
            assert!(once(closing.as_mut()).await.is_pending());
            peer.send(close(code, "")).await;
            peer.finish().await;
            within(closing).await.unwrap();
            assert_eq!(all(stream).await.len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_events_close_with_1000_and_a_dropped_sink_does_not() {
    on_both(async |http| {
        let (client, server) = pair(http).await;
        let (sink, stream) = server.into_events().split();
        drop(sink.clone());
        drop(sink);
        let mut client = client.into_events();
        client.send("still here".into()).await.unwrap();
        let mut stream = pin!(stream);
        assert_eq!(stream.next().await.unwrap().unwrap(), "still here".into());
        drop(client);
        assert_eq!(all(stream).await, [CloseCode::NORMAL.into()]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn handles_come_back_with_what_was_not_received() {
    on_both(async |http| {
        let (client, server) = pair(http).await;
        for text in ["one", "two", "three"] {
            client.ping("between").unwrap();
            client.send(text).await.unwrap();
        }
        let mut events = server.into_events();
        assert_eq!(
            events.next().await.unwrap().unwrap(),
            Event::Ping("between".into())
        );
        assert_eq!(events.next().await.unwrap().unwrap(), "one".into());
        let mut server = events.into_inner();
        assert_eq!(server.recv().await.unwrap(), Some("two".into()));
        let (sink, stream) = server.into_events().split();
        let (sender, mut receiver) = (sink.into_inner(), stream.into_inner());
        assert_eq!(receiver.recv().await.unwrap(), Some("three".into()));
        assert!(sender.is_open());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn halves_of_futures_work_as_well_as_ours() {
    on_both(async |http| {
        let client = open(tower_websocket::endpoint(handler(echo)), http, "/").await;
        let (mut sink, mut stream) = StreamExt::split(client.into_events());
        sink.send("hello".into()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "hello".into());
        let mut events = sink.reunite(stream).unwrap();
        events.send(KICKED.into()).await.unwrap();
        assert_eq!(all(events).await, [KICKED.into()]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_ends_with_the_error_of_a_connection_that_fails() {
    on_both(async |http| {
        let (client, server) = pair(http).await;
        client.abort();
        let mut events = server.into_events();
        let error = within(events.next()).await.unwrap().unwrap_err();
        assert!(error.is_disconnect(), "{error:?}");
        assert!(events.next().await.is_none());
        assert!(events.send("late".into()).await.unwrap_err().is_closed());
        within(SinkExt::close(&mut events)).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn transports_of_bytes_are_made_of_a_few_words() {
    /// What libraries ask for that know neither `http` nor `WebSocket`.
    async fn library<Sink, Stream, E>(mut sink: Sink, mut stream: Stream) -> Result<(), E>
    where
        Sink: SinkExt<Vec<u8>, Error = E> + Send + Sync + Unpin + 'static,
        Stream: StreamExt<Item = Result<Vec<u8>, E>> + Send + Sync + Unpin + 'static,
    {
        while let Some(bytes) = stream.next().await.transpose()? {
            sink.send(bytes).await?;
        }
        sink.close().await
    }
    on_both(async |http| {
        let handler = handler(async |socket: WebSocket| {
            let (sender, receiver) = socket.split();
            let sink = sender.with(|bytes: Vec<u8>| std::future::ready(Ok(bytes.into())));
            let stream = receiver.map(|message| message.map(|message| message.as_bytes().to_vec()));
            library(sink, stream).await
        });
        let mut client = open(tower_websocket::endpoint(handler), http, "/").await;
        client.send("hello").await.unwrap();
        let answer = client.recv().await.unwrap();
        assert_eq!(answer, Some(Message::binary("hello")));
    })
    .await;
}

/// Whatever is spawned, shared or kept in a struct needs these.
#[test]
fn handles_of_events_go_anywhere() {
    fn anywhere<T: Send + Sync + Unpin + std::fmt::Debug + 'static>() {}
    anywhere::<EventSocket>();
    anywhere::<EventSink>();
    anywhere::<EventStream>();
}

#[tokio::test(start_paused = true)]
async fn control_frames_behind_our_close_do_not_pile_up() {
    for shape in SHAPES {
        let config = Config::default()
            .control_frame_rate(None)
            .max_read_ahead(10_000);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let sender = socket.sender();
        let mut events = socket.into_events();
        // So control frames are kept.
        assert!(once(pin!(events.next())).await.is_pending());
        sender.close(CloseCode::NORMAL);
        assert!(peer.frame().await.is_close());
        peer.send(ping([1; 100]).repeat(1000)).await;
        peer.send(close(1000, "")).await;
        peer.finish().await;
        idle().await;
        let mut kept = 0;
        while within(events.next()).await.is_some() {
            kept += 1;
        }
        assert!((1..110).contains(&kept), "{kept}");
    }
}
