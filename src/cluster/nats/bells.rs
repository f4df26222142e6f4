//! Which of many subscriptions have something.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Wake, Waker},
};

use crate::{
    cluster::topic::Topic,
    lock::Lock,
    sync::atomic::{AtomicBool, Ordering},
};

/// The bells of many subscriptions: whoever looks after all of them looks only at those that have rung,
/// in that order.
#[derive(Debug, Default)]
pub(super) struct Bells(Arc<Lock<Rung>>);

/// What rings when a subscription may have something.
#[derive(Debug)]
pub(super) struct Bell {
    topic: Topic,
    is_ringing: AtomicBool,
    rung: Arc<Lock<Rung>>,
}

#[derive(Debug, Default)]
struct Rung {
    bells: VecDeque<Arc<Bell>>,
    /// Who looks after them, and waits.
    waker: Option<Waker>,
    /// Nobody does any more.
    is_over: bool,
}

impl Bells {
    /// Makes the bell of a subscription.
    pub(super) fn bell(&self, topic: &Topic) -> Arc<Bell> {
        Arc::new(Bell {
            topic: topic.clone(),
            is_ringing: AtomicBool::new(false),
            rung: self.0.clone(),
        })
    }

    /// Takes the next one that has rung, which may ring anew; if there is none, the next wakes `waker`.
    pub(super) fn next(&self, waker: &Waker) -> Option<Arc<Bell>> {
        let mut rung = self.0.lock();
        let Some(bell) = rung.bells.pop_front() else {
            let before = rung.waker.replace(waker.clone());
            drop(rung);
            drop(before);
            return None;
        };
        drop(rung);
        // Before the subscription is looked at: what comes meanwhile rings.
        bell.is_ringing.store(false, Ordering::SeqCst);
        Some(bell)
    }
}

impl Drop for Bells {
    fn drop(&mut self) {
        let mut rung = self.0.lock();
        rung.is_over = true;
        let (bells, waker) = (mem::take(&mut rung.bells), rung.waker.take());
        drop(rung);
        drop((bells, waker));
    }
}

impl Bell {
    /// Returns the topic of its subscription.
    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if self.is_ringing.swap(true, Ordering::SeqCst) {
            return;
        }
        let all = self.rung.clone();
        let mut rung = all.lock();
        if rung.is_over {
            return;
        }
        rung.bells.push_back(self);
        let waker = rung.waker.take();
        drop(rung);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;
    use crate::cluster::topic::TopicPrefix;

    fn keys(bells: &Bells) -> Vec<String> {
        let next = || bells.next(Waker::noop());
        let rung = std::iter::from_fn(next);
        rung.map(|bell| String::from_utf8(bell.topic().key().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn those_that_have_rung_are_taken_in_turn_and_each_once() {
        let prefix = TopicPrefix::new("shop", "rooms").unwrap();
        let bells = Bells::default();
        let [a, b, c] =
            ["a", "b", "c"].map(|key| bells.bell(&prefix.topic(key.as_bytes()).unwrap()));
        assert!(keys(&bells).is_empty());
        for bell in [&b, &a, &b] {
            bell.clone().wake();
        }
        assert_eq!(keys(&bells), ["b", "a"]);
        b.wake();
        assert_eq!(keys(&bells), ["b"], "it rings anew once it was taken");
        // Who waits is woken by the first that rings.
        let waiting = Arc::new(Bell {
            topic: c.topic().clone(),
            is_ringing: AtomicBool::new(false),
            rung: <_>::default(),
        });
        assert!(bells.next(&Waker::from(waiting.clone())).is_none());
        a.clone().wake();
        assert!(waiting.is_ringing.load(Ordering::SeqCst));
        // Nothing is kept for nobody.
        drop(bells);
        c.clone().wake();
        assert_eq!(Arc::strong_count(&a), 1);
        assert_eq!(Arc::strong_count(&c), 1);
    }
}
