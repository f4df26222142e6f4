//! One connection with very many that wait for it: what each of them costs, and who is woken.

use std::{
    fs,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use futures_util::{SinkExt, future::join_all};
use tokio::{
    io::duplex,
    task::{JoinHandle, unconstrained, yield_now},
};
use tower_websocket::{
    CloseCode, Config, Error, Groups, Message, MessageKind, Sender, WebSocket,
    groups::{Membership, SlowMember},
    testing,
};

use crate::{
    session::support::{Frame, Peer, Reports, SHAPES, Shape, close, hold, hold_over, idle, once},
    support::within,
};

/// The time that this thread has run, whatever others do: `None` where the system does not tell.
fn cpu_time() -> Option<Duration> {
    // The system counts on when it schedules.
    thread::yield_now();
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = stat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Checks that work for four times as many takes less than eight times as long: four times as long, and
/// more for memory that is no longer at hand. What is quadratic takes sixteen times as long.
///
/// The least of several times: others on the machine make it longer, never shorter.
async fn is_linear(what: &str, n: usize, work: impl AsyncFn(usize) -> Option<Duration>) {
    let mut least = [Duration::MAX; 2];
    for time in 1..=TIMES {
        for (least, n) in least.iter_mut().zip([n, 4 * n]) {
            let Some(time) = work(n).await else {
                println!("not measured: {what}");
                return;
            };
            *least = (*least).min(time);
        }
        println!("{what}: {least:?}");
        if least[1] <= 8 * least[0] {
            return;
        }
        if time > 2 && least[1] > 10 * least[0] {
            break;
        }
    }
    panic!("{what}: {least:?} for {n} and four times as many");
}

/// Times it is measured, at most: something that is quadratic takes sixteen times as long each time.
const TIMES: usize = 20;

/// A waker that counts.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Counter {
    fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::<Self>::default();
        let waker = counter.clone().into();
        (counter, waker)
    }

    fn woken(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Counts how often a future is polled.
async fn counted<F: Future>(polls: Arc<AtomicUsize>, future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        polls.fetch_add(1, Relaxed);
        future.as_mut().poll(cx)
    })
    .await
}

/// A connection whose peer has read nothing, and whose queue is full with one message.
async fn full(shape: Shape, config: Config) -> (Peer, WebSocket, Reports) {
    let config = config.write_timeout(None).ping_interval(None);
    let (ours, theirs) = duplex(64);
    let (socket, reports) = hold_over(shape, config, theirs).await;
    // The second waits, since the first does not fit into the pipe.
    while socket.try_send(vec![0; 200]).is_ok() {
        idle().await;
    }
    (Peer::new(ours), socket, reports)
}

fn narrow() -> Config {
    Config::default().max_send_messages(1)
}

#[tokio::test(start_paused = true)]
async fn groups_are_left_at_the_cost_of_joining_them() {
    type Leave = fn(Vec<Membership<usize>>, WebSocket);
    let ways: [(&str, Leave); 3] = [
        ("as joined", |all, _| drop(all)),
        ("the last first", |all, _| {
            all.into_iter().rev().for_each(drop)
        }),
        ("never", |all, socket| {
            socket.sender().abort();
            std::mem::forget(all);
        }),
    ];
    for (way, leave) in ways {
        is_linear(way, 8000, async |n| {
            let groups = Groups::<usize>::new();
            let (_client, server) = testing::pair(Config::default());
            let sender = server.sender();
            let all: Vec<_> = (0..n)
                .map(|key| groups.join(key, &sender).unwrap())
                .collect();
            idle().await;
            let start = cpu_time()?;
            leave(all, server);
            yield_now().await;
            yield_now().await;
            let time = cpu_time()? - start;
            assert!(groups.is_empty());
            Some(time)
        })
        .await;
    }
}

/// Waits for something of a connection, with the waker of a task of its own.
type Wait = for<'a> fn(&'a mut Sender) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

const WAITS: [(&str, Wait); 6] = [
    ("send", |sender| {
        Box::pin(async {
            let _closed = Sender::send(sender, "").await;
        })
    }),
    ("flush", |sender| {
        Box::pin(async {
            let _closed = Sender::flush(sender).await;
        })
    }),
    ("closed", |sender| Box::pin(sender.closed())),
    ("sink", |sender| {
        Box::pin(async {
            let _closed = sender.feed(Message::from("")).await;
        })
    }),
    ("flushed sink", |sender| {
        Box::pin(async {
            let _closed = SinkExt::<Message>::flush(sender).await;
        })
    }),
    ("send_writer", |sender| {
        Box::pin(async {
            let _closed = sender.send_writer(MessageKind::Text).await;
        })
    }),
];

#[tokio::test(start_paused = true)]
async fn waiting_waiting_on_and_giving_up_cost_the_same_for_each() {
    for (what, wait) in WAITS {
        is_linear(what, 4000, async |n| {
            let (_peer, socket, _reports) = full(Shape::H1, narrow()).await;
            let _writer = socket.send_writer(MessageKind::Text).await;
            let mut senders = vec![socket.sender(); n];
            let wakers = || (0..n).map(|_| Counter::new().1).collect::<Vec<_>>();
            let (first, second) = (wakers(), wakers());
            let start = cpu_time()?;
            let mut waiting: Vec<_> = senders.iter_mut().map(wait).collect();
            // With one waker, with it once more, and with another one.
            for wakers in [&first, &first, &second] {
                for (future, waker) in waiting.iter_mut().zip(wakers) {
                    let poll = future.as_mut().poll(&mut Context::from_waker(waker));
                    assert!(poll.is_pending());
                }
            }
            drop(waiting);
            Some(cpu_time()? - start)
        })
        .await;
    }
}

/// Lets many tasks send at once over a connection whose queue is full, and receives it all; gives
/// how often their futures were polled.
async fn polls_of_many(shape: Shape, config: Config, n: usize) -> usize {
    let (mut peer, socket, _reports) = full(shape, config).await;
    let polls = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<JoinHandle<Result<(), Error>>> = (0..n)
        .map(|number| {
            let (sender, polls) = (socket.sender(), polls.clone());
            let send = async move { sender.send(number.to_string()).await };
            tokio::spawn(counted(polls, send))
        })
        .collect();
    let mut numbers = Vec::new();
    while numbers.len() < n {
        let frame = peer.frame().await;
        if frame.first == 0x81 {
            let number: usize = str::from_utf8(&frame.payload).unwrap().parse().unwrap();
            numbers.push(number);
        }
    }
    assert!(numbers.is_sorted(), "first come, first served");
    for task in join_all(tasks).await {
        task.unwrap().unwrap();
    }
    polls.load(Relaxed)
}

#[tokio::test(start_paused = true)]
async fn as_many_tasks_are_woken_as_there_is_room_for() {
    for shape in SHAPES {
        for config in [
            narrow(),
            Config::default().max_send_messages(10),
            Config::default().max_send_queue(0),
            Config::default().max_send_queue(1000),
        ] {
            const TASKS: usize = 2000;
            let polls = polls_of_many(shape, config.clone(), TASKS).await;
            // To wait, to send, and once more where another one was there before.
            assert!(
                polls <= 3 * TASKS,
                "{polls} for {TASKS} over {shape:?}, {config:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_in_many_groups_cost_the_same_for_each() {
    is_linear("conflated", 1000, async |n| {
        let groups = Groups::<usize>::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let (mut peer, socket, _reports) = full(Shape::H1, narrow()).await;
        let memberships: Vec<_> = (0..n)
            .map(|key| groups.join(key, &socket.sender()).unwrap())
            .collect();
        let start = cpu_time()?;
        for key in 0..n {
            let delivery = unconstrained(groups.broadcast(&key, key.to_string())).await;
            assert_eq!((delivery.sent, delivery.dropped), (1, 0));
        }
        let mut next = 0;
        while next < n {
            let frame = peer.frame().await;
            if frame.first == 0x81 {
                assert_eq!(frame, Frame::text(&next.to_string()), "in turn");
                next += 1;
            }
        }
        let time = cpu_time()? - start;
        drop(memberships);
        Some(time)
    })
    .await;
}

/// Reads one message, so that there is room for one.
async fn make_room(peer: &mut Peer) -> Frame {
    let frame = peer.frame().await;
    idle().await;
    frame
}

#[tokio::test(start_paused = true)]
async fn task_that_was_woken_and_goes_away_leaves_the_room_to_the_next() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = full(shape, narrow()).await;
        let sender = socket.sender();
        let tasks = [(); 5].map(|()| Counter::new());
        let woken = || tasks.each_ref().map(|(task, _)| task.woken());
        let mut sends: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|text| Some(Box::pin(sender.send(text))))
            .into();
        for ((_, waker), send) in tasks.iter().zip(&mut sends) {
            let send = send.as_mut().unwrap().as_mut();
            assert!(send.poll(&mut Context::from_waker(waker)).is_pending());
        }
        while woken() == [0; 5] {
            make_room(&mut peer).await;
        }
        assert_eq!(woken(), [1, 0, 0, 0, 0], "there is room for one");
        // Woken, and dropped before it was polled.
        sends[0] = None;
        assert_eq!(woken(), [1, 1, 0, 0, 0]);
        // One that waits gives nothing up, and neither does one that has sent.
        sends[2] = None;
        assert_eq!(woken(), [1, 1, 0, 0, 0]);
        let mut cx = Context::from_waker(&tasks[1].1);
        let sent = sends[1].as_mut().map(|send| send.as_mut().poll(&mut cx));
        assert!(matches!(sent, Some(Poll::Ready(Ok(())))));
        sends[1] = None;
        assert_eq!(woken(), [1, 1, 0, 0, 0]);
        while woken()[3] == 0 {
            make_room(&mut peer).await;
        }
        // What others took, it waits for again, and before the others.
        sender.try_send("first").unwrap();
        let mut cx = Context::from_waker(&tasks[3].1);
        let sent = sends[3].as_mut().map(|send| send.as_mut().poll(&mut cx));
        assert!(matches!(sent, Some(Poll::Pending)));
        while woken()[3] == 1 {
            make_room(&mut peer).await;
        }
        assert_eq!(woken(), [1, 1, 0, 2, 0]);
        // The end wakes all.
        socket.sender().abort();
        idle().await;
        assert_eq!(woken(), [1, 1, 0, 2, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn task_that_was_to_begin_a_message_and_goes_away_lets_the_next_one_begin() {
    for shape in SHAPES {
        for finished in [true, false] {
            let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
            let sender = socket.sender();
            let (tasks, mut begins): (Vec<_>, Vec<_>) = (0..3)
                .map(|_| {
                    (
                        Counter::new(),
                        Some(Box::pin(sender.send_writer(MessageKind::Text))),
                    )
                })
                .unzip();
            let writer = sender.send_writer(MessageKind::Text).await.unwrap();
            for ((_, waker), begin) in tasks.iter().zip(&mut begins) {
                let begin = begin.as_mut().unwrap().as_mut();
                assert!(begin.poll(&mut Context::from_waker(waker)).is_pending());
            }
            if finished {
                writer.finish().await.unwrap();
            } else {
                drop(writer);
            }
            let woken = || -> Vec<_> { tasks.iter().map(|(task, _)| task.woken()).collect() };
            assert_eq!(woken(), [1, 0, 0]);
            begins[0] = None;
            assert_eq!(woken(), [1, 1, 0]);
            let mut cx = Context::from_waker(&tasks[1].1);
            let begin = begins[1].as_mut().unwrap().as_mut().poll(&mut cx);
            let Poll::Ready(Ok(writer)) = begin else {
                panic!("it is its turn");
            };
            begins[1] = None;
            assert_eq!(woken(), [1, 1, 0]);
            drop(writer);
            assert_eq!(woken(), [1, 1, 1]);
            drop(begins);
            socket.close(CloseCode::NORMAL);
            if finished {
                assert_eq!(peer.frame().await, Frame::text(""));
            }
            assert_eq!(peer.frame().await.code(), Some(1000));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn member_that_leaves_when_it_was_its_turn_leaves_the_room_to_others() {
    for shape in SHAPES {
        let groups = Groups::<u8>::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let (mut peer, socket, _reports) = full(shape, narrow()).await;
        let sender = socket.sender();
        let mut memberships: Vec<_> = (0..3)
            .map(|key| Some(groups.join(key, &sender).unwrap()))
            .collect();
        for key in 0..3 {
            assert_eq!(groups.broadcast(&key, key.to_string()).await.sent, 1);
        }
        let (task, waker) = Counter::new();
        let mut send = pin!(sender.send("last"));
        let mut cx = Context::from_waker(&waker);
        assert!(send.as_mut().poll(&mut cx).is_pending());
        memberships[0] = None;
        memberships[2] = None;
        let mut texts = Vec::new();
        while task.woken() == 0 {
            let frame = make_room(&mut peer).await;
            texts.extend((frame.first == 0x81).then_some(frame));
        }
        assert!(matches!(once(send.as_mut()).await, Poll::Ready(Ok(()))));
        while texts.len() < 2 {
            let frame = make_room(&mut peer).await;
            texts.extend((frame.first == 0x81).then_some(frame));
        }
        assert_eq!(texts, [Frame::text("1"), Frame::text("last")]);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_anything_ends_with_the_connection() {
    for shape in SHAPES {
        for peer_closes in [false, true] {
            for (what, wait) in WAITS {
                let (mut peer, socket, _reports) = full(shape, narrow()).await;
                let writer = socket.send_writer(MessageKind::Text).await;
                let tasks: Vec<_> = (0..20)
                    .map(|_| {
                        let mut sender = socket.sender();
                        tokio::spawn(async move { wait(&mut sender).await })
                    })
                    .collect();
                idle().await;
                if peer_closes {
                    peer.send(close(1000, "")).await;
                    while !peer.frame().await.is_close() {}
                    peer.finish().await;
                } else {
                    socket.sender().abort();
                }
                println!("{what}");
                for task in within(join_all(tasks)).await {
                    task.unwrap();
                }
                drop(writer);
            }
        }
    }
}

/// A future that is polled before its turn, as `select!` does, and finds room leaves nothing behind
/// that would be woken in the place of another one.
#[tokio::test(start_paused = true)]
async fn a_send_that_finds_room_before_its_turn_takes_no_later_turn() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = full(shape, narrow()).await;
        let sender = socket.sender();
        let mut waiting: Vec<_> = (0..3)
            .map(|_| {
                let sender = sender.clone();
                let future = Box::pin(async move { sender.send(vec![1; 200]).await });
                (future, Counter::new())
            })
            .collect();
        for (future, (_, waker)) in &mut waiting {
            let poll = future.as_mut().poll(&mut Context::from_waker(waker));
            assert!(poll.is_pending());
        }
        // The first is woken, and the second is polled before it.
        while waiting[0].1.0.woken() == 0 {
            peer.frame().await;
            idle().await;
        }
        let mut sent = 0;
        let mut order = vec![1, 0];
        while sent < 3 {
            for index in std::mem::take(&mut order) {
                let (future, (_, waker)) = &mut waiting[index];
                let poll = future.as_mut().poll(&mut Context::from_waker(waker));
                sent += usize::from(matches!(poll, Poll::Ready(Ok(()))));
            }
            let woken = |all: &[(_, (Arc<Counter>, Waker))]| -> Vec<usize> {
                all.iter()
                    .map(|(_, (counter, _))| counter.woken())
                    .collect()
            };
            let before = woken(&waiting);
            if sent == 3 {
                break;
            }
            peer.frame().await;
            idle().await;
            let after = woken(&waiting);
            order = (0..3).filter(|&i| after[i] > before[i]).collect();
            assert!(!order.is_empty(), "{sent} sent, and nobody is woken");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_begins_before_its_turn_takes_no_later_turn() {
    for shape in SHAPES {
        let (_peer, socket, _reports) = hold(shape, Config::default()).await;
        let sender = socket.sender();
        let first = sender.send_writer(MessageKind::Text).await.unwrap();
        let mut waiting: Vec<_> = (0..3)
            .map(|_| {
                let future = Box::pin(sender.send_writer(MessageKind::Text));
                (future, Counter::new())
            })
            .collect();
        for (future, (_, waker)) in &mut waiting {
            let poll = future.as_mut().poll(&mut Context::from_waker(waker));
            assert!(poll.is_pending());
        }
        drop(first);
        assert_eq!(waiting[0].1.0.woken(), 1);
        // The second is polled before the first, which was woken.
        let mut poll = |index: usize| {
            let (future, (_, waker)) = &mut waiting[index];
            future.as_mut().poll(&mut Context::from_waker(waker))
        };
        let Poll::Ready(Ok(second)) = poll(1) else {
            panic!("nothing is in its way");
        };
        assert!(poll(0).is_pending());
        drop(second);
        let Poll::Ready(Ok(first)) = poll(0) else {
            panic!("it is its turn");
        };
        drop(first);
        assert_eq!(waiting[2].1.0.woken(), 1, "the third has its turn");
    }
}
