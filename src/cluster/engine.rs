//! What an engine has to do.

use std::pin::Pin;

use super::{
    backplane::{BackplaneError, Promises},
    line::Line,
};

/// An engine that carries envelopes between nodes.
///
/// It does what it is told and reports what happened; it decides nothing, and remembers nothing of what was
/// published. Everything that has publishing and subscribing can be one.
///
/// An engine within one process, over a channel of tokio, on which everything goes to every node:
///
/// ```
/// use std::pin::Pin;
/// use tokio::sync::broadcast::{Sender, error::RecvError};
/// use tower_websocket::cluster::{Backplane, BackplaneError, Command, Line, Promises};
///
/// #[derive(Clone)]
/// struct Channel(Sender<(Vec<u8>, Vec<u8>)>);
///
/// impl Backplane for Channel {
///     fn name(&self) -> &'static str {
///         "channel"
///     }
///
///     fn promises(&self) -> Promises {
///         let mut promises = Promises::default();
///         (promises.ordered, promises.echoes) = (true, true);
///         promises
///     }
///
///     fn run<'a>(
///         &'a self,
///         line: &'a mut Line,
///     ) -> Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>> {
///         Box::pin(async move {
///             let mut arrives = self.0.subscribe();
///             let inlet = line.inlet();
///             line.connected();
///             loop {
///                 tokio::select! {
///                     command = line.next() => match command {
///                         Command::Publish(publish) => {
///                             let envelope = [publish.head(), &publish.payload()[..]].concat();
///                             let topic = publish.topic().as_bytes().to_vec();
///                             let _no_node = self.0.send((topic, envelope));
///                             line.published(publish.ticket(), Ok(()));
///                         }
///                         Command::Subscribe(topics) => line.subscribed(&topics),
///                         Command::Leave => return Ok(()),
///                         _ => {} // every topic arrives here anyway
///                     },
///                     arrived = arrives.recv() => match arrived {
///                         Ok((topic, envelope)) => inlet.receive(&topic, envelope.into()),
///                         Err(RecvError::Lagged(_)) => {} // the node notices by the numbers
///                         Err(closed) => return Err(BackplaneError::broken(closed)),
///                     },
///                 }
///             }
///         })
///     }
/// }
///
/// # use tower_websocket::{Groups, WebSocket, cluster::Cluster, protocol::Role};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (near, far) = tokio::io::duplex(4096);
/// # let socket = WebSocket::over(near, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(far, Role::Client).spawn()?;
/// let channel = Channel(Sender::new(1024));
/// let [here, there] = [(); 2].map(|()| -> Groups {
///     let cluster = Cluster::start("shop", channel.clone());
///     Groups::builder().cluster(&cluster, "rooms").build()
/// });
/// let membership = there.join("lobby".to_owned(), &socket.sender())?;
/// membership.subscribed().await;
/// here.broadcast("lobby", "from another node").await;
/// assert_eq!(client.recv().await?, Some("from another node".into()));
/// # Ok(())
/// # }
/// ```
pub trait Backplane: Send + Sync + 'static {
    /// Returns the engine's name, for logs, such as `redis`.
    fn name(&self) -> &'static str;

    /// Returns the promises that hold for every connection to the engine.
    fn promises(&self) -> Promises;

    /// Connects, serves the line, and returns when the connection is of no use any longer.
    ///
    /// It does not connect again: it is called again, after a pause that is not its concern. It is
    /// dropped at any await when the line is given up, and must leave no task behind. What it keeps from
    /// one connection to the next, it keeps in itself. If something that was published or subscribed is not
    /// answered for 3 seconds, that ends it as well. After [`Command::Leave`](super::Command::Leave) it sends what it still
    /// holds, and returns.
    ///
    /// # Errors
    ///
    /// The reason why there was no connection, or why it ended.
    fn run<'a>(
        &'a self,
        line: &'a mut Line,
    ) -> Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>>;
}
