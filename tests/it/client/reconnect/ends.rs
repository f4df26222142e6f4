//! When it gives up, and what is lost by that.

use std::{
    future::ready,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, routing::any};
use futures_util::StreamExt;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    sync::watch,
    time::Instant,
};
use tower_websocket::{
    CloseCode,
    client::{self, Client, ConnectError, Setback},
    session::EndedBy,
};

use super::{SECOND, closing, gives_up, ms, nowhere, over_both, restarting, sessions, to};
use crate::{
    client::{client_of, support::served},
    session::support::{PIPE, idle},
    support::{Http, close, echoes, poll_times},
};

#[tokio::test(start_paused = true)]
async fn refusal_that_will_not_change_ends_it() {
    over_both(async |http| {
        for (status, is_final) in [
            (200, http == Http::One),
            (301, true),
            (400, true),
            (401, true),
            (403, true),
            (404, true),
            (408, false),
            (426, true),
            (429, false),
            (500, false),
            (502, false),
            (503, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            if status.is_success() && !is_final {
                // Over HTTP/2 it accepts.
                continue;
            }
            let app = Router::new().route("/", any(async move || status));
            let mut sessions = sessions(http, app).max_tries(3);
            let error = gives_up(&mut sessions).await;
            assert_eq!(error.setback().status(), Some(status));
            assert_eq!(error.setback().is_final(), is_final);
            assert_eq!(error.tries(), if is_final { 1 } else { 3 }, "{status}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_ends_it_before_anything_is_sent() {
    for text in ["localhost:8080/chat", "ftp://localhost/", "ws://a b/"] {
        let error = gives_up(&mut client::reconnect(text)).await;
        assert!(error.setback().is_final(), "{text}");
        let error = error.into_setback();
        assert!(
            matches!(
                &error,
                Setback::Failed(ConnectError::Request(_) | ConnectError::Uri(_))
            ),
            "{text}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_ends_it_whatever_is_decided() {
    for text in [
        "localhost:8080/chat",
        "ftp://localhost/",
        "ws://a b/",
        "/chat",
    ] {
        let mut sessions = client::reconnect(text)
            .give_up_on(|_| false)
            .on_pause(|pause| panic!("it tries again: {}", pause.setback));
        let error = gives_up(&mut sessions).await;
        assert!(error.setback().is_final(), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_way_to_a_server_ends_it() {
    for (kind, is_final) in [
        (io::ErrorKind::InvalidInput, true),
        (io::ErrorKind::Unsupported, true),
        (io::ErrorKind::InvalidData, false),
        (io::ErrorKind::Other, false),
    ] {
        let reach = move || {
            ready(Err::<DuplexStream, _>(io::Error::new(
                kind,
                "no such proxy",
            )))
        };
        let mut sessions = Client::new()
            .reconnect_over(reach, "ws://localhost/")
            .max_tries(3);
        let error = gives_up(&mut sessions).await;
        assert_eq!(error.setback().is_final(), is_final, "{kind:?}");
        assert_eq!(error.tries(), if is_final { 1 } else { 3 }, "{kind:?}");
    }
    // What the system says may be about one address of several.
    let invalid = io::Error::from_raw_os_error(22);
    assert!(ConnectError::Connect(invalid).is_temporary());
}

#[test]
fn debug_has_host_and_path_of_the_uri_alone() {
    let uri = "wss://user:hunter2@example.com:8443/chat?token=hunter2";
    let text = format!("{:?}", client::reconnect(uri));
    assert!(
        text.contains("\"example.com\"") && text.contains("\"/chat\""),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn server_that_has_done_what_it_is_for_ends_it_without_an_error() {
    over_both(async |http| {
        let mut sessions = sessions(http, closing(CloseCode::NORMAL, Duration::ZERO));
        let mut session = sessions.next().await.unwrap().unwrap();
        assert_eq!(session.socket.recv().await.unwrap(), None);
        assert!(sessions.next().await.unwrap().is_none());
        assert!(sessions.next().await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn codes_mean_what_the_application_says() {
    over_both(async |http| {
        for code in [1001, 1008, 1011, 1012, 3000, 4001] {
            let code = CloseCode::new(code).unwrap();
            let closing = closing(code, Duration::ZERO);
            let mut again = sessions(http, closing.clone());
            let mut session = again.next().await.unwrap().unwrap();
            assert_eq!(session.socket.recv().await.unwrap(), None);
            let lost = again.next().await.unwrap().unwrap().lost.unwrap();
            assert_eq!(lost.close_code, code.as_u16());

            let mut ending = sessions(http, closing)
                .give_up_on(move |setback| setback.close_code() == Some(code));
            let mut session = ending.next().await.unwrap().unwrap();
            assert_eq!(session.socket.recv().await.unwrap(), None);
            let error = gives_up(&mut ending).await;
            assert_eq!(error.setback().close_code(), Some(code));
            assert_eq!(
                error.setback().to_string(),
                format!("the server ended the session: closed with {code}")
            );
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tries_are_counted_where_there_is_a_limit() {
    for (limit, expected) in [(0, 1), (1, 1), (2, 2), (5, 5)] {
        let tried = Arc::new(AtomicUsize::new(0));
        let count = tried.clone();
        let reach = move || {
            count.fetch_add(1, Relaxed);
            nowhere()
        };
        let mut sessions = Client::new()
            .reconnect_over(reach, "ws://localhost/")
            .max_tries(limit);
        let error = gives_up(&mut sessions).await;
        assert_eq!(error.tries(), expected);
        assert_eq!(tried.load(Relaxed), expected as usize);
        let source = std::error::Error::source(&error).unwrap();
        assert!(
            source.to_string().starts_with("the server was not reached"),
            "{source}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn session_that_is_left_is_waited_for_and_replaced() {
    over_both(async |http| {
        let restart = watch::Sender::new(());
        let mut sessions = sessions(http, restarting(&restart));
        let mut session = sessions.next().await.unwrap().unwrap();
        // Open: there is no next one.
        for _ in 0..3 {
            let next = pin!(sessions.next());
            assert!(poll_times(next, 1).await.is_none());
            idle().await;
        }
        echoes(&mut session.socket, "still open").await;
        let (sender, receiver) = session.socket.split();
        drop(receiver);
        let session = sessions.next().await.unwrap().unwrap();
        assert!(!sender.is_open());
        let lost = session.lost.unwrap();
        assert_eq!((lost.ended_by, lost.close_code), (EndedBy::Local, 1000));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_loses_nothing() {
    over_both(async |http| {
        let restart = watch::Sender::new(());
        let tried = Arc::new(AtomicUsize::new(0));
        let (count, app) = (tried.clone(), restarting(&restart));
        let reach = move || {
            count.fetch_add(1, Relaxed);
            ready(Ok(served(app.clone())))
        };
        let mut sessions = client_of(http).reconnect_over(reach, "ws://localhost/");
        // In the middle of connecting, at each step of it.
        let mut steps = 0;
        let session = loop {
            steps += 1;
            assert!(steps < 1000, "it never comes to an end");
            if let Some(session) = poll_times(pin!(sessions.next()), 1).await {
                break session.unwrap().unwrap();
            }
            tokio::task::yield_now().await;
        };
        assert!(steps > 1);
        assert_eq!((session.tries, tried.load(Relaxed)), (1, 1));
        // In the middle of a pause.
        session.socket.abort();
        let mut cuts = 0;
        let begun = Instant::now();
        let session = loop {
            tokio::select! {
                biased;
                session = sessions.next() => break session.unwrap().unwrap(),
                () = tokio::time::sleep(ms(1)) => cuts += 1,
            }
        };
        assert!(
            begun.elapsed() <= 2 * SECOND + ms(20),
            "{:?}, {cuts}",
            begun.elapsed()
        );
        assert_eq!((session.tries, tried.load(Relaxed)), (2, 2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropping_it_gives_up_what_is_being_made_and_leaves_what_was_given() {
    let restart = watch::Sender::new(());
    let mut sessions = sessions(Http::One, restarting(&restart));
    let mut session = sessions.next().await.unwrap().unwrap();
    drop(sessions);
    echoes(&mut session.socket, "hello").await;
    close(session.socket).await;

    let (ours, mut theirs) = duplex(PIPE);
    let mut ours = Some(ours);
    let reach = move || ready(ours.take().ok_or_else(|| io::ErrorKind::Other.into()));
    let mut sessions = Client::new().reconnect_over(reach, "ws://localhost/");
    assert!(poll_times(pin!(sessions.next()), 1).await.is_none());
    drop(sessions);
    let (mut asked, dropped) = (Vec::new(), Instant::now());
    theirs.read_to_end(&mut asked).await.unwrap();
    assert_eq!(dropped.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn it_is_a_stream_too() {
    over_both(async |http| {
        let mut sessions = client_of(http)
            .reconnect_over(
                to(closing(CloseCode::GOING_AWAY, SECOND)),
                "ws://localhost/",
            )
            .max_tries(3);
        for n in 1..=3 {
            let mut session = StreamExt::next(&mut sessions).await.unwrap().unwrap();
            assert_eq!(session.tries, n);
            assert_eq!(session.socket.recv().await.unwrap(), None);
        }
        assert!(StreamExt::next(&mut sessions).await.unwrap().is_err());
        assert!(StreamExt::next(&mut sessions).await.is_none());
        // It may be awaited in any task.
        let last = tokio::spawn(async move { sessions.next().await });
        assert!(last.await.unwrap().unwrap().is_none());
    })
    .await;
}
