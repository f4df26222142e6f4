//! One WebSocket on one stream.

use std::{io::ErrorKind, time::Duration};

use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower_websocket::{
    Config, WebSocket,
    handshake::Rejection,
    serve::{self, AcceptError},
};

use crate::support::{
    Http,
    http::{Answer, Ask, Http2, Peer},
    on_both, within,
};

type Accepted = Result<Request<WebSocket>, AcceptError>;

/// A client's stream, and what becomes of the server's end of it.
fn accept(config: Config) -> (DuplexStream, JoinHandle<Accepted>) {
    let (ours, theirs) = duplex(64 << 10);
    (ours, tokio::spawn(serve::accept(theirs, config)))
}

/// Asks, and keeps the connection.
async fn ask(stream: DuplexStream, ask: Ask, http: Http) -> (Answer, Option<Http2>) {
    if http == Http::Two {
        let http2 = within(Http2::connect(stream)).await;
        return (within(http2.send(ask)).await, Some(http2));
    }
    let mut peer = Peer::over(stream);
    peer.write(&ask.bytes()).await;
    (within(peer.answer()).await, None)
}

#[tokio::test(start_paused = true)]
async fn stream_becomes_a_websocket_with_its_request() {
    on_both(async |http| {
        let config = Config::default().subprotocols(["chat"]);
        let (stream, accepted) = accept(config);
        let handshake = Ask::handshake(http, "/room?seat=4")
            .header("sec-websocket-protocol", "superchat, chat")
            .header("x-token", "42");
        let (answer, http2) = ask(stream, handshake, http).await;
        assert_eq!(answer.header("sec-websocket-protocol"), Some("chat"));
        let mut peer = answer.opened(http);
        let (head, mut socket) = within(accepted).await.unwrap().unwrap().into_parts();
        assert_eq!(head.uri.path_and_query().unwrap(), "/room?seat=4");
        assert_eq!(head.headers["x-token"], "42");
        assert_eq!(socket.subprotocol(), Some("chat"));
        peer.send(1, b"hello").await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
        socket.send("there").await.unwrap();
        assert_eq!(within(peer.frame()).await, Some((1, "there".into())));
        // Dropped: closed with 1000.
        drop(socket);
        let (opcode, payload) = within(peer.frame()).await.unwrap();
        assert_eq!((opcode, &payload[..2]), (8, &1000u16.to_be_bytes()[..]));
        peer.send(8, &payload).await;
        assert_eq!(within(peer.frame()).await, None);
        peer.end().await;
        drop(http2);
    })
    .await;
}

#[tokio::test]
async fn tcp_stream_becomes_a_websocket() {
    on_both(async |http| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echoing = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let request = serve::accept(stream, Config::default()).await.unwrap();
            crate::support::echo(request.into_body()).await.unwrap();
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = Ask::handshake(http, "/");
        let mut peer = match http {
            Http::One => {
                let mut peer = Peer::over(stream);
                peer.write(&handshake.bytes()).await;
                peer.answer().await.opened(http)
            }
            Http::Two => Http2::connect(stream)
                .await
                .send(handshake)
                .await
                .opened(http),
        };
        // What was sent right behind the handshake is not lost, nor what follows.
        for _ in 0..100 {
            peer.send(1, b"hello").await;
            assert_eq!(peer.frame().await, Some((1, "hello".into())));
        }
        peer.send(8, &1000u16.to_be_bytes()).await;
        assert_eq!(peer.frame().await.unwrap().0, 8);
        peer.end().await;
        echoing.await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusal_is_answered_and_given_back() {
    on_both(async |http| {
        let handshake = || Ask::handshake(http, "/");
        let evil = handshake().header("origin", "http://evil.example");
        let version = handshake()
            .without("sec-websocket-version")
            .header("sec-websocket-version", "8");
        for (asked, rejection, status) in [
            (evil, Rejection::OriginRefused, 403),
            (version, Rejection::UnsupportedVersion, http.pick(426, 400)),
            (
                Ask::plain(http, "/"),
                Rejection::UpgradeRequired,
                http.pick(426, 400),
            ),
        ] {
            let start = Instant::now();
            let (stream, accepted) = accept(Config::default());
            let (answer, http2) = ask(stream, asked, http).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.text(), rejection.to_string());
            match within(accepted).await.unwrap() {
                Err(AcceptError::Rejected(given)) => assert_eq!(given, rejection),
                other => panic!("{other:?}"),
            }
            assert!(start.elapsed() <= Duration::from_secs(1));
            drop(http2);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn client_that_says_too_little_is_a_timeout() {
    for said in [&b""[..], b"GET / HTTP/1.1\r\nhost: ", b"PRI * HTTP/2.0\r\n"] {
        let start = Instant::now();
        let (mut stream, accepted) = accept(Config::default());
        stream.write_all(said).await.unwrap();
        let error = within(accepted).await.unwrap().unwrap_err();
        assert!(matches!(error, AcceptError::Timeout), "{error:?}");
        let seconds = start.elapsed().as_secs_f32();
        assert!((9.9..=11.1).contains(&seconds), "{seconds} s");
        assert_eq!(within(stream.read(&mut [0; 64])).await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_leaves_or_says_something_else_is_an_error() {
    for said in [
        &b""[..],
        b"GET / HT",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is no frame",
    ] {
        let (mut stream, accepted) = accept(Config::default());
        stream.write_all(said).await.unwrap();
        stream.shutdown().await.unwrap();
        let error = within(accepted).await.unwrap().unwrap_err();
        match error {
            AcceptError::Io(error) => assert!(
                matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::Other),
                "{error:?}"
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_ends_the_connection() {
    let (mut stream, accepted) = accept(Config::default());
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    accepted.abort();
    assert_eq!(within(stream.read(&mut [0; 64])).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn http2_connection_carries_its_one_stream_and_no_other() {
    let (stream, accepted) = accept(Config::default());
    let handshake = || Ask::handshake(Http::Two, "/");
    let (answer, http2) = ask(stream, handshake(), Http::Two).await;
    let mut peer = answer.opened(Http::Two);
    let socket = within(accepted).await.unwrap().unwrap().into_body();
    let http2 = http2.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(within(http2.try_send(handshake())).await.is_err());
    // For as long as it likes: pings of both kinds are answered.
    let far = tokio::spawn(async move {
        loop {
            let (opcode, payload) = peer.frame().await.unwrap();
            match opcode {
                9 => peer.send(10, &payload).await,
                _ => return (opcode, payload),
            }
        }
    });
    sleep(Duration::from_secs(3600)).await;
    socket.send("still there").await.unwrap();
    assert_eq!(within(far).await.unwrap(), (1, "still there".into()));
}
