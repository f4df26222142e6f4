//! A server on 127.0.0.1, and connections to it.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
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
    ended: UnboundedReceiver<Result<(), Error>>,
    _task: Task,
}

impl Server {
    /// Starts one that hands every connection to `run`, with the subprotocols that are offered.
    pub(crate) async fn start<F, Fut>(subprotocols: &[&'static str], mut run: F) -> Self
    where
        F: FnMut(WebSocket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
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
        let server = Self::serve(Router::new().route_service("/", app)).await;
        Self { ended, ..server }
    }

    /// Starts one for the routes of a program.
    pub(crate) async fn serve(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async {
            serve(listener, app).await.unwrap();
        });
        let task = Task(task);
        let (_, ended) = unbounded_channel();
        Self {
            address,
            ended,
            _task: task,
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
        let config = Config::default().subprotocols(subprotocols.iter().copied());
        self.connect_to("", version, config).await
    }

    /// Connects to a path, which is without its first slash.
    pub(crate) async fn connect_to(
        &self,
        path: &str,
        version: HttpVersion,
        config: Config,
    ) -> WebSocket {
        let client = Client::new().http_version(version).config(config);
        let uri = format!("ws://{}/{path}", self.address);
        within(client.connect(uri)).await.unwrap()
    }
}

/// A task that ends when it is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
