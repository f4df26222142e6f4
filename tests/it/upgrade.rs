//! From the answer to the open connection, and how a handler's end becomes a close code.

use std::{convert::Infallible, future::pending, io, mem::size_of_val};

use axum::{Router, routing::any};
use http::{Request, Response, StatusCode};
use tokio::io::DuplexStream;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_websocket::{
    CloseCode, CloseFrame, Config, Error, WebSocket, endpoint, handler, service::OnUpgrade, testing,
};

use crate::support::{
    Http, Log, NOT_HANDED_OVER, REPLACED, Seen, close_after, echo,
    http::{Ask, Peer, Server},
    on_both, oneshot, watched, within,
};

fn failed(why: &str) -> Seen {
    Seen::Failed(why.to_owned())
}

#[tokio::test]
async fn server_without_upgrades_is_told_of_and_the_handler_not_called() {
    let (layer, mut log) = watched();
    let app = Router::new().route("/", any(async || "page").layer(layer));
    let server = Server::without_upgrades(app).await;
    within(async {
        let answer = Ask::handshake(Http::One, "/").send(&server).await;
        assert_eq!(answer.status, StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(log.next().await, failed(NOT_HANDED_OVER));
        assert!(log.is_empty());
        // It serves the rest.
        let page = Ask::plain(Http::One, "/").send(&server).await;
        assert_eq!(page.text(), "page");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_not_handed_over_calls_no_handler() {
    on_both(async |http| {
        let (layer, mut log) = watched();
        let service = layer.endpoint();
        let mut request = http.request("/").into_request();
        let error = async { Err::<DuplexStream, _>(io::ErrorKind::BrokenPipe.into()) };
        request
            .extensions_mut()
            .insert(OnUpgrade::from_future(error));
        let response = oneshot(service.clone(), request).await;
        assert_eq!(response.status(), http.accepted());
        assert_eq!(log.next().await, failed(NOT_HANDED_OVER));

        let request = testing::upgradable(http.request("/").into_request());
        oneshot(service.clone(), request).await;
        assert_eq!(log.next().await, failed(NOT_HANDED_OVER));

        let mut request = http.request("/").into_request();
        let never = pending::<io::Result<DuplexStream>>();
        request
            .extensions_mut()
            .insert(OnUpgrade::from_future(never));
        oneshot(service, request).await;
        let why = "the stream was not handed over in time";
        assert_eq!(log.next().await, failed(why));
        assert!(log.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_is_given_to_one_handshake_only() {
    on_both(async |http| {
        let (layer, mut log) = watched();
        let service = layer.endpoint();
        let (request, peer) = Peer::in_memory(http.request("/").into_request());
        let again = request.extensions().clone();
        let first = service.clone().oneshot(request).await.unwrap();
        assert_eq!(first.status(), http.accepted());
        let mut request = http.request("/").into_request();
        *request.extensions_mut() = again;
        let second = oneshot(service, request).await;
        assert_eq!(second.status(), StatusCode::INTERNAL_SERVER_ERROR);
        peer.close().await;
        assert_eq!(log.next().await, Seen::Called);
        assert_eq!(log.next().await, Seen::Ended(1000));
        assert!(log.is_empty());
    })
    .await;
}

#[tokio::test]
async fn response_that_is_dropped_calls_no_handler() {
    on_both(async |http| {
        let (layer, mut log) = watched();
        let inner = layer.endpoint();
        let app = service_fn(move |request: Request<hyper::body::Incoming>| {
            let response = inner.clone().oneshot(request);
            async move {
                drop(response.await);
                let mut own = Response::new("own".to_owned());
                *own.status_mut() = StatusCode::BAD_GATEWAY;
                close_after(&mut own);
                Ok::<_, Infallible>(own)
            }
        });
        let server = Server::start(app).await;
        let answer = Ask::handshake(http, "/").send(&server).await;
        assert_eq!(answer.text(), "own");
        assert_eq!(
            log.next().await,
            failed(http.pick(REPLACED, NOT_HANDED_OVER))
        );
        assert!(log.is_empty());
    })
    .await;
}

#[tokio::test]
async fn client_that_leaves_before_the_answer_calls_no_handler() {
    let (layer, mut log) = watched();
    let (pen, mut asked) = Log::new();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let open = gate.clone();
    let inner = layer.endpoint();
    // Goes on after the client has left, as a task of its own would.
    let app = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = inner.clone().oneshot(request);
        let gate = gate.clone();
        pen.write(());
        async move {
            let task = tokio::spawn(async move {
                let _open = gate.acquire().await;
                response.await
            });
            task.await.unwrap()
        }
    });
    let server = Server::start(app).await;
    within(async {
        let mut peer = Peer::to(&server).await;
        peer.write(&Ask::handshake(Http::One, "/").bytes()).await;
        asked.next().await;
        peer.end().await;
        assert_eq!(peer.rest().await, "", "hyper has given the connection up");
        open.add_permits(1);
        assert_eq!(log.next().await, failed(NOT_HANDED_OVER));
        assert!(log.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn end_of_a_handler_is_a_close_code() {
    async fn handle(request: Request<WebSocket>) -> Result<(), BoxError> {
        let path = request.uri().path().to_owned();
        let mut socket = request.into_body();
        let code = CloseCode::new(4000).unwrap();
        match path.as_str() {
            "/ok" => Ok(()),
            "/frame" => Err(CloseFrame::new(code, "enough").into()),
            "/code" => Err(CloseFrame::from(code).into()),
            "/error" => Err("secret".into()),
            "/closed" => Err(Error::Closed.into()),
            "/panic" => panic!("secret"),
            "/late" => {
                socket.recv().await?;
                panic!("secret")
            }
            "/close" => {
                socket.close(CloseFrame::new(code, "by hand"));
                Err("later".into())
            }
            "/drop" => {
                drop(socket);
                pending().await
            }
            path => panic!("{path}"),
        }
    }
    let service = endpoint(service_fn(handle));
    let table = [
        ("/ok", 1000, ""),
        ("/frame", 4000, "enough"),
        ("/code", 4000, ""),
        ("/error", 1011, ""),
        ("/closed", 1011, ""),
        ("/panic", 1011, ""),
        ("/late", 1011, ""),
        ("/close", 4000, "by hand"),
        ("/drop", 1000, ""),
    ];
    on_both(async |http| {
        for (path, code, reason) in table {
            println!("{path}");
            let mut peer = Peer::open(service.clone(), http.request(path).into_request()).await;
            if path == "/late" {
                peer.send(0x1, b"now").await;
            }
            assert_eq!(peer.closed().await, (code, reason.to_owned()), "{path}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_call_of_a_route_service_is_an_internal_error() {
    let function = |_: Request<WebSocket>| -> std::future::Ready<Result<(), Infallible>> {
        panic!("in the call")
    };
    let service = endpoint(service_fn(function));
    on_both(async |http| {
        let mut peer = Peer::open(service.clone(), http.request("/").into_request()).await;
        assert_eq!(peer.closed().await.0, 1011);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn closure_may_loop_or_panic_without_a_type_to_end_in() {
    let forever = handler(|mut socket: WebSocket| async move {
        loop {
            if let Ok(Some(message)) = socket.recv().await {
                let _gone = socket.send(message).await;
            } else {
                pending::<()>().await;
            }
        }
    });
    let panics = handler(|_: WebSocket| async { panic!("secret") });
    on_both(async |http| {
        let request = || http.request("/").into_request();
        let mut peer = Peer::open(endpoint(forever), request()).await;
        peer.echoes("hi").await;
        peer.close().await;
        let mut peer = Peer::open(endpoint(panics), request()).await;
        assert_eq!(peer.closed().await.0, 1011);
    })
    .await;
}

#[tokio::test]
async fn end_of_a_handler_is_a_close_code_over_real_connections() {
    async fn handle(mut socket: WebSocket) -> Result<(), BoxError> {
        match socket
            .recv()
            .await?
            .as_ref()
            .and_then(|order| order.as_text())
        {
            Some("frame") => Err(CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "later").into()),
            Some("error") => Err("secret".into()),
            Some("panic") => panic!("secret"),
            _ => Ok(()),
        }
    }
    let server = Server::start(endpoint(handler(handle))).await;
    on_both(async |http| {
        let table = [
            ("end", 1000, ""),
            ("frame", 1013, "later"),
            ("error", 1011, ""),
            ("panic", 1011, ""),
        ];
        for (order, code, reason) in table {
            let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
            peer.send(0x1, order.as_bytes()).await;
            assert_eq!(peer.closed().await, (code, reason.to_owned()), "{order}");
        }
    })
    .await;
}

#[tokio::test]
async fn future_of_a_handler_is_its_function_s_and_no_more() {
    async fn count(mut socket: WebSocket) -> Result<(), Error> {
        while socket.recv().await?.is_some() {}
        Ok(())
    }
    let (_client, socket) = testing::pair(Config::default());
    let size = size_of_val(&handler(count).call(Request::new(socket)));
    assert!(size <= 80, "{size} bytes");
    // With a message in each of three places: received, its own, being sent.
    let (_client, socket) = testing::pair(Config::default());
    let size = size_of_val(&handler(echo).call(Request::new(socket)));
    assert!(size <= 176, "{size} bytes");
}

#[tokio::test]
async fn future_of_a_response_is_small_and_so_are_layer_and_handles() {
    let (layer, _log) = watched();
    let mut service = layer.layer(endpoint(handler(echo)));
    let future = service.call(Http::One.request("/").into_request());
    let size = size_of_val(&future);
    assert!(size <= 144, "{size} bytes");
    assert!(size_of::<WebSocket>() <= 16);
    assert!(size_of::<tower_websocket::Sender>() <= 8);
}
