//! A connection to an engine within the process.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use tokio::time::{Instant, sleep_until};

use super::{connected::Passing, engine::MemoryEngine};
use crate::{
    cluster::{
        backplane::{BackplaneError, Command, Lost},
        line::Line,
    },
    sync::Notify,
};

/// A connection, until this is dropped.
pub(super) struct Connection<'a> {
    engine: &'a MemoryEngine,
    id: u64,
    woken: Arc<Notify>,
}

impl<'a> Connection<'a> {
    /// Makes a connection, once the link lets something pass.
    ///
    /// # Errors
    ///
    /// The link is cut.
    pub(super) async fn open(
        engine: &'a MemoryEngine,
        link: usize,
    ) -> Result<Self, BackplaneError> {
        loop {
            let changed = engine.changed.notified();
            if let Some(connected) = engine.connect(link) {
                let (id, woken) = connected.map_err(BackplaneError::connect)?;
                return Ok(Self { engine, id, woken });
            }
            changed.await;
        }
    }

    /// Hands in what has come.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub(super) fn pass(&self, line: &mut Line) -> Result<(), BackplaneError> {
        let inlet = line.inlet();
        while let Some(passing) = self.engine.next(self.id, Instant::now())? {
            match passing {
                Passing::Envelope(topic, envelope) => inlet.receive(topic.as_bytes(), envelope),
                Passing::Subscribed(topics) => line.subscribed(&topics),
                Passing::Denied(topics) => line.unsubscribed(&topics, Lost::Denied),
                Passing::Published(ticket) => line.published(ticket, Ok(())),
            }
        }
        Ok(())
    }

    /// Waits for the next command, or for something to [pass](Self::pass): then `None`.
    pub(super) async fn next(&self, line: &mut Line) -> Option<Command> {
        let mut command = pin!(line.next());
        let mut ready = pin!(self.ready());
        poll_fn(|cx| {
            if ready.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            command.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Waits until something may pass.
    async fn ready(&self) {
        let mut woken = pin!(self.woken.notified());
        let due = self.engine.due(self.id);
        let mut due = pin!(async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| {
            if woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            due.as_mut().poll(cx)
        })
        .await;
    }

    /// Has the engine do something, once the link lets it pass.
    pub(super) fn obey(&self, command: Command) {
        self.engine.obey(self.id, command);
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.engine.disconnect(self.id);
    }
}
