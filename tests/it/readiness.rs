//! The readiness of the route service: tower's concurrency limit as a limit of connections.

use std::{future::pending, time::Duration};

use http::StatusCode;
use tower::{BoxError, Service, ServiceBuilder, limit::ConcurrencyLimit};
use tower_websocket::{
    Config, Handshake, WebSocket, WebSocketLayer, handler,
    handshake::Rejection,
    service::{Decision, HandlerOutput, OnUpgrade, UpgradeRequired, WebSocketService},
    testing,
};

use crate::support::{
    close, echo, echoes,
    http::{Ask, Peer, Server},
    on_both, oneshot, open, refused, within,
};

/// A limit of connections around `route`.
fn limited<S>(route: S, max: usize) -> ConcurrencyLimit<S> {
    ServiceBuilder::new().concurrency_limit(max).service(route)
}

#[tokio::test]
async fn connection_past_the_limit_is_refused_until_a_place_is_free() {
    let route = limited(handler(echo), 2);
    let server = Server::start(WebSocketLayer::new(route.clone()).endpoint()).await;
    // Shares the places, and waits for one.
    let config = Config::default().ready_timeout(Duration::from_secs(60));
    let patient = Server::start(WebSocketLayer::new(route).config(config).endpoint()).await;
    on_both(async |http| {
        let ask = || Ask::handshake(http, "/");
        let mut first = ask().send(&patient).await.opened(http);
        let mut second = ask().send(&patient).await.opened(http);
        for _ in 0..3 {
            assert_eq!(
                ask().send(&server).await.status,
                StatusCode::SERVICE_UNAVAILABLE
            );
        }
        first.echoes("hi").await;
        first.close().await;
        let third = ask().send(&patient).await.opened(http);
        let refused = ask().send(&server).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        second.echoes("hi").await;
        second.close().await;
        third.close().await;
    })
    .await;
}

type Route<F> = ConcurrencyLimit<tower_websocket::service::HandlerService<F>>;

/// An endpoint with one place, which says 503 at once, and another that waits for the same place.
fn one_place<F, Fut>(
    function: F,
) -> (
    WebSocketService<UpgradeRequired, Route<F>>,
    WebSocketService<UpgradeRequired, Route<F>>,
)
where
    F: Fn(WebSocket) -> Fut + Clone,
    Fut: Future,
    Fut::Output: HandlerOutput,
{
    let layer = WebSocketLayer::new(limited(handler(function), 1));
    let config = Config::default().ready_timeout(Duration::from_secs(50));
    (layer.clone().endpoint(), layer.config(config).endpoint())
}

#[tokio::test(start_paused = true)]
async fn place_returns_however_a_connection_ends() {
    async fn handle(mut socket: WebSocket) -> Result<(), BoxError> {
        let order = socket.recv().await?;
        match order.as_ref().and_then(|order| order.as_text()) {
            Some("end") => Ok(()),
            Some("error") => Err("as ordered".into()),
            Some("panic") => panic!("as ordered"),
            Some("leave") => {
                drop(socket);
                pending::<()>().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
    on_both(async |http| {
        let (service, patient) = one_place(handle);
        for order in ["end", "error", "panic", "close", "abort", "break"] {
            println!("{order}");
            let mut peer = Peer::open(patient.clone(), http.request("/").into_request()).await;
            let full = refused(service.clone(), http.request("/")).await;
            assert_eq!(full.extensions().get(), Some(&Rejection::NotReady));
            match order {
                "close" => peer.close().await,
                "abort" => drop(peer),
                "break" => {
                    peer.write(b"\xff\xff").await;
                    assert_eq!(peer.closed().await.0, 1002);
                }
                order => {
                    peer.send(0x1, order.as_bytes()).await;
                    let code = if order == "end" { 1000 } else { 1011 };
                    assert_eq!(peer.closed().await.0, code, "{order}");
                }
            }
        }
        // The place is still there.
        Peer::open(patient, http.request("/").into_request())
            .await
            .close()
            .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn place_is_taken_while_the_transport_is_there() {
    on_both(async |http| {
        let (service, patient) = one_place(async |_: WebSocket| ());
        // The handler has returned, but this peer does not answer the Close.
        let mut peer = Peer::open(patient.clone(), http.request("/").into_request()).await;
        assert_eq!(peer.frame().await, Some((0x8, (&b"\x03\xe8"[..]).into())));
        let full = refused(service, http.request("/")).await;
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        // Until the close timeout.
        let next = Peer::open(patient, http.request("/").into_request()).await;
        drop((peer, next));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn place_returns_where_no_connection_came_of_it() {
    async fn hook(handshake: Handshake) -> Decision {
        match handshake.uri().path() {
            "/refuse" => {
                let mut response = http::Response::new("no");
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                handshake.reject(response)
            }
            "/close" => handshake.accept_then_close(tower_websocket::CloseCode::GOING_AWAY),
            "/wait" => pending().await,
            "/panic" => panic!("as ordered"),
            _ => handshake.accept(),
        }
    }
    on_both(async |http| {
        let layer = WebSocketLayer::new(limited(handler(echo), 1)).on_handshake(hook);
        let service = layer.clone().endpoint();
        let config = Config::default().ready_timeout(Duration::from_secs(50));
        let patient = layer.config(config).endpoint();

        let response = refused(service.clone(), http.request("/refuse")).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

        let (request, _peer) = Peer::in_memory(http.request("/wait").into_request());
        let mut response = Box::pin(service.clone().call(request));
        tokio::select! {
            biased;
            _ = &mut response => panic!("the hook does not answer"),
            () = tokio::task::yield_now() => {}
        }
        let full = refused(service.clone(), http.request("/")).await;
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(response);

        let (request, _peer) = Peer::in_memory(http.request("/panic").into_request());
        let call = service.clone().call(request);
        assert!(tokio::spawn(call).await.unwrap_err().is_panic());

        let request = testing::upgradable(http.request("/").into_request());
        assert_eq!(oneshot(service, request).await.status(), http.accepted());

        let mut peer = Peer::open(patient.clone(), http.request("/close").into_request()).await;
        assert_eq!(peer.closed().await.0, 1001);
        let mut client = open(patient, http, "/").await;
        echoes(&mut client, "hi").await;
        close(client).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn place_returns_when_the_upgrade_never_resolves() {
    on_both(async |http| {
        let (service, patient) = one_place(echo);
        let mut request = http.request("/").into_request();
        let never = pending::<std::io::Result<tokio::io::DuplexStream>>();
        request
            .extensions_mut()
            .insert(OnUpgrade::from_future(never));
        assert_eq!(
            oneshot(service.clone(), request).await.status(),
            http.accepted()
        );
        let full = refused(service, http.request("/")).await;
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        // Given up after the write timeout.
        close(open(patient, http, "/").await).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn ready_timeout_limits_the_wait() {
    on_both(async |http| {
        let layer = WebSocketLayer::new(limited(handler(echo), 1));
        let config = Config::default().ready_timeout(Duration::from_secs(3));
        let service = layer.clone().config(config).endpoint();
        let client = open(service.clone(), http, "/").await;
        let (start, now) = (tokio::time::Instant::now(), Config::default());
        let response = refused(layer.clone().config(now).endpoint(), http.request("/")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(start.elapsed().is_zero(), "by default it is asked once");
        let response = refused(service, http.request("/")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let waited = start.elapsed().as_millis();
        assert!((3000..3010).contains(&waited), "{waited} ms");
        close(client).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn route_service_that_fails_to_be_ready_refuses() {
    #[derive(Clone)]
    struct Broken;
    impl Service<http::Request<WebSocket>> for Broken {
        type Response = ();
        type Error = BoxError;
        type Future = std::future::Ready<Result<(), BoxError>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Err("broken".into()))
        }

        fn call(&mut self, _: http::Request<WebSocket>) -> Self::Future {
            panic!("called without being ready")
        }
    }
    on_both(async |http| {
        let service = WebSocketLayer::new(Broken).endpoint();
        let response = refused(service, http.request("/")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.extensions().get(), Some(&Rejection::NotReady));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn load_shed_accepts_and_tells_to_try_again_later() {
    on_both(async |http| {
        let route = ServiceBuilder::new()
            .load_shed()
            .concurrency_limit(1)
            .service(handler(echo));
        let service = WebSocketLayer::new(route).endpoint();
        let open = || Peer::open(service.clone(), http.request("/").into_request());
        let first = open().await;
        assert_eq!(open().await.closed().await, (1013, String::new()));
        first.close().await;
    })
    .await;
}

#[tokio::test]
async fn place_returns_after_a_vanished_client_of_a_real_connection() {
    let (_, patient) = one_place(echo);
    let server = Server::start(patient).await;
    on_both(async |http| {
        for _ in 0..3 {
            let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
            peer.echoes("hi").await;
            drop(peer);
        }
        let peer = within(Ask::handshake(http, "/").send(&server))
            .await
            .opened(http);
        peer.close().await;
    })
    .await;
}
