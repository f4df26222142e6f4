//! What is sent from a runtime or a thread that does nothing afterwards arrives all the same.

use std::{
    future::Future,
    mem,
    pin::{Pin, pin},
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
};

use futures_util::future::join_all;
use tokio::{
    io::duplex,
    runtime::{Builder, Runtime},
    task::yield_now,
};
use tower_websocket::{CloseCode, Config, Groups, Sender, WebSocket, groups::Membership};

use crate::{
    session::support::{
        Frame, PIPE, Peer, Plan, Reports, SHAPES, Shape, Wire, hold, hold_over, idle, lock, once,
    },
    support::within,
};

/// Who sends, and then does nothing.
#[derive(Clone, Copy, Debug)]
enum From {
    /// A runtime that is kept, and not driven any more.
    Runtime,
    /// A thread that blocks, with a runtime of its own.
    Thread,
    /// No runtime at all: futures are polled by hand.
    Hand,
    /// The runtime of the sessions, between two times that it is driven.
    Sessions,
}

const ALL: [From; 4] = [From::Runtime, From::Thread, From::Hand, From::Sessions];

/// What keeps a runtime or a thread as it is.
#[derive(Default)]
struct Standing {
    runtimes: Vec<Runtime>,
    threads: Vec<mpsc::Sender<()>>,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Standing {
    /// Does it from there.
    fn run(&mut self, from: From, sessions: &Runtime, work: Work) {
        match from {
            From::Runtime => {
                let runtime = current_thread();
                runtime.block_on(work);
                self.runtimes.push(runtime);
            }
            From::Thread => {
                let (done, is_done) = mpsc::channel();
                let (blocker, blocked) = mpsc::channel::<()>();
                thread::spawn(move || {
                    let runtime = current_thread();
                    runtime.block_on(work);
                    done.send(()).unwrap();
                    // Until the test is over.
                    let _over = blocked.recv();
                });
                is_done.recv().unwrap();
                self.threads.push(blocker);
            }
            From::Hand => by_hand(work),
            From::Sessions => sessions.block_on(work),
        }
    }
}

/// Polls a future until it is ready, without a runtime.
fn by_hand<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let poll = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = poll {
            return output;
        }
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The runtimes that sessions may run in: only there does anything go on.
fn runtimes() -> [Runtime; 2] {
    let many = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    [current_thread(), many.unwrap()]
}

struct Member {
    peer: Peer,
    socket: WebSocket,
    _reports: Reports,
    membership: Option<Membership<u8>>,
}

/// Opens connections that are members of group 0, and lets them come to rest.
fn members(runtime: &Runtime, groups: &Groups<u8>, shape: Shape, count: usize) -> Vec<Member> {
    let config = || Config::default().ping_interval(None);
    runtime.block_on(async {
        let mut members = Vec::new();
        for _ in 0..count {
            let (peer, socket, reports) = hold(shape, config()).await;
            let membership = groups.join(0, &socket.sender()).unwrap();
            members.push(Member {
                peer,
                socket,
                _reports: reports,
                membership: Some(membership),
            });
        }
        idle().await;
        members
    })
}

impl Member {
    fn gets(&mut self, runtime: &Runtime, text: &str) {
        let frame = runtime.block_on(within(self.peer.frame()));
        assert_eq!(frame, Frame::text(text));
    }
}

#[test]
fn broadcast_arrives_and_so_does_what_is_sent_afterwards() {
    // One member, one stretch, several.
    for count in [1, 5, 600] {
        for sessions in runtimes() {
            for (shape, from) in SHAPES.into_iter().zip(ALL).chain([
                (Shape::H2, From::Runtime),
                (Shape::H2, From::Hand),
                (Shape::H1, From::Thread),
                (Shape::H1, From::Sessions),
            ]) {
                let groups = Groups::<u8>::new();
                let mut standing = Standing::default();
                let mut all = members(&sessions, &groups, shape, count);
                let news = groups.clone();
                let broadcast = async move {
                    let delivery = news.broadcast(&0, "news").await;
                    assert_eq!(delivery.sent as usize, count);
                };
                println!("{count} {shape:?} {from:?}");
                standing.run(from, &sessions, Box::pin(broadcast));
                for member in &mut all {
                    member.gets(&sessions, "news");
                }
                for member in &mut all {
                    member.socket.try_send("later").unwrap();
                    member.gets(&sessions, "later");
                }
                all[0].socket.close(CloseCode::NORMAL);
                let last = sessions.block_on(within(all[0].peer.frame()));
                assert_eq!(last.code(), Some(1000));
            }
        }
    }
}

#[test]
fn whatever_a_handle_does_arrives() {
    type Act = fn(Sender) -> Work;
    let acts: [(&str, Act); 6] = [
        ("send", |sender| {
            Box::pin(async move { sender.send("text").await.unwrap() })
        }),
        ("try_send", |sender| {
            Box::pin(async move { sender.try_send("text").unwrap() })
        }),
        ("ping", |sender| {
            Box::pin(async move { sender.ping("text").unwrap() })
        }),
        ("send_writer", |sender| {
            Box::pin(async move {
                let kind = tower_websocket::MessageKind::Text;
                let mut message = sender.send_writer(kind).await.unwrap();
                message.send("text").await.unwrap();
                message.finish().await.unwrap();
            })
        }),
        ("close", |sender| {
            Box::pin(async move { sender.close(CloseCode::NORMAL) })
        }),
        ("abort", |sender| Box::pin(async move { sender.abort() })),
    ];
    for sessions in runtimes() {
        for (shape, from) in SHAPES
            .iter()
            .flat_map(|shape| ALL.map(|from| (*shape, from)))
        {
            for (name, act) in &acts {
                let groups = Groups::<u8>::new();
                let mut standing = Standing::default();
                let mut all = members(&sessions, &groups, shape, 2);
                // What a broadcast leaves behind must not be in the way.
                let news = groups.clone();
                let broadcast = async move {
                    news.broadcast(&0, "news").await;
                };
                println!("{name} {shape:?} {from:?}");
                standing.run(from, &sessions, Box::pin(broadcast));
                standing.run(from, &sessions, act(all[0].socket.sender()));
                if *name == "abort" {
                    // Whether the news were first is a race.
                    sessions.block_on(within(async {
                        while all[0].peer.next().await.is_some() {}
                    }));
                    continue;
                }
                all[0].gets(&sessions, "news");
                let frame = sessions.block_on(within(all[0].peer.frame()));
                match *name {
                    "close" => assert_eq!(frame.code(), Some(1000)),
                    "ping" => assert_eq!(frame, Frame::ping("text")),
                    "send_writer" => assert_eq!(frame.payload, b"text"),
                    _ => assert_eq!(frame, Frame::text("text")),
                }
            }
        }
    }
}

#[test]
fn broadcast_arrives_though_the_thread_that_made_it_blocks_at_once() {
    for shape in SHAPES {
        // Members of which it is known in which runtime they run, and others.
        for had_a_turn in [true, false] {
            let [_, sessions] = runtimes();
            let groups = Groups::<u8>::new();
            let mut all = members(&sessions, &groups, shape, 30);
            for member in &mut all {
                if had_a_turn {
                    member.socket.ping("").unwrap();
                    let ping = sessions.block_on(within(member.peer.frame()));
                    assert_eq!(ping, Frame::ping(""));
                } else {
                    member.membership = None;
                    let membership = groups.join(0, &member.socket.sender()).unwrap();
                    member.membership = Some(membership);
                }
            }
            let (blocker, blocked) = mpsc::channel::<()>();
            let (done, is_done) = mpsc::channel();
            let news = groups.clone();
            // One of two threads that there are.
            sessions.spawn(async move {
                news.broadcast(&0, "news").await;
                done.send(()).unwrap();
                let _over = blocked.recv();
            });
            is_done.recv().unwrap();
            for member in &mut all {
                // The other one may be about to sleep: it looks for work when there is a task more.
                let frame = sessions.block_on(within(async {
                    let mut frame = pin!(member.peer.frame());
                    loop {
                        if let Poll::Ready(frame) = once(frame.as_mut()).await {
                            break frame;
                        }
                        tokio::spawn(async {});
                        yield_now().await;
                    }
                }));
                assert_eq!(frame, Frame::text("news"));
            }
            drop(blocker);
        }
    }
}

#[test]
fn part_of_a_broadcast_arrives_whether_the_rest_is_dropped_or_only_kept() {
    for sessions in runtimes() {
        for (shape, kept) in [
            (Shape::H1, false),
            (Shape::H1, true),
            (Shape::H2, false),
            (Shape::H2, true),
        ] {
            let groups = Groups::<u8>::new();
            let mut all = members(&sessions, &groups, shape, 300);
            let mut broadcast = Some(Box::pin(groups.broadcast(&0, "news")));
            let mut cx = Context::from_waker(Waker::noop());
            let poll = broadcast
                .as_mut()
                .map(|future| future.as_mut().poll(&mut cx));
            assert!(poll.is_some_and(|poll| poll.is_pending()));
            broadcast.take_if(|_| !kept);
            for (index, member) in all.iter_mut().enumerate() {
                if index < 60 {
                    member.gets(&sessions, "news");
                }
                member.socket.try_send("later").unwrap();
                member.gets(&sessions, "later");
            }
            drop(broadcast);
            let next = by_hand(groups.broadcast(&0, "next"));
            assert_eq!(next.sent, 300);
            for member in &mut all {
                member.gets(&sessions, "next");
            }
        }
    }
}

#[test]
fn sessions_of_several_runtimes_get_a_broadcast_though_one_of_those_stands_still() {
    let groups = Groups::<u8>::new();
    let [first, second] = runtimes();
    let third = current_thread();
    let mut all = Vec::new();
    for _ in 0..20 {
        for runtime in [&first, &second, &third] {
            all.extend(members(runtime, &groups, Shape::H1, 1));
        }
    }
    assert_eq!(by_hand(groups.broadcast(&0, "news")).sent, 60);
    for (index, member) in all.iter_mut().enumerate() {
        match index % 3 {
            0 => member.gets(&first, "news"),
            1 => member.gets(&second, "news"),
            _ => {}
        }
    }
    for member in all.iter_mut().skip(2).step_by(3) {
        member.gets(&third, "news");
    }
    // Nothing is left for a runtime that is gone.
    drop(first);
    assert_eq!(by_hand(groups.broadcast(&0, "next")).sent, 40);
    for (index, member) in all.iter_mut().enumerate() {
        match index % 3 {
            0 => {}
            1 => member.gets(&second, "next"),
            _ => member.gets(&third, "next"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn broadcasts_that_follow_upon_each_other_leave_in_one_write() {
    for (shape, count) in [(Shape::H1, 50), (Shape::H1, 1000), (Shape::H2, 600)] {
        let groups = Groups::<u8>::new();
        let mut all = Vec::new();
        for _ in 0..count {
            let (ours, theirs) = duplex(PIPE);
            let wire = Wire::new(theirs, Plan::default());
            let log = wire.log();
            let (socket, reports) = hold_over(shape, Config::default(), wire).await;
            let membership = groups.join(0, &socket.sender()).unwrap();
            // One that has not had a turn since it joined is woken at once.
            socket.ping("").unwrap();
            all.push((log, ours, socket, reports, membership));
        }
        idle().await;
        for (log, ..) in &all {
            assert_eq!(mem::take(&mut lock(log).writes), [2]);
        }
        // One after the other, from one task, and from several.
        let burst = tokio::spawn({
            let groups = groups.clone();
            async move {
                for _ in 0..8 {
                    groups.broadcast(&0, "x".repeat(100)).await;
                }
            }
        });
        burst.await.unwrap();
        idle().await;
        let tasks = (0..8).map(|_| tokio::spawn(groups.broadcast(&0, "x".repeat(100))));
        join_all(tasks).await;
        idle().await;
        for (log, ..) in &all {
            assert_eq!(lock(log).writes, [8 * 102; 2]);
        }
    }
}

/// A handle that is dropped in a thread without a runtime.
#[test]
fn end_of_a_handle_is_noticed_wherever_it_is_dropped() {
    for sessions in runtimes() {
        for shape in SHAPES {
            let groups = Groups::<u8>::new();
            let mut all = members(&sessions, &groups, shape, 1);
            let Member {
                mut peer, socket, ..
            } = all.remove(0);
            let sender = socket.sender();
            let waits = sessions.spawn(async move { sender.closed().await });
            sessions.block_on(yield_now());
            thread::spawn(move || drop(socket)).join().unwrap();
            let frame = sessions.block_on(within(peer.frame()));
            assert_eq!(frame.code(), Some(1000));
            drop(peer);
            sessions.block_on(within(waits)).unwrap();
        }
    }
}
