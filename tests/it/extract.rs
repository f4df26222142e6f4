//! The extractor for axum's handlers, beside the layer that it has to be like.

use std::{future::IntoFuture, net::SocketAddr};

use axum::{
    Router,
    extract::{ConnectInfo, FromRequestParts, Path, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use tokio::net::TcpListener;
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Connections, MemoryBudget, Message, OriginPolicy,
    WebSocket, WebSocketLayer,
    extract::{WebSocketUpgrade, WebSocketUpgradeRejection},
    handshake::Rejection,
    session::Drain,
    testing::{self, WebSocketExt},
};

use crate::support::{
    Http, Log, Seen, close, echo, echoes, handler,
    http::{Answer, Ask, KEY, Server},
    on_both, oneshot, open, refused,
};

/// What a handler does with the handshake before it accepts.
type Setting = fn(WebSocketUpgrade) -> WebSocketUpgrade;

/// An echo with settings.
fn chat(set: Setting) -> axum::routing::MethodRouter {
    any(async move |ws: WebSocketUpgrade| set(ws).on_upgrade(echo))
}

/// An echo at `/`, with settings.
fn app(set: Setting) -> Router {
    Router::new().route("/", chat(set))
}

/// Serves as axum does, with the addresses of clients.
pub(crate) async fn serve(app: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, app).into_future();
    Server::other(address, async { serving.await.unwrap() })
}

#[tokio::test]
async fn handler_opens_connections_over_both_versions() {
    let server = serve(app(|ws| ws)).await;
    on_both(async |http| {
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        peer.echoes("hi").await;
        peer.close().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn handler_opens_connections_in_memory() {
    on_both(async |http| {
        let mut client = open(app(|ws| ws), http, "/").await;
        echoes(&mut client, "hi").await;
        close(client).await;
    })
    .await;
}

#[tokio::test]
async fn get_takes_no_handshake_of_http2() {
    let get = get(async |ws: WebSocketUpgrade| ws.on_upgrade(echo));
    let server = serve(app(|ws| ws).route("/get", get)).await;
    on_both(async |http| {
        let answer = Ask::handshake(http, "/get").send(&server).await;
        let expected = http.pick(
            StatusCode::SWITCHING_PROTOCOLS,
            StatusCode::METHOD_NOT_ALLOWED,
        );
        assert_eq!(answer.status, expected);
        Ask::handshake(http, "/").send(&server).await.opened(http);
    })
    .await;
}

/// The extractor at `/extract` and the layer at `/layer`, with the same configuration.
fn both_ways(config: fn() -> Config) -> Router {
    let extract = any(async move |ws: WebSocketUpgrade| ws.config(config()).on_upgrade(echo));
    let layer = WebSocketLayer::new(handler(echo)).config(config());
    Router::new()
        .route("/extract", extract)
        .route_service("/layer", layer.endpoint())
}

/// What a client sees of a refusal; the date alone may differ.
fn seen(answer: &Answer) -> (StatusCode, Vec<(String, HeaderValue)>, String) {
    let fields = answer.headers.iter();
    let mut fields: Vec<_> = fields
        .filter(|(name, _)| *name != header::DATE)
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    (answer.status, fields, answer.text().to_owned())
}

/// Handshakes that the RFC or the configuration is against, with the status they are worth.
fn faulty(http: Http, path: &str) -> Vec<(Ask, u16)> {
    let ask = || Ask::handshake(http, path).header("sec-websocket-protocol", "chat");
    let mut rows = vec![
        (Ask::plain(http, path), http.pick(426, 400)),
        (
            ask().header("sec-websocket-version", "8"),
            http.pick(426, 400),
        ),
        (ask().authority("user@localhost"), 400),
        (ask().header("origin", "https://other"), 403),
        (ask().header("origin", "null"), 403),
        (ask().header("sec-websocket-protocol", "a b"), 400),
        (ask().header("sec-websocket-extensions", "foo; ="), 400),
        (Ask::handshake(http, path), 400),
        (
            Ask::handshake(http, path).header("sec-websocket-protocol", "other"),
            400,
        ),
    ];
    rows.extend(match http {
        Http::One => vec![
            (ask().method("POST"), 405),
            (ask().authority(None), 400),
            (ask().header("host", "other"), 400),
            (ask().without("sec-websocket-key"), 400),
            (ask().header("sec-websocket-key", KEY), 400),
            (ask().header("content-length", "5").tail("hello"), 400),
        ],
        Http::Two => vec![(ask().protocol("connect-udp"), 501)],
    });
    rows
}

#[tokio::test]
async fn refusals_are_those_of_the_layer() {
    let config = || {
        Config::default()
            .subprotocols(["chat"])
            .require_subprotocol(true)
    };
    let server = serve(both_ways(config)).await;
    on_both(async |http| {
        let rows = faulty(http, "/extract").into_iter();
        for ((ask, status), (same, _)) in rows.zip(faulty(http, "/layer")) {
            println!("{ask:?}");
            let (ours, layers) = (ask.send(&server).await, same.send(&server).await);
            assert_eq!(ours.status, status);
            assert_eq!(seen(&ours), seen(&layers));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusals_carry_their_reason_for_layers_outside() {
    let config = || {
        Config::default()
            .subprotocols(["chat"])
            .require_subprotocol(true)
    };
    on_both(async |http| {
        let request = || {
            http.request("/extract")
                .header("sec-websocket-protocol", "chat")
        };
        let table = [
            (
                request().header("sec-websocket-version", "8"),
                Rejection::UnsupportedVersion,
            ),
            (
                request().header("origin", "https://other"),
                Rejection::OriginRefused,
            ),
            (
                request().header("sec-websocket-protocol", "other"),
                Rejection::NoCommonSubprotocol,
            ),
        ];
        for (request, rejection) in table {
            let request = testing::upgradable(request.into_request());
            let response = oneshot(both_ways(config), request).await;
            assert_eq!(response.extensions().get(), Some(&rejection));
        }
        // Made by hand, without a stream to take over.
        let response = oneshot(both_ways(config), request().into_request()).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let rejection = response.extensions().get();
        assert_eq!(rejection, Some(&Rejection::NotUpgradable));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn allowed_origins_are_those_of_the_configuration() {
    let list = || Config::default().origin(OriginPolicy::list(["https://example.com"]));
    on_both(async |http| {
        for (origin, opens) in [("https://example.com", true), ("https://localhost", false)] {
            let request = || http.request("/extract").header("origin", origin);
            let opened = testing::connect(both_ways(list), request()).await;
            assert_eq!(opened.is_ok(), opens, "{origin}");
            let by_default = testing::connect(both_ways(Config::default), request()).await;
            assert_eq!(by_default.is_ok(), !opens, "{origin}");
        }
    })
    .await;
}

async fn page_or_chat(ws: Option<WebSocketUpgrade>) -> Response {
    match ws {
        Some(ws) => ws.on_upgrade(echo),
        None => "page".into_response(),
    }
}

#[tokio::test]
async fn page_is_served_where_no_websocket_is_asked_for() {
    let server = serve(Router::new().route("/", any(page_or_chat))).await;
    on_both(async |http| {
        let page = Ask::plain(http, "/").send(&server).await;
        assert_eq!((page.status, page.text()), (StatusCode::OK, "page"));
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        peer.echoes("hi").await;
        peer.close().await;
        let wrong = Ask::handshake(http, "/").header("sec-websocket-version", "8");
        let wrong = wrong.send(&server).await;
        assert_eq!(wrong.status, http.pick(426, 400));
        assert!(wrong.text().contains("Sec-WebSocket-Version"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rejection_tells_what_is_wrong() {
    async fn explain(ws: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Response {
        let why = ws.unwrap_err();
        let text = format!("{}: {why}", why.rejection().name());
        (why.status(), text).into_response()
    }
    let app = Router::new().route("/", any(explain));
    on_both(async |http| {
        let wrong = http.request("/").header("sec-websocket-version", "8");
        let response = oneshot(app.clone(), wrong.into_request()).await;
        assert_eq!(response.status(), http.pick(426, 400));
        let text = "UnsupportedVersion: Sec-WebSocket-Version must be 13, on one line";
        assert_eq!(response.body(), text);
    })
    .await;
}

/// Says what was offered and chosen, before and after.
async fn negotiate(Path(wish): Path<String>, mut ws: WebSocketUpgrade) -> Response {
    let offered: Vec<_> = ws.requested_protocols().map(str::to_owned).collect();
    assert_eq!(ws.selected_protocol(), None);
    ws = ws.protocols(["v3", "v2", "v1"]);
    let first = ws.selected_protocol().map(str::to_owned);
    let selected = ws.set_selected_protocol(&wish);
    // A setting of another kind leaves the choice as it is.
    let ws = ws.max_message_size(4096);
    ws.on_upgrade(async move |socket| {
        let protocol = socket.subprotocol().map(str::to_owned);
        let text = format!("{offered:?} {first:?} {selected} {protocol:?}");
        socket.send(text).await
    })
}

#[tokio::test(start_paused = true)]
async fn subprotocol_is_the_servers_first_or_the_one_selected() {
    let app = Router::new().route("/{wish}", any(negotiate));
    let table = [
        (
            "/v1",
            "v1, v2",
            Some("v1"),
            r#"["v1", "v2"] Some("v2") true Some("v1")"#,
        ),
        (
            "/v3",
            "v1, v2",
            Some("v2"),
            r#"["v1", "v2"] Some("v2") false Some("v2")"#,
        ),
        ("/v3", "v0", None, r#"["v0"] None false None"#),
        ("/v0", "v0", Some("v0"), r#"["v0"] None true Some("v0")"#),
    ];
    on_both(async |http| {
        for (path, offers, answered, told) in table {
            let request = http.request(path).header("sec-websocket-protocol", offers);
            let (response, mut client) = testing::connect(app.clone(), request).await.unwrap();
            let header = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            assert_eq!(header.map(|name| name.to_str().unwrap()), answered);
            assert_eq!(client.recv().await.unwrap(), Some(told.into()));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn configuration_leaves_what_the_handler_has_set_itself() {
    let config = || {
        Config::default()
            .subprotocols(["theirs"])
            .max_message_size(1)
            .max_frame_size(1)
            .compression(None)
    };
    let table: [Setting; 3] = [
        |ws| own(ws.config(Config::default().max_message_size(1))),
        |ws| {
            own(ws).config(
                Config::default()
                    .subprotocols(["theirs"])
                    .max_message_size(1)
                    .max_frame_size(1),
            )
        },
        |ws| {
            own(ws.config(Config::default()))
                .config(Config::default().max_message_size(1).compression(None))
        },
    ];
    fn own(ws: WebSocketUpgrade) -> WebSocketUpgrade {
        ws.protocols(["own"])
            .max_message_size(64)
            .max_frame_size(32)
            .compression(Compression::shared())
    }
    on_both(async |http| {
        for set in table {
            let request = http
                .request("/")
                .config(
                    config()
                        .compression(Compression::shared())
                        .max_message_size(None)
                        .max_frame_size(None),
                )
                .header("sec-websocket-protocol", "theirs, own");
            let (response, mut client) = testing::connect(app(set), request).await.unwrap();
            assert_eq!(client.subprotocol(), Some("own"));
            let extensions = response.headers().get(header::SEC_WEBSOCKET_EXTENSIONS);
            assert!(extensions.is_some());
            echoes(&mut client, "longer than a byte").await;
            client
                .send(Message::from("x".repeat(33)).uncompressed())
                .await
                .unwrap();
            assert_eq!(
                client.recv_close().await.unwrap().code(),
                CloseCode::MESSAGE_TOO_BIG
            );
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn configuration_that_comes_last_holds_in_all_the_rest() {
    let table: [(Setting, Option<&str>); 5] = [
        (
            |ws| {
                ws.config(Config::default().subprotocols(["a"]))
                    .config(Config::default())
            },
            None,
        ),
        (
            |ws| {
                ws.config(Config::default())
                    .config(Config::default().subprotocols(["a"]))
            },
            Some("a"),
        ),
        (
            |mut ws| {
                assert!(ws.set_selected_protocol("b"));
                ws.config(Config::default().subprotocols(["a"]))
            },
            Some("b"),
        ),
        (
            |mut ws| {
                assert!(ws.set_selected_protocol("b"));
                ws.protocols(["a"])
            },
            Some("b"),
        ),
        (
            |mut ws| {
                assert!(!ws.set_selected_protocol("c"));
                ws.config(Config::default().subprotocols(["a"]))
            },
            Some("a"),
        ),
    ];
    on_both(async |http| {
        for (set, chosen) in table {
            let request = http.request("/").header("sec-websocket-protocol", "a, b");
            let (_, client) = testing::connect(app(set), request).await.unwrap();
            assert_eq!(client.subprotocol(), chosen);
            close(client).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn limits_hold() {
    let table: [(Setting, u16); 4] = [
        (|ws| ws, 1000),
        (|ws| ws.max_message_size(8), 1009),
        (|ws| ws.max_frame_size(8), 1009),
        (|ws| ws.config(Config::default().max_message_size(8)), 1009),
    ];
    on_both(async |http| {
        for (set, code) in table {
            let mut client = open(app(set), http, "/").await;
            echoes(&mut client, "8 bytes.").await;
            client.send("more than 8 bytes").await.unwrap();
            if code == 1000 {
                client.close(CloseCode::NORMAL);
            }
            while let Ok(Some(_)) = client.recv().await {}
            client.closed().await;
            let frame = client.received_close().unwrap();
            assert_eq!(frame.code().as_u16(), code);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn compression_is_agreed_on_where_it_is_set() {
    let table: [(Setting, bool); 2] = [
        (|ws| ws, false),
        (|ws| ws.compression(Compression::shared()), true),
    ];
    on_both(async |http| {
        for (set, agreed) in table {
            let config = Config::default().compression(Compression::shared());
            let request = http.request("/").config(config);
            let (response, mut client) = testing::connect(app(set), request).await.unwrap();
            let extensions = response.headers().get(header::SEC_WEBSOCKET_EXTENSIONS);
            assert_eq!(extensions.is_some(), agreed);
            let text = "again and ".repeat(1000);
            client.try_send(text.clone()).unwrap();
            // Before the session has had a turn.
            assert_eq!(client.sender().queued_bytes() < 1000, agreed);
            assert_eq!(client.recv().await.unwrap(), Some(text.into()));
            close(client).await;
        }
    })
    .await;
}

/// An extractor as applications write them.
struct Agent(String);

impl<S: Sync> FromRequestParts<S> for Agent {
    type Rejection = StatusCode;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let agent = head.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        agent
            .map(|agent| Self(agent.to_owned()))
            .ok_or(StatusCode::FORBIDDEN)
    }
}

#[tokio::test]
async fn other_extractors_stand_before_and_behind() {
    async fn introduce(
        State(greeting): State<&'static str>,
        Agent(agent): Agent,
        ws: WebSocketUpgrade,
        Path(room): Path<String>,
        ConnectInfo(address): ConnectInfo<SocketAddr>,
    ) -> Response {
        let text = format!("{greeting} {agent} in {room} from {}", address.ip());
        ws.on_upgrade(async move |socket| socket.send(text).await)
    }
    let app = Router::new().route("/{room}", any(introduce));
    let server = serve(app.with_state("hello")).await;
    on_both(async |http| {
        let ask = || Ask::handshake(http, "/tea");
        let answer = ask().header("user-agent", "test").send(&server).await;
        let mut peer = answer.opened(http);
        let text = "hello test in tea from 127.0.0.1";
        assert_eq!(peer.frame().await, Some((0x1, text.into())));
        assert_eq!(peer.closed().await.0, 1000);
        let answer = ask().send(&server).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn end_of_a_handler_becomes_a_close_code() {
    async fn end(Path(way): Path<String>, ws: WebSocketUpgrade) -> Response {
        match way.as_str() {
            "return" => ws.on_upgrade(async |_| ()),
            "fail" => ws.on_upgrade(async |_| Err::<(), _>("no reason")),
            "frame" => ws.on_upgrade(async |_| {
                Err::<(), _>(CloseFrame::from((CloseCode::TRY_AGAIN_LATER, "later")))
            }),
            "panic" => ws.on_upgrade(async |_| panic!("the test wants it")),
            "at once" => ws.on_upgrade(|_| -> std::future::Ready<()> { panic!("wanted too") }),
            _ => ws.on_upgrade(|mut socket| async move {
                // Never ends by itself, and has no type to end in.
                loop {
                    if let Ok(Some(Message::Text(_))) = socket.recv().await {
                        socket.close(CloseCode::GOING_AWAY);
                    }
                    socket.closed().await;
                    std::future::pending::<()>().await;
                }
            }),
        }
    }
    let app = Router::new().route("/{way}", any(end));
    let table = [
        ("/return", 1000),
        ("/fail", 1011),
        ("/frame", 1013),
        ("/panic", 1011),
        ("/at%20once", 1011),
        ("/never", 1001),
    ];
    on_both(async |http| {
        for (path, code) in table {
            let mut client = open(app.clone(), http, path).await;
            let _closed = client.send("go").await;
            while let Ok(Some(_)) = client.recv().await {}
            client.closed().await;
            assert_eq!(
                client.received_close().unwrap().code().as_u16(),
                code,
                "{path}"
            );
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connections_are_registered_counted_and_drained() {
    let connections = Connections::new();
    let (pen, mut log) = Log::new();
    let chat = async |State((connections, pen)): State<(Connections, _)>, ws: WebSocketUpgrade| {
        let pen: crate::support::Pen<Seen> = pen;
        ws.connections(&connections)
            .on_end(move |report| pen.write(Seen::Ended(report.close_code)))
            .on_upgrade(echo)
    };
    let app = Router::new().route("/", any(chat));
    let app: Router = app.with_state((connections.clone(), pen));
    on_both(async |http| {
        let mut client = open(app.clone(), http, "/").await;
        echoes(&mut client, "hi").await;
        assert_eq!(connections.len(), 1);
        close(client).await;
        assert_eq!(log.next().await, Seen::Ended(1000));
        assert!(connections.is_empty());
        let foreign = http.request("/").header("origin", "https://other");
        refused(app.clone(), foreign).await;
    })
    .await;
    let mut client = open(app.clone(), Http::One, "/").await;
    connections.drain(Drain::default()).await;
    client.closed().await;
    assert!(client.recv().await.unwrap().is_none());
    assert_eq!(log.next().await, Seen::Ended(1001));
    on_both(async |http| {
        let response = refused(app.clone(), http.request("/")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        // As of the layer, it is told before anything else that is wrong.
        let foreign = http.request("/").header("origin", "https://other");
        let response = refused(app.clone(), foreign).await;
        let rejection = response.extensions().get::<Rejection>();
        assert_eq!(rejection.map(Rejection::name), Some("Draining"));
    })
    .await;
    let counters = connections.counters();
    assert_eq!(counters.accepted, 3);
    let refused: Vec<_> = counters.rejected.into_iter().collect();
    assert_eq!(refused, [("Draining", 4), ("OriginRefused", 2)]);
}

#[tokio::test(start_paused = true)]
async fn handshakes_are_refused_while_the_memory_budget_is_used_up() {
    let app = app(|upgrade| upgrade.config(Config::default().memory_budget(&MemoryBudget::new(0))));
    on_both(async |http| {
        let response = refused(app.clone(), http.request("/")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(response.extensions().get(), Some(&Rejection::OverBudget));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn second_extractor_finds_no_stream() {
    async fn twice(_first: WebSocketUpgrade, second: WebSocketUpgrade) -> Response {
        second.on_upgrade(echo)
    }
    let app = Router::new().route("/", any(twice));
    on_both(async |http| {
        let response = refused(app.clone(), http.request("/")).await;
        let rejection = response.extensions().get();
        assert_eq!(rejection, Some(&Rejection::NotUpgradable));
    })
    .await;
}

#[tokio::test]
async fn handler_may_answer_otherwise_and_add_headers() {
    async fn guarded(Path(user): Path<String>, ws: WebSocketUpgrade) -> Response {
        if user != "ada" {
            return (StatusCode::UNAUTHORIZED, "who are you?").into_response();
        }
        ([(header::SET_COOKIE, "seen=1")], ws.on_upgrade(echo)).into_response()
    }
    let server = serve(Router::new().route("/{user}", any(guarded))).await;
    on_both(async |http| {
        let answer = Ask::handshake(http, "/eve").send(&server).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.text(), "who are you?");
        let answer = Ask::handshake(http, "/ada").send(&server).await;
        assert_eq!(answer.header("set-cookie"), Some("seen=1"));
        let mut peer = answer.opened(http);
        peer.echoes("hi").await;
        peer.close().await;
    })
    .await;
}

/// The server of the guide from axum's extractor, as it is afterwards.
#[tokio::test(start_paused = true)]
async fn server_of_the_migration_guide_does_what_it_says() {
    async fn greeter(ws: WebSocketUpgrade) -> Response {
        ws.protocols(["greetings"])
            .on_failed_upgrade(|error| eprintln!("{error}"))
            .on_upgrade(greet)
    }
    async fn greet(mut socket: WebSocket) {
        if socket.ping("hi").is_err() {
            return;
        }
        for i in 1..5 {
            let greeting = Message::Text(format!("Hi {i} times!").into());
            if socket.send(greeting).await.is_err() {
                return;
            }
        }
        while let Ok(Some(message)) = socket.recv().await {
            match message {
                Message::Text(text) => println!("text: {text}"),
                Message::Binary(data) => println!("{} bytes", data.len()),
            }
        }
        socket.close((CloseCode::NORMAL, "Goodbye"));
    }
    let app = Router::new().route("/greetings", any(greeter));
    on_both(async |http| {
        let request = http.request("/greetings");
        let request = request.header("sec-websocket-protocol", "greetings");
        let (_, mut client) = testing::connect(app.clone(), request).await.unwrap();
        assert_eq!(client.subprotocol(), Some("greetings"));
        for i in 1..5 {
            let greeting = format!("Hi {i} times!");
            assert_eq!(client.recv().await.unwrap(), Some(greeting.into()));
        }
        client.send("bye").await.unwrap();
        close(client).await;
    })
    .await;
}

#[test]
fn extractor_is_small_in_the_future_of_a_handler() {
    assert_eq!(size_of::<WebSocketUpgrade>(), size_of::<usize>());
}
