//! The task that has a line served, and keeps the time.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::timeout;
use tracing::{error, info};

use super::{
    backplane::BackplaneError, engine::Backplane, event_stream::ClusterEvent, events::Silence,
    hub::Hub, line::Line,
};
use crate::sync::within;

/// Has the engine connected to, again and again, until the node has left.
pub(super) fn serve_line(hub: Arc<Hub>, engine: impl Backplane) -> impl Future<Output = ()> + Send {
    // Made here: a runtime that ends at once drops a task that it has never polled.
    let end = End(hub);
    async move {
        let hub = &end.0;
        let mut told = None;
        loop {
            let end = serve_once(hub, &engine).await;
            if hub.is_over() {
                break;
            }
            let error = end.unwrap_or_else(BackplaneError::ended);
            let pause = lose(hub, error, &mut told);
            if let Ok(None) = timeout(pause, keep_time(hub)).await {
                break;
            }
        }
    }
}

/// Ends what the node does when it is dropped: also with the runtime.
struct End(Arc<Hub>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Has one connection served, and returns why it ended.
async fn serve_once(hub: &Arc<Hub>, engine: &impl Backplane) -> Option<BackplaneError> {
    let mut line = Line::new(hub.clone());
    let mut run = Run::new(engine, &mut line);
    let mut time = pin!(keep_time(hub));
    let silence = poll_fn(|cx| {
        // First, since an engine that always has something to do leaves nothing of the task's turn.
        if let Poll::Ready(silence) = time.as_mut().poll(cx) {
            return Poll::Ready(Ok(silence));
        }
        Pin::new(&mut run).poll(cx).map(Err)
    });
    match silence.await {
        Err(error) => error,
        Ok(Some(silence)) => Some(BackplaneError::silent(silence.in_words())),
        // What was said last may be on its way still.
        Ok(None) => timeout(LAST_WORDS, run).await.ok().flatten(),
    }
}

/// What an engine does on one connection; a panic ends the connection, and nothing else.
struct Run<'a>(Option<Running<'a>>);

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>>;

impl<'a> Run<'a> {
    fn new(engine: &'a impl Backplane, line: &'a mut Line) -> Self {
        let run = AssertUnwindSafe(move || {
            let line = line;
            engine.run(line)
        });
        Self(catch_unwind(run).ok())
    }
}

impl Future for Run<'_> {
    type Output = Option<BackplaneError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(run) = &mut self.0 else {
            return Poll::Ready(Some(BackplaneError::panicked()));
        };
        match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Result::err),
            Err(_) => Poll::Ready(Some(BackplaneError::panicked())),
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if catch_unwind(AssertUnwindSafe(|| drop(self.0.take()))).is_err() {
            error!("what served the connection to the engine panicked when it was dropped");
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
