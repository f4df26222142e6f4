//! For how long a task keeps its thread.
//!
//! In time on a core: what else runs on the machine is not the server's.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;

/// A future that knows its longest poll.
pub(crate) struct Polled<F> {
    future: Pin<Box<F>>,
    longest: Duration,
}

impl<F> Polled<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            longest: Duration::ZERO,
        }
    }
}

impl<F: Future> Future for Polled<F> {
    type Output = (F::Output, Duration);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let start = on_core();
        let polled = self.future.as_mut().poll(cx);
        self.longest = self.longest.max(on_core() - start);
        let longest = self.longest;
        Poll::Ready((ready!(polled), longest))
    }
}

/// The polls of all tasks, where tokio tells them: with `--cfg tokio_unstable`.
#[derive(Clone, Default)]
pub(crate) struct Stretches {
    longest: Arc<AtomicU64>,
    long: Arc<AtomicU64>,
}

impl Stretches {
    #[cfg(not(tokio_unstable))]
    pub(crate) fn watch(&self, _: &mut Builder) {}

    #[cfg(tokio_unstable)]
    pub(crate) fn watch(&self, builder: &mut Builder) {
        use std::cell::Cell;
        thread_local! {
            static BEGUN: Cell<Option<Duration>> = const { Cell::new(None) };
        }
        let Self { longest, long } = self.clone();
        builder
            .on_before_task_poll(|_| BEGUN.set(Some(on_core())))
            .on_after_task_poll(move |_| {
                if let Some(begun) = BEGUN.take() {
                    let micros = (on_core() - begun).as_micros() as u64;
                    longest.fetch_max(micros, Relaxed);
                    long.fetch_add(u64::from(micros > LONG), Relaxed);
                }
            });
    }

    /// The longest poll in microseconds, and how many were longer than 500; zeros where tokio does not tell.
    pub(crate) fn take(&self) -> String {
        format!(
            "{} {}",
            self.longest.swap(0, Relaxed),
            self.long.swap(0, Relaxed)
        )
    }
}

/// How long this thread has run.
fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Longer than a stretch should be, in microseconds.
#[cfg(tokio_unstable)]
const LONG: u64 = 500;
