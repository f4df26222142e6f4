//! A program that ends right after it has sent something, and its runtime with it.

use std::net::SocketAddr;

use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tokio_rustls::rustls::RootCertStore;
use tower_websocket::{Message, WebSocket, client::Client, endpoint, serve};

use super::tls::certified;
use crate::support::{Log, Pen, handler};

/// What a server has seen of its client.
#[derive(Debug, Eq, PartialEq)]
enum Seen {
    Message(Message),
    Closed(Option<u16>),
    Lost,
}

use Seen::{Closed, Lost};

fn message(text: &str) -> Seen {
    Seen::Message(text.into())
}

async fn watch(mut socket: WebSocket, pen: Pen<Seen>) {
    let end = loop {
        match socket.recv().await {
            Ok(Some(message)) => pen.write(Seen::Message(message)),
            Ok(None) => break Closed(socket.received_close().map(|frame| frame.code().as_u16())),
            Err(_) => break Lost,
        }
    };
    pen.write(end);
}

/// A server in a runtime that goes on.
struct Server {
    runtime: Runtime,
    uri: String,
    client: Client,
    log: Log<Seen>,
}

impl Server {
    fn start(tls: bool) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.unwrap();
        let (pen, log) = Log::new();
        let app = endpoint(handler(move |socket| watch(socket, pen.clone())));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let mut client = Client::new();
        let mut server = serve(listener, app);
        if tls {
            let (certificate, config) = certified(&["http/1.1"]);
            let mut roots = RootCertStore::empty();
            roots.add(certificate).unwrap();
            client = client.roots(roots);
            server = server.tls(config);
        }
        let _task = runtime.spawn(server.into_future());
        let scheme = if tls { "wss" } else { "ws" };
        let uri = format!("{scheme}://{address}/");
        Self {
            runtime,
            uri,
            client,
            log,
        }
    }

    /// What the server has seen once the client is gone.
    fn seen(mut self) -> Vec<Seen> {
        self.runtime.block_on(async {
            let mut seen = Vec::new();
            loop {
                let next = self.log.next().await;
                let last = !matches!(next, Seen::Message(_));
                seen.push(next);
                if last {
                    return seen;
                }
            }
        })
    }
}

/// Runs a client's `main`, and drops its runtime when that has ended.
fn run<T>(server: &Server, main: impl AsyncFnOnce(WebSocket) -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = server.client.connect(server.uri.as_str()).await.unwrap();
        main(socket).await
    })
}

#[test]
fn what_a_client_sends_last_arrives_and_its_close_after_it() {
    for tls in [false, true] {
        let server = Server::start(tls);
        run(&server, async |socket| {
            socket.send("first").await.unwrap();
            socket.send("last").await.unwrap();
        });
        let seen = server.seen();
        assert_eq!(
            seen,
            [message("first"), message("last"), Closed(Some(1000))],
            "tls: {tls}"
        );
    }
}

#[test]
fn what_is_larger_than_one_record_arrives_as_well() {
    for tls in [false, true] {
        let server = Server::start(tls);
        let text = "x".repeat(40_000);
        run(&server, async |socket| {
            socket.send(text.as_str()).await.unwrap();
        });
        assert_eq!(
            server.seen(),
            [message(&text), Closed(Some(1000))],
            "tls: {tls}"
        );
    }
}

#[test]
fn last_message_arrives_without_a_close_where_the_socket_is_still_there() {
    let server = Server::start(false);
    let _socket = run(&server, async |socket| {
        socket.send("last").await.unwrap();
        socket
    });
    assert_eq!(server.seen(), [message("last"), Lost]);
}

#[test]
fn what_was_aborted_sends_nothing_more() {
    let server = Server::start(false);
    run(&server, async |socket| {
        socket.send("last").await.unwrap();
        socket.abort();
    });
    assert_eq!(server.seen(), [Lost]);
}
