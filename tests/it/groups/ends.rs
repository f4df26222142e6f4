//! Connections that end while a broadcast or a farewell is under way.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures_util::StreamExt;
use tokio::{runtime::Builder, task::yield_now};
use tower_websocket::{
    CloseCode, Config, Groups, WebSocket,
    groups::{GroupEvents, Membership},
    testing,
};

use super::{
    at_once, delivery,
    farewell::{heard, listener},
    padded, stalled,
};
use crate::session::support::{SHAPES, idle, within};

fn pair() -> (WebSocket, WebSocket) {
    testing::pair(Config::default().ping_interval(None))
}

#[tokio::test(start_paused = true)]
async fn who_is_left_out_has_ended_and_no_other_connection_is_taken_for_it() {
    let rooms: Groups<u8> = Groups::new();
    let (_client, server) = pair();
    let _stays = rooms.join(0, &server.sender()).unwrap();
    // A new connection comes to lie where another one has lain, now and then.
    for round in 0..200 {
        let (client, ended) = pair();
        let broadcast = rooms.broadcast_except(&0, "news", &ended.sender());
        let closing = rooms.close_except(&0, CloseCode::NORMAL, &ended.sender());
        drop((client, ended));
        for _ in 0..50 {
            yield_now().await;
        }
        let all: Vec<_> = (0..4).map(|_| pair()).collect();
        let join = |one: &WebSocket| rooms.join(0, &one.sender()).unwrap();
        let members: Vec<_> = all.iter().map(|(_, server)| join(server)).collect();
        assert_eq!(broadcast.await, delivery(5, 0, 0), "in round {round}");
        if round == 199 {
            assert_eq!(closing.await, delivery(0, 0, 5));
        }
        drop((members, all));
        for _ in 0..50 {
            yield_now().await;
        }
    }
}

/// Looks how many have heard a farewell.
struct Look(Groups<u32>, AtomicU64);

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        self.1.store(self.0.totals().sent, Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn end_of_a_connection_says_no_farewell_in_the_turn_of_its_session() {
    let rooms: Groups<u32> = Groups::new();
    let others: Vec<_> = (0..5).map(|_| pair()).collect();
    let (_client, server) = pair();
    let mut memberships = Vec::new();
    for room in 0..100 {
        for (_, other) in &others {
            memberships.push(rooms.join(room, &other.sender()).unwrap());
        }
        let leaves = rooms.join(room, &server.sender()).unwrap();
        memberships.push(leaves.on_leave("gone"));
    }
    let sender = server.sender();
    let mut closed = pin!(sender.closed());
    let look = Arc::new(Look(rooms.clone(), AtomicU64::new(u64::MAX)));
    let waker = Waker::from(look.clone());
    // It is woken behind the memberships.
    let poll = closed.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    sender.abort();
    idle().await;
    assert_eq!(look.1.load(Relaxed), 0);
    assert_eq!(rooms.totals(), delivery(500, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn farewell_does_not_wait_for_the_thread_in_which_its_membership_ends() {
    let rooms: Groups = Groups::new();
    // More than are told at once.
    let mut all: Vec<_> = (0..70).map(|_| listener(&rooms)).collect();
    let (_client, server) = pair();
    let membership = rooms.join("room".to_owned(), &server.sender()).unwrap();
    let membership = membership.on_leave("gone");
    let (told, said) = mpsc::channel();
    let leaving = tokio::spawn(async move {
        drop(membership);
        // It blocks the thread, and for ever if nobody else goes on with the farewell.
        said.recv_timeout(Duration::from_secs(10))
    });
    let (last, ..) = all.last_mut().unwrap();
    let message = last.recv().await.unwrap().unwrap();
    assert_eq!(message.as_text(), Some("gone"));
    // Nobody hears it where that comes too late.
    let _ = told.send(());
    assert_eq!(leaving.await.unwrap(), Ok(()));
}

#[test]
fn farewell_needs_no_runtime_but_the_one_in_which_its_membership_ends() {
    let runtime = || {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let (never_runs, runs) = (runtime(), runtime());
    let rooms: Groups = Groups::new();
    runs.block_on(async {
        // More than are told at once.
        let mut all: Vec<_> = (0..70).map(|_| listener(&rooms)).collect();
        let (_client, server) = pair();
        let membership = rooms.join("room".to_owned(), &server.sender()).unwrap();
        let membership = {
            let _there = never_runs.enter();
            membership.on_leave("gone")
        };
        drop(membership);
        let after = within(rooms.broadcast("room", "after")).await;
        assert_eq!(after, delivery(70, 0, 0));
        idle().await;
        assert_eq!(heard(&mut all[69].0), ["gone", "after"]);
    });
}

/// Data of a member that panics when it is dropped.
struct Explodes;

impl Drop for Explodes {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("as ordered");
        }
    }
}

type Held = (GroupEvents<u8, Explodes>, Membership<u8>);

/// Lets go of a membership when the group tells that its connection has left.
struct LetGo(Mutex<Option<Held>>);

impl Wake for LetGo {
    fn wake(self: Arc<Self>) {
        let held = self.0.lock().unwrap().take();
        drop(held);
    }
}

#[tokio::test(start_paused = true)]
async fn data_that_panics_when_it_is_dropped_takes_no_broadcast_from_others() {
    for shape in SHAPES {
        let groups: Groups<u8, Explodes> = Groups::default();
        let (_peer, first, _reports) = stalled(shape).await;
        let (_other_peer, second, _other_reports) = stalled(shape).await;
        for socket in [&first, &second] {
            while socket.try_send(padded(0)).is_ok() {
                idle().await;
            }
        }
        let membership = groups.join_as(0, &first.sender(), Explodes).unwrap();
        let _second = groups.join(0, &second.sender()).unwrap();
        let mut events = groups.events();
        let held = Arc::new(LetGo(Mutex::default()));
        let waker = Waker::from(held.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(events.poll_next_unpin(&mut cx).is_pending());
        *held.0.lock().unwrap() = Some((events, membership));
        // The broadcast has the last of the first member, which is too slow, as the second one is.
        let broadcast = AssertUnwindSafe(|| at_once(groups.broadcast(&0, "news")));
        assert!(catch_unwind(broadcast).is_err());
        assert!(!second.is_open());
        assert_eq!(groups.totals(), delivery(0, 0, 2));
        assert!(groups.is_empty());
    }
}
