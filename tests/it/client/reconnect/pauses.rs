//! How long it waits, and what changes that.

use std::{future::ready, time::Duration};

use axum::{Router, routing::any};
use http::{Request, StatusCode, header::RETRY_AFTER};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tower_websocket::{CloseCode, client::Client};

use super::{SECOND, app, closing, gives_up, ms, over_both, restarting, sessions};
use crate::{
    client::{client_of, support::served},
    support::{Http, Log, echo},
};

#[tokio::test(start_paused = true)]
async fn server_that_says_when_is_asked_then() {
    over_both(async |http| {
        for (status, text, least) in [
            (StatusCode::SERVICE_UNAVAILABLE, "100", 100 * SECOND),
            (StatusCode::TOO_MANY_REQUESTS, "7", 7 * SECOND),
            (StatusCode::SERVICE_UNAVAILABLE, "86400", 300 * SECOND),
        ] {
            let open_at = Instant::now() + least;
            let answer = async move || (status, [(RETRY_AFTER, text)]);
            let busy = Router::new().route("/", any(answer));
            let open = app(async |socket| echo(socket).await.unwrap_or_default());
            let reach = move || {
                let app = if Instant::now() < open_at {
                    &busy
                } else {
                    &open
                };
                ready(Ok(served(app.clone())))
            };
            let mut sessions = client_of(http).reconnect_over(reach, "ws://localhost/");
            let session = sessions.next().await.unwrap().unwrap();
            assert_eq!(session.tries, 2);
            let late = session.away - least;
            assert!(late <= 2 * SECOND + ms(2), "{late:?} too late");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn overloaded_server_is_left_alone_for_longer() {
    over_both(async |http| {
        let mut sessions = sessions(http, closing(CloseCode::TRY_AGAIN_LATER, 20 * SECOND));
        for _ in 0..5 {
            let mut session = sessions.next().await.unwrap().unwrap();
            if session.lost.is_some() {
                let away = session.away;
                assert!(
                    away >= 15 * SECOND && away <= 30 * SECOND + ms(2),
                    "{away:?}"
                );
            }
            assert_eq!(session.socket.recv().await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_a_session_that_lasts_begins_the_count_anew() {
    over_both(async |http| {
        for (lasts, expected) in [(ms(9900), [1, 2, 3, 4]), (ms(10_100), [1, 1, 1, 1])] {
            let mut sessions = sessions(http, closing(CloseCode::GOING_AWAY, lasts));
            for expected in expected {
                let mut session = sessions.next().await.unwrap().unwrap();
                assert_eq!(session.tries, expected, "{lasts:?}");
                assert_eq!(session.socket.recv().await.unwrap(), None);
            }
            let mut sessions = sessions.max_tries(4);
            match sessions.next().await {
                Ok(session) => assert_eq!(session.unwrap().tries, 1),
                Err(error) => assert_eq!((error.tries(), lasts), (4, ms(9900))),
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pause_is_skipped_for_who_will_not_wait() {
    let mut fails = true;
    let app = app(async |socket| echo(socket).await.unwrap_or_default());
    let reach = move || {
        if std::mem::take(&mut fails) {
            let busy = async || (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "60")]);
            return ready(Ok(served(Router::new().route("/", any(busy)))));
        }
        ready(Ok(served(app.clone())))
    };
    let (paused, mut pauses) = Log::new();
    let mut sessions = Client::new()
        .reconnect_over(reach, "ws://localhost/")
        .on_pause(move |pause| paused.write(pause.delay));
    // There is none yet.
    sessions.skip_pause();
    let begun = Instant::now();
    tokio::select! {
        session = sessions.next() => panic!("{session:?}"),
        delay = pauses.next() => assert!(delay >= 60 * SECOND),
    }
    sessions.skip_pause();
    let session = sessions.next().await.unwrap().unwrap();
    assert_eq!((session.tries, begun.elapsed()), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_not_made_in_time_is_tried_again() {
    let restart = watch::Sender::new(());
    let app = restarting(&restart);
    let mut hangs = true;
    let reach = move || {
        let (hangs, app) = (std::mem::take(&mut hangs), app.clone());
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(served(app))
        }
    };
    let mut sessions = Client::new().reconnect_over(reach, "ws://localhost/");
    let session = timeout(60 * SECOND, sessions.next()).await.unwrap();
    let session = session.unwrap().unwrap();
    assert_eq!(session.tries, 2);
    assert!(session.away >= 10 * SECOND, "{:?}", session.away);
}

#[tokio::test(start_paused = true)]
async fn request_is_made_anew_before_each_try() {
    let (asked, mut targets) = Log::new();
    let seen = async move |request: Request<axum::body::Body>| {
        let authorization = request.headers()["authorization"].clone();
        asked.write((request.uri().to_string(), authorization));
        StatusCode::SERVICE_UNAVAILABLE
    };
    let app = Router::new().route("/", any(seen));
    let mut token = 0;
    let mut sessions = sessions(Http::One, app)
        .max_tries(3)
        .prepare(move |request| {
            token += 1;
            *request.uri_mut() = format!("ws://localhost/?seen={token}").parse().unwrap();
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        });
    gives_up(&mut sessions).await;
    for n in 1..=3 {
        let (target, authorization) = targets.next().await;
        assert_eq!(target, format!("/?seen={n}"));
        assert_eq!(authorization, format!("Bearer {n}"));
    }
}
