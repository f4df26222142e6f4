//! What the upstream is asked, and what of its answer is passed back.

use http::Request;
use tower_websocket::{
    Config, Handshake, WebSocket, WebSocketLayer,
    forward::{Forward, Forwarded},
    service::PeerAddr,
};

use super::{accepting, answering, client, gateway, on_all, served, to, upstream, uri};
use crate::support::{Http, http::Ask, http::Server, within};

/// Tells of each request, a line for its target and each of its fields in the order of their names.
async fn telling(config: Config) -> Server {
    upstream(
        config,
        async |head: http::request::Parts, socket: WebSocket| {
            let mut lines: Vec<_> = head
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .filter(|line| !line.starts_with("sec-websocket-key"))
                .collect();
            lines.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
            let target = head.uri.path_and_query().unwrap();
            let authority = head.uri.authority();
            let authority = authority.map_or_else(String::new, ToString::to_string);
            socket
                .send(format!("{authority} {target}\n{}", lines.join("\n")))
                .await
                .unwrap();
        },
    )
    .await
}

async fn told(gateway: &Server, ask: Ask, http: Http) -> String {
    let mut peer = ask.send(gateway).await.opened(http);
    let (_, text) = within(peer.whole_frame()).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    // By chance it is of this process.
    let pseudonym = text
        .split("tower-websocket-")
        .nth(1)
        .map(|rest| &rest[..16]);
    match pseudonym {
        Some(name) => text.replace(name, "x"),
        None => text,
    }
}

fn lines<'a>(text: &'a str, names: &[&str]) -> Vec<&'a str> {
    let listed = |line: &&str| {
        names
            .iter()
            .any(|name| line.starts_with(&format!("{name}: ")))
    };
    text.lines().skip(1).filter(listed).collect()
}

#[tokio::test]
async fn path_subprotocol_and_listed_headers_are_passed() {
    on_all(async |here, there| {
        let config = Config::default().subprotocols(["v2", "v1"]);
        let upstream = telling(config).await;
        let gateway = gateway(to(upstream.address, there)).await;
        let ask = Ask::handshake(here, "/chat/7?room=1&x=%20")
            .header("sec-websocket-protocol", "v1, v3")
            .header("sec-websocket-protocol", "v2")
            .header("authorization", "Bearer 1")
            .header("cookie", "a=1")
            .header("cookie", "b=2; c=3")
            .header("user-agent", "test")
            .header("x-real-ip", "127.0.0.1")
            .header("x-forwarded-for", "127.0.0.1")
            .header("accept-encoding", "gzip");
        let answer = ask.send(&gateway).await;
        assert_eq!(answer.header("sec-websocket-protocol"), Some("v2"));
        let mut peer = answer.opened(here);
        let (_, text) = peer.whole_frame().await.unwrap();
        let text = str::from_utf8(&text).unwrap();
        assert_eq!(
            text.lines().next().unwrap().split(' ').nth(1),
            Some("/chat/7?room=1&x=%20")
        );
        assert_eq!(
            lines(text, &["sec-websocket-protocol"]),
            ["sec-websocket-protocol: v1, v3, v2"]
        );
        assert_eq!(
            lines(text, &["authorization", "cookie", "user-agent"]),
            [
                "authorization: Bearer 1",
                "cookie: a=1; b=2; c=3",
                "user-agent: test"
            ]
        );
        let passed = [
            "x-real-ip",
            "x-forwarded-for",
            "forwarded",
            "accept-encoding",
        ];
        assert!(lines(text, &passed).is_empty(), "{text}");
        let via = lines(text, &["via"]);
        let version = here.pick("via: 1.1 tower-websocket-", "via: 2 tower-websocket-");
        assert!(via.len() == 1 && via[0].starts_with(version), "{via:?}");
    })
    .await;
}

#[tokio::test]
async fn client_that_offers_no_subprotocol_gets_none() {
    let config = Config::default().subprotocols(["v1"]);
    let upstream = telling(config.clone()).await;
    let forward = to(upstream.address, Http::One).client(client(Http::One).config(config));
    let gateway = gateway(forward).await;
    let answer = Ask::handshake(Http::One, "/").send(&gateway).await;
    assert_eq!(answer.header("sec-websocket-protocol"), None);
    answer.opened(Http::One);
}

#[tokio::test]
async fn headers_of_one_connection_do_not_pass() {
    let upstream = telling(Config::default()).await;
    let secret = http::HeaderName::from_static("x-secret");
    let open = http::HeaderName::from_static("x-open");
    let forward = to(upstream.address, Http::One)
        .headers([secret, open])
        .on_request(|_, request| {
            let headers = request.headers_mut();
            headers.insert("te", "trailers".parse().unwrap());
            headers.insert("keep-alive", "timeout=5".parse().unwrap());
            headers.insert("sec-websocket-extensions", "x-mine".parse().unwrap());
            headers.insert("sec-websocket-protocol", "mine".parse().unwrap());
        });
    let gateway = gateway(forward).await;
    let ask = Ask::handshake(Http::One, "/")
        .without("connection")
        .header("connection", "Upgrade, X-Secret")
        .header("x-secret", "1")
        .header("x-open", "1");
    let text = told(&gateway, ask, Http::One).await;
    let names: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "connection",
            "host",
            "sec-websocket-version",
            "upgrade",
            "via",
            "x-open"
        ]
    );
}

#[test]
#[should_panic(expected = "`connection` is for one connection only")]
fn header_of_one_connection_is_not_listed() {
    let forward = Forward::to("ws://localhost/").unwrap();
    let _never = forward.headers([http::header::CONNECTION]);
}

#[tokio::test]
async fn client_is_named_where_that_is_asked_for() {
    for here in [Http::One, Http::Two] {
        let upstream = telling(Config::default()).await;
        let forward = to(upstream.address, Http::Two)
            .x_forwarded_for(true)
            .forwarded(true);
        let named = forward.clone();
        let layer = WebSocketLayer::new(Forwarded::default()).on_handshake(
            move |mut handshake: Handshake| {
                let named = named.clone();
                async move {
                    let address = "[2001:db8::1]:9".parse().unwrap();
                    handshake.extensions_mut().insert(PeerAddr(address));
                    named.accept(handshake).await
                }
            },
        );
        for (gateway, xff, node) in [
            (gateway(forward.clone()).await, "unknown", "unknown"),
            (
                served(layer.clone()).await,
                "2001:db8::1",
                "\"[2001:db8::1]\"",
            ),
        ] {
            let ask = Ask::handshake(here, "/")
                .authority("example.com:81")
                .header("x-forwarded-for", "192.0.2.1, 192.0.2.2")
                .header("forwarded", "for=192.0.2.1");
            let text = told(&gateway, ask, here).await;
            assert_eq!(
                lines(&text, &["x-forwarded-for", "forwarded"]),
                [
                    "forwarded: for=192.0.2.1".to_owned(),
                    format!("forwarded: for={node};host=\"example.com:81\""),
                    "x-forwarded-for: 192.0.2.1, 192.0.2.2".to_owned(),
                    format!("x-forwarded-for: {xff}"),
                ]
            );
        }
    }
}

#[tokio::test]
async fn host_of_the_client_is_kept_where_that_is_asked_for() {
    on_all(async |here, there| {
        let upstream = telling(Config::default()).await;
        for keep in [false, true] {
            let forward = to(upstream.address, there).preserve_host(keep);
            let forward = there.pick(forward.clone(), forward.sockets_per_connection(2));
            let gateway = gateway(forward).await;
            let ask = Ask::handshake(here, "/").authority("example.com:81");
            let text = told(&gateway, ask, here).await;
            let own = upstream.address.to_string();
            let expected = if keep { "example.com:81" } else { &own };
            let host = match there {
                Http::One => lines(&text, &["host"])[0].strip_prefix("host: ").unwrap(),
                Http::Two => text.split(' ').next().unwrap(),
            };
            assert_eq!(host, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn request_is_the_hooks_to_change() {
    let (one, other) = (
        telling(Config::default()).await,
        telling(Config::default()).await,
    );
    let there = uri(other.address, "/elsewhere");
    let request = Request::get(uri(one.address, "/v2")).header("x-gateway", "me");
    let forward = Forward::to(request.body(()).unwrap()).unwrap();
    let forward = forward.on_request(move |head, request| {
        if head.uri.path() == "/moved" {
            *request.uri_mut() = there.parse().unwrap();
        }
        let agent = head.headers["user-agent"].clone();
        request.headers_mut().insert("x-agent", agent);
    });
    let gateway = gateway(forward).await;
    for (path, target) in [("/moved", "/elsewhere"), ("/a?b", "/v2/a?b")] {
        let ask = Ask::handshake(Http::One, path).header("user-agent", "test");
        let text = told(&gateway, ask, Http::One).await;
        assert_eq!(text.lines().next(), Some(format!(" {target}").as_str()));
        assert_eq!(
            lines(&text, &["x-agent", "x-gateway"]),
            ["x-agent: test", "x-gateway: me"]
        );
    }
}

#[tokio::test]
async fn listed_headers_of_the_answer_are_passed_back() {
    for here in [Http::One, Http::Two] {
        let more = "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: secret\r\nX-Hop: 1\r\n\
                    Content-Type: x/y\r\n";
        let (address, upstream) = answering(|head| accepting(head, more).into_bytes()).await;
        let gateway = gateway(to(address, Http::One)).await;
        let answer = within(Ask::handshake(here, "/").send(&gateway)).await;
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        for name in ["server", "x-hop", "content-type"] {
            assert_eq!(answer.header(name), None);
        }
        answer.opened(here);
        drop(upstream.await);
    }
}
