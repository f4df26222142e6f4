//! Sessions that their callers poll: in the task of the socket, in another one, or no longer.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, duplex},
    runtime::{Builder, Handle},
    time::timeout,
};
use tower_websocket::{
    CloseCode, Config, Event, WebSocket,
    protocol::Role,
    session::{EndedBy, SessionFuture, Sessions},
};

use super::{both, pipe, serve, silent};
use crate::{
    session::support::{Frame, close, idle, once, text, within},
    support::Log,
};

/// Polls a session and what its socket does in one task, always in the same order.
async fn beside<T>(
    session: SessionFuture,
    talk: impl Future<Output = T>,
    session_first: bool,
) -> T {
    let (mut session, mut talk) = (pin!(session), pin!(talk));
    let (mut over, mut output) = (false, None);
    poll_fn(|cx| {
        for turn in [session_first, !session_first] {
            if turn {
                over = over || session.as_mut().poll(cx).is_ready();
            } else if output.is_none()
                && let Poll::Ready(done) = talk.as_mut().poll(cx)
            {
                output = Some(done);
            }
        }
        match (over, output.take()) {
            (true, Some(output)) => Poll::Ready(output),
            (_, unfinished) => {
                output = unfinished;
                Poll::Pending
            }
        }
    })
    .await
}

/// Nothing but the session's own wakes moves it: no ping, no other task's turn.
#[tokio::test(start_paused = true)]
async fn session_runs_in_the_task_of_its_socket_in_either_order() {
    for session_first in [true, false] {
        for role in both() {
            let (ours, theirs) = duplex(1 << 10);
            let other = match role {
                Role::Client => Role::Server,
                Role::Server => Role::Client,
            };
            let peer = WebSocket::over(theirs, other).config(silent());
            let peer = tokio::spawn(serve(peer.spawn().unwrap()));
            let session = WebSocket::over(ours, role).config(silent());
            let (mut socket, session) = session.open().unwrap();
            let talk = async move {
                for size in [1, 100, 5_000, 200_000] {
                    let text = "x".repeat(size);
                    socket.send(text.as_str()).await.unwrap();
                    socket.flush().await.unwrap();
                    assert_eq!(socket.recv().await.unwrap(), Some(text.into()));
                }
                // Many that wait for room, then as many to receive.
                let sender = socket.sender();
                let sending = async {
                    for number in 0..500_u32 {
                        sender.send(number.to_string()).await.unwrap();
                    }
                };
                let receiving = async {
                    for number in 0..500_u32 {
                        let message = socket.recv().await.unwrap();
                        assert_eq!(message, Some(number.to_string().into()));
                    }
                };
                tokio::join!(sending, receiving);
                assert!(socket.ping_and_wait().await.is_ok());
                socket.close(CloseCode::NORMAL);
                assert_eq!(socket.recv().await.unwrap(), None);
                socket.closed().await;
            };
            within(beside(session, talk, session_first)).await;
            within(peer).await.unwrap();
        }
    }
}

/// Control frames wake their observer, too.
#[tokio::test(start_paused = true)]
async fn observer_in_the_task_of_its_session_is_woken() {
    for session_first in [true, false] {
        let (ours, mut peer) = pipe();
        let session = WebSocket::over(ours, Role::Server).config(silent());
        let (mut socket, session) = session.open().unwrap();
        let talk = async move {
            let event = socket.recv_event().await.unwrap();
            assert_eq!(event, Some(Event::Message("hi".into())));
            let event = socket.recv_event().await.unwrap();
            assert_eq!(event, Some(Event::Close(Some(CloseCode::NORMAL.into()))));
        };
        let both = tokio::spawn(beside(session, talk, session_first));
        idle().await;
        peer.send(text("hi")).await;
        idle().await;
        peer.send(close(1000, "")).await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.finish().await;
        within(both).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn session_goes_from_one_task_to_another() {
    let (ours, mut peer) = pipe();
    let session = WebSocket::over(ours, Role::Server).config(silent());
    let (mut socket, mut session) = session.open().unwrap();
    assert!(once(Pin::new(&mut session)).await.is_pending());
    let session = tokio::spawn(session);
    idle().await;
    peer.send(text("hi")).await;
    assert_eq!(within(socket.recv()).await.unwrap(), Some("hi".into()));
    drop(socket);
    assert_eq!(peer.frame().await.code(), Some(1000));
    peer.send(close(1000, "")).await;
    peer.finish().await;
    within(session).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn session_that_nobody_polls_reads_and_writes_nothing() {
    let (ours, mut peer) = pipe();
    let session = WebSocket::over(ours, Role::Server).already_read(text("before"));
    let (mut socket, mut session) = session.open().unwrap();
    peer.send(text("after")).await;
    socket.send("queued").await.unwrap();
    assert_eq!(socket.queued_bytes(), 8);
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, socket.recv()).await.is_err());
    let mut byte = [0];
    assert!(timeout(hour, peer.stream.read(&mut byte)).await.is_err());
    // It was late for its pings, and has lost nothing.
    assert!(once(Pin::new(&mut session)).await.is_pending());
    assert_eq!(peer.frame().await, Frame::text("queued"));
    let session = tokio::spawn(session);
    assert_eq!(within(socket.recv()).await.unwrap(), Some("before".into()));
    assert_eq!(within(socket.recv()).await.unwrap(), Some("after".into()));
    drop(session);
}

#[tokio::test(start_paused = true)]
async fn session_that_is_dropped_ends_the_connection_and_tells_everybody() {
    for role in both() {
        for polled in [false, true] {
            let (pen, mut reports) = Log::new();
            let sessions = Sessions::new(role).on_end(move |report| pen.write(report.clone()));
            let (ours, mut peer) = pipe();
            let (mut socket, mut session) = sessions.over(ours).open().unwrap();
            if polled {
                assert!(once(Pin::new(&mut session)).await.is_pending());
            }
            let sender = socket.sender();
            let waiting = tokio::spawn(async move { socket.recv().await });
            idle().await;
            sender.send("last words").await.unwrap();
            drop(session);
            let error = within(waiting).await.unwrap().unwrap_err();
            assert!(error.is_disconnect(), "{error:?}");
            assert!(sender.send("too late").await.unwrap_err().is_closed());
            sender.closed().await;
            let report = reports.next().await;
            assert_eq!(
                (report.ended_by, report.close_code),
                (EndedBy::Disconnect, 1006)
            );
            let mut rest = Vec::new();
            within(peer.stream.read_to_end(&mut rest)).await.unwrap();
            // A client's last words are written, masked; a server's are not.
            let expected = if role == Role::Client { 16 } else { 0 };
            assert_eq!(rest.len(), expected, "{rest:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn session_keeps_its_deadlines_while_it_is_polled() {
    let (ours, mut peer) = pipe();
    let config = Config::default().ping_interval(Duration::from_secs(20));
    let session = WebSocket::over(ours, Role::Server).config(config);
    let (mut socket, session) = session.open().unwrap();
    let session = tokio::spawn(session);
    assert!(within(peer.next()).await.unwrap().is_ping());
    let error = within(socket.recv()).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    within(session).await.unwrap();
}

/// Waits on a thread that is nobody's, as an executor that is not tokio's does.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn session_needs_no_task_of_tokio() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let (ours, theirs) = duplex(1 << 10);
    // The pings need its time.
    let config = Config::default().ping_interval(Duration::from_millis(1));
    let client = WebSocket::over(ours, Role::Client).config(config.clone());
    let (mut client, client_session) = client.open().unwrap();
    let server = WebSocket::over(theirs, Role::Server).config(config);
    let (server, server_session) = server.open().unwrap();
    let talk = async move {
        for number in 0..100_u32 {
            client.send(number.to_string()).await.unwrap();
            assert_eq!(
                client.recv().await.unwrap(),
                Some(number.to_string().into())
            );
        }
        while client.rtt().is_none() {
            // The next turn comes with a ping.
            let _control = client.recv_event().await.unwrap();
        }
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
        client.close(CloseCode::NORMAL);
        client.closed().await;
    };
    block_on(async {
        tokio::join!(talk, serve(server), client_session, server_session);
    });
}
