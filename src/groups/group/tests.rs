//! When the sessions that a broadcast has something for are woken.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Wake, Waker},
};

use super::*;

/// Where no member leaves.
struct Nowhere;

impl Home<u8> for Nowhere {
    fn leave(&self, _: &Arc<Group<u8>>, _: &Member<u8>) {}
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

/// A promise for so many sessions, as a broadcast leaves it, and how many of them were woken.
fn promise(sessions: usize) -> (Promise<u8>, Arc<Count>) {
    let group = Arc::new(Group::new(0, 0, SlowMember::default(), Arc::new(Nowhere)));
    let (count, runtime) = (Arc::<Count>::default(), Handle::current());
    let mut left = sessions;
    while left > 0 {
        // Few at the end, which have room in the chunk before.
        let some = left.min(STRETCH / 2 + left % STRETCH);
        let mut stretch = Unwoken::default();
        for _ in 0..some {
            stretch.add(Waker::from(count.clone()), Some(&runtime));
        }
        for batch in stretch.batches() {
            group.unwoken.lock().append(batch);
        }
        left -= some;
    }
    let promise = Promise {
        group,
        runtime: Some(runtime.id()),
        sessions: Sessions::default(),
    };
    (promise, count)
}

#[tokio::test]
async fn ten_thousand_sessions_are_woken_64_at_most_between_two_yields() {
    let (promise, woken) = promise(10_000);
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
        let (promise, woken) = promise(500);
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
    let (promise, woken) = promise(100);
    let group = promise.group.clone();
    let mut keep = Box::pin(promise.keep());
    let mut cx = Context::from_waker(Waker::noop());
    while woken.get() == 0 {
        assert!(keep.as_mut().poll(&mut cx).is_pending());
    }
    let later = Arc::<Count>::default();
    let mut sessions = Unwoken::default();
    sessions.add(Waker::from(later.clone()), Some(&Handle::current()));
    group.wake_later(&mut sessions);
    drop(keep);
    assert_eq!((woken.get(), later.get()), (100, 0));
    while later.get() == 0 {
        yield_now().await;
    }
}
