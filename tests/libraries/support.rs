//! A server on 127.0.0.1, and connections to it.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};
use tower_websocket::{
    Config, Error, WebSocket, WebSocketLayer,
    client::{Client, HttpVersion},
    handler, serve,
};

/// Both versions, each of which every test is for.
pub(crate) const VERSIONS: [HttpVersion; 2] = [HttpVersion::Http1, HttpVersion::Http2];

/// Waits for what should happen at once. Where it does not, the test fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let guarded = timeout(Duration::from_secs(60), future).await;
    guarded.expect("what the test waits for does not happen")
}

/// A server, which ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
    ended: UnboundedReceiver<Result<(), Error>>,
}

impl Server {
    /// Starts one that hands every connection to `run`, with the subprotocols that are offered.
    pub(crate) async fn start<F, Fut>(subprotocols: &[&'static str], mut run: F) -> Self
    where
        F: FnMut(WebSocket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config::default()
            .subprotocols(subprotocols.iter().copied())
            .max_send_queue(16 << 10);
        let (ends, ended) = unbounded_channel();
        let run = handler(move |socket| {
            let (run, ends) = (run(socket), ends.clone());
            async move {
                // A test that is over reads no more.
                let _over = ends.send(run.await);
            }
        });
        let app = WebSocketLayer::new(run).config(config).endpoint();
        let task = tokio::spawn(async {
            serve(listener, app).await.unwrap();
        });
        Self {
            address,
            task,
            ended,
        }
    }

    /// Waits until what runs for one connection has ended; gives how.
    pub(crate) async fn ended(&mut self) -> Result<(), Error> {
        within(self.ended.recv()).await.unwrap()
    }

    /// Connects to it.
    pub(crate) async fn connect(
        &self,
        version: HttpVersion,
        subprotocols: &[&'static str],
    ) -> WebSocket {
        let client = Client::new()
            .http_version(version)
            .config(Config::default().subprotocols(subprotocols.iter().copied()));
        let uri = format!("ws://{}/", self.address);
        within(client.connect(uri)).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
