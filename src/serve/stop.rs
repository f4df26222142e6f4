//! Stopping: telling the connections, and waiting for them.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::session::{Connections, Drain, Drained};

/// What became of everything that was open when a server was stopped.
///
/// [`Serve::graceful_shutdown`](super::Serve::graceful_shutdown) makes the server return it.
///
/// ```
/// use tower_websocket::serve::Stopped;
///
/// fn report(stopped: &Stopped) -> String {
///     let aborted = stopped.websockets.aborted + stopped.connections.aborted;
///     format!("{} WebSockets closed, {aborted} aborted", stopped.websockets.ended)
/// }
///
/// assert_eq!(report(&Stopped::default()), "0 WebSockets closed, 0 aborted");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stopped {
    /// The WebSockets, over HTTP/1.1 and HTTP/2.
    pub websockets: Drained,
    /// The connections of HTTP, without those that have become a WebSocket over HTTP/1.1.
    pub connections: Drained,
}

/// How far a server is on its way to its end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum StopStage {
    Serving,
    /// Connections end when they have no request left.
    Stopping,
    /// Connections end at once.
    Aborting,
}

/// Tells connections when to stop, and knows when they have.
pub(super) struct Stopper(watch::Sender<StopStage>);

/// A connection's end of it, which it keeps for as long as it lives.
#[derive(Clone)]
pub(super) struct Stop(watch::Receiver<StopStage>);

pub(super) fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(StopStage::Serving);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Tells connections to end when they have no request left.
    pub(super) fn start(&self) {
        self.0.send_replace(StopStage::Stopping);
    }

    /// Ends connections and WebSockets, by the deadline of `drain`.
    pub(super) async fn stop(self, registries: Vec<Connections>, drain: &Drain) -> Stopped {
        let deadline = drain.deadline();
        let before = self.0.receiver_count();
        self.start();
        let websockets = drain_all(registries, drain).await;
        // Streams of WebSockets that were aborted at the deadline leave some last frames to write.
        let deadline = deadline.max(Instant::now() + LAST_TURN);
        let _late = timeout_at(deadline, self.0.closed()).await;
        let aborted = self.0.receiver_count();
        self.0.send_replace(StopStage::Aborting);
        let _stuck = timeout(LAST_TURN, self.0.closed()).await;
        let connections = Drained {
            ended: before.saturating_sub(aborted),
            aborted,
        };
        Stopped {
            websockets,
            connections,
        }
    }
}

impl Stop {
    /// Waits until the server stops.
    pub(super) async fn stopping(&mut self) {
        self.wait(StopStage::Stopping).await;
    }

    /// Waits until there is no more time.
    pub(super) async fn aborting(&mut self) {
        self.wait(StopStage::Aborting).await;
    }

    async fn wait(&mut self, stage: StopStage) {
        if self.0.wait_for(|now| *now >= stage).await.is_err() {
            // The server was dropped: connections go on.
            pending().await
        }
    }
}

async fn drain_all(registries: Vec<Connections>, drain: &Drain) -> Drained {
    let mut draining = JoinSet::new();
    for connections in registries {
        let drain = drain.clone();
        draining.spawn(async move { connections.drain(drain).await });
    }
    let mut all = Drained::default();
    while let Some(drained) = draining.join_next().await {
        let drained = drained.unwrap_or_default();
        all.ended += drained.ended;
        all.aborted += drained.aborted;
    }
    all
}

/// The output of the future that was ready first.
pub(super) enum Race<A, B> {
    First(A),
    Second(B),
}

/// Waits for one of two futures, and drops the other; the first is looked at first.
pub(super) async fn race<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> Race<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Race::First(output)),
        Poll::Pending => second.as_mut().poll(cx).map(Race::Second),
    })
    .await
}

/// What is aborted has this long to end.
const LAST_TURN: Duration = Duration::from_secs(1);
