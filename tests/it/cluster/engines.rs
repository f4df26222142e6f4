//! Engines that fail in every way, and an application that does.

use std::{
    future::{pending, ready as ready_now},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::duplex,
    task::{coop::consume_budget, yield_now},
    time::{Instant, advance, sleep},
};
use tower_websocket::{
    Groups,
    cluster::{
        Backplane, BackplaneError, Cluster, ClusterEvent, Command, Line, Memory, Promises,
        PublishError, Remote,
    },
    groups::SlowMember,
};

use super::{SETTLING, event, events_so_far, nodes, patient, ready};
use crate::{
    crowd::OnDrop,
    session::support::{Frame, Shape, hold, hold_over, idle, within},
};

type Run<'a> = Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>>;

/// An engine that does as it is told, each time with the number of the attempt.
struct Engine<F> {
    memory: Memory,
    attempts: AtomicUsize,
    run: F,
}

impl<F> Engine<F>
where
    F: for<'a> Fn(usize, &'a Memory, &'a mut Line) -> Run<'a> + Send + Sync + 'static,
{
    fn new(run: F) -> Self {
        Self {
            memory: Memory::new(),
            attempts: AtomicUsize::new(0),
            run,
        }
    }
}

impl<F> Backplane for Engine<F>
where
    F: for<'a> Fn(usize, &'a Memory, &'a mut Line) -> Run<'a> + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn promises(&self) -> Promises {
        self.memory.promises()
    }

    fn run<'a>(&'a self, line: &'a mut Line) -> Run<'a> {
        (self.run)(self.attempts.fetch_add(1, Relaxed), &self.memory, line)
    }
}

/// What became of the attempts before a connection was made.
async fn until_connected(cluster: &Cluster) -> Vec<String> {
    let mut events = cluster.events();
    let mut told = Vec::new();
    loop {
        match event(&mut events, |_| true).await {
            ClusterEvent::Unreachable(error) | ClusterEvent::Disconnected(error) => {
                told.push(error.to_string());
            }
            ClusterEvent::Connected { .. } => return told,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_panics_however_is_tried_again() {
    let engine = Engine::new(|attempt, memory, line| match attempt {
        0 => panic!("before there is a future"),
        1 => Box::pin(async { panic!("when it is polled") }),
        2 => Box::pin(async {
            yield_now().await;
            panic!("later")
        }),
        3 => Box::pin(async {
            let _panics = OnDrop(|| panic!("when it is dropped"));
            line.connected();
            let _unanswered = line.next().await;
            pending().await
        }),
        _ => memory.run(line),
    });
    let cluster = Cluster::start("shop", engine);
    let told = until_connected(&cluster).await;
    let expected = [
        "what serves the connection to the engine panicked",
        "the engine is silent",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_ends_without_a_reason_is_tried_again() {
    let engine = Engine::new(|attempt, memory, line| match attempt {
        0..5 => Box::pin(ready_now(Ok(()))),
        5 => Box::pin(ready_now(Err(BackplaneError::denied("WRONGPASS")))),
        _ => memory.run(line),
    });
    let cluster = Cluster::start("shop", engine);
    let told = until_connected(&cluster).await;
    let expected = [
        "the connection to the engine ended",
        "the engine does not permit it",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_never_answers_is_given_up_after_3_seconds() {
    let engine = Engine::new(|attempt, memory, line| match attempt {
        0 => Box::pin(async {
            line.connected();
            loop {
                let _unanswered = line.next().await;
            }
        }),
        _ => memory.run(line),
    });
    let cluster = Cluster::start("shop", engine);
    let before = Instant::now();
    assert_eq!(until_connected(&cluster).await, ["the engine is silent"]);
    let after = before.elapsed();
    let range = Duration::from_secs(3)..=Duration::from_millis(3260);
    assert!(range.contains(&after), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_kept_also_of_an_engine_that_always_has_something_to_do() {
    let engine = Engine::new(|_, _, line| {
        Box::pin(async {
            line.connected();
            while let Command::Subscribe(topics) = line.next().await {
                line.subscribed(&topics);
            }
            // It has something to publish, and never says what became of it.
            loop {
                consume_budget().await;
            }
        })
    });
    let cluster = Cluster::start("shop", engine);
    let mut events = cluster.events();
    // Nothing is idle, so the clock moves as the test has it moved.
    let mut told = Vec::new();
    for _ in 0..200 {
        advance(Duration::from_millis(50)).await;
        for _ in 0..200 {
            yield_now().await;
        }
        told.extend(events_so_far(&mut events));
    }
    let silent = told.iter().any(|event| match event {
        ClusterEvent::Disconnected(error) => error.to_string() == "the engine is silent",
        _ => false,
    });
    assert!(silent, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_storm_is_no_storm() {
    let engine =
        Engine::new(|_, _, _| Box::pin(ready_now(Err(BackplaneError::connect("refused")))));
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let engine = Engine::new(move |attempt, memory, line| {
        counted.store(attempt + 1, Relaxed);
        (engine.run)(attempt, memory, line)
    });
    let _cluster = Cluster::start("shop", engine);
    sleep(Duration::from_secs(3600)).await;
    // Every 2.5 to 7.5 seconds in the end, and never before that is over.
    let attempts = attempts.load(Relaxed);
    assert!((480..=1500).contains(&attempts), "{attempts} in an hour");
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_refuses_is_told_to_who_asks() {
    let engine = Engine::new(|_, _, line| {
        Box::pin(async {
            line.connected();
            loop {
                match line.next().await {
                    Command::Subscribe(topics) => line.subscribed(&topics),
                    Command::Publish(publish) if publish.payload().starts_with(b"secret") => {
                        line.published(publish.ticket(), Err(BackplaneError::denied("NOPERM")));
                    }
                    Command::Publish(publish) => line.published(publish.ticket(), Ok(())),
                    _ => return Ok(()),
                }
            }
        })
    });
    let cluster = Cluster::start("shop", engine);
    let rooms: Groups = Groups::builder().cluster(&cluster, "rooms").build();
    within(cluster.connected()).await;
    sleep(SETTLING).await;
    let refused = rooms.broadcast_confirmed("lobby", "secret").await;
    let Err(PublishError::Rejected(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.is_denied());
    rooms.broadcast_confirmed("lobby", "not so").await.unwrap();
    assert_eq!(
        rooms.broadcast("lobby", "secret").await.remote,
        Remote::Queued
    );
    idle().await;
    let counters = cluster.counters();
    assert_eq!((counters.refused.rejected, counters.confirmed), (2, 1));
}

/// Bytes of an application whose drop panics.
struct Explosive;

impl AsRef<[u8]> for Explosive {
    fn as_ref(&self) -> &[u8] {
        b"boom"
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("a payload of the application is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_panics_when_it_is_dropped_ends_no_node() {
    let [near, far] = nodes().await;
    let mut here = near.member("lobby").await;
    let mut there = far.member("lobby").await;
    // Once where it is confirmed, and once where it is given up.
    near.rooms
        .broadcast("attic", Bytes::from_owner(Explosive))
        .await;
    idle().await;
    near.link.cut();
    idle().await;
    near.rooms
        .broadcast("attic", Bytes::from_owner(Explosive))
        .await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(near.cluster.counters().refused.expired, 1);
    near.link.heal();
    ready(std::slice::from_ref(&near)).await;
    near.rooms.broadcast("lobby", "it lives").await;
    assert_eq!([here.text().await, there.text().await], ["it lives"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_when_another_takes_its_place_ends_no_node() {
    let [near_link, far_link] = super::links();
    let near = super::Node::on(near_link);
    let cluster = Cluster::start("shop", far_link);
    let rooms: Groups = Groups::builder()
        .slow_members(|_| SlowMember::Conflate)
        .cluster(&cluster, "rooms")
        .build();
    within(cluster.connected()).await;
    ready(std::slice::from_ref(&near)).await;
    // Its peer reads nothing, and its queue is full.
    let (_stalled, stream) = duplex(64);
    let config = patient().max_send_queue(0).write_timeout(None);
    let (socket, _reports) = hold_over(Shape::H1, config, stream).await;
    let membership = rooms.join("lobby".to_owned(), &socket.sender()).unwrap();
    within(membership.subscribed()).await;
    for _ in 0..2 {
        rooms.broadcast("lobby", vec![0; 1000]).await;
        idle().await;
    }
    rooms.broadcast("lobby", Bytes::from_owner(Explosive)).await;
    near.rooms.broadcast("lobby", "in its place").await;
    idle().await;
    assert_eq!(
        rooms.totals().dropped,
        2,
        "it was there, and is not any more"
    );
    let (mut peer, other, _reports) = hold(Shape::H1, patient()).await;
    let membership = rooms.join("kitchen".to_owned(), &other.sender()).unwrap();
    within(membership.subscribed()).await;
    near.rooms.broadcast("kitchen", "it lives").await;
    assert_eq!(peer.frame().await, Frame::text("it lives"));
}
