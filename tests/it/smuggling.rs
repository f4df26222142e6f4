//! Requests hidden behind others, tunnels that must not open, and headers that must not split.

use axum::{Router, body::Body, routing::any};
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::service_fn;
use tower_websocket::{
    Config, Handshake, WebSocketLayer, endpoint,
    service::Decision,
    testing::{self, upgradable},
};

use crate::support::{
    Http, Log, Pen, Seen, close, echo, handler,
    http::{Ask, Http2, KEY, Peer, Server, frame},
    on_both, oneshot, watched, within,
};

/// An application that tells which paths reached it outside WebSocket.
fn observed(pen: Pen<String>) -> Router {
    async fn teapot(handshake: Handshake) -> Decision {
        let mut response = Response::new("no");
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        handshake.reject(response)
    }
    let layer = || WebSocketLayer::new(handler(echo));
    let full = tower::ServiceBuilder::new()
        .concurrency_limit(1)
        .service(handler(echo));
    Router::new()
        .route_service("/chat", layer().endpoint())
        .route_service("/hook", layer().on_handshake(teapot).endpoint())
        .route_service("/full", endpoint(full))
        .fallback(move |request: Request<Body>| async move {
            pen.write(request.uri().path().to_owned());
            "page"
        })
}

#[tokio::test]
async fn request_behind_a_refused_handshake_is_not_served() {
    let (pen, mut log) = Log::new();
    let server = Server::start(observed(pen)).await;
    let ask = |path| Ask::handshake(Http::One, path);
    let _first = within(ask("/full").send(&server)).await.opened(Http::One);
    let body = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let length = body.len().to_string();
    let chunk = format!("0\r\n\r\n{body}");
    let table = [
        (ask("/chat").without("sec-websocket-key"), body, 400),
        (ask("/chat").header("origin", "null"), body, 403),
        (ask("/chat").without("sec-websocket-version"), body, 426),
        (ask("/chat").method("POST"), body, 405),
        (ask("/full"), body, 503),
        (ask("/hook"), body, 418),
        (Ask::plain(Http::One, "/chat"), body, 426),
        (ask("/chat").header("content-length", &length), body, 400),
        (
            ask("/chat").header("transfer-encoding", "chunked"),
            &chunk,
            400,
        ),
    ];
    within(async {
        for (ask, tail, status) in table {
            let mut answer = ask.clone().tail(tail.to_owned()).send(&server).await;
            assert_eq!(answer.status, status, "{ask:?}");
            assert_eq!(answer.peer.rest().await, "", "{ask:?}");
        }
        // Nothing was served late either: this one comes first.
        Ask::plain(Http::One, "/last").send(&server).await;
        assert_eq!(log.next().await, "/last");
        assert!(log.is_empty());
    })
    .await;
}

#[tokio::test]
async fn bytes_behind_an_accepted_handshake_are_frames_and_no_request() {
    let (pen, log) = Log::new();
    let server = Server::start(observed(pen)).await;
    within(async {
        let ask = Ask::handshake(Http::One, "/chat");
        let mut peer = ask
            .clone()
            .tail(frame(0x1, b"early"))
            .send(&server)
            .await
            .opened(Http::One);
        assert_eq!(peer.frame().await, Some((0x1, "early".into())));
        peer.close().await;

        let request = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let mut peer = ask.tail(request).send(&server).await.opened(Http::One);
        let (opcode, payload) = peer.frame().await.unwrap();
        assert_eq!((opcode, &payload[..2]), (0x8, &b"\x03\xea"[..]), "1002");
        assert!(log.is_empty());
    })
    .await;
}

#[tokio::test]
async fn other_protocols_and_plain_connect_open_no_tunnel() {
    let (layer, log) = watched();
    let app = Router::new()
        .route_service("/endpoint", layer.clone().endpoint())
        .route(
            "/shared",
            any(async || StatusCode::NOT_IMPLEMENTED).layer(layer.clone()),
        );
    let server = Server::start(app).await;
    let bare = Server::start(layer.endpoint()).await;
    within(async {
        for protocol in ["connect-udp", "websocket2", "websocke", " websocket", "h2c"] {
            for path in ["/endpoint", "/shared"] {
                let ask = Ask::handshake(Http::Two, path).protocol(protocol);
                let answer = Http2::to(&server).await.try_send(ask).await;
                // h2 may find it malformed; what gets through is not served.
                if let Ok(answer) = answer {
                    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{protocol}");
                }
            }
        }
        let plain = || Ask::handshake(Http::Two, "/").protocol(None);
        let answer = plain().send(&bare).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let answer = plain().send(&server).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let get = Ask::plain(Http::Two, "/endpoint")
            .header("upgrade-insecure-requests", "1")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", KEY);
        assert_eq!(get.send(&server).await.status, StatusCode::BAD_REQUEST);
    })
    .await;
    assert!(log.is_empty(), "the route service was called");
}

#[tokio::test]
async fn protocol_given_twice_resets_the_stream() {
    let (layer, log) = watched();
    let server = Server::start(layer.endpoint()).await;
    within(async {
        assert_eq!(raw_http2(&server, &["websocket"]).await, HEADERS);
        assert_eq!(
            raw_http2(&server, &["websocket", "websocket"]).await,
            RST_STREAM
        );
        assert_eq!(
            raw_http2(&server, &["connect-udp", "websocket"]).await,
            RST_STREAM
        );
        assert_eq!(
            raw_http2(&server, &["websocket", "connect-udp"]).await,
            RST_STREAM
        );
    })
    .await;
    drop(server);
    let mut log = log;
    assert_eq!(log.next().await, Seen::Called, "the one that is right");
    assert!(!matches!(log.next().await, Seen::Called));
}

const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;

/// Sends an Extended CONNECT with these values of `:protocol`, byte by byte, since no library lets
/// one; gives the type of the frame that answers.
async fn raw_http2(server: &Server, protocols: &[&str]) -> u8 {
    let mut block = Vec::new();
    let mut field = |name: &str, value: &str| {
        // Literal without indexing, new name (RFC 7541 §6.2.2).
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    };
    field(":method", "CONNECT");
    for protocol in protocols {
        field(":protocol", protocol);
    }
    for (name, value) in [
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
    ] {
        field(name, value);
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 0x4, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[
        0,
        0,
        u8::try_from(block.len()).unwrap(),
        HEADERS,
        0x4,
        0,
        0,
        0,
        1,
    ]);
    bytes.extend_from_slice(&block);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let [_, high, low, kind, _, _, _, _, id] = head;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        stream.read_exact(&mut payload).await.unwrap();
        if id == 1 {
            return kind;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn text_of_a_client_never_gets_into_the_answer() {
    let config = Config::default().subprotocols(["chat"]);
    let service = WebSocketLayer::new(handler(echo)).config(config).endpoint();
    on_both(async |http| {
        let refused = ["chat\t, x y", "chat, \"chat\"", "chat;q=1", "ch\u{e4}t"];
        for offer in refused {
            let mut request = upgradable(http.request("/").into_request());
            let value = HeaderValue::from_bytes(offer.as_bytes()).unwrap();
            request
                .headers_mut()
                .insert(header::SEC_WEBSOCKET_PROTOCOL, value);
            let response = oneshot(service.clone(), request).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{offer}");
            assert!(!response.body().contains("chat"), "{}", response.body());
        }
        let accepted = [
            ("x, chat,,\ty", Some("chat")),
            ("CHAT", None),
            ("chat\t", Some("chat")),
        ];
        for (offer, protocol) in accepted {
            let request = http
                .request("/")
                .header("sec-websocket-protocol", offer)
                .header(
                    "sec-websocket-extensions",
                    "x-evil; a=\"b\", permessage-foo",
                );
            let (response, client) = testing::connect(service.clone(), request).await.unwrap();
            let answered = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            assert_eq!(
                answered.map(|value| value.to_str().unwrap()),
                protocol,
                "{offer}"
            );
            assert!(
                !response
                    .headers()
                    .contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
            );
            assert_eq!(client.subprotocol(), protocol);
            close(client).await;
        }
    })
    .await;
}

#[test]
fn configured_subprotocol_that_could_split_a_header_panics() {
    for name in [
        "a\r\nb", "a\nb", "a\0b", "a,b", "a\tb", "a b", "", "\u{e4}", "\"a\"",
    ] {
        let result = std::panic::catch_unwind(|| Config::default().subprotocols([name]));
        assert!(result.is_err(), "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hook_chooses_no_subprotocol_that_the_client_does_not_offer() {
    async fn hook(mut handshake: Handshake) -> Decision {
        for name in [
            "a\r\nx-evil: 1",
            "a,b",
            "a\tb",
            "a\0b",
            "",
            "A",
            "c",
            "a, b",
            " a",
        ] {
            assert!(!handshake.select_subprotocol(name), "{name:?}");
        }
        assert_eq!(handshake.subprotocol(), None);
        assert!(handshake.offered_subprotocols().eq(["a", "b"]));
        assert!(handshake.select_subprotocol("b"));
        handshake.accept()
    }
    let service = WebSocketLayer::new(handler(echo))
        .on_handshake(hook)
        .endpoint();
    on_both(async |http| {
        let request = http.request("/").header("sec-websocket-protocol", "a,b");
        let (response, client) = testing::connect(service.clone(), request).await.unwrap();
        assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "b");
        close(client).await;
    })
    .await;
}

#[tokio::test]
async fn headers_of_a_hook_that_belong_to_the_handshake_are_left_out() {
    const RESERVED: [(&str, &str); 8] = [
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("sec-websocket-accept", "x"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-protocol", "evil"),
        ("sec-websocket-version", "8"),
    ];
    async fn hook(mut handshake: Handshake) -> Decision {
        let headers = handshake.response_headers_mut();
        for (name, value) in RESERVED {
            headers.append(name, HeaderValue::from_static(value));
            headers.append(name, HeaderValue::from_static(value));
        }
        // A value cannot be made of what would split the head; a tab and a comma are harmless.
        for value in ["a\r\nb: c", "a\nb", "a\0b"] {
            assert!(HeaderValue::from_str(value).is_err());
        }
        headers.append("x-fine", HeaderValue::from_static("a,\tb"));
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("set-cookie", HeaderValue::from_static("b=2"));
        handshake.accept()
    }
    let service = WebSocketLayer::new(service_fn(async |request: Request<_>| {
        echo(request.into_body()).await
    }));
    let server = Server::start(service.on_handshake(hook).endpoint()).await;
    on_both(async |http| {
        let answer = Ask::handshake(http, "/").send(&server).await;
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(answer.header("x-fine"), Some("a,\tb"));
        for (name, value) in RESERVED {
            let values = answer.headers.get_all(name);
            assert!(values.iter().all(|own| own != value), "{name}");
        }
        let mut peer: Peer = answer.opened(http);
        peer.echoes("hi").await;
        peer.close().await;
    })
    .await;
}
