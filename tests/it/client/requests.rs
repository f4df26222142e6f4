//! What is sent: from a URI or a request to a handshake.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use tokio::io::duplex;
use tower_websocket::{
    Compression, Config,
    client::{Client, ConnectError, HttpVersion, IntoRequest},
    handshake::client::InvalidRequest,
};

use super::support::Http1;
use crate::session::support::{PIPE, within};

/// The head that a client sends over HTTP/1.1.
async fn sent(client: &Client, request: impl IntoRequest) -> Http1 {
    let (ours, theirs) = duplex(PIPE);
    let server = async {
        let mut server = Http1::asked(theirs).await;
        server.write(server.accepting("")).await;
        server
    };
    let client = client.clone().secured(true);
    let opening = client.request_over(ours, request);
    let (response, server) = within(async { tokio::join!(opening, server) }).await;
    response.unwrap();
    server
}

/// The request that a client makes over HTTP/2, behind a connection to `base`.
async fn asked(client: &Client, base: &str, request: impl IntoRequest) -> Request<()> {
    let (ours, theirs) = duplex(PIPE);
    let server = async {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol();
        let mut server = builder.handshake::<_, Bytes>(theirs).await.unwrap();
        let (request, _) = server.accept().await.unwrap().unwrap();
        request.map(drop)
    };
    let client = client.clone().secured(true);
    let opening = async {
        let connection = client.connect_http2_over(ours, base).await.unwrap();
        let _gone = connection.request(request).await;
    };
    let (request, _) = within(async { tokio::join!(server, opening) }).await;
    request
}

fn headed(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// RFC 6455 §3, §4.1; RFC 9110 §4.2.
#[tokio::test]
async fn uri_becomes_target_and_host() {
    for (uri, target, host) in [
        ("ws://example.com", "/", "example.com"),
        ("ws://example.com/", "/", "example.com"),
        ("WS://Example.com/A", "/A", "Example.com"),
        ("ws://example.com?x=1", "/?x=1", "example.com"),
        ("ws://example.com/a?x=1&y", "/a?x=1&y", "example.com"),
        ("ws://example.com/a#fragment", "/a", "example.com"),
        ("ws://example.com?x#fragment", "/?x", "example.com"),
        ("ws://example.com#fragment", "/", "example.com"),
        ("ws://example.com#fra gment?x", "/", "example.com"),
        ("ws://example.com:80/a", "/a", "example.com"),
        ("ws://example.com:080/a", "/a", "example.com"),
        ("http://example.com:80?x", "/?x", "example.com"),
        ("wss://example.com:443/a", "/a", "example.com"),
        ("https://example.com:443", "/", "example.com"),
        ("wss://example.com:80/a", "/a", "example.com:80"),
        ("ws://example.com:443/a", "/a", "example.com:443"),
        ("ws://example.com:/a", "/a", "example.com"),
        ("ws://example.com:8080/a", "/a", "example.com:8080"),
        ("ws://me:1@example.com:80", "/", "example.com"),
        ("wss://[::1]:443/a", "/a", "[::1]"),
        ("ws://[fe80::1%25eth0]:8080/a", "/a", "[fe80::1]:8080"),
        ("ws://[fe80::1%eth0]/a", "/a", "[fe80::1]"),
        ("ws://example.com/a b?c d", "/a%20b?c%20d", "example.com"),
        (" ws://example.com/a\r\n", "/a", "example.com"),
        (
            "ws://example.com/<a>?\"b\"",
            "/%3Ca%3E?%22b%22",
            "example.com",
        ),
        (
            "ws://example.com/?u=ws://ä b",
            "/?u=ws://%C3%A4%20b",
            "example.com",
        ),
        ("ws://example.com/a%zz?%", "/a%zz?%", "example.com"),
        ("ws://ä:ö@example.com/", "/", "example.com"),
        ("ws://[::1]:8080/a", "/a", "[::1]:8080"),
        ("ws://[2001:db8::1]", "/", "[2001:db8::1]"),
        ("http://example.com/%E4%20%2F", "/%E4%20%2F", "example.com"),
        ("wss://me:secret@example.com/", "/", "example.com"),
        ("ws://example.com/ä?ö", "/%C3%A4?%C3%B6", "example.com"),
    ] {
        let server = sent(&Client::new(), uri).await;
        let line = server.head.lines().next().unwrap();
        assert_eq!(line, format!("GET {target} HTTP/1.1"), "{uri}");
        assert_eq!(server.field("host"), Some(host), "{uri}");
        assert_eq!(server.head.matches("Host:").count(), 1, "{uri}");
    }
}

/// RFC 8441 §4, RFC 9113 §8.3.1.
#[tokio::test]
async fn uri_becomes_pseudo_headers() {
    for (uri, expected) in [
        ("/news", "http://localhost/news"),
        ("/news?x=1", "http://localhost/news?x=1"),
        ("ws://example.com", "http://example.com/"),
        ("ws://example.com?x=1", "http://example.com/?x=1"),
        ("ws://example.com#fragment", "http://example.com/"),
        ("/news#fragment", "http://localhost/news"),
        ("wss://example.com:8443/a", "https://example.com:8443/a"),
        ("wss://example.com:443/a", "https://example.com/a"),
        ("ws://example.com:80", "http://example.com/"),
        ("ws://example.com:/", "http://example.com/"),
        ("ws://example.com:443/", "http://example.com:443/"),
        ("ws://[fe80::1%25eth0]/a", "http://[fe80::1]/a"),
        ("/a b?c d", "http://localhost/a%20b?c%20d"),
        ("ws://example.com/a b", "http://example.com/a%20b"),
        ("ws://[::1]/a", "http://[::1]/a"),
        ("ws://me@example.com/a", "http://example.com/a"),
        ("ws://example.com/ä", "http://example.com/%C3%A4"),
    ] {
        let request = asked(&Client::new(), "ws://localhost:80/x", uri).await;
        assert_eq!(request.method(), "CONNECT");
        // Not what an URI is equal to: a path that is not there is equal to `/`.
        assert_eq!(request.uri().to_string(), expected, "{uri}");
        let path = request.uri().path_and_query().unwrap().as_str();
        assert!(path.starts_with('/'), "{uri}: {path}");
        let protocol = request.extensions().get::<h2::ext::Protocol>().unwrap();
        assert_eq!(protocol.as_str(), "websocket");
        assert_eq!(request.headers()["sec-websocket-version"], "13");
        assert!(!request.headers().contains_key("host"));
    }
}

/// RFC 7617 §2.
#[tokio::test]
async fn user_and_password_become_basic_credentials() {
    for (uri, expected) in [
        (
            "ws://Aladdin:open%20sesame@h/",
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ),
        ("ws://a%40b@h/", Some("Basic YUBiOg==")),
        ("ws://ä:ö ü@h/", Some("Basic w6Q6w7Ygw7w=")),
        ("ws://:p@h/", Some("Basic OnA=")),
        ("ws://a:b:c@h/", Some("Basic YTpiOmM=")),
        ("ws://h/a@b", None),
    ] {
        let server = sent(&Client::new(), uri).await;
        assert_eq!(server.field("authorization"), expected, "{uri}");
        let request = asked(&Client::new(), "ws://localhost/", uri).await;
        let found = request.headers().get("authorization");
        assert_eq!(
            found.map(|value| value.to_str().unwrap()),
            expected,
            "{uri}"
        );
    }
    let own = headed("ws://me:secret@h/", &[("authorization", "Bearer 1")]);
    let server = sent(&Client::new(), own).await;
    assert_eq!(server.field("authorization"), Some("Bearer 1"));
    assert_eq!(
        server.head.to_lowercase().matches("authorization").count(),
        1
    );
}

#[tokio::test]
async fn credentials_of_an_http2_connection_are_those_of_its_requests() {
    let request = asked(&Client::new(), "ws://a:b@localhost/", "/news").await;
    assert_eq!(request.headers()["authorization"], "Basic YTpi");
    assert_eq!(request.uri(), "http://localhost/news");
    // They are for this authority alone.
    let request = asked(&Client::new(), "ws://a:b@localhost/", "ws://other/news").await;
    assert!(!request.headers().contains_key("authorization"));
}

#[tokio::test]
async fn headers_of_the_request_go_before_those_of_the_client() {
    let name = HeaderName::from_static("x-tenant");
    let client = Client::new()
        .header(name.clone(), HeaderValue::from_static("one"))
        .header(name, HeaderValue::from_static("two"))
        .header(http::header::ORIGIN, HeaderValue::from_static("http://a"));
    let server = sent(&client, "ws://h/").await;
    assert!(server.head.contains("X-Tenant: one\r\n"), "{}", server.head);
    assert!(server.head.contains("X-Tenant: two\r\n"), "{}", server.head);
    let server = sent(&client, headed("ws://h/", &[("x-tenant", "mine")])).await;
    assert_eq!(server.head.matches("X-Tenant").count(), 1);
    assert_eq!(server.field("x-tenant"), Some("mine"));
    assert_eq!(server.field("origin"), Some("http://a"));
    let request = asked(&client, "ws://h/", headed("/", &[("x-tenant", "mine")])).await;
    let all: Vec<_> = request.headers().get_all("x-tenant").iter().collect();
    assert_eq!(all, ["mine"]);
    let request = asked(&client, "ws://h/", "/").await;
    let all: Vec<_> = request.headers().get_all("x-tenant").iter().collect();
    assert_eq!(all, ["one", "two"]);
}

#[tokio::test]
async fn host_of_the_request_is_kept() {
    let server = sent(
        &Client::new(),
        headed("ws://10.0.0.1/", &[("host", "virtual")]),
    )
    .await;
    assert_eq!(server.field("host"), Some("virtual"));
    let server = sent(&Client::new(), headed("/chat", &[("host", "virtual")])).await;
    assert!(server.head.starts_with("GET /chat HTTP/1.1\r\n"));
}

#[tokio::test]
async fn headers_of_the_handshake_cannot_be_set() {
    let mine = [
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("sec-websocket-key", "mine"),
        ("sec-websocket-version", "8"),
        ("sec-websocket-extensions", "x-mine"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
    ];
    let mut client = Client::new();
    for (name, value) in mine {
        client = client.header(name.parse().unwrap(), HeaderValue::from_static(value));
    }
    for client in [Client::new(), client] {
        let server = sent(&client, headed("ws://h/", &mine)).await;
        assert_eq!(server.field("connection"), Some("Upgrade"));
        assert_eq!(server.field("upgrade"), Some("websocket"));
        assert_eq!(server.field("sec-websocket-version"), Some("13"));
        assert_ne!(server.field("sec-websocket-key"), Some("mine"));
        for name in [
            "sec-websocket-extensions",
            "content-length",
            "transfer-encoding",
        ] {
            assert_eq!(server.field(name), None, "{name}");
        }
        let request = asked(&client, "ws://h/", headed("/", &mine)).await;
        for (name, _) in mine {
            let kept = name == "sec-websocket-version";
            assert_eq!(request.headers().contains_key(name), kept, "{name}");
        }
    }
}

#[tokio::test]
async fn subprotocols_of_the_request_go_before_those_of_the_configuration() {
    let config = Config::default()
        .subprotocols(["chat.v2", "chat.v1"])
        .compression(Compression::shared());
    let client = Client::new().config(config);
    let server = sent(&client, "ws://h/").await;
    assert_eq!(
        server.field("sec-websocket-protocol"),
        Some("chat.v2, chat.v1")
    );
    assert!(
        server
            .field("sec-websocket-extensions")
            .unwrap()
            .starts_with("permessage-deflate")
    );
    let own = headed("ws://h/", &[("sec-websocket-protocol", "mine")]);
    let server = sent(&client, own).await;
    assert_eq!(server.field("sec-websocket-protocol"), Some("mine"));
}

#[tokio::test]
async fn what_leads_nowhere_is_refused_before_anything_is_sent() {
    let client = Client::new().http_version(HttpVersion::Http2);
    for client in [Client::new(), client] {
        for (uri, expected) in [
            ("/chat", InvalidRequest::Scheme),
            ("ftp://localhost/", InvalidRequest::Scheme),
            ("localhost:80", InvalidRequest::Scheme),
            ("ws://:80/", InvalidRequest::MissingHost),
            ("ws://localhost:65536/", InvalidRequest::Port),
            ("ws://me:1@localhost:99999/", InvalidRequest::Port),
            ("ws://[::1]:99999/", InvalidRequest::Port),
            ("ws://localhost:8x/", InvalidRequest::Port),
            ("ws://[::g]/", InvalidRequest::Host),
            ("ws://exämple/", InvalidRequest::NonAsciiHost),
            (
                "wss://me@例え.example:8080/ä?ö",
                InvalidRequest::NonAsciiHost,
            ),
        ] {
            let error = client.connect(uri).await.unwrap_err();
            let ConnectError::Request(found) = error else {
                panic!("{uri}: {error:?}");
            };
            assert_eq!(found, expected, "{uri}");
        }
        for uri in [
            "",
            " ",
            "ws://",
            "ws://a b/",
            "ws:///path",
            "ws://[::1/",
            "ws://a%C3%A4/",
            "ws://a/\tb",
            "ä",
        ] {
            let error = client.connect(uri).await.unwrap_err();
            assert!(matches!(error, ConnectError::Uri(_)), "{uri}: {error:?}");
        }
    }
}

/// Everywhere, and before anything is sent.
#[tokio::test]
async fn port_that_is_none_is_refused_over_streams_that_are_there() {
    let http2 = Client::new().http_version(HttpVersion::Http2);
    let host = |host| headed("ws://localhost/", &[("host", host)]);
    for client in [Client::new(), http2] {
        for (request, expected) in [
            (headed("ws://localhost:99999/", &[]), InvalidRequest::Port),
            (host("localhost:99999"), InvalidRequest::Port),
            (host("[::1]:65536"), InvalidRequest::Port),
            (host("localhost:ws"), InvalidRequest::Port),
            (host("local/host"), InvalidRequest::Host),
            (host("me@localhost"), InvalidRequest::Host),
            (host(""), InvalidRequest::MissingHost),
            (host(":80"), InvalidRequest::MissingHost),
        ] {
            let (ours, theirs) = duplex(PIPE);
            let opening = client.request_over(ours, request.clone());
            let server = async {
                // Over HTTP/2 the connection may be there already, a request is not.
                let server = h2::server::Builder::new()
                    .enable_connect_protocol()
                    .handshake::<_, Bytes>(theirs)
                    .await;
                if let Ok(mut server) = server {
                    assert!(server.accept().await.is_none_or(|request| request.is_err()));
                }
            };
            let (error, ()) = within(async { tokio::join!(opening, server) }).await;
            let error = error.map(drop).unwrap_err();
            let ConnectError::Request(found) = error else {
                panic!("{request:?}: {error:?}");
            };
            assert_eq!(found, expected, "{request:?}");
        }
        for base in ["ws://localhost:99999/", "ws://[::1]:65536", "wss://a:8x"] {
            let (ours, _theirs) = duplex(PIPE);
            let error = within(client.connect_http2_over(ours, base))
                .await
                .unwrap_err();
            assert!(
                matches!(error, ConnectError::Request(InvalidRequest::Port)),
                "{base}: {error:?}"
            );
        }
    }
}

/// The zone is that of our network: it is needed to connect, and told to nobody (RFC 6874 §4).
#[tokio::test]
async fn address_with_a_zone_is_connected_to() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        eprintln!("skipped: there is no IPv6 here");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    // The first interface, which is the loopback.
    for zone in ["%251", "%1"] {
        let uri = format!("ws://[::1{zone}]:{port}/");
        let client = Client::new();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap());
            }
            String::from_utf8(head).unwrap()
        };
        let head = tokio::select! {
            head = server => head,
            result = client.connect(&uri) => panic!("{uri}: {result:?}"),
        };
        assert!(head.contains(&format!("Host: [::1]:{port}\r\n")), "{head}");
    }
}
