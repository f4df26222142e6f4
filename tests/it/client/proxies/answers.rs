//! What an HTTP proxy may answer.

use std::error::Error;

use http::StatusCode;
use tower_websocket::client::{ConnectError, ProxyError};

use super::*;

/// What an answer is taken for.
async fn error(proxy: &str, answer: &'static [u8]) -> ConnectError {
    let (client, _task) = answering(answer);
    let client = client.proxy(proxy).unwrap();
    within(client.connect("ws://server.example/"))
        .await
        .unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn refusal_of_a_proxy_is_told_with_what_to_do() {
    for (answer, status, expected, temporary) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n"[..],
            407,
            "the proxy answered with 407 Proxy Authentication Required (it wants the right user and password",
            false,
        ),
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\n\r\n",
            407,
            "another scheme than Basic",
            false,
        ),
        (
            b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
            502,
            "the proxy answered with 502 Bad Gateway (it did not reach the server)",
            true,
        ),
        (
            b"HTTP/1.0 401 Unauthorized\r\n\r\n",
            401,
            "it wants the right user and password",
            false,
        ),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", 504, "did not reach", true),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 403, "does it allow CONNECT", false),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", 404, "is it a proxy", false),
        (b"HTTP/1.1 501 Not Implemented\r\n\r\n", 501, "is it a proxy", true),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", 302, "the proxy answered with 302", false),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, "the proxy answered with 101", false),
    ] {
        let error = error("http://user:secret@proxy", answer).await;
        let said = error.to_string();
        assert!(said.contains(expected), "{said}");
        assert!(!format!("{error:?}{said}").contains("secret"), "{error:?}");
        assert_eq!(error.is_temporary(), temporary, "{said}");
        // The server has answered nothing.
        assert!(error.response().is_none());
        let ConnectError::Proxy(ProxyError::Rejected(response)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn proxy_says_when_to_ask_again() {
    for (answer, expected) in [
        (
            &b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n\r\n"[..],
            Some(7 * SECOND),
        ),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", None),
    ] {
        let error = error("http://proxy", answer).await;
        assert_eq!(error.retry_after(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn body_of_a_refusal_is_kept() {
    let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nblocked here";
    let ConnectError::Proxy(ProxyError::Rejected(response)) = error("http://proxy", answer).await
    else {
        panic!("it is no refusal");
    };
    assert_eq!(&response.body()[..], b"blocked here");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_of_a_proxy_is_an_error() {
    for (answer, expected) in [
        (&b""[..], "does it want TLS, https://?"),
        (
            b"HTTP/1.1 200 Connection est",
            "does it want TLS, https://?",
        ),
        (b"HTTP/1.1 two hundred\r\n\r\n", "what comes is no HTTP/1.1"),
        (b"\x05\x00\r\n\r\n", "is it a proxy of SOCKS, socks5://"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "or wants TLS, https://?"),
        (b"SSH-2.0-x\r\n", "what comes is no HTTP/1.1"),
        (
            b"HTTP/1.1 204 No Content\r\n\r\n",
            "the proxy gave no answer",
        ),
    ] {
        let error = error("http://proxy", answer).await;
        let said = error.to_string();
        assert!(said.starts_with("the proxy gave no answer"), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(error.source().is_some());
        assert!(
            matches!(error, ConnectError::Proxy(ProxyError::Io(_))),
            "{error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_200_is_a_way() {
    for granted in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 0\r\nVia: 1.1 proxy\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        on_both(async |http| {
            let client = leading_to(client_of(http), move |mut stream| async move {
                head(&mut stream).await;
                stream.write_all(granted.as_bytes()).await.unwrap();
                let mut server = served(app());
                let _gone = copy_bidirectional(&mut stream, &mut server).await;
            });
            let client = client.proxy("http://proxy").unwrap();
            let mut socket = client.connect("ws://server/echo").await.unwrap();
            echoes(&mut socket, "hello").await;
            close(socket).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn address_of_ipv6_is_asked_for_in_brackets() {
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let client = leading_to(client_of(http), move |mut stream| {
            let pen = pen.clone();
            async move {
                pen.write(head(&mut stream).await);
                stream.write_all(GRANTED).await.unwrap();
                let mut server = served(app());
                let _gone = copy_bidirectional(&mut stream, &mut server).await;
            }
        });
        let client = client.proxy("http://proxy").unwrap();
        let connecting = client.connect("ws://[2001:db8::1]/echo");
        let mut socket = connecting.await.unwrap();
        echoes(&mut socket, "hello").await;
        close(socket).await;
        let expected = "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n";
        assert_eq!(log.next().await, expected);
    })
    .await;
}

/// It is what the server says, and comes before it was asked anything.
#[tokio::test(start_paused = true)]
async fn garbage_behind_a_200_is_the_servers() {
    let answer = b"HTTP/1.1 200 OK\r\n\r\ngarbage\r\n\r\n";
    let error = error("http://proxy", answer).await;
    assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
    assert!(error.source().is_some());
}

#[tokio::test(start_paused = true)]
async fn head_without_end_is_given_up() {
    let (pen, mut log) = Log::new();
    let client = leading_to(Client::new(), move |mut stream| {
        let pen = pen.clone();
        async move {
            head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nX-Long: ")
                .await
                .unwrap();
            let mut written = 0;
            // A megabyte of one line is more than it is to take.
            while written < 1 << 20 && stream.write_all(&[b'x'; 1024]).await.is_ok() {
                written += 1024;
            }
            pen.write(written);
        }
    });
    let client = client.proxy("http://proxy").unwrap();
    let error = within(client.connect("ws://server/")).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Proxy(ProxyError::Io(_))),
        "{error:?}"
    );
    let written = log.next().await;
    // 64 KiB, and what is on its way.
    assert!(written <= (64 << 10) + 2 * PIPE, "{written}");
}

#[tokio::test(start_paused = true)]
async fn proxy_that_is_not_reached_is_told_apart() {
    let client = Client::new().connector(service_fn(|_: Uri| {
        ready(Err::<DuplexStream, io::Error>(
            io::ErrorKind::ConnectionRefused.into(),
        ))
    }));
    for proxy in ["http://proxy", "https://proxy", "socks5://proxy"] {
        let client = client.clone().proxy(proxy).unwrap();
        let error = client.connect("ws://server/").await.unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("the proxy was not reached (is it running"),
            "{said}"
        );
        assert!(error.is_temporary());
    }
}
