//! What holds in whatever order threads run: tried with `shuttle`, by `.ci/concurrency`.
//!
//! Real sessions in tasks that `shuttle` runs one step at a time, from lock to lock, in orders that it
//! draws. The peer is scripted. No clock runs: nothing here may need a deadline to end, and a task
//! that waits for a lost wake-up is a deadlock, which `shuttle` reports with the schedule that led to
//! it.
//!
//! - `CONCURRENCY_ITERATIONS`: how many orders each model tries, half of them drawn step by step and
//!   half by priorities (PCT); 2000 by default;
//! - `SHUTTLE_RANDOM_SEED`: the seed, instead of a new one each time;
//! - `CONCURRENCY_SCHEDULE`: a schedule that failed, as it was printed, to run it again.

#![expect(clippy::unwrap_used, reason = "a failed test panics")]

mod connections;
mod flushing;
mod groups;
mod line;
mod memory;
mod sending;

use std::{
    env,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    thread,
    time::Duration,
};

use shuttle::{
    Config, FailurePersistence, Runner,
    future::{self, JoinHandle},
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler},
};
use tokio::runtime::{Builder, Runtime};

use self::line::{Line, Seen};

/// Tries many orders of a model.
fn explore<F: Future<Output = ()> + 'static>(model: impl Fn() -> F + Send + Sync + 'static) {
    let iterations = env::var("CONCURRENCY_ITERATIONS").map_or(2000, |text| {
        text.parse().expect("CONCURRENCY_ITERATIONS is a number")
    });
    let model = Arc::new(model);
    if let Ok(schedule) = env::var("CONCURRENCY_SCHEDULE") {
        return run(ReplayScheduler::new_from_encoded(&schedule), model);
    }
    run(
        RandomScheduler::new(iterations - iterations / 2),
        model.clone(),
    );
    run(PctScheduler::new(CHANGES, iterations / 2), model);
}

fn run<F: Future<Output = ()> + 'static>(
    scheduler: impl Scheduler + 'static,
    model: Arc<impl Fn() -> F + Send + Sync + 'static>,
) {
    let _entered = RUNTIME.enter();
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::Print;
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    config.max_time = Some(Duration::from_secs(600));
    let tried = Tried::default();
    let count = tried.0.clone();
    Runner::new(scheduler, config).run(move || {
        count.fetch_add(1, Relaxed);
        future::block_on(model());
    });
}

/// How many orders were tried: said when one fails.
#[derive(Default)]
struct Tried(Arc<AtomicUsize>);

impl Drop for Tried {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("failed in order {}", self.0.load(Relaxed));
        }
    }
}

/// Entered, not run: timers can be made, and never pass. Never dropped, which would wake tasks.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime")
});

/// Starts a task.
fn start<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    future::spawn(task)
}

/// Waits for a task that was started.
async fn end<T>(task: JoinHandle<T>) -> T {
    task.await.expect("a task that ends")
}

/// Polls a future a few times, then drops it; `None` if it was not ready by then.
async fn give_up<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        // Not polled again: it may have been woken meanwhile, without a chance to notice.
        if left == 0 {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// How often PCT changes priorities in one run.
const CHANGES: usize = 3;
