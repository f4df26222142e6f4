//! Other layers around ours: those that look on, and those that meddle with the answer.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, response::IntoResponse, routing::any};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn, util::MapResponseLayer};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, predicate::Predicate},
    cors::CorsLayer,
    map_response_body::MapResponseBodyLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    set_header::SetResponseHeaderLayer,
    timeout::{ResponseBodyTimeoutLayer, TimeoutLayer},
    trace::TraceLayer,
};
use tower_websocket::{WebSocketLayer, service::ResponseBody, testing};

use crate::support::{
    Http, NOT_HANDED_OVER, REPLACED, Seen, close_after, echo, handler,
    http::{Ask, Server},
    on_both, watched, within,
};

fn chat() -> Router {
    let layer = WebSocketLayer::new(handler(echo));
    Router::new().route("/chat", any(async || "page".repeat(100)).layer(layer))
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(60))
}

fn request_id() -> (SetRequestIdLayer<MakeRequestUuid>, PropagateRequestIdLayer) {
    let name = HeaderName::from_static("x-request-id");
    (
        SetRequestIdLayer::new(name.clone(), MakeRequestUuid),
        PropagateRequestIdLayer::new(name),
    )
}

/// The usual layers of an application, each alone and all together.
fn stacks() -> [(&'static str, Router); 9] {
    let server = || {
        let value = HeaderValue::from_static("test");
        SetResponseHeaderLayer::overriding(header::SERVER, value)
    };
    let body = MapResponseBodyLayer::new(Body::new);
    let all = chat()
        .layer(body.clone())
        .layer(request_id())
        .layer(CatchPanicLayer::new())
        .layer(CorsLayer::permissive())
        .layer(CompressionLayer::new())
        .layer(timeout())
        .layer(server())
        .layer(TraceLayer::new_for_http());
    [
        ("none", chat()),
        ("trace", chat().layer(TraceLayer::new_for_http())),
        ("timeout", chat().layer(timeout())),
        ("compression", chat().layer(CompressionLayer::new())),
        ("cors", chat().layer(CorsLayer::permissive())),
        ("catch-panic", chat().layer(CatchPanicLayer::new())),
        ("request-id", chat().layer(request_id())),
        ("map-response-body", chat().layer(body)),
        ("all", all.layer(server())),
    ]
}

#[tokio::test]
async fn usual_layers_let_a_connection_through() {
    on_both(async |http| {
        for (name, app) in stacks() {
            println!("under {name}");
            let server = Server::start(app).await;
            let ask = |ask: Ask| {
                ask.header("accept-encoding", "gzip")
                    .header("origin", "http://localhost")
            };
            let answer = ask(Ask::handshake(http, "/chat")).send(&server).await;
            assert_eq!(answer.header("content-encoding"), None);
            let has_id = answer.headers.contains_key("x-request-id");
            assert_eq!(has_id, ["request-id", "all"].contains(&name));
            let mut peer = answer.opened(http);
            peer.echoes(name).await;
            peer.close().await;

            let page = ask(Ask::plain(http, "/chat")).send(&server).await;
            assert_eq!(page.status, StatusCode::OK);
            let compressed = page.header("content-encoding") == Some("gzip");
            assert_eq!(compressed, ["compression", "all"].contains(&name));
            let refused = ask(Ask::handshake(http, "/chat").header("sec-websocket-version", "8"))
                .send(&server)
                .await;
            assert_eq!(refused.status, http.pick(426, 400));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn timeout_around_the_layer_does_not_end_an_open_connection() {
    let status = StatusCode::GATEWAY_TIMEOUT;
    let app = chat().layer(TimeoutLayer::with_status_code(
        status,
        Duration::from_secs(5),
    ));
    on_both(async |http| {
        let mut client = crate::support::open(app.clone(), http, "/chat").await;
        // Paused: this passes at once.
        tokio::time::sleep(Duration::from_secs(15)).await;
        crate::support::echoes(&mut client, "still here").await;
        crate::support::close(client).await;
    })
    .await;
}

/// A gRPC service that knows no method.
#[derive(Clone)]
struct Grpc;

impl tonic::server::NamedService for Grpc {
    const NAME: &'static str = "test.Service";
}

impl Service<Request<tonic::body::Body>> for Grpc {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<tonic::body::Body>) -> Self::Future {
        std::future::ready(Ok(tonic::Status::unimplemented("test").into_http()))
    }
}

async fn serves_both(server: Server, http: Http) {
    let mut peer = Ask::handshake(http, "/chat")
        .send(&server)
        .await
        .opened(http);
    peer.echoes("hi").await;
    let call = Ask::plain(http, "/test.Service/Method")
        .method("POST")
        .header("content-type", "application/grpc");
    let answer = call.send(&server).await;
    assert_eq!(answer.header("grpc-status"), Some("12"));
    assert_eq!(answer.header("grpc-message"), Some("test"));
    peer.echoes("still here").await;
    peer.close().await;
}

#[tokio::test]
async fn connection_opens_beside_grpc_in_an_axum_router() {
    on_both(async |http| {
        let grpc = tonic::service::Routes::new(Grpc).prepare();
        serves_both(
            Server::start(chat().merge(grpc.into_axum_router())).await,
            http,
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn connection_opens_inside_the_router_of_tonic() {
    on_both(async |http| {
        let routes = tonic::service::Routes::from(chat()).add_service(Grpc);
        serves_both(Server::start(routes).await, http).await;
    })
    .await;
}

/// Sends a handshake through a layer that meddles with the answer; gives what happened inside.
async fn through(http: Http, meddle: impl FnOnce(Router) -> Router) -> (u16, Seen) {
    let (layer, mut log) = watched();
    let app = Router::new().route("/", any(async || "page").layer(layer));
    let server = Server::start(meddle(app)).await;
    let answer = Ask::handshake(http, "/").send(&server).await;
    let seen = log.next().await;
    if seen == Seen::Called {
        let mut peer = answer.peer;
        peer.echoes("hi").await;
        peer.close().await;
    }
    (answer.status.as_u16(), seen)
}

#[tokio::test]
async fn answer_that_is_replaced_starts_no_session() {
    on_both(async |http| {
        let replace = |status: u16| {
            MapResponseLayer::new(move |response: Response<Body>| {
                let extensions = response.extensions().clone();
                let mut own = (StatusCode::from_u16(status).unwrap(), "own").into_response();
                *own.extensions_mut() = extensions;
                close_after(&mut own);
                own
            })
        };
        let why = http.pick(REPLACED, NOT_HANDED_OVER);
        for status in [302, 403, 500, 503] {
            let seen = through(http, |app| app.layer(replace(status))).await;
            assert_eq!(seen, (status, Seen::Failed(why.to_owned())));
        }
        if http == Http::One {
            // The client of HTTP/2 reads a 200 as a yes, and rightly: hyper has opened the stream.
            let seen = through(http, |app| app.layer(replace(200))).await;
            assert_eq!(seen, (200, Seen::Failed(why.to_owned())));
        }
    })
    .await;
}

#[tokio::test]
async fn body_put_into_the_answer_is_no_frame() {
    let body = MapResponseLayer::new(|response: Response<Body>| {
        let mut response = response.map(|_| Body::from("\u{1}\u{3}own"));
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response
    });
    let seen = within(through(Http::One, |app| app.layer(body.clone()))).await;
    assert_eq!(seen, (101, Seen::Failed(REPLACED.to_owned())));
    // hyper sends no body with a 2xx to CONNECT.
    let seen = within(through(Http::Two, |app| app.layer(body))).await;
    assert_eq!(seen, (200, Seen::Called));
}

/// Compresses whatever comes along.
#[derive(Clone, Copy)]
struct Always;

impl Predicate for Always {
    fn should_compress<B: http_body::Body>(&self, _: &Response<B>) -> bool {
        true
    }
}

#[tokio::test]
async fn compression_without_sense_starts_no_session_on_http1() {
    let (layer, mut log) = watched();
    let app = Router::new().route("/", any(async || "page").layer(layer));
    let server = Server::start(app.layer(CompressionLayer::new().compress_when(Always))).await;
    let ask = |http| Ask::handshake(http, "/").header("accept-encoding", "gzip");
    within(async {
        ask(Http::One).send(&server).await;
        assert_eq!(log.next().await, Seen::Failed(REPLACED.to_owned()));
        let mut peer = ask(Http::Two).send(&server).await.opened(Http::Two);
        peer.echoes("hi").await;
        peer.close().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn body_of_the_answer_is_known_to_be_empty() {
    on_both(async |http| {
        let request = testing::upgradable(http.request("/chat").into_request());
        let response = chat().oneshot(request).await.unwrap();
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(0));
        assert!(http_body::Body::is_end_stream(response.body()));
        // Where axum adds a length to the 101, it is 0, and hyper takes it away.
        let length = response.headers().get(header::CONTENT_LENGTH);
        assert!(length.is_none_or(|length| length == "0"));
    })
    .await;
}

#[tokio::test]
async fn content_length_put_on_the_answer_never_reaches_the_client() {
    let set = |value| {
        let value = HeaderValue::from_static(value);
        SetResponseHeaderLayer::overriding(header::CONTENT_LENGTH, value)
    };
    on_both(async |http| {
        let server = Server::start(chat().layer(set("0"))).await;
        let answer = Ask::handshake(http, "/chat").send(&server).await;
        let mut peer = answer.opened(http);
        peer.echoes("hi").await;
        peer.close().await;
    })
    .await;
    let (layer, mut log) = watched();
    let app = Router::new().route("/", any(async || "page").layer(layer));
    let server = Server::start(app.layer(set("5"))).await;
    within(async {
        // hyper drops the field from a 101, and resets the stream of a CONNECT.
        let answer = Ask::handshake(Http::One, "/").send(&server).await;
        answer.opened(Http::One).close().await;
        assert_eq!(log.next().await, Seen::Called);
        assert_eq!(log.next().await, Seen::Ended(1000));
        let http2 = crate::support::http::Http2::to(&server).await;
        let answer = http2.try_send(Ask::handshake(Http::Two, "/")).await;
        assert_eq!(
            answer.unwrap_err().reason(),
            Some(h2::Reason::INTERNAL_ERROR)
        );
        assert_eq!(log.next().await, Seen::Failed(NOT_HANDED_OVER.to_owned()));
    })
    .await;
}

/// Where the witness cannot help, over HTTP/1.1: a layer asks the body itself whether it is at its
/// end, or keeps it and changes the status only. The session starts, as it would without one.
#[tokio::test]
async fn layers_that_ask_the_body_themselves_fail_open() {
    type Meddle = fn(Response<Body>) -> Response<Body>;
    fn own() -> Response<Body> {
        let mut own = (StatusCode::FORBIDDEN, "own").into_response();
        close_after(&mut own);
        own
    }
    let layers: [(&str, Meddle); 4] = [
        ("any that asks", |response| {
            assert!(http_body::Body::is_end_stream(response.body()));
            own()
        }),
        ("tonic::body::Body::new", |response| {
            drop(tonic::body::Body::new(response.into_body()));
            own()
        }),
        ("http_body_util's Fuse", |response| {
            drop(http_body_util::combinators::Fuse::new(response.into_body()));
            own()
        }),
        ("any that changes the status in place", |mut response| {
            *response.status_mut() = StatusCode::FORBIDDEN;
            close_after(&mut response);
            response
        }),
    ];
    within(async {
        for (name, layer) in layers {
            println!("{name}");
            let (status, seen) =
                through(Http::One, |app| app.layer(MapResponseLayer::new(layer))).await;
            assert_eq!((status, seen), (403, Seen::Called));
        }
    })
    .await;
}

/// `http_body::Body::is_end_stream` has a default, and so is left out of some bodies that wrap
/// others. hyper's question does not come through them.
#[tokio::test]
async fn layers_whose_body_hides_ours_fail_closed_on_http1() {
    let layer = || ResponseBodyTimeoutLayer::new(Duration::from_secs(60));
    within(async {
        let seen = through(Http::One, |app| app.layer(layer())).await;
        assert_eq!(seen, (101, Seen::Failed(REPLACED.to_owned())));
        let seen = through(Http::Two, |app| app.layer(layer())).await;
        assert_eq!(seen, (200, Seen::Called));
    })
    .await;
}

#[tokio::test]
async fn body_of_a_response_is_that_of_the_inner_service() {
    let inner = service_fn(|_: Request<hyper::body::Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"page"))))
    });
    let server = Server::start(
        WebSocketLayer::new(handler(echo))
            .path("/chat")
            .layer(inner),
    )
    .await;
    on_both(async |http| {
        let answer = Ask::plain(http, "/").send(&server).await;
        assert_eq!(answer.text(), "page");
        assert_eq!(answer.header("content-length"), Some("4"));
    })
    .await;
    let empty = ResponseBody::<Full<Bytes>>::default();
    assert_eq!(http_body::Body::size_hint(&empty).exact(), Some(0));
    assert!(http_body::Body::is_end_stream(&empty));
}
