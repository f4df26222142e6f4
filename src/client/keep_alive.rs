//! Whether the server at the other end of an HTTP/2 connection is still there.

use std::{
    future::{Future, pending, poll_fn},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::{
    config::Config,
    lock::{Lock, LockGuard},
    protocol::{MAX_BELOW, SENDING_FLOOR},
    session::{Watch, Watched},
};

/// Pings a server that says nothing, and knows when it is gone.
pub(super) struct KeepAlive {
    life: Arc<Life>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
}

impl KeepAlive {
    /// Watches a stream from now on.
    pub(super) fn of<T>(stream: T, config: &Config) -> (Self, Watched<T>) {
        let life = Arc::new(Life::new());
        let watched = Watched::new(stream, life.clone());
        let (interval, timeout) = (config.ping_interval, config.ping_timeout);
        let keep_alive = Self {
            life,
            interval,
            timeout,
        };
        (keep_alive, watched)
    }

    /// Runs a connection over the stream that is watched; it fails when the server is gone.
    ///
    /// `pings` are those of the connection, once they are free.
    pub(super) async fn beside<T>(
        self,
        connection: impl Future<Output = T>,
        pings: oneshot::Receiver<PingPong>,
    ) -> T {
        let silence = async {
            match pings.await {
                Ok(pings) => self.silence(pings).await,
                Err(_) => pending().await,
            }
        };
        let (mut connection, mut silence) = (pin!(connection), pin!(silence));
        let mut is_silent = false;
        poll_fn(|cx| {
            // It reads first: what has come is life, however late this task is polled.
            let polled = connection.as_mut().poll(cx);
            if polled.is_pending() && !is_silent && silence.as_mut().poll(cx).is_ready() {
                is_silent = true;
                self.life.end();
                return connection.as_mut().poll(cx);
            }
            polled
        })
        .await
    }

    /// Waits until the server has left a ping unanswered.
    async fn silence(&self, mut pings: PingPong) {
        let Some(interval) = self.interval else {
            return pending().await;
        };
        loop {
            let heard = self.life.heard();
            sleep(interval).await;
            if self.life.heard() != heard {
                continue;
            }
            // The answer to an earlier ping may be there, though it was not what was heard.
            if poll_fn(|cx| Poll::Ready(pings.poll_pong(cx).is_ready())).await {
                self.life.answered();
            }
            self.life.pinged();
            // One at a time: if the server still owes an answer, this waits for that one.
            let _owed = pings.send_ping(Ping::opaque());
            if !self.is_alive(heard).await {
                return;
            }
        }
    }

    /// Waits until more than `heard` is heard; returns `false` when the time for it is over.
    async fn is_alive(&self, heard: u64) -> bool {
        let start = Instant::now();
        // What is written behind the ping does not hold its answer up.
        let asked = self.life.arrived().max(start);
        let until = || asked.checked_add(self.timeout?);
        let mut expiry = pin!(sleep(self.timeout.unwrap_or(Duration::MAX)));
        // Polled with the connection, and so whenever something has come.
        poll_fn(|cx| {
            if self.life.heard() != heard {
                return Poll::Ready(true);
            }
            while expiry.as_mut().poll(cx).is_ready() {
                match until() {
                    Some(until) if until > Instant::now() => expiry.as_mut().reset(until),
                    Some(_) => return Poll::Ready(false),
                    None => return Poll::Pending,
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// What is known of the server's life.
#[derive(Debug)]
struct Life {
    /// Bytes that were received.
    heard: AtomicU64,
    way: Lock<Way>,
    ended: AtomicBool,
}

/// What was written, on its way to the server.
#[derive(Debug)]
struct Way {
    /// When all of it has arrived, at [`SENDING_FLOOR`].
    arrived: Instant,
    /// How much of that time is for what was written behind the last ping.
    behind_ping: Duration,
}

impl Life {
    fn new() -> Self {
        Self {
            heard: AtomicU64::new(0),
            way: Lock::new(Way {
                arrived: Instant::now(),
                behind_ping: Duration::ZERO,
            }),
            ended: AtomicBool::new(false),
        }
    }

    fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// Returns when all that was written has arrived.
    fn arrived(&self) -> Instant {
        self.way().arrived
    }

    /// Begins to measure what is written behind a ping.
    fn pinged(&self) {
        self.way().behind_ping = Duration::ZERO;
    }

    /// Learns from an answer to the last ping that all before it has arrived.
    fn answered(&self) {
        let way = &mut *self.way();
        way.arrived = way.arrived.min(Instant::now() + way.behind_ping);
    }

    fn way(&self) -> LockGuard<'_, Way> {
        self.way.lock()
    }

    fn end(&self) {
        self.ended.store(true, Relaxed);
    }
}

impl Watch for Life {
    fn check(&self) -> io::Result<()> {
        if self.ended.load(Relaxed) {
            let text = "the server of the HTTP/2 connection does not answer pings";
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        Ok(())
    }

    fn received(&self, bytes: &[u8]) {
        self.heard.fetch_add(bytes.len() as u64, Relaxed);
    }

    fn sent(&self, bytes: usize) {
        let now = Instant::now();
        let time = Duration::from_micros(bytes as u64 * 1_000_000 / SENDING_FLOOR);
        let way = &mut *self.way();
        way.arrived = (way.arrived.max(now) + time).min(now + MAX_ON_ITS_WAY);
        way.behind_ping = way.behind_ping.saturating_add(time).min(MAX_ON_ITS_WAY);
    }
}

/// As much as is below us at most.
const MAX_ON_ITS_WAY: Duration = Duration::from_secs(MAX_BELOW / SENDING_FLOOR);
