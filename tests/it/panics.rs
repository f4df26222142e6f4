//! Code of the application that panics wherever this crate calls it: nothing is left half-done.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use tokio::io::duplex;
use tower::ServiceExt;
use tower_websocket::{
    CloseCode, CloseFrame, Config, Connections, Error, Groups, Handshake, Message, Sender,
    Utf8Bytes, WebSocketLayer,
    groups::{GroupEvent, SlowMember},
    protocol::State,
    service::{Decision, EventHandler, OnUpgrade, event_handler},
    testing,
};

use crate::{
    crowd::{ask, until},
    session::support::{
        Frame, PIPE, Peer, SHAPES, client_frame, close, echo, hold, hold_over, idle, ping, pong,
        text,
    },
    support::handler,
};

/// Panics once, after so many calls of the application's code.
#[derive(Clone)]
struct Fuse(Arc<AtomicUsize>);

impl Fuse {
    fn after(calls: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(calls + 1)))
    }

    /// Some code of the application runs.
    fn call(&self) {
        let burns = |left: usize| left.checked_sub(1);
        if self.0.fetch_update(Relaxed, Relaxed, burns) == Ok(1) {
            // Quietly: there are very many.
            resume_unwind(Box::new("as ordered"));
        }
    }

    /// Whether it has panicked.
    fn is_blown(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    /// Nothing panics any more.
    fn disarm(&self) {
        if !self.is_blown() {
            self.0.store(usize::MAX, Relaxed);
        }
    }
}

/// Runs it for every number of calls, until there are fewer; gives how many there are.
async fn for_every_call(mut work: impl AsyncFnMut(Fuse)) -> usize {
    for calls in 0..10_000 {
        let fuse = Fuse::after(calls);
        work(fuse.clone()).await;
        if !fuse.is_blown() {
            return calls;
        }
    }
    panic!("there is no end of calls");
}

/// Does something that may panic; `None` where it does.
fn may_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Waits for something that may panic.
async fn may_fail<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// A key of which everything may panic. Some have the same hash.
struct Key(u8, Fuse);

impl Clone for Key {
    fn clone(&self) -> Self {
        self.1.call();
        Self(self.0, self.1.clone())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.1.call();
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.1.call();
        (self.0 / 2).hash(state);
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.1.call();
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn keys_and_policies_that_panic_leave_no_half_a_member() {
    for shape in SHAPES {
        let calls = for_every_call(async |fuse| {
            let policy = fuse.clone();
            let groups: Groups<Key> = Groups::builder()
                .max_groups_per_connection(3)
                .slow_members(move |_| {
                    policy.call();
                    SlowMember::Conflate
                })
                .build();
            let (mut events, mut others) = (groups.events(), groups.events());
            let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
            let (_other_peer, other, _other_reports) = hold(shape, Config::default()).await;
            let key = |number| Key(number, fuse.clone());

            let mut members = Vec::new();
            for (number, socket) in [(0, &socket), (0, &other), (1, &socket), (5, &other)] {
                let sender = socket.sender();
                let joined = may_panic(|| groups.join(key(number), &sender));
                members.extend(joined.map(Result::unwrap));
            }
            // What fails has to drop its key, too.
            may_panic(|| groups.join(key(0), &socket.sender()).is_ok());
            let counted = may_panic(|| groups.member_count(&key(0)));
            let senders = may_panic(|| groups.members(&key(0)).len());
            if let (Some(counted), Some(senders)) = (counted, senders) {
                assert_eq!(counted, senders);
            }
            may_panic(|| drop(groups.keys()));
            may_fail(async { groups.broadcast(&key(1), "hi").await }).await;
            for _ in 0..5 {
                may_panic(|| drop(events.recv().now_or_never()));
            }
            // One leaves, one stays until the end of its connection.
            while members.len() > 2 {
                let member = members.remove(0);
                may_panic(|| member.leave());
            }
            drop(other);
            socket.close(CloseCode::NORMAL);
            peer.send(close(1000, "")).await;
            while !peer.frame().await.is_close() {}
            peer.finish().await;
            drop(_other_peer);
            idle().await;
            assert!(groups.is_empty(), "{} are left", groups.len());
            may_panic(|| drop(members));
            let blown = fuse.is_blown();
            fuse.disarm();

            // Everything works: the limit counts none that is gone.
            let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
            let sender = socket.sender();
            let again: Vec<_> = (0..3)
                .map(|number| groups.join(key(number), &sender).unwrap())
                .collect();
            assert!(groups.join(key(3), &sender).is_err());
            assert_eq!(groups.broadcast(&key(2), "hello").await.sent, 1);
            assert_eq!(peer.frame().await, Frame::text("hello"));
            drop(again);
            assert!(groups.is_empty());
            // Each that listens was told of all, and that in order.
            let all = |events: &mut tower_websocket::groups::GroupEvents<Key>| {
                let mut count = 0;
                let mut last = None;
                while let Some(event) = events.recv().now_or_never() {
                    count += 1;
                    last = Some(event);
                }
                assert!(matches!(last, Some(GroupEvent::Destroyed(_))));
                count
            };
            let (first, second) = (all(&mut events), all(&mut others));
            assert_eq!(second % 2, 0, "who joins leaves, what is made is destroyed");
            assert!(blown || first + 5 == second, "{first} and {second}");
        })
        .await;
        assert!(calls > 30, "{calls}");
    }
}

/// A payload of which the drop may panic.
struct Payload(Vec<u8>, Fuse);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.1.call();
    }
}

#[tokio::test(start_paused = true)]
async fn payloads_that_panic_when_dropped_harm_no_other_connection() {
    let policies = [
        SlowMember::default(),
        SlowMember::DropNewest,
        SlowMember::Conflate,
        SlowMember::DropOldest(NonZeroUsize::MIN),
    ];
    for (shape, policy) in SHAPES
        .into_iter()
        .cycle()
        .zip(policies.into_iter().cycle())
        .take(8)
    {
        let calls = for_every_call(async |fuse| {
            let slow = policy.clone();
            let groups: Groups<u8> = Groups::builder()
                .slow_members(move |_| slow.clone())
                .build();
            let config = || {
                Config::default()
                    .max_send_queue(1000)
                    .write_timeout(None)
                    .ping_interval(None)
            };
            let payload =
                |len| Message::binary(Bytes::from_owner(Payload(vec![0; len], fuse.clone())));
            // One that is slow, and one that is not.
            let (ours, theirs) = duplex(64);
            let (slow, _slow_reports) = hold_over(shape, config(), theirs).await;
            let (mut peer, socket, _reports) = hold(shape, config()).await;
            let mut members = Vec::new();
            for socket in [&slow, &socket] {
                members.push(groups.join(0, &socket.sender()).unwrap());
            }
            let ended = {
                let sender = slow.sender();
                tokio::spawn(async move { sender.closed().await })
            };
            for len in [10, 5000, 10, 5000] {
                may_panic(|| slow.try_send(payload(len)).is_ok());
                may_fail(async { slow.send(payload(len)).now_or_never() }).await;
                may_fail(async { groups.broadcast(&0, payload(len)).await }).await;
                idle().await;
            }
            may_panic(|| members.remove(0).leave());
            slow.sender().abort();
            drop(ours);
            idle().await;
            may_panic(|| drop(slow));
            let alive = socket.sender().state() != State::Closed;
            assert_eq!(groups.member_count(&0), usize::from(alive));
            ended.await.unwrap();
            if fuse.is_blown() && !socket.sender().is_open() {
                // It was its own payload that panicked, in its own task.
                drop(members);
                assert!(groups.is_empty());
                return;
            }
            fuse.disarm();
            assert_eq!(groups.broadcast(&0, "last").await.sent, 1);
            while peer.frame().await != Frame::text("last") {}
            drop(members);
            assert!(groups.is_empty());
        })
        .await;
        assert!(calls > 5, "{calls}");
    }
}

/// A payload whose drop panics.
struct Explodes(Vec<u8>);

impl AsRef<[u8]> for Explodes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Explodes {
    fn drop(&mut self) {
        resume_unwind(Box::new("as ordered"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_panics_at_the_end_leaves_the_report() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(64);
        let (socket, reports) = hold_over(shape, Config::default(), theirs).await;
        let payload = Bytes::from_owner(Explodes(vec![0; 5000]));
        socket.send(Message::binary(payload)).await.unwrap();
        // The peer has read nothing, so that it is in the queue.
        idle().await;
        socket.sender().abort();
        drop(socket);
        assert_eq!(reports.only().await.close_code, 1006);
        drop(ours);
    }
}

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("as ordered"));
    }
}

#[tokio::test(start_paused = true)]
async fn wakers_that_panic_harm_neither_the_connection_nor_those_that_wait_with_them() {
    for shape in SHAPES {
        for ends in ["sent", "peer", "close", "abort"] {
            let groups: Groups<u8> = Groups::new();
            let mut events = groups.events();
            let config = Config::default().max_send_messages(1).write_timeout(None);
            let (ours, theirs) = duplex(64);
            let (socket, mut reports) = hold_over(shape, config, theirs).await;
            let mut peer = Peer::new(ours);
            while socket.try_send(vec![0; 200]).is_ok() {
                idle().await;
            }
            let sender = socket.sender();
            let waker = Waker::from(Arc::new(Panics));
            let mut cx = Context::from_waker(&waker);
            let (mut socket, mut writer) = (
                socket,
                sender.send_writer(tower_websocket::MessageKind::Text),
            );
            let mut writer = std::pin::pin!(&mut writer);
            {
                // All that can be waited for.
                let mut waiting: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = vec![
                    Box::pin(async { drop(sender.send("x").await) }),
                    Box::pin(sender.closed()),
                    Box::pin(async { drop(sender.flush().await) }),
                    Box::pin(async { drop(socket.recv().await) }),
                    Box::pin(events.recv().map(|_| ())),
                ];
                for future in &mut waiting {
                    assert!(future.as_mut().poll(&mut cx).is_pending());
                }
                let _begun = writer.as_mut().poll(&mut cx);
                // And those that wait as one should.
                let tasks = [0, 1, 2].map(|kind| {
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        match kind {
                            0 => drop(sender.send("y").await),
                            1 => sender.closed().await,
                            _ => drop(sender.flush().await),
                        }
                    })
                });
                idle().await;
                let membership = groups.join(0, &sender).unwrap();
                match ends {
                    "sent" => {
                        // Room comes, and goes to the one that panics.
                        assert_eq!(peer.frame().await.first, 0x82);
                        peer.send(text("message")).await;
                        idle().await;
                        assert!(sender.is_open());
                        drop(waiting);
                        sender.abort();
                    }
                    "peer" => {
                        peer.send(close(1000, "")).await;
                        while peer.next().await.is_some_and(|frame| !frame.is_close()) {}
                        peer.finish().await;
                    }
                    "close" => {
                        sender.close(CloseCode::NORMAL);
                        while peer.next().await.is_some_and(|frame| !frame.is_close()) {}
                        peer.send(close(1000, "")).await;
                        peer.finish().await;
                    }
                    _ => sender.abort(),
                }
                for task in tasks {
                    crate::session::support::within(task).await.unwrap();
                }
                assert!(groups.is_empty());
                drop(membership);
            }
            let report = reports.first().await;
            assert_eq!(report.clean, ["peer", "close"].contains(&ends), "{ends}");
        }
    }
}

/// Callbacks of which each may panic.
#[derive(Clone)]
struct Callbacks(Fuse);

impl EventHandler for Callbacks {
    async fn on_open(&mut self, _: &Sender, _: &Parts) {
        self.0.call();
    }

    async fn on_text(&mut self, _: &Sender, _: Utf8Bytes) {
        self.0.call();
    }

    async fn on_binary(&mut self, _: &Sender, _: Bytes) {
        self.0.call();
    }

    async fn on_ping(&mut self, _: &Sender, _: Bytes) {
        self.0.call();
    }

    async fn on_pong(&mut self, _: &Sender, _: Bytes) {
        self.0.call();
    }

    async fn on_close(&mut self, _: &Sender, _: Option<CloseFrame>) {
        self.0.call();
    }

    async fn on_error(&mut self, _: &Sender, _: Error) {
        self.0.call();
    }

    fn on_end(&mut self, _: &Sender) {
        self.0.call();
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_and_callbacks_that_panic_leave_nothing_open() {
    for shape in SHAPES {
        for last in [close(1000, ""), client_frame(0x83, ""), vec![]] {
            let calls = for_every_call(async |fuse| {
                let connections = Connections::new();
                let [asked, opened, ended, failed] = [(); 4].map(|()| fuse.clone());
                let layer = WebSocketLayer::new(event_handler(Callbacks(fuse.clone())))
                    .connections(&connections)
                    .on_handshake(move |handshake: Handshake| {
                        asked.call();
                        let asked = asked.clone();
                        async move {
                            asked.call();
                            let answer: Decision = handshake.accept();
                            answer
                        }
                    })
                    .on_open(move |_, _| opened.call())
                    .on_end(move |_| ended.call())
                    .on_failed_upgrade(move |_| failed.call());
                let service = layer.endpoint();
                let (ours, theirs) = duplex(PIPE);
                let mut request = ask(shape);
                request.extensions_mut().insert(OnUpgrade::new(theirs));
                let response = may_fail(service.clone().oneshot(request)).await;
                let mut peer = Peer::new(ours);
                if response.is_some() {
                    let sent = [
                        &ping(""),
                        &text("a"),
                        &pong(""),
                        &client_frame(0x82, "b"),
                        &last,
                    ];
                    peer.send(sent.map(|frame| &frame[..]).concat()).await;
                    peer.finish().await;
                    while peer.next().await.is_some() {}
                }
                // The upgrade of another one fails.
                let request = testing::upgradable(ask(shape));
                may_fail(service.oneshot(request)).await;
                until(|| tasks_are_gone(&connections)).await;
                assert_eq!(connections.len(), 0);
            })
            .await;
            assert!(calls >= 14, "{calls}");
        }
    }
}

/// Whether no handler runs: draining waits for none.
fn tasks_are_gone(connections: &Connections) -> bool {
    let mut drained = std::pin::pin!(connections.drain(tower_websocket::session::Drain::default()));
    let poll = drained
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    poll.is_ready()
}

#[tokio::test(start_paused = true)]
async fn connection_goes_on_where_another_one_s_hook_panics() {
    for shape in SHAPES {
        let fuse = Fuse::after(0);
        let ended = fuse.clone();
        let service = WebSocketLayer::new(handler(echo))
            .on_end(move |_| ended.call())
            .endpoint();
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (ours, theirs) = duplex(PIPE);
            let mut request = ask(shape);
            request.extensions_mut().insert(OnUpgrade::new(theirs));
            service.clone().oneshot(request).await.unwrap();
            peers.push(Peer::new(ours));
        }
        peers[0].send(close(1000, "")).await;
        assert_eq!(peers[0].frame().await.code(), Some(1000));
        peers[0].finish().await;
        assert_eq!(peers[0].next().await, None);
        idle().await;
        assert!(fuse.is_blown());
        peers[1].send(text("b")).await;
        assert_eq!(peers[1].frame().await, Frame::text("b"));
    }
}
