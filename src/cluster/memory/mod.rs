//! An engine within the process, for the tests of an application.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use tokio::task::coop;

use self::{connection::Connection, engine::MemoryEngine};
use super::{
    backplane::{BackplaneError, Command, Promises},
    engine::Backplane,
    line::Line,
    topic::Topic,
};

/// An engine within the process, for tests: nodes that share it are one cluster.
///
/// It keeps the time of the runtime, also if that is paused, and has no task. Each
/// [link](Self::link) to it fails on demand, and so does the engine; a clone is a handle on the same link:
///
/// ```
/// use tower_websocket::{Config, Groups, testing, cluster::{Cluster, Memory}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let [near, far] = {
///     let near = Memory::new();
///     let far = near.link();
///     [near, far]
/// };
/// let [here, there] = [&near, &far].map(|link| {
///     let cluster = Cluster::start("shop", link.clone());
///     Groups::builder().cluster(&cluster, "rooms").build()
/// });
///
/// let (mut client, server) = testing::pair(Config::default());
/// let membership = there.join("lobby".to_owned(), &server.sender())?;
/// membership.subscribed().await;
///
/// here.broadcast("lobby", "hello").await;
/// assert_eq!(client.recv().await?, Some("hello".into()));
///
/// far.lose(1);
/// here.broadcast("lobby", "never there").await;
/// here.broadcast("lobby", "and again").await;
/// assert_eq!(client.recv().await?, Some("and again".into()));
/// # Ok(())
/// # }
/// ```
///
/// It does what real engines do with a slow reader: when more than 65,536 envelopes and answers, or 32 MiB,
/// wait to be read from a link, it ends the connection.
///
/// As with any engine, a node keeps for 250 milliseconds what it sends at the beginning of a connection, so
/// that it also reaches nodes that join meanwhile. If that is wrong for a test, sleep for a second first: on the
/// paused clock it costs nothing.
///
/// It is also an example of a [`Backplane`]: it takes [commands](Line::next) and what has arrived in turn,
/// and everything it knows of a connection ends with the future of [`run`](Backplane::run).
#[derive(Clone)]
pub struct Memory {
    engine: Arc<MemoryEngine>,
    link: usize,
}

impl Memory {
    /// Creates an engine, and the first link to it.
    #[must_use]
    pub fn new() -> Self {
        let engine = Arc::<MemoryEngine>::default();
        let link = engine.add_link();
        Self { engine, link }
    }

    /// Creates another link to the same engine, for another node, without faults so far.
    #[must_use]
    pub fn link(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            link: self.engine.add_link(),
        }
    }

    /// Loses the next envelopes on their way from the engine to this link.
    ///
    /// The number is added to those that are still to be lost. As with [`double`](Self::double) and
    /// [`reorder`](Self::reorder), heartbeats do not count, nor envelopes that come back to the link that sent them.
    pub fn lose(&self, envelopes: usize) {
        self.engine
            .change(self.link, |faults| faults.lose += envelopes);
    }

    /// Delivers the next envelopes twice.
    ///
    /// The number is added to those that are still to be doubled.
    pub fn double(&self, envelopes: usize) {
        self.engine
            .change(self.link, |faults| faults.double += envelopes);
    }

    /// Delays the next envelope until behind the one after it.
    pub fn reorder(&self) {
        self.engine
            .change(self.link, |faults| faults.reorder = true);
    }

    /// Delays everything that the engine sends from now on by this time, its answers included.
    pub fn delay(&self, time: Duration) {
        self.engine.change(self.link, |faults| faults.delay = time);
    }

    /// Breaks the connections of this link, and refuses new ones until it [heals](Self::heal).
    pub fn cut(&self) {
        self.engine.cut(self.link);
    }

    /// Stops everything in both directions until the link [heals](Self::heal), as in a black hole.
    ///
    /// No connection breaks, and no new one is made. What was published meanwhile reaches the engine when the link heals, even
    /// if that connection was given up.
    pub fn freeze(&self) {
        self.engine
            .change(self.link, |faults| faults.is_frozen = true);
    }

    /// Ends all faults of this link.
    ///
    /// An envelope that [`reorder`](Self::reorder) holds back arrives now.
    pub fn heal(&self) {
        self.engine.heal(self.link);
    }

    /// Breaks all connections of all links, as an engine does that is restarted.
    pub fn restart(&self) {
        self.engine.restart();
    }

    /// Forgets all subscriptions of all links, and breaks no connection.
    ///
    /// It is what a node meets whose server gets nothing published any longer.
    pub fn forget(&self) {
        self.engine.forget();
    }

    /// Refuses subscriptions to these topics from now on, and permits those that were refused before.
    ///
    /// To permit all again: `deny(|_| false)`.
    pub fn deny(&self, topics: impl Fn(&Topic) -> bool + Send + Sync + 'static) {
        self.engine.deny(Arc::new(topics));
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Backplane for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn promises(&self) -> Promises {
        Promises {
            ordered: true,
            echoes: true,
            confirms: true,
            ..Promises::default()
        }
    }

    fn run<'a>(
        &'a self,
        line: &'a mut Line,
    ) -> Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>> {
        Box::pin(self.serve(line))
    }
}

impl Memory {
    async fn serve(&self, line: &mut Line) -> Result<(), BackplaneError> {
        let connection = Connection::open(&self.engine, self.link).await?;
        line.connected();
        loop {
            connection.pass(line)?;
            match connection.next(line).await {
                Some(Command::Leave) => return Ok(()),
                Some(command) => {
                    connection.obey(command);
                    // The rest of its batch.
                    while let Some(command) = line.try_next() {
                        connection.obey(command);
                    }
                }
                None => {}
            }
            // With always something to do, others have their turn.
            coop::consume_budget().await;
        }
    }
}

mod connected;
mod connection;
mod engine;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
