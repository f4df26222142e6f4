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
    Config,
    protocol::SENDING_FLOOR,
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
        let life = Arc::<Life>::default();
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
            // The answer to an earlier one, where that was not what was heard.
            poll_fn(|cx| Poll::Ready(pings.poll_pong(cx).is_ready())).await;
            // One at a time: where the server still owes an answer it is waited for.
            let _owed = pings.send_ping(Ping::opaque());
            if !self.is_alive(heard).await {
                return;
            }
        }
    }

    /// Waits until more than that is heard; gives `false` when the time for it is over.
    async fn is_alive(&self, heard: u64) -> bool {
        let start = Instant::now();
        let until = || {
            let allowed = self.timeout?.checked_add(self.life.on_its_way())?;
            start.checked_add(allowed)
        };
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
#[derive(Debug, Default)]
struct Life {
    /// Bytes that were received.
    heard: AtomicU64,
    /// Bytes that were written since something was received.
    unanswered: AtomicU64,
    ended: AtomicBool,
}

impl Life {
    fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// How long what was written may take to the server, with a ping behind it.
    fn on_its_way(&self) -> Duration {
        let bytes = self.unanswered.load(Relaxed);
        Duration::from_millis(bytes.saturating_mul(1000) / SENDING_FLOOR)
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
        self.unanswered.store(0, Relaxed);
    }

    fn sent(&self, bytes: usize) {
        self.unanswered.fetch_add(bytes as u64, Relaxed);
    }
}
