//! Closing every connection before the server stops.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until, timeout_at},
};

use super::{closing::Closing, connections::Connections, shards::SHARDS};
use crate::{
    handshake::RETRY_AFTER_REFUSAL,
    protocol::{CloseCode, CloseFrame, random},
    session::id::ConnectionId,
};

/// The settings by which [`Connections::drain`] closes connections.
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::{CloseCode, Connections, session::Drain};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let connections = Connections::new(); // also that of a layer
/// let drain = Drain::default()
///     .close_frame((CloseCode::GOING_AWAY, "back in a minute"))
///     .rate(200)
///     .timeout(Duration::from_secs(60))
///     .retry_after(Duration::from_secs(10));
/// let drained = connections.drain(drain).await;
/// assert_eq!((drained.ended, drained.aborted), (0, 0)); // there were none
/// assert!(connections.is_draining());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Drain {
    frame: CloseFrame,
    timeout: Duration,
    rate: u32,
    retry_after: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            frame: (CloseCode::GOING_AWAY, "the server is shutting down").into(),
            timeout: Duration::from_secs(30),
            rate: 1000,
            retry_after: RETRY_AFTER_REFUSAL,
        }
    }
}

impl Drain {
    /// Sets the Close frame that clients get (RFC 6455 §7.4.1).
    ///
    /// Default: code 1001, "the server is shutting down".
    #[must_use]
    pub fn close_frame(mut self, frame: impl Into<CloseFrame>) -> Self {
        self.frame = frame.into();
        self
    }

    /// Limits the time that draining takes altogether; what is left after it is aborted.
    ///
    /// Default: 30 seconds. Zero aborts what is not closed at once.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets about how many connections are closed per second, so that clients do not all come back at once.
    ///
    /// If that would take more than half of [`timeout`](Self::timeout), as many are closed per second as it takes to fit in
    /// that half. Default: 1,000. Zero is taken as one.
    #[must_use]
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = per_second.max(1);
        self
    }

    /// Sets after which time clients come back that are refused meanwhile.
    ///
    /// They get 503 with `Retry-After`, in seconds, rounded up (RFC 9110 §10.2.3).
    /// [`client::reconnect`](mod@crate::client) waits as long.
    ///
    /// Default: 5 seconds. It may be zero if another server takes over at once; if this one is started again, set the time
    /// that this takes. Of several drains of the same [`Connections`] the first one counts.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// How what comes is turned away.
    fn closing(&self) -> Closing {
        Closing {
            frame: self.frame.clone(),
            retry_after: self.retry_after,
        }
    }

    /// Until when it may go on that starts now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout.min(FOREVER)
    }

    /// Returns how many of `connections` are closed at once, and how often.
    fn pace(&self, connections: usize) -> (usize, Duration) {
        let connections = u32::try_from(connections).unwrap_or(u32::MAX).max(1);
        let fitting = self.timeout / 2 / connections;
        let each = fitting.min(Duration::from_secs(1) / self.rate);
        let batch = TICK.as_nanos().checked_div(each.as_nanos());
        let batch = batch.map_or(connections, |batch| {
            batch.clamp(1, connections.into()) as u32
        });
        (batch as usize, each * batch)
    }
}

/// The outcome of a drain, in connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that ended before the deadline, by themselves or closed.
    pub ended: usize,
    /// Connections that were aborted at the deadline.
    pub aborted: usize,
}

impl Connections {
    /// Closes every connection, before the server stops.
    ///
    /// From now on handshakes are refused with 503, `Connection: close` and [`Retry-After`](Drain::retry_after).
    /// Connections are closed a few at a time, in random order and at uneven intervals. Then the future waits until each
    /// has ended and its handler has returned. A client that does not answer the Close has
    /// [`Config::close_timeout`](crate::Config::close_timeout). What is left at the
    /// deadline is aborted, with its handler. Draining cannot be undone.
    ///
    /// HTTP servers forget upgraded HTTP/1.1 connections when they shut down gracefully, and wait
    /// forever for WebSockets over HTTP/2. Both need this beside their own shutdown, which still
    /// has to stop accepting. [`serve`](fn@crate::serve) does all of it; with axum:
    ///
    /// ```no_run
    /// use axum::serve::ListenerExt;
    /// use tokio::{net::TcpListener, signal, sync::watch};
    /// use tower_websocket::{session::Drain, Connections};
    ///
    /// # async fn serve(app: axum::Router, connections: Connections) -> std::io::Result<()> {
    /// let (stop, stopped) = watch::channel(());
    /// let stopping = || {
    ///     let mut stopped = stopped.clone();
    ///     async move {
    ///         let _stopped = stopped.changed().await;
    ///     }
    /// };
    /// tokio::spawn(async move {
    ///     let _failed = signal::ctrl_c().await;
    ///     stop.send_replace(());
    /// });
    /// let listener = TcpListener::bind("127.0.0.1:8080").await?;
    /// let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    /// let server = axum::serve(listener, app).with_graceful_shutdown(stopping());
    /// let drain = async {
    ///     stopping().await;
    ///     connections.drain(Drain::default()).await
    /// };
    /// let (served, drained) = tokio::join!(server, drain);
    /// println!("{drained:?}");
    /// # served
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, handshakes stay refused, and connections that were not closed yet stay open.
    pub async fn drain(&self, drain: Drain) -> Drained {
        let deadline = drain.deadline();
        self.start_draining(drain.closing());
        let before = self.alive();
        let closed = timeout_at(deadline, self.close_all(&drain)).await;
        if closed.is_ok() && timeout_at(deadline, self.wait_until_gone()).await.is_ok() {
            return Drained {
                ended: before,
                aborted: 0,
            };
        }
        let left = self.alive();
        let aborted = self.abort_all().await;
        // Aborted sessions end at their next turn; handshakes that were never completed do not.
        let _left = timeout_at(Instant::now() + LAST_TURN, self.wait_until_gone()).await;
        Drained {
            ended: before.saturating_sub(left),
            aborted,
        }
    }

    /// Starts every closing handshake, spread over time.
    async fn close_all(&self, drain: &Drain) {
        let mut open = Open::new(self.ids().await);
        let (batch, pause) = drain.pace(open.left);
        let (start, mut turn) = (Instant::now(), 0);
        while open.left > 0 {
            if turn > 0 {
                // Somewhere in the time before its turn.
                sleep_until(start + pause * turn - fraction(pause)).await;
            }
            turn += 1;
            for closed in 1..=batch.min(open.left) {
                if let Some(sender) = open.draw().and_then(|id| self.get(id)) {
                    sender.close(drain.frame.clone());
                }
                if closed % STRETCH == 0 {
                    yield_now().await;
                }
            }
        }
    }

    /// Aborts every session; returns how many there were.
    async fn abort_all(&self) -> usize {
        let ids = self.ids().await;
        for ids in ids.iter().flat_map(|ids| ids.chunks(STRETCH)) {
            for sender in ids.iter().filter_map(|id| self.find(*id)) {
                sender.abort();
            }
            yield_now().await;
        }
        ids.iter().map(Vec::len).sum::<usize>() + self.abort_unlisted()
    }
}

/// The connections that are still to be closed, by shard.
struct Open {
    ids: [Vec<ConnectionId>; SHARDS],
    left: usize,
}

impl Open {
    fn new(ids: [Vec<ConnectionId>; SHARDS]) -> Self {
        let left = ids.iter().map(Vec::len).sum();
        Self { ids, left }
    }

    /// Takes one out at random, each as likely as the others.
    fn draw(&mut self) -> Option<ConnectionId> {
        let mut index = usize::from_ne_bytes(random()).checked_rem(self.left)?;
        self.left -= 1;
        for ids in &mut self.ids {
            if index < ids.len() {
                return Some(ids.swap_remove(index));
            }
            index -= ids.len();
        }
        None
    }
}

/// A part of the duration.
fn fraction(duration: Duration) -> Duration {
    duration * (u32::from_ne_bytes(random()) % 1001) / 1000
}

/// How often a batch is closed, about, unless that would be less than one connection.
const TICK: Duration = Duration::from_millis(100);

/// How many are closed, or aborted, before others get their turn.
const STRETCH: usize = 64;

/// What aborted sessions have to notice it.
const LAST_TURN: Duration = Duration::from_secs(1);

/// Longer than any server runs, and within what an `Instant` can say.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

#[cfg(test)]
mod tests;
