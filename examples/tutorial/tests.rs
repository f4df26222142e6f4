//! Conversations in memory: no port, no waiting.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{
        Request, StatusCode,
        header::{CONTENT_TYPE, SET_COOKIE},
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::{BoxError, ServiceExt};
use tower_websocket::{
    Config, WebSocket,
    testing::{self, TestRequest, WebSocketExt},
};

use crate::{App, app};

pub(crate) type Result<T = ()> = std::result::Result<T, BoxError>;

/// The handshake of a browser that has logged in, over HTTP/1.1 or HTTP/2.
pub(crate) async fn handshake(
    app: &Router,
    form: &'static str,
    http2: bool,
) -> Result<TestRequest> {
    let login = Request::post("/login").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = app.clone().oneshot(login.body(Body::from(form))?).await?;
    let cookie = answer.headers().get(SET_COOKIE).ok_or("no session")?;
    let cookie = cookie.to_str()?.split(';').next().unwrap_or_default();
    let request = testing::request("/rooms/lobby").header("cookie", cookie);
    Ok(if http2 { request.http2() } else { request })
}

/// Receives until a list of exactly these names comes.
pub(crate) async fn sees(socket: &mut WebSocket, names: &[&str]) -> Result {
    while next(socket).await?["names"] != json!(names) {}
    Ok(())
}

pub(crate) async fn next(socket: &mut WebSocket) -> Result<Value> {
    Ok(serde_json::from_str(&socket.recv_text().await?)?)
}

/// The status with which a handshake is refused.
async fn refusal(app: &Router, request: TestRequest) -> Option<StatusCode> {
    testing::connect(app.clone(), request).await.err()?.status()
}

#[tokio::test(start_paused = true)]
async fn members_see_who_is_here_and_what_is_said() -> Result {
    for http2 in [false, true] {
        let app = app(App::default());
        let ann = handshake(&app, "name=ann&password=apple", http2).await?;
        let (_, mut ann) = testing::connect(app.clone(), ann).await?;
        sees(&mut ann, &["ann"]).await?;

        let ben = handshake(&app, "name=ben&password=banana", http2).await?;
        let (_, mut ben) = testing::connect(app, ben).await?;
        sees(&mut ann, &["ann", "ben"]).await?;
        sees(&mut ben, &["ann", "ben"]).await?;

        ann.send("hello").await?;
        let said = json!({ "type": "said", "name": "ann", "text": "hello" });
        assert_eq!(next(&mut ann).await?, said);
        assert_eq!(next(&mut ben).await?, said);

        drop(ann); // she closes the window
        sees(&mut ben, &["ben"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn strangers_and_pages_of_other_sites_are_refused() -> Result {
    let app = app(App::default());
    assert!(
        handshake(&app, "name=ann&password=banana", false)
            .await
            .is_err()
    );
    for http2 in [false, true] {
        let stranger = testing::request("/rooms/lobby").header("cookie", "session=1");
        let stranger = if http2 { stranger.http2() } else { stranger };
        assert_eq!(
            refusal(&app, stranger).await,
            Some(StatusCode::UNAUTHORIZED)
        );

        let ann = handshake(&app, "name=ann&password=apple", http2).await?;
        let elsewhere = ann.header("origin", "https://elsewhere.example");
        assert_eq!(refusal(&app, elsewhere).await, Some(StatusCode::FORBIDDEN));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_line_is_dead_leaves() -> Result {
    let app = app(App::default());
    let ann = handshake(&app, "name=ann&password=apple", false).await?;
    let (_, mut ann) = testing::connect(app.clone(), ann).await?;
    let ben = handshake(&app, "name=ben&password=banana", false).await?;
    // A client that sends no pings, and answers none.
    let dead = Config::default().ping_interval(None).auto_pong(false);
    let (_, _ben) = testing::connect(app, ben.config(dead)).await?;
    sees(&mut ann, &["ann", "ben"]).await?;

    let start = Instant::now();
    sees(&mut ann, &["ann"]).await?; // within no time of yours: the clock is paused
    assert!(start.elapsed() < Duration::from_secs(60));
    Ok(())
}
