//! What errors of the client say is most likely wrong, each with a peer of that kind.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use axum::{Router, response::Redirect, routing::any};
use http::{HeaderValue, StatusCode};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::rustls::RootCertStore;
use tower_websocket::client::{Client, HttpVersion};

use super::{
    app, client_of,
    support::served,
    tls::{self, BOTH},
};
use crate::support::{Http, close, echoes, http::Server, on_both, within};

/// Fails to connect, and returns what the error says.
async fn said(client: Client, uri: &str) -> String {
    let error = within(client.connect(uri)).await.unwrap_err();
    println!("{uri}: {error}");
    let mut below = error.source();
    while let Some(error) = below {
        println!("    {error}");
        below = error.source();
    }
    error.to_string()
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn text_without_a_scheme_is_told_what_is_missing() {
    for text in [
        "localhost:8080/chat",
        "localhost:8080",
        "example.com",
        "example.com/chat?room=1",
        " example.com/a b",
        "127.0.0.1:8080/chat",
        "[::1]:8080/chat",
        "ws:/localhost/",
        "//localhost/chat",
        "/chat",
    ] {
        let said = said(Client::new(), text).await;
        assert!(
            said.ends_with("(missing ws:// or wss://?)"),
            "{text}: {said}"
        );
    }
    for text in ["ws://loc alhost/", "ws://localhost:port/", ""] {
        let said = said(Client::new(), text).await;
        assert!(!said.contains("missing"), "{text}: {said}");
    }
}

#[tokio::test]
async fn server_that_is_not_there_is_asked_after() {
    on_both(async |http| {
        let uri = format!("ws://{}/", nobody().await);
        let said = said(client_of(http), &uri).await;
        assert!(
            said.ends_with("(is it running, and is the port right?)"),
            "{said}"
        );
    })
    .await;
}

#[tokio::test]
async fn server_without_tls_is_asked_whether_it_speaks_it() {
    let server = Server::start(app()).await;
    for version in [
        HttpVersion::Http1,
        HttpVersion::Http2,
        HttpVersion::Negotiated,
    ] {
        let client = Client::new().http_version(version);
        let said = said(client, &format!("wss://{}/echo", server.address)).await;
        assert!(said.contains("does the server speak TLS here?"), "{said}");
    }
    // One that just hangs up on what it does not understand.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("wss://{}/", listener.local_addr().unwrap());
    let hanging_up = async { drop(listener.accept().await.unwrap()) };
    let (said, ()) = tokio::join!(said(Client::new(), &uri), hanging_up);
    assert!(said.contains("does the server speak TLS here?"), "{said}");
}

#[tokio::test]
async fn server_that_says_nothing_to_tls_is_asked_whether_it_speaks_it() {
    // The kernel accepts, and nobody else.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("wss://{}/", listener.local_addr().unwrap());
    let client = Client::new().tls_timeout(Duration::ZERO);
    let client = client.roots(RootCertStore::empty());
    let said = said(client, &uri).await;
    assert!(said.contains("does the server speak TLS here?"), "{said}");
}

#[tokio::test]
async fn server_with_tls_is_asked_whether_it_wants_it() {
    let server = tls::Server::start(BOTH, true).await;
    on_both(async |http| {
        let said = said(
            client_of(http),
            &server.uri("localhost").replace("wss", "ws"),
        )
        .await;
        assert!(
            said.contains("want TLS") && said.contains("wss://"),
            "{said}"
        );
    })
    .await;
}

#[tokio::test]
async fn server_that_takes_it_for_any_request_is_told_apart() {
    let moved = Redirect::temporary("/echo");
    let app = app()
        .route("/moved", any(async move || moved))
        .route("/bad", any(async || StatusCode::BAD_REQUEST))
        .route("/locked", any(async || StatusCode::UNAUTHORIZED))
        .route("/down", any(async || StatusCode::BAD_GATEWAY));
    let server = Server::start(app).await;
    on_both(async |http| {
        let is_there = "is there a WebSocket at this path";
        for (path, expected) in [
            ("/page", http.pick(is_there, "")),
            ("/bad", is_there),
            ("/nowhere", "404 Not Found (is the path right?)"),
            ("/locked", "401 Unauthorized (are the credentials right?)"),
            ("/moved", "307 Temporary Redirect (it is at \"/echo\" now)"),
            ("/down", "the handshake was answered with 502 Bad Gateway"),
        ] {
            let uri = format!("ws://{}{path}", server.address);
            if expected.is_empty() {
                // Over HTTP/2 it accepts.
                within(client_of(http).connect(&uri)).await.unwrap();
                continue;
            }
            let said = said(client_of(http), &uri).await;
            assert!(said.contains(expected), "{said}");
        }
    })
    .await;
    // A server that knows neither.
    let server = Server::start(Router::new()).await;
    let said = said(client_of(Http::One), &format!("ws://{}/", server.address)).await;
    assert!(said.ends_with("(is the path right?)"), "{said}");
}

#[tokio::test]
async fn server_that_has_no_websocket_over_http2_is_told_apart() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async {
        let server = auto::Builder::new(TokioExecutor::new());
        let io = TokioIo::new(theirs);
        let _gone = server
            .serve_connection_with_upgrades(io, TowerToHyperService::new(app()))
            .await;
    });
    let client = client_of(Http::Two);
    let connecting = client.connect_over(ours, "ws://localhost/echo");
    let said = within(connecting).await.unwrap_err().to_string();
    assert!(said.contains("HTTP/1.1 may do"), "{said}");
}

#[tokio::test]
async fn server_that_speaks_no_http2_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ws://{}/", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let (said, _stream) = tokio::join!(said(client_of(Http::Two), &uri), server);
    assert!(said.contains("what comes is no HTTP/2"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_too_long_is_http() {
    let long = HeaderValue::try_from("x".repeat(128 << 10)).unwrap();
    let answer = async move || [("x-long", long)];
    let stream = served(Router::new().route("/", any(answer)));
    let error = Client::new().connect_over(stream, "ws://localhost/").await;
    let said = error.unwrap_err().to_string();
    assert!(!said.contains("HTTP/1.1"), "{said}");
}

#[tokio::test]
async fn certificate_of_a_stranger_leads_to_the_setting_that_trusts_it() {
    let server = tls::Server::start(BOTH, true).await;
    let stranger = tls::Server::start(BOTH, true).await;
    on_both(async |http| {
        let uri = server.uri("localhost");
        let said = said(client_of(http), &uri).await;
        assert!(said.contains("`Client::add_root_pem`"), "{said}");
        let client = client_of(http)
            .add_root_pem(pem(&stranger.certificate))
            .unwrap();
        let error = within(client.connect(&uri)).await.unwrap_err();
        assert!(!error.is_temporary(), "{error}");
        let client = client.add_root_pem(pem(&server.certificate)).unwrap();
        let mut socket = within(client.connect(&uri)).await.unwrap();
        echoes(&mut socket, "hello").await;
        within(close(socket)).await;
        // And beside a store that was given.
        let client = client_of(http)
            .roots(RootCertStore::empty())
            .add_root_pem(pem(&server.certificate))
            .unwrap();
        within(close(within(client.connect(&uri)).await.unwrap())).await;
    })
    .await;
    let error = Client::new().add_root_pem("no certificate").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn certificate_of_an_authority_leads_to_how_one_of_a_server_is_made() {
    let server = tls::Server::authority(BOTH).await;
    on_both(async |http| {
        let uri = server.uri("localhost");
        let pem = pem(&server.certificate);
        let more = client_of(http).add_root_pem(&pem).unwrap();
        let alone = client_of(http)
            .roots(RootCertStore::empty())
            .add_root_pem(&pem)
            .unwrap();
        for client in [more, alone] {
            let said = said(client, &uri).await;
            assert!(
                said.contains("-addext basicConstraints=critical,CA:FALSE"),
                "{said}"
            );
        }
    })
    .await;
}

/// RFC 7468 §3.
fn pem(der: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut lines = String::from("-----BEGIN CERTIFICATE-----");
    for (n, chunk) in der.chunks(3).enumerate() {
        if n % 16 == 0 {
            lines.push('\n');
        }
        let word = [chunk, &[0; 2]].concat();
        let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) as usize & 63;
            let padding = digit > chunk.len();
            lines.push(if padding { '=' } else { digits[index].into() });
        }
    }
    lines + "\n-----END CERTIFICATE-----\n"
}
