//! When the sessions that a broadcast has something for are woken.

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Wake, Waker},
};

use bytes::Bytes;
use tokio::{
    io::{DuplexStream, duplex},
    time::{Instant, sleep},
};

use super::*;
use crate::{
    protocol::PreparedMessage,
    session::{Agreed, Opened, Session, Setup, Transport},
};

/// Where no member leaves.
#[derive(Default)]
struct Nowhere(Totals);

impl Home<u8> for Nowhere {
    fn leave(&self, _: &Arc<Group<u8>>, _: &Member<u8>) -> bool {
        false
    }

    fn totals(&self) -> &Totals {
        &self.0
    }

    #[cfg(feature = "cluster")]
    fn missed(&self, _: Gap, _: &Arc<Group<u8>>) {}
}

/// How many sessions were woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// An idle session over a stream in memory, which has to write by itself.
struct Idle {
    sender: Sender,
    _session: Pin<Box<dyn Future<Output = ()>>>,
    _peer: DuplexStream,
}

impl Idle {
    /// Has its wake-ups counted.
    fn new(count: &Arc<Count>) -> Self {
        let (ours, peer) = duplex(64);
        let opened = Opened {
            transport: Transport::other(ours),
            read: Bytes::new(),
            setup: Arc::new(Setup::server()),
            agreed: Agreed::default(),
            place: None,
        };
        let mut sender = None;
        let session = Session::open(opened, |socket| {
            sender = Some(socket.sender());
            async move {
                let _socket = socket;
                pending::<Result<(), Infallible>>().await
            }
        });
        let mut session = Box::pin(session);
        let waker = Waker::from(count.clone());
        let poll = session.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending() && count.get() == 0);
        Self {
            sender: sender.expect("the handler was called"),
            _session: session,
            _peer: peer,
        }
    }

    /// Queues a message, as a broadcast does.
    fn queue(&self, unwoken: &mut Unwoken) {
        let asleep = self.sender.try_queue(&PreparedMessage::new("news"));
        assert!(asleep.is_ok_and(|asleep| asleep.is_some()), "it is idle");
        unwoken.add(self.sender.clone(), Some(&Handle::current()));
    }
}

/// A promise for so many sessions, as a broadcast leaves it, and how many of them were woken.
fn promise(sessions: usize) -> (Promise<u8>, Arc<Count>, Vec<Idle>) {
    let group = Arc::new(Group::new(
        0,
        0,
        SlowMember::default(),
        Arc::<Nowhere>::default(),
        None,
    ));
    let count = Arc::<Count>::default();
    let all: Vec<_> = (0..sessions).map(|_| Idle::new(&count)).collect();
    let mut left = sessions;
    while left > 0 {
        // Few at the end, which have room in the chunk before.
        let some = left.min(STRETCH / 2 + left % STRETCH);
        let mut stretch = Unwoken::default();
        for idle in &all[left - some..left] {
            idle.queue(&mut stretch);
        }
        for batch in stretch.batches() {
            group.unwoken.lock().append(batch);
        }
        left -= some;
    }
    let promise = Promise {
        group,
        runtime: Some(Handle::current().id()),
        sessions: Sessions::default(),
    };
    (promise, count, all)
}

#[tokio::test]
async fn ten_thousand_sessions_are_woken_64_at_most_between_two_yields() {
    let (promise, woken, _all) = promise(10_000);
    let mut keep = pin!(promise.keep());
    let mut cx = Context::from_waker(Waker::noop());
    let (mut polls, mut before) = (0, 0);
    while keep.as_mut().poll(&mut cx).is_pending() {
        let now = woken.get();
        assert!(now - before <= 64, "{} at once", now - before);
        (polls, before) = (polls + 1, now);
    }
    assert!(woken.get() - before <= 64);
    assert_eq!(woken.get(), 10_000);
    assert!(polls < 2 * 10_000 / STRETCH, "{polls} for so many");
}

#[tokio::test]
async fn nobody_stays_asleep_when_the_task_that_wakes_them_is_dropped() {
    for polls in 0..8 {
        let (promise, woken, _all) = promise(500);
        let mut keep = Box::pin(promise.keep());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            assert!(keep.as_mut().poll(&mut cx).is_pending());
        }
        assert!(woken.get() < 500, "{polls}");
        drop(keep);
        assert_eq!(woken.get(), 500, "{polls}");
    }
}

#[tokio::test]
async fn a_later_burst_is_left_to_the_promise_that_was_made_for_it() {
    let (promise, woken, _all) = promise(100);
    let group = promise.group.clone();
    let mut keep = Box::pin(promise.keep());
    let mut cx = Context::from_waker(Waker::noop());
    while woken.get() == 0 {
        assert!(keep.as_mut().poll(&mut cx).is_pending());
    }
    let later = Arc::<Count>::default();
    let mut sessions = Unwoken::default();
    let idle = Idle::new(&later);
    idle.queue(&mut sessions);
    group.wake_later(&mut sessions);
    drop(keep);
    assert_eq!((woken.get(), later.get()), (100, 0));
    while later.get() == 0 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn broadcasts_that_follow_are_waited_for_however_often_a_promise_is_polled() {
    let (promise, woken, _all) = promise(100);
    let group = promise.group.clone();
    let mut keep = pin!(promise.keep());
    let mut cx = Context::from_waker(Waker::noop());
    let mut turn = group.turn().await;
    for _ in 0..MAX_WAITS - 1 {
        for _ in 0..1000 {
            assert!(keep.as_mut().poll(&mut cx).is_pending());
        }
        drop(turn);
        turn = group.turn().await;
    }
    assert_eq!(woken.get(), 0);
    drop(turn);
    // It is told of the end, and no time passes.
    assert!((0..4).any(|_| keep.as_mut().poll(&mut cx).is_ready()));
    assert_eq!(woken.get(), 100);
}

#[tokio::test(start_paused = true)]
async fn broadcasts_without_an_end_are_not_waited_for() {
    let (promise, woken, _all) = promise(100);
    let group = promise.group.clone();
    let mut keep = pin!(promise.keep());
    let mut cx = Context::from_waker(Waker::noop());
    let mut turn = group.turn().await;
    assert!(keep.as_mut().poll(&mut cx).is_pending());
    for _ in 0..=MAX_WAITS {
        drop(turn);
        turn = group.turn().await;
        let _pending = keep.as_mut().poll(&mut cx);
    }
    assert!(woken.get() > 0);
    drop(turn);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_is_not_polled_on_holds_up_what_it_has_sent_for_10_ms() {
    let (promise, woken, _all) = promise(100);
    let group = promise.group.clone();
    let _turn = group.turn().await;
    woken_after_10_ms(promise, &woken).await;
}

#[tokio::test(start_paused = true)]
async fn broadcasts_that_take_long_hold_up_what_was_sent_before_for_10_ms() {
    let (promise, woken, _all) = promise(100);
    let group = promise.group.clone();
    tokio::spawn(async move {
        for _ in 0..MAX_WAITS {
            let _turn = group.turn().await;
            sleep(Duration::from_millis(4)).await;
        }
    });
    woken_after_10_ms(promise, &woken).await;
}

/// Sees 100 sessions woken when it is time.
async fn woken_after_10_ms(promise: Promise<u8>, woken: &Count) {
    let start = Instant::now();
    promise.keep().await;
    assert_eq!(woken.get(), 100);
    let after = start.elapsed().as_millis();
    assert!((10..=11).contains(&after), "after {after} ms");
}
