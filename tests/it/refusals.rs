//! Every refusal: its status, its headers, and what an outer layer can make of it.

use std::{
    convert::Infallible,
    future::{pending, ready},
    task::{Context, Poll},
};

use axum::{Router, body::Body, response::IntoResponse, routing::any};
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::MapRequestLayer};
use tower_websocket::{
    Config, OriginPolicy, WebSocket, WebSocketLayer, endpoint, handshake::Rejection, testing,
};

use crate::support::{
    Http, echo, handler,
    http::{Answer, Ask, KEY, Peer, Server},
    on_both, oneshot, refused, within,
};

/// A handshake, the status for it, and a word of the explanation.
type Row = (Ask, u16, &'static str);

/// Checks what all refusals have in common.
fn check(http: Http, answer: &Answer, (ask, status, word): &Row) {
    assert_eq!(answer.status, *status, "{ask:?}");
    assert!(answer.text().contains(word), "{:?}: {ask:?}", answer.text());
    assert!(!answer.text().contains('\n'), "one line");
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("text/plain; charset=utf-8"));
    let (connection, upgrade) = match (http, status) {
        (Http::One, 426) => (Some("close, upgrade"), Some("websocket")),
        (Http::One, _) => (Some("close"), None),
        (Http::Two, _) => (None, None),
    };
    assert_eq!(answer.header("connection"), connection, "{ask:?}");
    assert_eq!(answer.header("upgrade"), upgrade, "{ask:?}");
    let version = word.contains("Sec-WebSocket-Version").then_some("13");
    assert_eq!(answer.header("sec-websocket-version"), version, "{ask:?}");
    let allow = (*status == 405).then_some("GET");
    assert_eq!(answer.header("allow"), allow, "{ask:?}");
    assert_eq!(answer.header("sec-websocket-accept"), None);
}

async fn refuses(server: &Server, http: Http, rows: Vec<Row>) {
    for row in rows {
        let mut answer = head_or_all(server, &row).await;
        check(http, &answer, &row);
        if http == Http::One {
            assert_eq!(answer.peer.rest().await, "", "the connection ends");
        }
    }
}

fn app(config: Config) -> Router {
    let layer = WebSocketLayer::new(handler(echo)).config(config);
    Router::new()
        .route_service("/", layer.clone().endpoint())
        .route("/shared", any(async || "page").layer(layer))
}

#[tokio::test]
async fn http1_handshakes_that_break_a_rule_are_refused() {
    let server = Server::start(app(Config::default())).await;
    let ask = || Ask::handshake(Http::One, "/shared");
    let version = |version| {
        ask()
            .without("sec-websocket-version")
            .header("sec-websocket-version", version)
    };
    let key = |key: &str| {
        ask()
            .without("sec-websocket-key")
            .header("sec-websocket-key", key)
    };
    let long = format!("{KEY}{KEY}");
    let rows = vec![
        (version("8"), 426, "Sec-WebSocket-Version must be 13"),
        (version("013"), 426, "Sec-WebSocket-Version"),
        (version("13, 8"), 426, "Sec-WebSocket-Version"),
        (version(""), 426, "Sec-WebSocket-Version"),
        (
            ask().without("sec-websocket-version"),
            426,
            "Sec-WebSocket-Version",
        ),
        (
            ask().header("sec-websocket-version", "13"),
            426,
            "Sec-WebSocket-Version",
        ),
        (
            ask().without("sec-websocket-key"),
            400,
            "Sec-WebSocket-Key is missing",
        ),
        (ask().header("sec-websocket-key", KEY), 400, "more than one"),
        (key("short"), 400, "not the base64"),
        (key(""), 400, "not the base64"),
        (key(&long), 400, "not the base64"),
        (ask().method("POST"), 405, "GET"),
        (ask().method("HEAD"), 405, ""),
        (ask().method("OPTIONS"), 405, "GET"),
        (ask().method("PRI"), 405, "GET"),
        (
            ask().header("content-length", "5").tail("hello"),
            400,
            "no body",
        ),
        (
            ask()
                .header("transfer-encoding", "chunked")
                .tail("0\r\n\r\n"),
            400,
            "no body",
        ),
        (
            ask().method("POST").header("content-length", "1").tail("x"),
            405,
            "GET",
        ),
    ];
    within(refuses(&server, Http::One, rows)).await;
}

#[tokio::test]
async fn http1_handshakes_with_a_malformed_host_or_list_are_refused() {
    let config = Config::default().subprotocols(["chat"]);
    let server = Server::start(app(config)).await;
    let ask = || Ask::handshake(Http::One, "/shared");
    let rows = vec![
        (ask().authority(None), 400, "does not name its host"),
        (ask().header("host", "other"), 400, "more than one Host"),
        (
            ask().authority("user@localhost"),
            400,
            "host of the request is malformed",
        ),
        (
            ask().authority("local host"),
            400,
            "host of the request is malformed",
        ),
        (
            ask().header("sec-websocket-protocol", "a b"),
            400,
            "not a list of tokens",
        ),
        (
            ask().header("sec-websocket-protocol", "chat, \"x\""),
            400,
            "not a list of tokens",
        ),
        (
            ask().header("sec-websocket-extensions", "foo; ="),
            400,
            "Extensions is malformed",
        ),
        (
            ask().header("sec-websocket-extensions", "foo; a=\"b"),
            400,
            "Extensions is malformed",
        ),
    ];
    within(refuses(&server, Http::One, rows)).await;
}

/// A response to HEAD has a length and no body.
async fn head_or_all(server: &Server, row: &Row) -> Answer {
    let bytes = row.0.bytes();
    if !bytes.starts_with(b"HEAD ") {
        return row.0.clone().send(server).await;
    }
    let mut peer = Peer::to(server).await;
    peer.write(&bytes).await;
    peer.head().await
}

#[tokio::test]
async fn http2_handshakes_that_break_a_rule_are_refused() {
    let server = Server::start(app(Config::default())).await;
    let ask = || Ask::handshake(Http::Two, "/shared");
    let version = |version| {
        ask()
            .without("sec-websocket-version")
            .header("sec-websocket-version", version)
    };
    let rows = vec![
        (version("8"), 400, "Sec-WebSocket-Version must be 13"),
        (version("13, 8"), 400, "Sec-WebSocket-Version"),
        (
            ask().without("sec-websocket-version"),
            400,
            "Sec-WebSocket-Version",
        ),
        (
            ask().header("sec-websocket-version", "13"),
            400,
            "Sec-WebSocket-Version",
        ),
        // A body is refused in memory: hyper ends the whole connection for a CONNECT that has one.
        (
            ask().authority("user@localhost"),
            400,
            "host of the request is malformed",
        ),
        (
            ask().header("sec-websocket-protocol", "a b"),
            400,
            "not a list of tokens",
        ),
        (
            ask().header("sec-websocket-extensions", "foo; ="),
            400,
            "Extensions is malformed",
        ),
    ];
    within(refuses(&server, Http::Two, rows)).await;
}

#[tokio::test(start_paused = true)]
async fn http2_handshake_without_authority_is_refused() {
    let mut request = Http::Two.request("/").into_request();
    *request.uri_mut() = "/".parse().unwrap();
    let response = oneshot(endpoint(handler(echo)), request).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let rejection = response.extensions().get();
    assert_eq!(rejection, Some(&Rejection::MissingHost));
}

#[tokio::test]
async fn other_origins_are_refused_and_the_setting_is_named() {
    let server = Server::start(app(Config::default())).await;
    let table = [
        ("localhost", "https://localhost", true),
        ("localhost", "http://localhost:80", true),
        ("localhost", "https://localhost:443", true),
        ("localhost", "https://LOCALHOST", true),
        ("LocalHost:8080", "http://localhost:8080", true),
        ("[::1]:8080", "http://[::1]:8080", true),
        ("[0:0::1]:8080", "http://[::1]:8080", true),
        ("localhost", "https://other", false),
        ("localhost", "https://localhost.other", false),
        ("localhost", "https://sub.localhost", false),
        ("localhost", "https://localhost:8443", false),
        ("localhost:8443", "https://localhost", false),
        ("localhost", "http://localhost:443", false),
        ("[::1]", "http://[::2]", false),
        ("[::1]", "http://localhost", false),
        ("localhost", "null", false),
        ("localhost", "localhost", false),
        ("localhost", "", false),
        ("localhost", "https://localhost/", false),
        ("localhost", "https://localhost@other", false),
        ("localhost", "https://other@localhost", false),
        ("localhost", "https://localhost#other", false),
        ("localhost", "https://localhost\\other", false),
        ("localhost", "https://localhost https://other", false),
        ("localhost", "https://localhost, https://other", false),
        ("localhost", "https://localhost.", false),
        ("localhost", "https://\tlocalhost", false),
        ("localhost", "file://localhost", false),
        ("localhost", "chrome-extension://localhost", false),
    ];
    on_both(async |http| {
        for (host, origin, allowed) in table {
            let ask = Ask::handshake(http, "/")
                .authority(host)
                .header("origin", origin);
            if allowed {
                let answer = ask.send(&server).await;
                assert_eq!(answer.status, http.accepted(), "{host} {origin}");
            } else {
                refuses(&server, http, vec![(ask, 403, "Config::origin")]).await;
            }
        }
        let twice = Ask::handshake(http, "/")
            .header("origin", "https://localhost")
            .header("origin", "https://localhost");
        refuses(&server, http, vec![(twice, 403, "Config::origin")]).await;
    })
    .await;
}

#[tokio::test]
async fn listed_origins_are_those_of_the_list() {
    let origin = OriginPolicy::list(["https://example.com"]);
    let server = Server::start(app(Config::default().origin(origin))).await;
    on_both(async |http| {
        let ask = |origin| Ask::handshake(http, "/").header("origin", origin);
        let answer = ask("https://EXAMPLE.com:443").send(&server).await;
        assert_eq!(answer.status, http.accepted());
        let rows = ["http://example.com", "https://localhost", "null"]
            .map(|origin| (ask(origin), 403, "Config::origin"));
        refuses(&server, http, rows.into()).await;
    })
    .await;
}

#[tokio::test]
async fn required_subprotocol_is_required() {
    let config = Config::default().subprotocols(["v2.chat", "v1.chat"]);
    let server = Server::start(app(config.require_subprotocol(true))).await;
    on_both(async |http| {
        let ask = || Ask::handshake(http, "/");
        let rows = vec![
            (ask(), 400, "none of the offered subprotocols"),
            (
                ask().header("sec-websocket-protocol", "V2.CHAT, v3"),
                400,
                "none of the offered subprotocols",
            ),
        ];
        refuses(&server, http, rows).await;
        let answer = ask()
            .header("sec-websocket-protocol", "v1.chat")
            .header("sec-websocket-protocol", "x, v2.chat")
            .send(&server)
            .await;
        assert_eq!(answer.header("sec-websocket-protocol"), Some("v2.chat"));
        assert_eq!(answer.header("sec-websocket-extensions"), None);
        answer.opened(http).echoes("hi").await;
    })
    .await;
}

#[tokio::test]
async fn endpoint_tells_everything_else_what_it_wants() {
    let server = Server::start(app(Config::default())).await;
    let plain = |http: Http| {
        (
            Ask::plain(http, "/"),
            http.pick(426, 400),
            "speaks WebSocket only",
        )
    };
    within(refuses(&server, Http::One, vec![plain(Http::One)])).await;
    let other = |protocol| Ask::handshake(Http::Two, "/").protocol(protocol);
    let rows = vec![
        plain(Http::Two),
        (other("connect-udp"), 501, "the only :protocol"),
        (other("websockets"), 501, "the only :protocol"),
        (other("web socket"), 501, "the only :protocol"),
        (other("websocket,websocket"), 501, "the only :protocol"),
    ];
    within(refuses(&server, Http::Two, rows)).await;
}

#[tokio::test]
async fn http1_request_that_half_asks_goes_to_the_inner_service() {
    let server = Server::start(app(Config::default())).await;
    let ask = || Ask::handshake(Http::One, "/shared");
    let table = [
        ask().without("connection"),
        ask().without("upgrade"),
        ask()
            .without("connection")
            .header("connection", "notupgrade"),
        ask().without("upgrade").header("upgrade", "websocket2"),
    ];
    within(async {
        for ask in table {
            let answer = ask.clone().send(&server).await;
            assert_eq!(answer.text(), "page", "{ask:?}");
        }
        let mut old = Peer::to(&server).await;
        let ask = String::from_utf8(ask().bytes())
            .unwrap()
            .replace("HTTP/1.1", "HTTP/1.0");
        old.write(ask.as_bytes()).await;
        assert_eq!(old.answer().await.text(), "page", "HTTP/1.0 has no upgrade");
    })
    .await;
}

/// A route service that is never ready.
#[derive(Clone)]
struct Busy;

impl Service<Request<WebSocket>> for Busy {
    type Response = ();
    type Error = Infallible;
    type Future = std::future::Pending<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<WebSocket>) -> Self::Future {
        pending()
    }
}

#[tokio::test]
async fn route_service_that_is_not_ready_refuses() {
    let server = Server::start(endpoint(Busy)).await;
    on_both(async |http| {
        let row = (Ask::handshake(http, "/"), 503, "no more connections");
        refuses(&server, http, vec![row]).await;
    })
    .await;
}

#[tokio::test]
async fn request_without_an_upgrade_is_refused_and_told_the_way() {
    let app = MapRequestLayer::new(|mut request: Request<hyper::body::Incoming>| {
        request
            .extensions_mut()
            .remove::<hyper::upgrade::OnUpgrade>();
        request
    });
    let server = Server::start(app.layer(endpoint(handler(echo)))).await;
    on_both(async |http| {
        let row = |word| (Ask::handshake(http, "/"), 500, word);
        let words = ["testing::connect", "testing::upgradable(request)"];
        refuses(&server, http, words.map(row).into()).await;
        // Where something else is wrong as well, that is told.
        let wrong = Ask::handshake(http, "/").header("sec-websocket-version", "13");
        let row = (wrong, http.pick(426, 400), "Sec-WebSocket-Version");
        refuses(&server, http, vec![row]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn upgradable_request_shows_the_answer_to_a_plain_oneshot() {
    on_both(async |http| {
        let request = http.request("/").into_request();
        let response = oneshot(endpoint(handler(echo)), request).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let request = testing::upgradable(http.request("/").into_request());
        let response = oneshot(endpoint(handler(echo)), request).await;
        assert_eq!(response.status(), http.accepted());
    })
    .await;
}

#[tokio::test]
async fn outer_layer_can_answer_a_rejection_in_its_own_words() {
    async fn own_words(response: axum::response::Response) -> axum::response::Response {
        let Some(rejection) = response.extensions().get::<Rejection>() else {
            return response;
        };
        let why = HeaderValue::from_str(&rejection.to_string()).unwrap();
        let mut own = (StatusCode::IM_A_TEAPOT, "in other words").into_response();
        own.headers_mut().insert("x-why", why);
        own
    }
    let app = app(Config::default()).layer(axum::middleware::map_response(own_words));
    let server = Server::start(app).await;
    on_both(async |http| {
        let answer = Ask::handshake(http, "/")
            .header("origin", "null")
            .send(&server)
            .await;
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
        assert_eq!(answer.text(), "in other words");
        assert!(answer.header("x-why").unwrap().contains("Config::origin"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rejection_is_among_the_extensions_of_every_refusal() {
    on_both(async |http| {
        let service = endpoint(handler(echo));
        let ask = || http.request("/");
        let table = [
            (
                ask().header("sec-websocket-version", "8"),
                Rejection::UnsupportedVersion,
            ),
            (ask().header("content-length", "1"), Rejection::BodyPresent),
            (ask().header("origin", "null"), Rejection::OriginRefused),
            (
                ask().header("sec-websocket-protocol", "@"),
                Rejection::MalformedSubprotocols,
            ),
            (
                ask().header("sec-websocket-extensions", "@"),
                Rejection::MalformedExtensions,
            ),
        ];
        for (request, rejection) in table {
            let response = oneshot(service.clone(), request.into_request()).await;
            assert_eq!(response.extensions().get(), Some(&rejection));
        }
        let response = oneshot(service.clone(), http.plain("/")).await;
        let rejection = response.extensions().get();
        assert_eq!(rejection, Some(&Rejection::UpgradeRequired));
        let response = refused(endpoint(Busy), ask()).await;
        assert_eq!(response.extensions().get(), Some(&Rejection::NotReady));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn inner_service_that_fails_passes_its_error_on() {
    let failing = service_fn(|_: Request<testing::Empty>| async {
        Err::<Response<String>, _>(std::io::Error::other("inner"))
    });
    let service = ServiceBuilder::new()
        .layer(WebSocketLayer::new(handler(echo)).path("/chat"))
        .service(failing);
    on_both(async |http| {
        let error = service
            .clone()
            .oneshot(http.plain("/chat"))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "inner");
        let answer = service
            .clone()
            .oneshot(http.request("/other").into_request())
            .await;
        assert_eq!(answer.unwrap_err().to_string(), "inner");
    })
    .await;
}

/// A page of events in the place of a WebSocket does not keep a test for ever.
#[tokio::test(start_paused = true)]
async fn refusal_whose_body_never_ends_is_told_to_a_test() {
    on_both(async |http| {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<&str>();
        let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
        sender.send("part").unwrap();
        let events = service_fn(move |_: Request<testing::Empty>| {
            let receiver = receiver.clone();
            let events = stream::unfold(receiver, async |receiver| {
                let event = receiver.lock().await.recv().await?;
                Some((Ok::<_, Infallible>(event), receiver))
            });
            let mut response = Response::new(Body::from_stream(events));
            *response.status_mut() = StatusCode::FORBIDDEN;
            ready(Ok::<_, Infallible>(response))
        });
        let start = Instant::now();
        let connecting = testing::connect(events, http.request("/"));
        let error = within(connecting).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 1);
        assert_eq!(error.status(), Some(StatusCode::FORBIDDEN));
        assert_eq!(error.response().unwrap().body(), "part");
        drop(sender);
    })
    .await;
}
