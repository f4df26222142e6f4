//! The task that has a line served, and keeps the time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::timeout;
use tracing::info;

use super::{
    backplane::BackplaneError, engine::Backplane, events::Silence, hub::Hub, line::Line,
    listeners::ClusterEvent,
};
use crate::sync::within;

/// Has the engine connected to, again and again, until the node has left.
pub(super) async fn serve_line(hub: Arc<Hub>, engine: impl Backplane) {
    let mut told = None;
    loop {
        let end = serve_once(&hub, &engine).await;
        if hub.is_over() {
            break;
        }
        let error = end.unwrap_or_else(BackplaneError::ended);
        let pause = lose(&hub, error, &mut told);
        // It ends only when all is over.
        if timeout(pause, keep_time(&hub)).await.is_ok() {
            break;
        }
    }
    hub.end();
}

/// Has one connection served, and returns why it ended.
async fn serve_once(hub: &Arc<Hub>, engine: &impl Backplane) -> Option<BackplaneError> {
    let mut line = Line::new(hub.clone());
    let mut run = engine.run(&mut line);
    let mut time = pin!(keep_time(hub));
    let silence = std::future::poll_fn(|cx| {
        match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
            Ok(Poll::Ready(result)) => return Poll::Ready(Err(result.err())),
            Err(_) => return Poll::Ready(Err(Some(BackplaneError::panicked()))),
            Ok(Poll::Pending) => {}
        }
        time.as_mut().poll(cx).map(Ok)
    });
    match silence.await {
        Err(error) => error,
        Ok(Some(silence)) => Some(BackplaneError::silent(silence.in_words())),
        Ok(None) => {
            // What was said last may be on its way still.
            let ended = async { run.await.err() };
            timeout(LAST_WORDS, ended).await.ok().flatten()
        }
    }
}

/// Notes that there is no connection, and returns how long to wait.
fn lose(hub: &Hub, error: BackplaneError, told: &mut Option<String>) -> Duration {
    let words = error.in_words();
    let is_new = told.as_ref() != Some(&words);
    let had_connection = hub.is_connected();
    if had_connection || is_new {
        info!(error = words, had_connection, "no connection to the engine");
    }
    // After a connection the same is news.
    *told = Some(words).filter(|_| !had_connection);
    hub.lost(error, is_new && !had_connection)
}

/// Keeps the deadlines, until the connection is of no more use, or all is over: then `None`.
async fn keep_time(hub: &Hub) -> Option<Silence> {
    loop {
        hub.weigh();
        let due = match hub.handle_timeout() {
            Tick::Silent(silence) => return Some(silence),
            Tick::Over => return None,
            Tick::Until(due) => due,
        };
        match due {
            Some(after) => {
                within(after.max(TICK), hub.clock.notified()).await;
            }
            None => hub.clock.notified().await,
        }
    }
}

/// What the core says about time.
pub(super) enum Tick {
    /// The connection is of no more use.
    Silent(Silence),
    /// The node has left.
    Over,
    /// How long nothing has to be done.
    Until(Option<Duration>),
}

impl Hub {
    fn handle_timeout(&self) -> Tick {
        self.with(|state, now| {
            if let Some(silence) = state.core.handle_timeout(now) {
                return Tick::Silent(silence);
            }
            if state.core.is_over() {
                return Tick::Over;
            }
            let due = state.core.poll_timeout();
            state.asleep = Some(due);
            Tick::Until(due.map(|due| due.saturating_duration_since(now)))
        })
    }

    fn is_over(&self) -> bool {
        self.with(|state, _| state.core.is_over())
    }

    fn is_connected(&self) -> bool {
        self.with(|state, _| state.core.is_connected())
    }

    /// Notes why there is no connection, and tells it if there was none before either.
    fn lost(&self, error: BackplaneError, is_news: bool) -> Duration {
        let (pause, before) = self.with(|state, now| {
            let before = state.ended.replace(error.clone());
            let pause = state.core.lost(now);
            if is_news {
                state.news = Some(ClusterEvent::Unreachable(error));
            }
            (pause, before)
        });
        drop(before);
        pause
    }
}

/// How long a connection may take to send what was said last.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// No deadline is looked at more often.
const TICK: Duration = Duration::from_millis(1);
