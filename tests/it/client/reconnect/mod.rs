//! Coming back after a session was lost: when, how often, and when no more.

mod ends;
mod pauses;

use std::{
    future::{Ready, ready},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::any};
use tokio::{
    io::DuplexStream,
    net::TcpListener,
    sync::watch,
    time::{Instant, advance},
};
use tokio_rustls::rustls::RootCertStore;
use tower_websocket::{
    CloseCode, WebSocket, WebSocketLayer,
    client::{ConnectError, HttpVersion, Reconnect, ReconnectError, Setback},
    session::EndedBy,
};

use super::{
    client_of,
    support::served,
    tls::{self, BOTH},
};
use crate::support::{Http, Log, close, echoes, handler, http::Server, on_both};

const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An application with one WebSocket at its root.
fn app<F, Fut>(function: F) -> Router
where
    F: FnMut(WebSocket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let function = move |socket| {
        let mut function = function.clone();
        async move { function(socket).await }
    };
    let layer = WebSocketLayer::new(handler(function));
    Router::new().route("/", any(async || "a page").layer(layer))
}

/// An application that closes each connection with this code, once it has lasted for so long.
fn closing(code: CloseCode, after: Duration) -> Router {
    app(move |socket| async move {
        tokio::time::sleep(after).await;
        socket.close(code);
        socket.closed().await;
    })
}

/// Reaches an application in memory.
fn to(app: Router) -> impl FnMut() -> Ready<io::Result<DuplexStream>> + Send {
    move || ready(Ok(served(app.clone())))
}

fn sessions(http: Http, app: Router) -> Reconnect {
    client_of(http).reconnect_over(to(app), "ws://localhost/")
}

/// Fails as a host does on which nothing listens.
fn nowhere() -> Ready<io::Result<DuplexStream>> {
    ready(Err(io::ErrorKind::ConnectionRefused.into()))
}

/// The error with which it gives up at once.
async fn gives_up(sessions: &mut Reconnect) -> ReconnectError {
    let error = sessions.next().await.unwrap_err();
    assert!(sessions.next().await.unwrap().is_none(), "after the error");
    error
}

/// Runs a test over both HTTP versions, whose pauses are longer than other tests wait for anything.
async fn over_both(mut test: impl AsyncFnMut(Http)) {
    for http in [Http::One, Http::Two] {
        println!("over {http:?}");
        let day = Duration::from_secs(86_400);
        tokio::time::timeout(day, test(http)).await.unwrap();
    }
}

async fn drain<T>(log: &mut Log<T>) -> Vec<T> {
    let mut all = Vec::new();
    while !log.is_empty() {
        all.push(log.next().await);
    }
    all
}

/// An echo that is closed with 1001 at each restart.
fn restarting(restarts: &watch::Sender<()>) -> Router {
    let restarts = restarts.subscribe();
    app(move |mut socket| {
        let mut restarts = restarts.clone();
        async move {
            restarts.mark_unchanged();
            loop {
                tokio::select! {
                    _ = restarts.changed() => socket.close(CloseCode::GOING_AWAY),
                    message = socket.recv() => match message {
                        Ok(Some(message)) => socket.send(message).await.unwrap(),
                        _ => return,
                    },
                }
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn client_comes_through_twenty_restarts_of_a_server() {
    over_both(async |http| {
        let restart = watch::Sender::new(());
        let app = restarting(&restart);
        let up_at = Arc::new(Mutex::new(Instant::now()));
        let (tried, mut tries) = Log::new();
        let reach = {
            let up_at = up_at.clone();
            move || {
                tried.write(Instant::now());
                if Instant::now() < *up_at.lock().unwrap() {
                    return nowhere();
                }
                ready(Ok(served(app.clone())))
            }
        };
        let (paused, mut pauses) = Log::new();
        let mut sessions = client_of(http)
            .reconnect_over(reach, "ws://localhost/")
            .on_pause(move |pause| paused.write((Instant::now(), pause.tries, pause.delay)));
        let mut socket = sessions.next().await.unwrap().unwrap().socket;
        drain(&mut tries).await;
        for run in 1..=20 {
            echoes(&mut socket, "hello").await;
            // Stable, so that it begins anew each time.
            advance(11 * SECOND).await;
            *up_at.lock().unwrap() = Instant::now() + run * SECOND;
            restart.send_replace(());
            while socket.recv().await.unwrap().is_some() {}
            let session = sessions.next().await.unwrap().unwrap();
            let lost = session.lost.unwrap();
            assert_eq!((lost.ended_by, lost.close_code), (EndedBy::Peer, 1001));
            assert_eq!(lost.messages_received, 1);
            let (pauses, tries) = (drain(&mut pauses).await, drain(&mut tries).await);
            assert_eq!(session.tries as usize, tries.len());
            assert_eq!(session.away, Instant::now() - pauses[0].0);
            assert!(Instant::now() >= *up_at.lock().unwrap());
            for (n, ((since, count, delay), at)) in pauses.iter().zip(&tries).enumerate() {
                assert_eq!(*count as usize, n);
                let bound = (SECOND * 2_u32.pow(*count)).min(30 * SECOND);
                assert!(*delay < bound, "{delay:?} after {count} tries");
                // The clock of tokio counts milliseconds.
                let waited = *at - *since;
                assert!(
                    waited >= *delay && waited <= *delay + ms(2),
                    "{waited:?} for {delay:?}"
                );
            }
            assert_eq!(pauses.len(), tries.len());
            let all: Vec<_> = pauses.iter().map(|(.., delay)| *delay).collect();
            println!(
                "run {run}, away for {:?}, by pauses of {all:?}",
                session.away
            );
            socket = session.socket;
        }
    })
    .await;
}

/// A server on a real socket, stopped and started again where it was.
#[tokio::test]
async fn client_finds_a_server_again_at_its_address() {
    on_both(async |http| {
        let (ended, mut ends) = Log::new();
        let restart = watch::Sender::new(());
        let server = Server::start(restarting(&restart)).await;
        let address = server.address;
        let mut sessions = client_of(http)
            .on_end(move |report| ended.write(report.close_code))
            .reconnect(format!("ws://{address}/"))
            .base_delay(ms(1));
        let mut socket = sessions.next().await.unwrap().unwrap().socket;
        for _ in 0..3 {
            echoes(&mut socket, "hello").await;
            restart.send_replace(());
            while socket.recv().await.unwrap().is_some() {}
            assert_eq!(ends.next().await, 1001);
            let session = sessions.next().await.unwrap().unwrap();
            assert_eq!(session.lost.unwrap().close_code, 1001);
            assert_eq!(session.response.status(), http.accepted());
            socket = session.socket;
        }
        // Nobody listens for a while.
        drop(server);
        socket.abort();
        let (paused, mut pauses) = Log::new();
        let mut sessions = sessions.on_pause(move |pause| {
            if let Setback::Failed(ConnectError::Connect(error)) = pause.setback {
                paused.write(error.kind());
            }
        });
        let back = async {
            assert_eq!(pauses.next().await, io::ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(address).await.unwrap();
            let serving = axum::serve(listener, restarting(&restart)).into_future();
            Server::other(address, async { serving.await.unwrap() })
        };
        let (session, _server) = tokio::join!(sessions.next(), back);
        let session = session.unwrap().unwrap();
        assert_eq!(session.lost.unwrap().ended_by, EndedBy::Disconnect);
        let mut socket = session.socket;
        echoes(&mut socket, "hello again").await;
        close(socket).await;
    })
    .await;
}

#[tokio::test]
async fn tls_is_tried_again_only_where_that_may_help() {
    let server = tls::Server::start(BOTH, true).await;
    on_both(async |http| {
        let version = http.pick(HttpVersion::Http1, HttpVersion::Http2);
        let client = server.client(version);
        let uri = server.uri("localhost");
        let mut sessions = client.reconnect(&uri).base_delay(ms(1));
        for n in 1..=3 {
            let mut session = sessions.next().await.unwrap().unwrap();
            assert_eq!(session.tries, n);
            echoes(&mut session.socket, "hello").await;
            session.socket.abort();
        }
        let stranger = client.clone().roots(RootCertStore::empty());
        let error = gives_up(&mut stranger.reconnect(&uri)).await;
        assert_eq!(error.tries(), 1);
        assert!(
            matches!(error.setback(), Setback::Failed(ConnectError::Tls(_))),
            "{error:?}"
        );
        // A server that goes down in the middle of it.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("wss://{}/", listener.local_addr().unwrap());
        let server = async {
            for _ in 0..3 {
                drop(listener.accept().await.unwrap());
            }
        };
        let mut sessions = client.reconnect(uri).base_delay(ms(1)).max_tries(3);
        let (error, ()) = tokio::join!(gives_up(&mut sessions), server);
        assert_eq!(error.tries(), 3);
        assert!(
            matches!(error.setback(), Setback::Failed(ConnectError::Tls(_))),
            "{error:?}"
        );
    })
    .await;
}
