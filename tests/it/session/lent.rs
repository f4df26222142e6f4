//! Messages that a handler takes from where they were read: all of them, once and in order, wherever the
//! burst ends and whatever the handler does in the middle of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt, future,
    stream::{FuturesUnordered, select_all},
};
use tokio::{
    io::{AsyncWriteExt, duplex},
    runtime::{Builder, Handle},
    sync::mpsc,
    task::{block_in_place, yield_now},
    time::timeout,
};
use tower_websocket::{
    CloseCode, Config, Error, Event, Message, Receiver, Sender, WebSocket, WebSocketLayer,
    session::{EndedBy, SessionReport},
    testing,
};

use super::support::{
    Fault, Frame, PIPE, Peer, Plan, SHAPES, Shape, Wire, binary, client_frame, close, echo, idle,
    open, ping, serve, text,
};
use crate::support::handler;

/// Receives up to "end", then says how many messages there were.
async fn count(mut socket: WebSocket) -> Result<(), Error> {
    let mut messages = 0;
    while let Some(message) = socket.recv().await? {
        messages += 1;
        if message == "end".into() {
            socket.send(messages.to_string()).await?;
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_beginning_of_a_frame_is_decoded_once() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(shape, Config::default(), count).await;
        // A message in two frames, with the beginning of the second.
        let last = client_frame(0x80, "lo");
        peer.send([client_frame(0x01, "Hel"), last[..1].to_vec()].concat())
            .await;
        idle().await;
        // More than a handler is given at once comes with the rest, and ends with a frame.
        let burst = binary([7; 60]).repeat(200);
        peer.send([last[1..].to_vec(), burst].concat()).await;
        idle().await;
        peer.send(text("end")).await;
        assert_eq!(peer.frame().await, Frame::text("202"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_ends_anywhere_is_received_whole() {
    let burst = [
        text("one"),
        binary([2; 300]),
        ping("p"),
        client_frame(0x01, "th"),
        client_frame(0x80, "ree"),
        text("four"),
    ]
    .concat();
    let cuts: Vec<_> = (1..burst.len())
        .filter(|cut| *cut < 20 || *cut > 290)
        .collect();
    for shape in SHAPES {
        let (mut peer, _reports) = open(shape, Config::default(), echo).await;
        for cut in &cuts {
            peer.send(&burst[..*cut]).await;
            idle().await;
            peer.send(&burst[*cut..]).await;
            let mut frames = Vec::new();
            for _ in 0..5 {
                frames.push(peer.frame().await);
            }
            frames.retain(|frame| *frame != Frame::pong("p"));
            let expected = [
                Frame::text("one"),
                Frame::binary([2; 300]),
                Frame::text("three"),
                Frame::text("four"),
            ];
            assert_eq!(frames, expected, "cut at {cut}");
        }
    }
}

/// What a handler may be built of that gives its parts wakers of their own.
#[derive(Clone, Copy, Debug)]
enum Combinator {
    Unordered,
    SelectAll,
    NowOrNever,
}

async fn answer(sender: Sender, mut receiver: Receiver) -> Result<(), Error> {
    while let Some(message) = receiver.recv().await? {
        sender.send(message).await?;
    }
    Ok(())
}

async fn combine(combinator: Combinator, mut socket: WebSocket) -> Result<(), Error> {
    match combinator {
        Combinator::Unordered => {
            let (sender, receiver) = socket.split();
            let mut tasks = FuturesUnordered::<Pin<Box<dyn Future<Output = _> + Send>>>::new();
            tasks.push(Box::pin(future::pending()));
            tasks.push(Box::pin(answer(sender, receiver)));
            tasks.next().await.unwrap_or(Ok(()))
        }
        Combinator::SelectAll => {
            let (sender, receiver) = socket.split();
            let mut messages = select_all([receiver]);
            while let Some(message) = messages.next().await {
                sender.send(message?).await?;
            }
            Ok(())
        }
        Combinator::NowOrNever => loop {
            // First with a waker that wakes nobody.
            let received = match socket.recv().now_or_never() {
                Some(received) => received,
                None => socket.recv().await,
            };
            match received? {
                Some(message) => socket.send(message).await?,
                None => return Ok(()),
            }
        },
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_handler_that_is_woken_by_itself_receives_everything() {
    let burst: Vec<u8> = (0..300).flat_map(|n| text(&n.to_string())).collect();
    for shape in SHAPES {
        for most in [10, 1 << 20] {
            for combinator in [
                Combinator::Unordered,
                Combinator::SelectAll,
                Combinator::NowOrNever,
            ] {
                let config = Config::default().max_send_queue(most);
                let (mut peer, reports) =
                    open(shape, config, move |socket| combine(combinator, socket)).await;
                // In the middle of a header, of a payload, and at the end of a frame.
                for cut in [1, 400, 401, burst.len() - 1, burst.len()] {
                    peer.send(&burst[..cut]).await;
                    idle().await;
                    peer.send(&burst[cut..]).await;
                    for number in 0..300 {
                        assert_eq!(peer.frame().await, Frame::text(&number.to_string()));
                    }
                }
                peer.send(close(1000, "")).await;
                assert_eq!(peer.frame().await.code(), Some(1000), "{combinator:?}");
                peer.finish().await;
                assert_eq!(reports.only().await.messages_received, 1500);
            }
        }
    }
}

/// Echoes so many messages, then leaves the rest to another task; goes on for a while, or returns.
async fn hand_over(mut socket: WebSocket, own: usize, stays: bool) -> Result<(), Error> {
    for _ in 0..own {
        let Some(message) = socket.recv().await? else {
            return Ok(());
        };
        socket.send(message).await?;
    }
    let (sender, receiver) = socket.split();
    let rest = tokio::spawn(answer(sender, receiver));
    if stays {
        rest.await.expect("no panic")?;
    }
    Ok(())
}

/// Sees a burst come back of which the handler leaves the rest to another task.
async fn hands_over(shape: Shape, own: usize, stays: bool) {
    let (mut peer, reports) = open(shape, Config::default(), move |socket| {
        hand_over(socket, own, stays)
    })
    .await;
    let numbers = || (0..150).map(|number: u32| number.to_string());
    let burst: Vec<u8> = numbers().flat_map(|number| text(&number)).collect();
    let middle = burst.len() / 2;
    peer.send([&burst[..], &burst[..middle]].concat()).await;
    peer.send(&burst[middle..]).await;
    for number in numbers().chain(numbers()) {
        assert_eq!(peer.frame().await, Frame::text(&number), "{own} {stays}");
    }
    peer.send(close(1000, "")).await;
    assert_eq!(peer.frame().await.code(), Some(1000));
    peer.finish().await;
    let report = reports.only().await;
    assert!(report.clean);
    assert_eq!((report.messages_received, report.messages_sent), (300, 300));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_moves_to_another_task_amid_a_burst_receives_the_rest() {
    for shape in SHAPES {
        for own in [0, 1, 2, 70, 149, 150, 151, 299] {
            hands_over(shape, own, true).await;
            hands_over(shape, own, false).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_moves_to_another_thread_amid_a_burst_receives_the_rest() {
    for own in 0..100 {
        for shape in SHAPES {
            let all = hands_over(shape, own, own % 2 == 0);
            timeout(LONG, all).await.expect("it does not hang");
        }
    }
}

/// What a handler does once it has echoed two messages of a burst.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Amid {
    Panic,
    Fail,
    Return,
    Drop,
    Close,
    CloseOutside,
    AbortOutside,
}

/// Counts in `later` what it receives after that.
async fn stop(mut socket: WebSocket, amid: Amid, later: Arc<AtomicUsize>) -> Result<(), Error> {
    for _ in 0..2 {
        let message = socket.recv().await?.expect("a message");
        socket.send(message).await?;
    }
    let sender = socket.sender();
    match amid {
        Amid::Panic => panic!("as it is meant to"),
        Amid::Fail => return Err(Error::Closed),
        Amid::Return => return Ok(()),
        Amid::Drop => {
            drop(socket);
            sender.closed().await;
            return Ok(());
        }
        Amid::Close => socket.close(CloseCode::GOING_AWAY),
        Amid::CloseOutside => {
            let closing = thread::spawn(move || sender.close(CloseCode::GOING_AWAY));
            closing.join().expect("no panic");
        }
        Amid::AbortOutside => {
            let aborting = thread::spawn(move || sender.abort());
            aborting.join().expect("no panic");
        }
    }
    while socket.recv().await?.is_some() {
        later.fetch_add(1, Relaxed);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn replies_leave_and_nothing_else_whatever_a_handler_does_amid_a_burst() {
    for shape in SHAPES {
        for (amid, code) in [
            (Amid::Panic, 1011),
            (Amid::Fail, 1011),
            (Amid::Return, 1000),
            (Amid::Drop, 1000),
            (Amid::Close, 1001),
            (Amid::CloseOutside, 1001),
        ] {
            let later = Arc::<AtomicUsize>::default();
            let count = later.clone();
            let route = move |socket| stop(socket, amid, count.clone());
            let (mut peer, reports) = open(shape, Config::default(), route).await;
            let burst = [text("a"), text("b"), text("c"), ping("p"), text("d")];
            peer.send([burst.concat(), text("e").repeat(500)].concat())
                .await;
            assert_eq!(peer.frame().await, Frame::text("a"));
            assert_eq!(peer.frame().await, Frame::text("b"));
            // The ping may be answered before a Close and after it (RFC 6455 §5.5.2).
            let mut frames = [peer.frame().await, peer.frame().await];
            frames.sort_by_key(Frame::is_close);
            assert_eq!(frames[0], Frame::pong("p"), "{amid:?}");
            assert_eq!(frames[1].code(), Some(code), "{amid:?}");
            peer.send([text("late"), close(code, "")].concat()).await;
            peer.finish().await;
            assert_eq!(peer.rest().await, []);
            let report = reports.only().await;
            assert!(report.clean, "{amid:?}");
            assert_eq!((report.ended_by, report.messages_sent), (EndedBy::Local, 2));
            assert_eq!(later.load(Relaxed), 0, "{amid:?}: messages are passed over");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_aborted_amid_a_burst_learns_it_and_its_peer_nothing() {
    for shape in SHAPES {
        let (mut peer, reports) = open(shape, Config::default(), |socket| {
            stop(socket, Amid::AbortOutside, Arc::default())
        })
        .await;
        peer.send(text("a").repeat(100)).await;
        let frames = peer.rest().await;
        assert!(frames.len() <= 2 && !frames.iter().any(Frame::is_close));
        let report = reports.only().await;
        assert!(!report.clean);
        assert_eq!((report.close_code, report.messages_sent), (1006, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_are_seen_from_where_they_are_asked_for_amid_a_burst() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(
            shape,
            Config::default(),
            |mut socket: WebSocket| async move {
                let first = socket.recv().await?;
                let mut events = Vec::new();
                while events.len() < 4 {
                    events.extend(socket.recv_event().await?);
                }
                assert_eq!(first, Some("a".into()));
                let expected = [
                    Event::Message("b".into()),
                    Event::Ping("p".into()),
                    Event::Message("cd".into()),
                    Event::Message("e".into()),
                ];
                assert_eq!(events, expected);
                socket.send("seen").await
            },
        )
        .await;
        let pieces = [client_frame(0x01, "c"), client_frame(0x80, "d")].concat();
        peer.send([text("a"), text("b"), ping("p"), pieces, text("e")].concat())
            .await;
        assert_eq!(peer.frame().await, Frame::pong("p"));
        assert_eq!(peer.frame().await, Frame::text("seen"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_read_as_a_stream_amid_a_burst() {
    for shape in SHAPES {
        for reads in [true, false] {
            let (mut peer, _reports) = open(
                shape,
                Config::default(),
                move |mut socket: WebSocket| async move {
                    while let Some(message) = socket.recv().await? {
                        socket.send(message).await?;
                        let Some(mut reader) = socket.recv_reader().await? else {
                            break;
                        };
                        if reads {
                            let chunk = reader.chunk().await?.expect("a payload");
                            assert_eq!(reader.chunk().await?, None);
                            drop(reader);
                            socket.send(Message::binary(chunk)).await?;
                        }
                    }
                    Ok::<_, Error>(())
                },
            )
            .await;
            let two = [text("whole"), text("pieces")].concat();
            peer.send(two.repeat(100)).await;
            for _ in 0..100 {
                assert_eq!(peer.frame().await, Frame::text("whole"));
                if reads {
                    assert_eq!(peer.frame().await, Frame::binary("pieces"));
                }
            }
        }
    }
}

/// Serves a stream on which everything lies already when the session reads for the first time.
async fn read_at_once(
    shape: Shape,
    burst: &[u8],
    fault: Option<(usize, Fault)>,
    route: impl Fn(WebSocket) -> future::BoxFuture<'static, Result<(), Error>>
    + Clone
    + Send
    + Sync
    + 'static,
) -> (Vec<Frame>, SessionReport) {
    let (mut ours, theirs) = duplex(PIPE);
    ours.write_all(burst).await.expect("there is room");
    ours.shutdown().await.expect("a pipe ends");
    let plan = Plan {
        fault,
        ..Plan::default()
    };
    let reports = serve(
        shape,
        Config::default(),
        handler(route),
        Wire::new(theirs, plan),
    )
    .await;
    let frames = Peer::new(ours).rest().await;
    (frames, reports.only().await)
}

/// Receives everything, and notes how it ended; may let others go first between messages.
fn collect(
    notes: mpsc::UnboundedSender<String>,
    yields: bool,
) -> impl Fn(WebSocket) -> future::BoxFuture<'static, Result<(), Error>> + Clone {
    move |mut socket: WebSocket| {
        let notes = notes.clone();
        Box::pin(async move {
            loop {
                let received = socket.recv().await;
                let note = match &received {
                    Ok(Some(message)) => format!("{} bytes", message.len()),
                    Ok(None) => "the end".to_owned(),
                    Err(error) if error.is_disconnect() => "gone".to_owned(),
                    Err(error) => error.to_string(),
                };
                notes.send(note).expect("the test waits");
                if yields {
                    yield_now().await;
                }
                match received? {
                    Some(message) => drop(socket.try_send(message)),
                    None => return Ok(()),
                }
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_received_and_answered_before_the_end_that_was_read_with_it() {
    let half = text("never whole")[..9].to_vec();
    let bursts = [
        (text("four").repeat(100), 100, "gone"),
        ([text("four").repeat(100), half].concat(), 100, "gone"),
        (
            [text("four").repeat(3), ping("p"), text("four")].concat(),
            4,
            "gone",
        ),
        (
            [text("four").repeat(3), close(1000, "")].concat(),
            3,
            "the end",
        ),
    ];
    for shape in SHAPES {
        for (burst, messages, end) in &bursts {
            for yields in [false, true] {
                let (sender, mut notes) = mpsc::unbounded_channel();
                let (mut frames, report) =
                    read_at_once(shape, burst, None, collect(sender, yields)).await;
                frames.retain(|frame| frame.first == 0x81);
                assert_eq!(frames, vec![Frame::text("four"); *messages]);
                let mut expected = vec!["4 bytes".to_owned(); *messages];
                expected.push((*end).to_owned());
                let mut noted = Vec::new();
                notes.recv_many(&mut noted, 1000).await;
                assert_eq!(noted, expected);
                assert_eq!(report.messages_received, *messages as u64);
                assert_eq!(report.messages_sent, *messages as u64);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_received_before_the_failure_that_was_read_with_it() {
    for shape in SHAPES {
        for yields in [false, true] {
            let (sender, mut notes) = mpsc::unbounded_channel();
            let burst = text("four").repeat(100);
            // The second read.
            let fault = Some((1, Fault::Error));
            let (_, report) = read_at_once(shape, &burst, fault, collect(sender, yields)).await;
            let mut expected = vec!["4 bytes".to_owned(); 100];
            expected.push("gone".to_owned());
            let mut noted = Vec::new();
            notes.recv_many(&mut noted, 1000).await;
            assert_eq!(noted, expected);
            assert_eq!(report.messages_received, 100);
            let end = (report.ended_by, report.close_code, report.clean);
            assert_eq!(end, (EndedBy::Disconnect, 1006, false));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_leaves_before_the_pong_for_a_ping_behind_its_message() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(shape, Config::default(), echo).await;
        let burst = [text("a"), text("b"), ping("1"), text("c"), ping("2")];
        peer.send(burst.concat()).await;
        for expected in [Frame::text("a"), Frame::text("b"), Frame::pong("1")] {
            assert_eq!(peer.frame().await, expected);
        }
        let mut rest = [peer.frame().await, peer.frame().await];
        rest.sort_by_key(|frame| frame.first);
        assert_eq!(rest, [Frame::text("c"), Frame::pong("2")]);
    }
}

/// Holds a conversation with an echo of its own, all in the thread in which the handler is polled.
fn converse_inside(outer: &Sender) {
    let inner = Builder::new_current_thread().enable_all().build();
    inner.expect("a runtime").block_on(async {
        let sender = outer.clone();
        let route = handler(move |mut socket: WebSocket| {
            let sender = sender.clone();
            async move {
                while let Some(message) = socket.recv().await? {
                    sender.send("from inside").await?;
                    socket.send(message).await?;
                }
                Ok::<_, Error>(())
            }
        });
        let app = WebSocketLayer::new(route).endpoint();
        let (_, mut client) = testing::connect(app, testing::request("/"))
            .await
            .expect("an echo");
        for _ in 0..3 {
            client.send("inner").await.expect("it is open");
            let received = client.recv().await.expect("no error");
            assert_eq!(received, Some("inner".into()));
        }
        client.close(CloseCode::NORMAL);
        client.closed().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sessions_that_run_inside_a_handler_leave_it_what_it_was_lent() {
    for shape in SHAPES {
        let (mut peer, reports) = open(
            shape,
            Config::default(),
            |mut socket: WebSocket| async move {
                assert!(Handle::try_current().is_ok());
                while let Some(message) = socket.recv().await? {
                    socket.send(message.clone()).await?;
                    let sender = socket.sender();
                    block_in_place(|| converse_inside(&sender));
                    socket.send(message).await?;
                }
                Ok::<_, Error>(())
            },
        )
        .await;
        let test = async move {
            peer.send(
                (0..20)
                    .flat_map(|n| text(&n.to_string()))
                    .collect::<Vec<_>>(),
            )
            .await;
            for number in 0..20 {
                let number = Frame::text(&number.to_string());
                assert_eq!(peer.frame().await, number);
                for _ in 0..3 {
                    assert_eq!(peer.frame().await, Frame::text("from inside"));
                }
                assert_eq!(peer.frame().await, number);
            }
            peer.send(close(1000, "")).await;
            assert_eq!(peer.frame().await.code(), Some(1000));
            peer.finish().await;
            let report = reports.only().await;
            assert_eq!((report.messages_received, report.messages_sent), (20, 100));
        };
        timeout(LONG, test).await.expect("it does not hang");
    }
}

/// More than a test takes that waits for nothing but other threads.
const LONG: Duration = Duration::from_secs(60);
