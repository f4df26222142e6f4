//! Every phase has its time, and leaves nothing behind.

use std::time::Duration;

use axum::{Router, routing::any};
use bytes::Bytes;
use http::Response;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, sleep},
};
use tower_websocket::{
    Config,
    client::{Client, ConnectError, HttpVersion, Phase},
};

use super::support::{self, DATA, Frame, HEADERS, Http1, Http2, NOT_FOUND, OK, tasks};
use crate::{
    session::support::{PIPE, idle, within},
    support::Http,
};

const TIMEOUT: Duration = Duration::from_secs(3);

fn client(http: Http) -> Client {
    Client::new()
        .http_version(http.pick(HttpVersion::Http1, HttpVersion::Http2))
        .handshake_timeout(TIMEOUT)
}

/// Opens a connection to a server that gives no answer in time.
async fn late<F>(client: Client, server: impl FnOnce(DuplexStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ours, theirs) = duplex(PIPE);
    let server = tokio::spawn(server(theirs));
    let start = Instant::now();
    let opening = client.request_over(ours, "ws://localhost/");
    let error = within(opening).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Timeout(Phase::Handshake)),
        "{error:?}"
    );
    assert!(error.is_timeout());
    assert_eq!(start.elapsed().as_secs(), TIMEOUT.as_secs());
    // It sees the end.
    within(server).await.unwrap();
    idle().await;
    assert_eq!(tasks(), 0);
}

async fn read_to_end(mut stream: DuplexStream) {
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn server_that_says_nothing_is_given_up() {
    for http in [Http::One, Http::Two] {
        late(client(http), read_to_end).await;
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_even_read_is_given_up() {
    for http in [Http::One, Http::Two] {
        let (ours, theirs) = duplex(16);
        let client = client(http);
        let opening = client.request_over(ours, "ws://localhost/");
        let error = within(opening).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        sleep(Duration::from_secs(6)).await;
        assert_eq!(tasks(), 0, "{http:?}");
        drop(theirs);
    }
}

/// A connection that nobody holds is dropped after the close timeout, whatever its server does.
#[tokio::test(start_paused = true)]
async fn http2_server_that_stops_reading_does_not_keep_the_connection() {
    let (ours, mut theirs) = duplex(16);
    let (client, server) = (client(Http::Two), async {
        let mut preface = [0; 24];
        theirs.read_exact(&mut preface).await.unwrap();
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];
        theirs.write_all(&settings).await.unwrap();
        theirs
    });
    let opening = client.request_over(ours, "ws://localhost/");
    let (error, theirs) = tokio::join!(within(opening), server);
    error.unwrap_err();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(tasks(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(tasks(), 0);
    drop(theirs);
}

#[tokio::test(start_paused = true)]
async fn answer_that_dribbles_is_given_up() {
    late(client(Http::One), async |theirs| {
        let mut server = Http1::asked(theirs).await;
        let answer = server.accepting("");
        for byte in answer.bytes() {
            sleep(Duration::from_millis(100)).await;
            if server.stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        panic!("nobody gave up");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn endless_informational_answers_are_given_up() {
    late(client(Http::One), async |theirs| {
        let mut server = Http1::asked(theirs).await;
        let more = b"HTTP/1.1 102 Processing\r\n\r\n";
        while server.stream.write_all(more).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// What a refusal is told as, and after which time, with the handshake's time in milliseconds.
async fn refused<F>(
    http: Http,
    limit: impl Into<Option<u64>>,
    server: impl FnOnce(DuplexStream) -> F,
) -> (Response<Bytes>, Duration)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ours, theirs) = duplex(PIPE);
    let server = tokio::spawn(server(theirs));
    let client = client(http).handshake_timeout(limit.into().map(Duration::from_millis));
    let start = Instant::now();
    let opening = client.request_over(ours, "ws://localhost/");
    let error = within(opening).await.unwrap_err();
    let elapsed = start.elapsed();
    // It sees the end.
    within(server).await.unwrap();
    idle().await;
    assert_eq!(tasks(), 0);
    let ConnectError::Rejected(response) = error else {
        panic!("{error:?}");
    };
    (*response, elapsed)
}

/// The limits of a handshake, and when a refusal whose body does not end is told then.
const TOLD: [(Option<u64>, u64); 3] = [(Some(3000), 1000), (Some(500), 500), (None, 1000)];

#[tokio::test(start_paused = true)]
async fn refusal_whose_body_never_ends_is_told_in_a_second() {
    for (framing, status) in [
        ("403 No\r\n\r\n", 403),
        ("401 No\r\nConnection: keep-alive\r\n\r\n", 401),
        ("503 No\r\nContent-Length: 100\r\n\r\n", 503),
        ("200 OK\r\nContent-Type: text/event-stream\r\n\r\n", 200),
        ("302 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n", 302),
    ] {
        for (limit, told) in TOLD {
            let (response, elapsed) = refused(Http::One, limit, async move |theirs| {
                let mut server = Http1::asked(theirs).await;
                server
                    .write(format!("HTTP/1.1 {framing}").replacen("\r\n", "\r\nX: y\r\n", 1))
                    .await;
                server.write("part").await;
                server.rest().await;
            })
            .await;
            assert_eq!(response.status(), status, "{framing}");
            assert_eq!(response.headers()["x"], "y", "{framing}");
            assert_eq!(response.body(), "part", "{framing}");
            assert_eq!(elapsed.as_millis(), u128::from(told), "{framing}");
        }
    }
    for (limit, told) in TOLD {
        let (response, elapsed) = refused(Http::Two, limit, async |theirs| {
            let mut server = refusing(theirs).await;
            server.write(&Frame::new(DATA, 0, 1, *b"part")).await;
            assert_eq!(server.next().await, Some(Frame::reset(1, support::CANCEL)));
            while server.next().await.is_some() {}
        })
        .await;
        assert_eq!(response.status(), 404);
        assert_eq!(response.body(), "part");
        assert_eq!(elapsed.as_millis(), u128::from(told));
    }
}

/// A stream of events in the place of a WebSocket: it is not one that is slow.
#[tokio::test(start_paused = true)]
async fn refusal_whose_body_goes_on_is_told_in_a_second() {
    for (limit, told) in TOLD {
        let (response, elapsed) = refused(Http::One, limit, async |theirs| {
            let mut server = Http1::asked(theirs).await;
            server.write("HTTP/1.1 200 OK\r\n\r\n").await;
            while server.stream.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        assert_eq!(elapsed.as_millis(), u128::from(told));
        assert!(
            [5, 6, 10, 11].contains(&response.body().len()),
            "{response:?}"
        );
        let (response, elapsed) = refused(Http::Two, limit, async |theirs| {
            let mut server = refusing(theirs).await;
            for _ in 0..20 {
                server.write(&Frame::new(DATA, 0, 1, *b"x")).await;
                sleep(Duration::from_millis(100)).await;
            }
            while server.next().await.is_some() {}
        })
        .await;
        assert_eq!(elapsed.as_millis(), u128::from(told));
        assert!(
            [5, 6, 10, 11].contains(&response.body().len()),
            "{response:?}"
        );
    }
}

/// The head comes late, and the handshake's time is over while its body is waited for.
#[tokio::test(start_paused = true)]
async fn refusal_that_comes_late_is_told_in_time() {
    let late = Duration::from_millis(2700);
    let (response, elapsed) = refused(Http::One, 3000, async move |theirs| {
        let mut server = Http1::asked(theirs).await;
        sleep(late).await;
        server.write("HTTP/1.1 403 No\r\n\r\npart").await;
        server.rest().await;
    })
    .await;
    assert_eq!((response.status().as_u16(), elapsed.as_secs()), (403, 3));
    assert_eq!(response.body(), "part");
    let (response, elapsed) = refused(Http::Two, 3000, async move |theirs| {
        let mut server = Http2::begin(theirs, &[(support::ENABLE_CONNECT_PROTOCOL, 1)]).await;
        server.answer_ping().await;
        assert_eq!(server.next().await.unwrap().kind, HEADERS);
        sleep(late).await;
        server.write(&Frame::headers(1, NOT_FOUND)).await;
        server.write(&Frame::new(DATA, 0, 1, *b"part")).await;
        while server.next().await.is_some() {}
    })
    .await;
    assert_eq!((response.status().as_u16(), elapsed.as_secs()), (404, 3));
    assert_eq!(response.body(), "part");
}

/// Nothing that comes behind the head takes it back.
#[tokio::test(start_paused = true)]
async fn refusal_whose_body_fails_is_a_refusal() {
    for (framing, body) in [
        ("Content-Length: 100\r\n\r\npart", "part"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", "part"),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
            "part",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nA:b\r\n\r\n",
            "part",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\npart",
            "",
        ),
    ] {
        let (response, elapsed) = refused(Http::One, None, async move |theirs| {
            let mut server = Http1::asked(theirs).await;
            server.write(format!("HTTP/1.1 403 No\r\n{framing}")).await;
        })
        .await;
        assert_eq!(response.status(), 403, "{framing}");
        assert_eq!(response.body(), body, "{framing}");
        assert_eq!(elapsed.as_millis(), 0, "{framing}");
    }
    let goaway = |last: u32, code: u32| {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        Frame::new(support::GOAWAY, 0, 0, payload)
    };
    let mut ends: Vec<_> = (0..=13).map(|code| Frame::reset(1, code)).collect();
    ends.extend([goaway(1, 0), goaway(1, 2), goaway(0, 0), goaway(0, 13)]);
    // A violation of HTTP/2.
    ends.push(Frame::new(DATA, 0, 0, *b"x"));
    for end in ends {
        // In one write, so that the end is there before anybody looks; and one behind the other.
        for together in [true, false] {
            let shown = format!("{end:?}, {together}");
            let end = Frame::new(end.kind, end.flags, end.stream, end.payload.clone());
            let (response, elapsed) = refused(Http::Two, None, async move |theirs| {
                let settings = [(support::ENABLE_CONNECT_PROTOCOL, 1)];
                let mut server = Http2::begin(theirs, &settings).await;
                server.answer_ping().await;
                assert_eq!(server.next().await.unwrap().kind, HEADERS);
                server.write(&Frame::headers(1, NOT_FOUND)).await;
                server.write(&Frame::new(DATA, 0, 1, *b"part")).await;
                if !together {
                    idle().await;
                }
                server.write(&end).await;
            })
            .await;
            assert_eq!(response.status(), 404, "{shown}");
            assert_eq!(response.body(), "part", "{shown}");
            assert!(elapsed.as_millis() <= 1, "{shown}: {elapsed:?}");
        }
    }
}

/// Refuses a request over HTTP/2, with a body to come.
async fn refusing(theirs: DuplexStream) -> Http2 {
    let settings = [(support::ENABLE_CONNECT_PROTOCOL, 1)];
    let mut server = Http2::begin(theirs, &settings).await;
    server.answer_ping().await;
    assert_eq!(server.next().await.unwrap().kind, HEADERS);
    server.write(&Frame::headers(1, NOT_FOUND)).await;
    server
}

#[tokio::test(start_paused = true)]
async fn refusal_of_endless_empty_data_is_given_up() {
    let (ours, theirs) = duplex(PIPE);
    let server = tokio::spawn(async {
        let mut server = refusing(theirs).await;
        let empty = [0; 9];
        let empty = [&empty[..3], &[DATA, 0, 0, 0, 0, 1]].concat();
        while server.stream.write_all(&empty).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    let client = client(Http::Two);
    let opening = client.request_over(ours, "ws://localhost/");
    // h2 may find it hostile before it takes too long.
    within(opening).await.unwrap_err();
    within(server).await.unwrap();
    idle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn http2_refusal_that_does_not_end_is_cut_at_64_kib() {
    let (ours, theirs) = duplex(PIPE);
    let server = tokio::spawn(async {
        let mut server = refusing(theirs).await;
        for _ in 0..20 {
            server.write(&Frame::new(DATA, 0, 1, [b'x'; 8000])).await;
        }
        let frame = server.next().await.unwrap();
        assert_eq!(frame, Frame::reset(1, support::CANCEL));
        while server.next().await.is_some() {}
    });
    let client = client(Http::Two);
    let opening = client.request_over(ours, "ws://localhost/");
    let error = within(opening).await.unwrap_err();
    assert_eq!(error.response().unwrap().body().len(), 64 << 10);
    within(server).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn http2_answer_that_never_comes_is_given_up_and_its_stream_reset() {
    late(client(Http::Two), async |theirs| {
        let settings = [(support::ENABLE_CONNECT_PROTOCOL, 1)];
        let mut server = Http2::begin(theirs, &settings).await;
        server.answer_ping().await;
        assert_eq!(server.next().await.unwrap().kind, HEADERS);
        assert_eq!(server.next().await, Some(Frame::reset(1, support::CANCEL)));
        while server.next().await.is_some() {}
    })
    .await;
}

/// Those who have given up leave nothing to be sent for them later.
#[tokio::test(start_paused = true)]
async fn waiters_for_a_free_stream_are_given_up() {
    let one = [(support::MAX_CONCURRENT_STREAMS, 1)];
    let client = client(Http::Two).config(Config::default().ping_interval(None));
    let (connection, mut server) = Http2::pair(&client, &one).await;
    let accepting = async {
        assert_eq!(server.next().await.unwrap().stream, 1);
        server.write(&Frame::headers(1, OK)).await;
    };
    let (socket, ()) = tokio::join!(connection.connect("/"), accepting);
    let _socket = socket.unwrap();
    assert_eq!(connection.max_sockets(), 1);
    for _ in 0..20 {
        let (one, two) = tokio::join!(connection.connect("/"), connection.connect("/"));
        for error in [one.unwrap_err(), two.unwrap_err()] {
            assert!(error.is_timeout(), "{error:?}");
        }
    }
    server.write(&Frame::reset(1, support::CANCEL)).await;
    let mut next = tokio::spawn(async move { connection.connect("/").await });
    let mut opened = 0;
    loop {
        let frame = within(server.next()).await.unwrap();
        match frame.kind {
            HEADERS => opened += 1,
            // The stream that was waited for is reset once it is there.
            support::RST_STREAM => continue,
            DATA => continue,
            kind => panic!("a frame of type {kind}"),
        }
        idle().await;
        server.write(&Frame::headers(frame.stream, OK)).await;
        idle().await;
        if next.is_finished() {
            break;
        }
    }
    (&mut next).await.unwrap().unwrap();
    assert!(opened <= 2, "{opened} streams were opened for one socket");
}

#[tokio::test(start_paused = true)]
async fn tls_handshake_that_stalls_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::new()
        .roots(tokio_rustls::rustls::RootCertStore::empty())
        .connect_timeout(None)
        .tls_timeout(TIMEOUT);
    for version in [
        HttpVersion::Http1,
        HttpVersion::Http2,
        HttpVersion::Negotiated,
    ] {
        let client = client.clone().http_version(version);
        let uri = format!("wss://{address}/");
        let connecting = within(client.connect(&uri));
        let (error, accepted) = tokio::join!(connecting, listener.accept());
        let error = error.unwrap_err();
        assert!(
            matches!(error, ConnectError::Timeout(Phase::Tls)),
            "{error:?}"
        );
        ends(accepted.unwrap().0).await;
        let connecting = within(client.connect_http2(&uri));
        let (error, accepted) = tokio::join!(connecting, listener.accept());
        let error = error.unwrap_err();
        assert!(
            matches!(error, ConnectError::Timeout(Phase::Tls)),
            "{error:?}"
        );
        ends(accepted.unwrap().0).await;
    }
    assert_eq!(tasks(), 0);
}

async fn ends(mut stream: TcpStream) {
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

/// Nobody accepts, and the one who may wait for it is there.
#[tokio::test(start_paused = true)]
async fn server_that_is_not_reached_is_given_up() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _waits = TcpStream::connect(address).await.unwrap();
    let client = Client::new().connect_timeout(TIMEOUT);
    let start = Instant::now();
    let connecting = client.connect(format!("ws://{address}/"));
    let error = within(connecting).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Timeout(Phase::Connect)),
        "{error:?}"
    );
    assert_eq!(start.elapsed().as_secs(), TIMEOUT.as_secs());
}

#[tokio::test]
async fn server_that_is_not_there_is_told_by_its_kind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::new()
        .connect(format!("ws://{address}/"))
        .await
        .unwrap_err();
    let ConnectError::Connect(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_the_answer_may_take_a_day() {
    let (ours, theirs) = duplex(PIPE);
    let server = async {
        let mut server = Http1::asked(theirs).await;
        sleep(Duration::from_hours(24)).await;
        server.write(server.accepting("")).await;
        server
    };
    let config = Config::default();
    let client = Client::new().config(config).handshake_timeout(None);
    let (response, _server) = tokio::join!(client.request_over(ours, "ws://localhost/"), server);
    response.unwrap();
}

/// A page in the place of a handshake: read in full over both versions.
#[tokio::test(start_paused = true)]
async fn refusal_is_in_time() {
    for http in [Http::One, Http::Two] {
        let app = Router::new().route("/", any(async || (http::StatusCode::FORBIDDEN, "no")));
        let client = client(http);
        let opening = client.request_over(support::served(app), "ws://localhost/");
        let error = opening.await.map(drop).unwrap_err();
        assert_eq!(error.response().unwrap().body(), "no");
        idle().await;
        assert_eq!(tasks(), 0);
    }
}
