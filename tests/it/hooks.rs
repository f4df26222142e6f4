//! The hook before the answer.

use std::future::pending;

use axum::Router;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tower::{Service, ServiceBuilder, service_fn};
use tower_websocket::{
    CloseCode, CloseFrame, Error, Handshake, WebSocket, WebSocketLayer,
    service::{Decision, WebSocketService},
    testing,
};

use crate::support::{
    Boxed, Http, Log, Seen, Watched, close, echoes, handler,
    http::{Ask, Peer, Server},
    on_both, open, refused, watched, within,
};

/// An endpoint with a hook.
fn hooked<F, Fut>(
    hook: F,
) -> (
    WebSocketService<tower_websocket::service::UpgradeRequired, Watched>,
    Log<Seen>,
)
where
    F: Fn(Handshake) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Decision> + Send + 'static,
{
    let (layer, log) = watched();
    (layer.on_handshake(hook).endpoint(), log)
}

#[tokio::test]
async fn refusal_of_a_hook_is_its_own_response() {
    async fn unauthorized(handshake: Handshake) -> Decision {
        let response = Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header("www-authenticate", "Bearer")
            .header("connection", "keep-alive, upgrade");
        handshake.reject(response.body("a token is needed").unwrap())
    }
    let (service, log) = hooked(unauthorized);
    let server = Server::start(Router::new().route_service("/", service)).await;
    on_both(async |http| {
        let mut answer = Ask::handshake(http, "/").send(&server).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.header("connection"), http.pick(Some("close"), None));
        assert_eq!(answer.text(), "a token is needed");
        if http == Http::One {
            assert_eq!(answer.peer.rest().await, "", "the connection ends");
        }
    })
    .await;
    assert!(log.is_empty());
}

#[tokio::test]
async fn refusal_with_a_status_that_accepts_is_an_error_of_the_server() {
    for status in [100, 101, 200, 204, 299] {
        let (service, log) = hooked(move |handshake: Handshake| async move {
            let mut response = Response::new("yes?");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            handshake.reject(response)
        });
        let server = Server::start(service).await;
        on_both(async |http| {
            let answer = Ask::handshake(http, "/").send(&server).await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        })
        .await;
        assert!(log.is_empty());
    }
}

#[tokio::test]
async fn client_that_is_accepted_to_be_closed_sees_code_and_reason() {
    let (service, mut log) = hooked(async |handshake: Handshake| {
        let code = CloseCode::new(4401).unwrap();
        handshake.accept_then_close(CloseFrame::new(code, "a token is needed"))
    });
    let server = Server::start(service).await;
    on_both(async |http| {
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        let reason = "a token is needed".to_owned();
        assert_eq!(peer.closed().await, (4401, reason));
        // The route service was not called before.
        assert_eq!(log.next().await, Seen::Ended(4401));
    })
    .await;
}

#[derive(Clone)]
struct User(&'static str);

#[tokio::test(start_paused = true)]
async fn hook_sees_the_head_and_hands_extensions_to_the_route_service() {
    async fn hook(mut handshake: Handshake) -> Decision {
        assert_eq!(handshake.uri().path(), "/chat");
        assert_eq!(handshake.uri().query(), Some("a=b"));
        assert_eq!(handshake.headers()["authorization"], "token");
        assert_eq!(handshake.extensions().get::<u8>(), Some(&7));
        let version = handshake.version();
        assert_eq!(handshake.head_mut().version, version);
        handshake.extensions_mut().insert(User("ann"));
        let cookie = HeaderValue::from_static("id=1; Secure");
        handshake
            .response_headers_mut()
            .insert(header::SET_COOKIE, cookie);
        handshake.accept()
    }
    async fn greet(request: Request<WebSocket>) -> Result<(), Error> {
        let User(name) = request.extensions().get().cloned().unwrap();
        let token = request.headers()["authorization"].to_str().unwrap();
        let text = format!("{name} {token}");
        request.into_body().send(text).await
    }
    let layer = WebSocketLayer::new(service_fn(greet)).on_handshake(hook);
    on_both(async |http| {
        let request = http
            .request("/chat?a=b")
            .header("authorization", "token")
            .extension(7_u8);
        let service = layer.clone().endpoint();
        let (response, mut client) = testing::connect(service, request).await.unwrap();
        assert_eq!(response.headers()[header::SET_COOKIE], "id=1; Secure");
        assert_eq!(client.recv().await.unwrap(), Some("ann token".into()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn settings_of_one_connection_are_its_own() {
    let (service, _log) = hooked(async |mut handshake: Handshake| {
        if handshake.uri().path() == "/small" {
            let config = handshake.config_mut();
            *config = config.clone().max_message_size(4);
        }
        handshake.accept()
    });
    on_both(async |http| {
        let mut small = open(service.clone(), http, "/small").await;
        let mut large = open(service.clone(), http, "/large").await;
        small.send("12345").await.unwrap();
        assert_eq!(small.recv().await.unwrap(), None);
        let code = small.received_close().map(|frame| frame.code());
        assert_eq!(code, Some(CloseCode::MESSAGE_TOO_BIG));
        echoes(&mut large, "12345").await;
        close(large).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hook_comes_after_all_checks_and_after_readiness() {
    let (pen, mut log) = Log::new();
    let route = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(tower_websocket::handler(crate::support::echo));
    let service = WebSocketLayer::new(route)
        .on_handshake(move |handshake: Handshake| {
            pen.write(());
            async { handshake.accept() }
        })
        .endpoint();
    for http in [Http::One, Http::Two] {
        let wrong = http.request("/").header("origin", "null");
        let response = refused(service.clone(), wrong).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(log.is_empty(), "a wrong handshake");
        let client = within(open(service.clone(), http, "/")).await;
        log.next().await;
        let full = refused(service.clone(), http.request("/")).await;
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(log.is_empty(), "no place for it");
        within(close(client)).await;
    }
}

/// Tells when it is dropped.
struct Guard(crate::support::Pen<Seen>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.write(Seen::Ended(0));
    }
}

#[tokio::test(start_paused = true)]
async fn response_future_that_is_dropped_starts_no_session() {
    on_both(async |http| {
        let (mut service, log) = hooked(|_| pending());
        let (request, mut peer) = Peer::in_memory(http.request("/").into_request());
        let mut response = Box::pin(service.call(request));
        assert!(poll_once(&mut response).await.is_pending());
        drop(response);
        assert_eq!(peer.rest().await, "", "the stream was dropped");
        assert!(log.is_empty());

        // Nor does one that was never polled.
        let (mut service, log) = hooked(async |handshake: Handshake| handshake.accept());
        let (request, mut peer) = Peer::in_memory(http.request("/").into_request());
        drop(service.call(request));
        assert_eq!(peer.rest().await, "", "the stream was dropped");
        assert!(log.is_empty());
    })
    .await;
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx)))
        .await
}

#[tokio::test]
async fn client_that_leaves_drops_the_hook() {
    let (pen, mut hook_log) = Log::new();
    let (service, log) = hooked(move |handshake: Handshake| {
        let guard = Guard(pen.clone());
        pen.write(Seen::Called);
        async move {
            let _guard = guard;
            pending::<()>().await;
            handshake.accept()
        }
    });
    let server = Server::start(service).await;
    within(async {
        let mut peer = Peer::to(&server).await;
        peer.write(&Ask::handshake(Http::One, "/").bytes()).await;
        assert_eq!(hook_log.next().await, Seen::Called);
        drop(peer);
        assert_eq!(hook_log.next().await, Seen::Ended(0));

        let http2 = crate::support::http::Http2::to(&server).await;
        let mut asking = Box::pin(http2.try_send(Ask::handshake(Http::Two, "/")));
        tokio::select! {
            _ = &mut asking => panic!("the hook does not answer"),
            seen = hook_log.next() => assert_eq!(seen, Seen::Called),
        }
        drop(asking);
        assert_eq!(hook_log.next().await, Seen::Ended(0));
    })
    .await;
    assert!(log.is_empty());
}

/// What is noted of connections with a hook that is told when they open.
type Lines = Log<String>;

/// A layer that says when a connection opens, is handled and ends.
fn told() -> (WebSocketLayer<Boxed>, Lines) {
    let (pen, lines) = Log::new();
    let [handled, ended] = [pen.clone(), pen.clone()];
    let greet = move |socket: WebSocket| {
        handled.write("handled".to_owned());
        async move { socket.send("hello").await }
    };
    let layer = WebSocketLayer::new(handler(greet))
        .on_open(move |socket, head| {
            let path = head.uri.path();
            pen.write(format!("{path} is open: {}", socket.is_open()));
            let _closed = socket.try_send("welcome");
        })
        .on_end(move |report| ended.write(format!("ended with {}", report.close_code)));
    (layer, lines)
}

#[tokio::test]
async fn hook_is_told_of_a_connection_before_its_handler() {
    let (layer, mut lines) = told();
    let server = Server::start(layer.endpoint()).await;
    on_both(async |http| {
        let mut peer = Ask::handshake(http, "/a").send(&server).await.opened(http);
        assert_eq!(peer.frame().await.unwrap().1, "welcome");
        assert_eq!(peer.frame().await.unwrap().1, "hello");
        assert_eq!(peer.closed().await.0, 1000);
        assert_eq!(lines.next().await, "/a is open: true");
        assert_eq!(lines.next().await, "handled");
        assert_eq!(lines.next().await, "ended with 1000");
    })
    .await;
    assert!(lines.is_empty());
}

#[tokio::test(start_paused = true)]
async fn hook_is_told_of_a_connection_that_opens_only_to_be_closed() {
    let (layer, mut lines) = told();
    let layer = layer.on_handshake(async |handshake: Handshake| {
        handshake.accept_then_close(CloseCode::UNAUTHORIZED)
    });
    on_both(async |http| {
        let mut client = open(layer.clone().endpoint(), http, "/a").await;
        assert_eq!(client.recv().await.unwrap(), None);
        let code = client.received_close().map(|frame| frame.code());
        assert_eq!(code, Some(CloseCode::UNAUTHORIZED));
        assert_eq!(lines.next().await, "/a is open: false");
        assert_eq!(lines.next().await, "ended with 3000");
    })
    .await;
    assert!(lines.is_empty());
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_hook_for_open_connections_closes_with_1011() {
    let (layer, mut lines) = told();
    let layer = layer.on_open(|_, _| panic!("as ordered"));
    on_both(async |http| {
        let mut client = open(layer.clone().endpoint(), http, "/a").await;
        assert_eq!(client.recv().await.unwrap(), None);
        let code = client.received_close().map(|frame| frame.code());
        assert_eq!(code, Some(CloseCode::INTERNAL_ERROR));
        assert_eq!(lines.next().await, "ended with 1011");
    })
    .await;
    assert!(lines.is_empty(), "it was handled");
}

#[tokio::test(start_paused = true)]
async fn refused_handshake_opens_nothing() {
    let (layer, lines) = told();
    let layer =
        layer.on_handshake(async |handshake: Handshake| handshake.reject(StatusCode::FORBIDDEN));
    on_both(async |http| {
        refused(layer.clone().endpoint(), http.request("/a")).await;
    })
    .await;
    assert!(lines.is_empty());
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn hook_of_the_extractor_is_told_of_its_connection() {
    use tower_websocket::extract::WebSocketUpgrade;

    on_both(async |http| {
        let (pen, mut lines) = Log::new();
        let greet = async move |upgrade: WebSocketUpgrade| {
            upgrade
                .on_open(move |socket, head| {
                    pen.write(head.uri.path().to_owned());
                    socket.try_send("welcome").unwrap();
                })
                .on_upgrade(async |socket| socket.send("hello").await)
        };
        let app = Router::new().route("/a", axum::routing::any(greet.clone()));
        let server = Server::start(app).await;
        let mut peer = Ask::handshake(http, "/a").send(&server).await.opened(http);
        assert_eq!(peer.frame().await.unwrap().1, "welcome");
        assert_eq!(peer.frame().await.unwrap().1, "hello");
        assert_eq!(lines.next().await, "/a");
        peer.closed().await;
        drop(greet);
    })
    .await;
}
