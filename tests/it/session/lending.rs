//! A handler that receives and sends while its session polls it, which needs no lock: what others do with
//! the connection at the same time keeps its place.

use std::{
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex, join, sink, split},
    sync::{Notify, mpsc::unbounded_channel},
};
use tower_websocket::{
    CloseCode, Config, Error, Message, MessageKind, PreparedMessage, Sender, TrySendError,
    WebSocket,
};

use super::support::{
    Frame, Log, PIPE, Peer, Plan, SHAPES, Wire, binary, close, echo, idle, lock, open, serve, text,
    within,
};
use crate::support::handler;

/// Another thread, which does something with the connection when it is told to, and says that it has.
struct Outside {
    orders: mpsc::Sender<Order>,
    done: mpsc::Receiver<()>,
    thread: Option<thread::JoinHandle<()>>,
}

type Order = Box<dyn FnOnce(&Sender) + Send>;

impl Outside {
    fn new(sender: Sender) -> Self {
        let (orders, received) = mpsc::channel::<Order>();
        let (say, done) = mpsc::channel();
        let thread = thread::spawn(move || {
            for order in received {
                order(&sender);
                say.send(()).expect("the handler waits");
            }
        });
        Self {
            orders,
            done,
            thread: Some(thread),
        }
    }

    /// Has it done, in the middle of the handler's poll.
    fn does(&mut self, order: impl FnOnce(&Sender) + Send + 'static) {
        self.orders.send(Box::new(order)).expect("it is there");
        self.done.recv().expect("the other thread does not panic");
    }

    fn sends(&mut self, text: String) {
        self.does(move |sender| sender.try_send(text).expect("it is open"));
    }
}

impl Drop for Outside {
    /// Waits until the other thread has given its handle up.
    fn drop(&mut self) {
        self.orders = mpsc::channel().0;
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || thread::panicking());
    }
}

/// The ways in which a handler sends.
#[derive(Clone, Copy, Debug)]
enum Way {
    Send,
    TrySend,
    Sink,
    Prepared,
    Writer,
}

const WAYS: [Way; 5] = [
    Way::Send,
    Way::TrySend,
    Way::Sink,
    Way::Prepared,
    Way::Writer,
];

async fn send(socket: &mut WebSocket, way: Way, text: String) -> Result<(), Error> {
    match way {
        Way::Send => WebSocket::send(socket, text).await,
        Way::TrySend => socket.try_send(text).map_err(|_| Error::Closed),
        Way::Sink => SinkExt::feed(socket, Message::text(text)).await,
        Way::Prepared => WebSocket::send(socket, PreparedMessage::new(text)).await,
        Way::Writer => {
            let mut writer = socket.send_writer(MessageKind::Text).await?;
            writer.send(text).await?;
            writer.finish().await
        }
    }
}

/// Receives a message, in one frame or in several, as text.
async fn message(peer: &mut Peer) -> String {
    let mut frame = peer.frame().await;
    let mut payload = frame.payload;
    while frame.first & 0x80 == 0 {
        frame = peer.frame().await;
        assert_eq!(frame.first & 0xf, 0, "the message goes on");
        payload.extend(frame.payload);
    }
    String::from_utf8(payload).expect("text")
}

/// Sends numbers, in turns with another thread; begins in the way that each message asks for.
async fn count(mut socket: WebSocket) -> Result<(), Error> {
    let mut outside = Outside::new(socket.sender());
    let mut numbers = (0..).map(|number: u32| number.to_string());
    let mut next = || numbers.next().expect("numbers have no end");
    while let Some(message) = socket.recv().await? {
        let first = message.len();
        for way in WAYS.iter().cycle().skip(first).take(WAYS.len()) {
            send(&mut socket, *way, next()).await?;
            outside.sends(next());
        }
        send(&mut socket, WAYS[first % WAYS.len()], next()).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_and_another_thread_send_in_turns_leaves_in_that_order() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(shape, Config::default(), count).await;
        let mut expected = (0..).map(|number: u32| number.to_string());
        let one_by_one = (0..WAYS.len()).map(|first| vec![first]);
        let bursts = one_by_one.chain([vec![0; 3], (0..WAYS.len()).collect()]);
        for burst in bursts {
            let bytes: Vec<_> = burst.iter().map(|first| binary(vec![1; *first])).collect();
            peer.send(bytes.concat()).await;
            for _ in 0..burst.len() * (2 * WAYS.len() + 1) {
                assert_eq!(Some(message(&mut peer).await), expected.next());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_behind_a_close_whoever_sends_it() {
    for shape in SHAPES {
        for own in [true, false] {
            // A panic would go unnoticed behind the Close.
            let (tell, mut told) = unbounded_channel();
            let (mut peer, reports) =
                open(shape, Config::default(), move |mut socket: WebSocket| {
                    let tell = tell.clone();
                    async move {
                        let mut outside = Outside::new(socket.sender());
                        socket.recv().await?;
                        socket.send("own").await?;
                        outside.sends("outside".to_owned());
                        socket.send("own").await?;
                        if own {
                            socket.close(CloseCode::GOING_AWAY);
                        } else {
                            outside.does(|sender| sender.close(CloseCode::GOING_AWAY));
                        }
                        for way in WAYS {
                            let sent = send(&mut socket, way, "late".to_owned()).await;
                            assert!(matches!(sent, Err(Error::Closed)), "{way:?} {sent:?}");
                        }
                        outside.does(|sender| {
                            let sent = sender.try_send("late");
                            assert!(matches!(sent, Err(TrySendError::Closed(_))));
                        });
                        tell.send(socket.recv().await?).expect("the test waits");
                        Ok::<_, Error>(())
                    }
                })
                .await;
            peer.send([text("go"), text("passed over")].concat()).await;
            for expected in ["own", "outside", "own"] {
                assert_eq!(peer.frame().await, Frame::text(expected));
            }
            assert_eq!(peer.frame().await.code(), Some(1001));
            peer.send([text("too late"), close(1001, "")].concat())
                .await;
            peer.finish().await;
            assert_eq!(peer.rest().await, []);
            assert_eq!(told.recv().await, Some(None), "it is passed over");
            let report = reports.only().await;
            assert!(report.clean);
            assert_eq!(report.messages_sent, 3);
        }
    }
}

/// Sends a message when it is dropped.
struct Last {
    payload: Vec<u8>,
    sender: Sender,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        // Whether it does is up to the test.
        let _sent = self.sender.try_send("dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_may_send_on_its_connection_when_it_is_dropped() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(
            shape,
            Config::default(),
            |mut socket: WebSocket| async move {
                while let Some(message) = socket.recv().await? {
                    let len = message.len();
                    let last = || {
                        Message::binary(Bytes::from_owner(Last {
                            payload: vec![7; len],
                            sender: socket.sender(),
                        }))
                    };
                    socket.send(last()).await?;
                    socket.try_send(last()).expect("there is room");
                    let message = last();
                    SinkExt::feed(&mut socket, message).await?;
                    socket.send("behind").await?;
                }
                Ok::<_, Error>(())
            },
        )
        .await;
        let dropped = Frame::text("dropped");
        for len in [1, 100, 1000, 4095] {
            peer.send(binary(vec![0; len])).await;
            for _ in 0..3 {
                assert_eq!(peer.frame().await, Frame::binary(vec![7; len]));
                assert_eq!(peer.frame().await, dropped);
            }
            assert_eq!(peer.frame().await, Frame::text("behind"));
        }
        // These are not copied, and dropped when they have left.
        for len in [4096, 50_000] {
            peer.send(binary(vec![0; len])).await;
            let mut frames = Vec::new();
            for _ in 0..7 {
                frames.push(peer.frame().await);
            }
            frames.retain(|frame| *frame != dropped);
            let expected = Frame::binary(vec![7; len]);
            let behind = Frame::text("behind");
            assert_eq!(
                frames,
                [expected.clone(), expected.clone(), expected, behind]
            );
        }
    }
}

/// Notes how much was written when it was woken.
struct Waiting {
    log: Arc<Mutex<Log>>,
    written: Mutex<usize>,
    woken: Notify,
}

impl Waiting {
    fn new(log: Arc<Mutex<Log>>) -> Arc<Self> {
        Arc::new(Self {
            log,
            written: Mutex::default(),
            woken: Notify::new(),
        })
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        *lock(&self.written) = lock(&self.log).writes.iter().sum();
        self.woken.notify_one();
    }
}

/// Has another thread poll a future once.
fn poll_outside<F: Future + Send>(
    future: std::pin::Pin<&mut F>,
    waiting: &Arc<Waiting>,
) -> Poll<F::Output>
where
    F::Output: Send,
{
    let waker = Waker::from(waiting.clone());
    let poll = move || future.poll(&mut Context::from_waker(&waker));
    let done = thread::scope(|scope| scope.spawn(poll).join());
    done.expect("a flush does not panic")
}

#[tokio::test(start_paused = true)]
async fn a_flush_from_another_thread_waits_for_what_the_handler_has_sent() {
    for shape in SHAPES {
        for len in [1, 5000, 60_000, 300_000] {
            let (ours, theirs) = duplex(PIPE);
            let wire = Wire::new(theirs, Plan::default());
            let log = wire.log();
            let route = handler(move |mut socket: WebSocket| {
                let waiting = Waiting::new(log.clone());
                async move {
                    socket.recv().await?;
                    let sender = socket.sender();
                    let mut flush = pin!(sender.flush());
                    socket.send(vec![7; len]).await?;
                    assert!(poll_outside(flush.as_mut(), &waiting).is_pending());
                    socket.recv().await?;
                    within(waiting.woken.notified()).await;
                    assert!(*lock(&waiting.written) > len, "all is written");
                    socket.send("flushed").await
                }
            });
            let _reports = serve(shape, Config::default(), route, wire).await;
            let mut peer = Peer::new(ours);
            peer.send(text("go")).await;
            // The pipe is full, or everything is written.
            idle().await;
            peer.send(text("go on")).await;
            assert_eq!(peer.frame().await, Frame::binary(vec![7; len]));
            assert_eq!(peer.frame().await, Frame::text("flushed"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_from_another_thread_while_nothing_is_sent_is_woken() {
    for shape in SHAPES {
        for locks in [false, true] {
            let (mut peer, _reports) = open(
                shape,
                Config::default(),
                move |mut socket: WebSocket| async move {
                    socket.recv().await?;
                    let waiting = Waiting::new(Arc::default());
                    let sender = socket.sender();
                    let mut flush = pin!(sender.flush());
                    let flushed = poll_outside(flush.as_mut(), &waiting);
                    if locks {
                        // The handler comes for the lock as well.
                        assert!(sender.closed().now_or_never().is_none());
                    }
                    if flushed.is_pending() {
                        within(waiting.woken.notified()).await;
                    }
                    socket.send("flushed").await
                },
            )
            .await;
            peer.send(text("go")).await;
            assert_eq!(peer.frame().await, Frame::text("flushed"));
        }
    }
}

/// As [`echo`], as a stream and a sink.
async fn forward(socket: WebSocket) -> Result<(), Error> {
    let (sink, stream) = StreamExt::split(socket);
    stream.forward(sink).await
}

/// Flushes after each message, and sees that nothing waits then.
async fn flush(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
        socket.flush().await?;
        assert_eq!(socket.queued_bytes(), 0);
    }
    Ok(())
}

/// Sends `messages` to an echo before anything of it is read, then sees all come back.
async fn overwhelm(ours: DuplexStream, messages: Vec<Vec<u8>>) {
    let (read, mut write) = split(ours);
    let burst: Vec<u8> = messages.iter().flat_map(binary).collect();
    let writing = tokio::spawn(async move {
        write.write_all(&burst).await.expect("the server reads");
        write
    });
    idle().await;
    let mut peer = Peer::new(join(read, sink()));
    for message in messages {
        assert_eq!(peer.frame().await, Frame::binary(message));
    }
    let mut write = within(writing).await.expect("all is read");
    let closed = write.write_all(&close(1000, "")).await;
    closed.expect("the server reads");
    assert_eq!(peer.frame().await.code(), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn an_echo_loses_nothing_however_little_may_wait_and_however_late_the_peer_reads() {
    for shape in SHAPES {
        for most in [0, 1, 10, 1 << 20] {
            for (len, number) in [(3, 3000_u32), (100, 2000), (70_000, 20)] {
                for kind in 0..3 {
                    let config = Config::default().max_send_queue(most);
                    let (ours, theirs) = duplex(PIPE);
                    let route = handler(move |socket: WebSocket| async move {
                        match kind {
                            0 => echo(socket).await,
                            1 => forward(socket).await,
                            _ => flush(socket).await,
                        }
                    });
                    let reports = serve(shape, config, route, theirs).await;
                    let messages = (0..number).map(|number| {
                        let mut message = number.to_le_bytes().to_vec();
                        message.resize(len, 0);
                        message
                    });
                    println!("{shape:?}, a queue of {most}, {number} x {len}, kind {kind}");
                    overwhelm(ours, messages.collect()).await;
                    let report = reports.only().await;
                    let traffic = [report.messages_received, report.messages_sent];
                    assert_eq!(traffic, [u64::from(number); 2]);
                    assert_eq!(report.bytes_sent, u64::from(number) * len as u64);
                    assert!(report.clean);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_only_sends_queues_no_more_than_it_may() {
    for shape in SHAPES {
        for (most, messages) in [(0, 1), (1, 1), (10_000, 10), (1 << 20, 1045)] {
            let config = Config::default().max_send_queue(most);
            let (mut peer, _reports) =
                open(shape, config, move |mut socket: WebSocket| async move {
                    socket.recv().await?;
                    let sent =
                        (0..5000).take_while(|_| socket.try_send([0; 1000].to_vec()).is_ok());
                    let sent = sent.count();
                    socket.send(sent.to_string()).await?;
                    socket.recv().await.map(drop)
                })
                .await;
            peer.send(text("go")).await;
            let mut frame = peer.frame().await;
            while frame.first == 0x82 {
                frame = peer.frame().await;
            }
            assert_eq!(frame, Frame::text(&messages.to_string()), "of {most} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connections_of_one_thread_have_each_its_own_settings() {
    for shape in SHAPES {
        let small = Config::default().max_message_size(100);
        let mut peers = Vec::new();
        for config in [
            Config::default(),
            small.clone(),
            small.fragment_size(Some(10)),
        ] {
            peers.push(open(shape, config, echo).await);
        }
        // In one turn of the runtime, each behind another one.
        for (peer, _) in &mut peers {
            peer.send([text("a"), binary([1; 100])].concat()).await;
        }
        for (index, (peer, _)) in peers.iter_mut().enumerate() {
            assert_eq!(message(peer).await, "a");
            if index < 2 {
                assert_eq!(peer.frame().await, Frame::binary([1; 100]));
                continue;
            }
            let mut frames = Vec::new();
            for _ in 0..10 {
                frames.push(peer.frame().await);
            }
            let firsts: Vec<_> = frames.iter().map(|frame| frame.first).collect();
            assert_eq!(firsts, [0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        }
        for (peer, _) in &mut peers {
            peer.send([text("b"), binary([2; 101])].concat()).await;
        }
        for (index, (peer, _)) in peers.iter_mut().enumerate() {
            assert_eq!(message(peer).await, "b");
            if index == 0 {
                assert_eq!(peer.frame().await, Frame::binary([2; 101]));
            } else {
                assert_eq!(peer.frame().await.code(), Some(1009));
            }
        }
    }
}
