//! Clients that say too little are cut off (T1).

use std::time::Duration;

use axum::Router;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    time::{Instant, sleep, timeout},
};
use tower_websocket::serve;

use super::{
    app, certificates, echoes,
    support::{Dialer, PREFACE, memory, raw_frame},
};
use crate::support::{
    Http,
    http::{Ask, Http2, Peer},
    within,
};

/// Sends `at_once`, then a byte of `dribbled` per second. How long the server bears it.
async fn borne(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    at_once: &[u8],
    dribbled: &[u8],
) -> Duration {
    let start = Instant::now();
    stream.write_all(at_once).await.unwrap();
    let mut bytes = dribbled.iter();
    let mut received = [0; 1024];
    while start.elapsed() < Duration::from_secs(3600) {
        if let Some(byte) = bytes.next() {
            // Where it was cut off meanwhile, reading tells.
            let _gone = stream.write_all(&[*byte]).await;
        }
        // What comes in between is of HTTP/2.
        let turn = Instant::now() + Duration::from_secs(1);
        while let Ok(read) = tokio::time::timeout_at(turn, stream.read(&mut received)).await {
            if !matches!(read, Ok(len) if len > 0) {
                return start.elapsed();
            }
        }
    }
    start.elapsed()
}

fn assert_cut_off(borne: Duration, what: &str) {
    let seconds = borne.as_secs_f32();
    assert!((9.9..=11.1).contains(&seconds), "{what}: {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn client_that_dribbles_its_handshake_is_cut_off() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    let handshake = Ask::handshake(Http::One, "/echo").bytes();
    assert!(handshake.len() > 60);
    assert_cut_off(borne(dialer.dial(), b"", &handshake).await, "all of it");
    let (most, rest) = handshake.split_at(30);
    assert_cut_off(borne(dialer.dial(), most, rest).await, "the end of it");
}

#[tokio::test(start_paused = true)]
async fn client_that_says_nothing_is_cut_off() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    assert_cut_off(borne(dialer.dial(), b"", b"").await, "nothing");
}

#[tokio::test(start_paused = true)]
async fn client_that_sends_part_of_an_http2_preface_is_cut_off() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    for cut in 1..PREFACE.len() {
        let (half, rest) = PREFACE.split_at(cut);
        assert_cut_off(borne(dialer.dial(), half, b"").await, "a half");
        // What is dribbled may be there before it is over.
        assert_cut_off(borne(dialer.dial(), half, rest).await, "dribbled");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_client_that_brings_no_request_is_cut_off() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    assert_cut_off(borne(dialer.dial(), PREFACE, b"").await, "no SETTINGS");
    let settings = [PREFACE, &raw_frame(4, 0, 0, b"")].concat();
    assert_cut_off(borne(dialer.dial(), &settings, b"").await, "SETTINGS");
    // A HEADERS frame of 100 bytes on stream 1, none of which say anything yet.
    let headers = [&[0, 0, 100, 1, 5, 0, 0, 0, 1][..], &[0; 100]].concat();
    let dribbled = borne(dialer.dial(), &settings, &headers).await;
    assert_cut_off(dribbled, "a dribbled HEADERS frame");
}

#[tokio::test(start_paused = true)]
async fn client_that_stalls_in_the_tls_handshake_is_cut_off() {
    let (config, _) = certificates(&[], &[]);
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).tls(config).into_future());
    assert_cut_off(borne(dialer.dial(), b"", b"").await, "nothing");
    // A record of 256 bytes, and the beginning of a ClientHello in it.
    let hello = [&[0x16, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3][..], &[7; 200]].concat();
    let stalled = borne(dialer.dial(), &hello, b"").await;
    assert_cut_off(stalled, "part of a ClientHello");
    let dribbled = borne(dialer.dial(), b"", &hello).await;
    assert_cut_off(dribbled, "a dribbled ClientHello");
}

#[tokio::test(start_paused = true)]
async fn client_that_says_nothing_after_the_tls_handshake_is_cut_off() {
    let (config, connector) = certificates(&[], &[b"h2"]);
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).tls(config).into_future());
    let name = "localhost".try_into().unwrap();
    let stream = within(connector.connect(name, dialer.dial()))
        .await
        .unwrap();
    assert_cut_off(borne(stream, b"", b"").await, "nothing");
}

/// A connection that has had its response, to these requests at once.
async fn asked(dialer: &Dialer, requests: &[u8]) -> DuplexStream {
    let mut stream = dialer.dial();
    stream.write_all(requests).await.unwrap();
    answered(&mut stream).await;
    stream
}

async fn answered(stream: &mut DuplexStream) {
    let mut response = [0; 4096];
    let read = within(stream.read(&mut response)).await.unwrap();
    assert!(response[..read].starts_with(b"HTTP/1.1 200"));
    assert!(response[..read].ends_with(b"nobody"));
}

#[tokio::test(start_paused = true)]
async fn later_request_has_its_deadline_too() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    let request = Ask::plain(Http::One, "/echo").bytes();
    let mut stream = asked(&dialer, &request).await;
    for _ in 0..3 {
        // As long as a load balancer keeps it, and then at once, or in pieces.
        sleep(Duration::from_secs(70)).await;
        stream.write_all(&request).await.unwrap();
        answered(&mut stream).await;
        sleep(Duration::from_secs(70)).await;
        for piece in request.chunks(request.len() / 8) {
            stream.write_all(piece).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        answered(&mut stream).await;
    }
    sleep(Duration::from_secs(70)).await;
    assert_cut_off(borne(stream, b"", &request).await, "from its first byte");
}

#[tokio::test(start_paused = true)]
async fn head_that_came_in_part_behind_a_request_is_cut_off() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    let get = Ask::plain(Http::One, "/echo").bytes();
    let post = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nab\r\n\r\n";
    let chunked = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
        2\r\nab\r\n0\r\n\r\n";
    for request in [&get[..], post, chunked] {
        for part in [1, 30, get.len() - 1] {
            let (part, rest) = get.split_at(part);
            let requests = [request, part].concat();
            let stalled = borne(asked(&dialer, &requests).await, b"", b"").await;
            assert_cut_off(stalled, "the beginning");
            let dribbled = borne(asked(&dialer, &requests).await, b"", rest).await;
            if rest.len() > 10 {
                assert_cut_off(dribbled, "dribbled");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connection_between_two_requests_ends_in_its_own_time() {
    let idle = async |limit: Option<Option<Duration>>, requests: &[u8]| {
        let (listener, dialer) = memory();
        let server = serve(listener, app());
        let server = match limit {
            Some(limit) => server.keep_alive_timeout(limit),
            None => server,
        };
        tokio::spawn(server.into_future());
        let stream = asked(&dialer, requests).await;
        borne(stream, b"", b"").await.as_secs_f32()
    };
    let get = Ask::plain(Http::One, "/echo").bytes();
    let post = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc".to_vec();
    let chunked = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\n"
        .to_vec();
    for request in [get, post, chunked] {
        let seconds = idle(None, &request).await;
        assert!((74.9..=76.1).contains(&seconds), "{seconds} s");
        let seconds = idle(Some(Some(Duration::from_secs(3))), &request).await;
        assert!((2.9..=4.1).contains(&seconds), "{seconds} s");
        let seconds = idle(Some(None), &request).await;
        assert!(seconds >= 3600.0, "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_client_within_the_deadline_is_served() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    let handshake = Ask::handshake(Http::One, "/echo").bytes();
    let mut stream = dialer.dial();
    for piece in handshake.chunks(handshake.len() / 8) {
        sleep(Duration::from_secs(1)).await;
        stream.write_all(piece).await.unwrap();
    }
    let answer = within(Peer::over(stream).answer()).await;
    within(echoes(answer.opened(Http::One))).await;
}

#[tokio::test(start_paused = true)]
async fn http2_connection_that_had_a_request_stays() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    let http2 = within(Http2::connect(dialer.dial())).await;
    for pause in [9, 60, 3600] {
        sleep(Duration::from_secs(pause)).await;
        let answer = within(http2.send(Ask::plain(Http::Two, "/echo"))).await;
        assert_eq!(answer.text(), "nobody");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_client_that_answers_no_ping_is_given_up() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    let settings = raw_frame(4, 0, 0, b"");
    // :method GET, :scheme http, :path /, :authority a (RFC 7541 §6.1, §6.2.2).
    let headers = raw_frame(1, 5, 1, b"\x82\x86\x84\x01\x01a");
    let request = [PREFACE, &settings, &headers].concat();
    let seconds = borne(dialer.dial(), &request, b"").await.as_secs_f32();
    assert!((39.0..=42.0).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn deadline_can_be_moved_and_taken_away() {
    let serving = |limit: Option<Duration>, app: Router| {
        let (listener, dialer) = memory();
        tokio::spawn(serve(listener, app).header_timeout(limit).into_future());
        dialer
    };
    let soon = serving(Some(Duration::from_secs(2)), app());
    for at_once in [&b""[..], b"GET /", PREFACE] {
        let seconds = borne(soon.dial(), at_once, b"").await.as_secs_f32();
        assert!((1.9..=3.1).contains(&seconds), "{seconds} s");
    }
    for never in [None, Some(Duration::MAX)] {
        let never = serving(never, app());
        let mut stream = never.dial();
        let hour = timeout(Duration::from_secs(3600), stream.read_u8()).await;
        assert!(hour.is_err(), "{hour:?}");
        let handshake = Ask::handshake(Http::One, "/echo").bytes();
        stream.write_all(&handshake[..20]).await.unwrap();
        sleep(Duration::from_secs(3600)).await;
        stream.write_all(&handshake[20..]).await.unwrap();
        let answer = within(Peer::over(stream).answer()).await;
        within(echoes(answer.opened(Http::One))).await;
    }
}
