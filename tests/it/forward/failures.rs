//! Upstreams that refuse, answer nonsense, or are not there.

use std::time::Duration;

use axum::{Router, routing::any};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tower_websocket::{Connections, client::Client, forward::Forward};

use super::{accepting, answering, client, gateway, on_all, served, to, uri};
use crate::support::{
    Http,
    http::{Answer, Ask, Server},
    within,
};

async fn asked(gateway: &Server, here: Http) -> Answer {
    within(Ask::handshake(here, "/").send(gateway)).await
}

#[tokio::test]
async fn refusal_of_the_upstream_is_passed_back() {
    on_all(async |here, there| {
        for status in [302, 400, 401, 403, 404, 429, 500, 503] {
            let refusing = async move || {
                let mut headers = HeaderMap::new();
                headers.insert("www-authenticate", "Basic".parse().unwrap());
                headers.insert("location", "https://example.com/login".parse().unwrap());
                headers.insert("retry-after", "7".parse().unwrap());
                headers.insert("server", "secret".parse().unwrap());
                (
                    StatusCode::from_u16(status).unwrap(),
                    headers,
                    "no, and why",
                )
            };
            let upstream = Server::start(Router::new().fallback(refusing)).await;
            let connections = Connections::new();
            let layer = to(upstream.address, there)
                .layer()
                .connections(&connections);
            let gateway = served(layer).await;
            let answer = asked(&gateway, here).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.text(), "no, and why");
            assert_eq!(answer.header("www-authenticate"), Some("Basic"));
            assert_eq!(answer.header("location"), Some("https://example.com/login"));
            assert_eq!(answer.header("retry-after"), Some("7"));
            assert_eq!(answer.header("server"), None);
            let rejected = connections.counters().rejected;
            assert_eq!(rejected.get("Hook"), Some(&1));
        }
    })
    .await;
}

#[tokio::test]
async fn answer_that_is_none_to_a_handshake_is_502() {
    type Answering = fn(&str) -> String;
    let wrong_accept = |head: &str| accepting(head, "").replace("Accept: ", "Accept: x");
    let other_protocol = |head: &str| accepting(head, "Sec-WebSocket-Protocol: other\r\n");
    let deflate = |head: &str| accepting(head, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let answers: [(&str, Answering); 9] = [
        ("a wrong accept", wrong_accept),
        ("a subprotocol that was not offered", other_protocol),
        ("an extension that was not offered", deflate),
        ("a page", |_| {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned()
        }),
        ("no content", |_| {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        }),
        ("407", |_| {
            "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n".to_owned()
        }),
        ("426", |_| {
            "HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n".to_owned()
        }),
        ("no HTTP", |_| "+OK hello\r\n\r\n".to_owned()),
        ("the end", |_| String::new()),
    ];
    for (what, answer) in answers {
        for here in [Http::One, Http::Two] {
            let (address, upstream) = answering(move |head| answer(head).into_bytes()).await;
            tokio::spawn(async { drop(upstream.await) });
            let gateway = gateway(to(address, Http::One)).await;
            let answer = asked(&gateway, here).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{what}");
            assert!(answer.text().starts_with("the upstream gave no answer"));
        }
    }
}

#[tokio::test]
async fn upstream_without_websocket_over_http2_is_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while connection.accept().await.is_some() {}
    });
    let gateway = gateway(to(address, Http::Two)).await;
    assert_eq!(
        asked(&gateway, Http::One).await.status,
        StatusCode::BAD_GATEWAY
    );
}

#[tokio::test]
async fn upstream_that_is_not_there_is_503() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    on_all(async |here, there| {
        for forward in [
            to(address, there),
            to(address, Http::Two).sockets_per_connection(9),
        ] {
            let gateway = gateway(forward).await;
            let answer = asked(&gateway, here).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.header("retry-after"), Some("5"));
        }
    })
    .await;
}

#[tokio::test]
async fn upstream_that_never_answers_is_504() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    on_all(async |here, there| {
        let impatient = client(there).handshake_timeout(Duration::from_millis(20));
        let forward = Forward::to(uri(address, "/")).unwrap().client(impatient);
        for forward in [forward.clone(), forward.sockets_per_connection(9)] {
            let gateway = gateway(forward).await;
            let answer = asked(&gateway, here).await;
            assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
        }
    })
    .await;
}

#[tokio::test]
async fn pool_goes_on_when_the_upstream_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gateway = gateway(to(address, Http::Two).sockets_per_connection(9)).await;
    let asks = (0..20).map(|_| asked(&gateway, Http::One));
    for answer in within(futures_util::future::join_all(asks)).await {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let app = Router::new().fallback(any(async || "a page"));
    let app = app.layer(tower_websocket::WebSocketLayer::new(
        crate::support::handler(crate::support::echo),
    ));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut peer = asked(&gateway, Http::One).await.opened(Http::One);
    within(peer.echoes("back")).await;
}

#[tokio::test]
async fn request_that_comes_round_is_508() {
    // Each is the upstream of the other.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = gateway(to(listener.local_addr().unwrap(), Http::Two)).await;
    let layer = to(second.address, Http::One).layer();
    let app = Router::new().fallback_service(layer.endpoint());
    let address = listener.local_addr().unwrap();
    let first = Server::other(address, async move {
        axum::serve(listener, app).await.unwrap();
    });
    for gateway in [&first, &second] {
        let answer = asked(gateway, Http::One).await;
        assert_eq!(answer.status, StatusCode::LOOP_DETECTED);
        assert_eq!(answer.text(), "the request has passed this gateway before");
    }
}

#[tokio::test]
async fn path_that_leads_out_of_the_upstreams_is_400() {
    let forward = Forward::to("ws://127.0.0.1:1/v2/").unwrap();
    let gateway = gateway(forward.client(Client::new())).await;
    for path in ["/a/%2e%2E/../secret", "/..;/secret", "/..%3bx=1/secret"] {
        let answer = within(Ask::handshake(Http::One, path).send(&gateway)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[test]
fn upstream_has_to_be_a_server() {
    for wrong in ["", "/chat", "localhost:9000", "ftp://localhost/", "ws://"] {
        assert!(Forward::to(wrong).is_err(), "{wrong:?}");
    }
}
