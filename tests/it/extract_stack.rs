//! The extractor's answer on its way out: through other layers, and through servers.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::any,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tower::{ServiceExt, util::MapResponseLayer};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    map_response_body::MapResponseBodyLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    set_header::SetResponseHeaderLayer,
    timeout::{ResponseBodyTimeoutLayer, TimeoutLayer},
    trace::TraceLayer,
};
use tower_websocket::{WebSocket, extract::WebSocketUpgrade, testing};

use crate::{
    extract::serve,
    support::{
        Http, Log, NOT_HANDED_OVER, Pen, REPLACED, Seen, close_after, echo,
        http::{Ask, Server},
        on_both, within,
    },
};

/// An echo that reports all that happens to its connections, and a page beside it.
async fn chat(ws: Option<WebSocketUpgrade>, State(pen): State<Pen<Seen>>) -> Response {
    let Some(ws) = ws else {
        return "page".repeat(100).into_response();
    };
    let (failed, ended) = (pen.clone(), pen.clone());
    ws.on_failed_upgrade(move |error| failed.write(Seen::Failed(error.to_string())))
        .on_end(move |report| ended.write(Seen::Ended(report.close_code)))
        .on_upgrade(move |socket: WebSocket| {
            pen.write(Seen::Called);
            echo(socket)
        })
}

fn app() -> (Router, Log<Seen>) {
    let (pen, log) = Log::new();
    (Router::new().route("/", any(chat)).with_state(pen), log)
}

/// The usual layers of an application, each alone and all together.
fn stacks() -> Vec<(&'static str, Router)> {
    let app = || app().0;
    let status = StatusCode::GATEWAY_TIMEOUT;
    let timeout = || TimeoutLayer::with_status_code(status, Duration::from_secs(60));
    let name = HeaderName::from_static("x-request-id");
    let ids = (
        SetRequestIdLayer::new(name.clone(), MakeRequestUuid),
        PropagateRequestIdLayer::new(name),
    );
    let set = SetResponseHeaderLayer::overriding(header::SERVER, HeaderValue::from_static("test"));
    let all = app()
        .layer(MapResponseBodyLayer::new(Body::new))
        .layer(ids)
        .layer(CatchPanicLayer::new())
        .layer(CorsLayer::permissive())
        .layer(CompressionLayer::new())
        .layer(timeout())
        .layer(set)
        .layer(TraceLayer::new_for_http());
    vec![
        ("none", app()),
        ("trace", app().layer(TraceLayer::new_for_http())),
        ("timeout", app().layer(timeout())),
        ("compression", app().layer(CompressionLayer::new())),
        ("all", all),
    ]
}

#[tokio::test]
async fn usual_layers_let_a_connection_of_the_extractor_through() {
    on_both(async |http| {
        for (name, app) in stacks() {
            println!("under {name}");
            let server = serve(app).await;
            let ask = |ask: Ask| ask.header("accept-encoding", "gzip");
            let answer = ask(Ask::handshake(http, "/")).send(&server).await;
            assert_eq!(answer.header("content-encoding"), None);
            let mut peer = answer.opened(http);
            peer.echoes(name).await;
            peer.close().await;
            let page = ask(Ask::plain(http, "/")).send(&server).await;
            let compressed = page.header("content-encoding") == Some("gzip");
            assert_eq!(compressed, ["compression", "all"].contains(&name));
        }
    })
    .await;
}

/// Sends a handshake through a layer that meddles with the answer; gives what happened inside.
async fn through(http: Http, meddle: impl FnOnce(Router) -> Router) -> (u16, Seen) {
    let (app, mut log) = app();
    let server = Server::start(meddle(app)).await;
    let answer = Ask::handshake(http, "/").send(&server).await;
    (answer.status.as_u16(), log.next().await)
}

#[tokio::test]
async fn answer_of_the_extractor_that_is_replaced_starts_no_session() {
    on_both(async |http| {
        let why = http.pick(REPLACED, NOT_HANDED_OVER);
        let replace = MapResponseLayer::new(|_: Response| {
            let mut own = (StatusCode::FORBIDDEN, "own").into_response();
            close_after(&mut own);
            own
        });
        let seen = through(http, |app| app.layer(replace)).await;
        assert_eq!(seen, (403, Seen::Failed(why.to_owned())));
        let seen = through(http, |app| app).await;
        assert_eq!(seen, (http.accepted().as_u16(), Seen::Called));
    })
    .await;
}

#[tokio::test]
async fn body_that_hides_that_of_the_extractor_starts_no_session_on_http1() {
    let hide = || ResponseBodyTimeoutLayer::new(Duration::from_secs(60));
    within(async {
        let seen = through(Http::One, |app| app.layer(hide())).await;
        assert_eq!(seen, (101, Seen::Failed(REPLACED.to_owned())));
        let seen = through(Http::Two, |app| app.layer(hide())).await;
        assert_eq!(seen, (200, Seen::Called));
    })
    .await;
}

#[tokio::test]
async fn answer_that_a_handler_keeps_to_itself_starts_no_session() {
    async fn forget(ws: WebSocketUpgrade, State(pen): State<Pen<Seen>>) -> Response {
        drop(chat(Some(ws), State(pen)).await);
        let mut own = StatusCode::IM_A_TEAPOT.into_response();
        close_after(&mut own);
        own
    }
    let (pen, mut log) = Log::new();
    let server = serve(Router::new().route("/", any(forget)).with_state(pen)).await;
    on_both(async |http| {
        let answer = Ask::handshake(http, "/").send(&server).await;
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
        let why = http.pick(REPLACED, NOT_HANDED_OVER);
        assert_eq!(log.next().await, Seen::Failed(why.to_owned()));
    })
    .await;
}

#[tokio::test]
async fn server_without_upgrades_is_told_of_and_the_extractors_handler_not_called() {
    let (app, mut log) = app();
    let server = Server::without_upgrades(app).await;
    within(async {
        let answer = Ask::handshake(Http::One, "/").send(&server).await;
        assert_eq!(answer.status, StatusCode::SWITCHING_PROTOCOLS);
        let why = NOT_HANDED_OVER.to_owned();
        assert_eq!(log.next().await, Seen::Failed(why));
        assert!(log.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn body_of_the_extractors_answer_is_known_to_be_empty() {
    on_both(async |http| {
        let request = testing::upgradable(http.request("/").into_request());
        let response = app().0.oneshot(request).await.unwrap();
        assert_eq!(response.status(), http.accepted());
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(0));
        assert!(http_body::Body::is_end_stream(response.body()));
    })
    .await;
}
