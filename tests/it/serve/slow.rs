//! Clients on slow lines are served, and those that read nothing are given up (T39).

use std::{future::pending, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{
        AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, copy_bidirectional, duplex,
        split,
    },
    sync::oneshot,
    time::{Instant, sleep},
};
use tower_websocket::{Config, Error, WebSocket, WebSocketLayer, serve};

use super::support::{Dialer, PREFACE, memory, raw_frame};
use crate::support::{
    Http, handler,
    http::{Ask, Http2, Peer},
    within,
};

const SIZE: usize = 5 << 19;

/// A page of 2.5 MiB, and a WebSocket that sends as much in one burst and then nothing.
fn app() -> Router {
    let burst = async |mut socket: WebSocket| {
        for _ in 0..SIZE >> 14 {
            socket.send(vec![7; 1 << 14]).await?;
        }
        while let Some(_message) = socket.recv().await? {}
        Ok::<(), Error>(())
    };
    // The session's own deadlines are not in question.
    let config = Config::default()
        .ping_interval(None)
        .write_timeout(None)
        .max_send_queue(2 * SIZE);
    let layer = WebSocketLayer::new(handler(burst)).config(config);
    Router::new()
        .route("/page", get(async || vec![7_u8; SIZE]))
        .route_service("/burst", layer.endpoint())
}

fn start() -> Dialer {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    dialer
}

/// A client that has room for everything, and so says nothing while it receives.
async fn silent_http2(stream: DuplexStream) -> Http2 {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(64 << 20)
        .initial_connection_window_size(64 << 20);
    within(Http2::connect_with(&builder, stream)).await
}

/// What the kernel keeps with its own settings, and with `TCP_NOTSENT_LOWAT`.
const BUFFERS: [usize; 2] = [4 << 20, 128 << 10];

/// 128, 256 and 400 kbit/s.
const RATES: [usize; 3] = [16 << 10, 32 << 10, 50_000];

fn lines() -> impl Iterator<Item = (usize, usize, Http)> {
    let buffers = BUFFERS
        .into_iter()
        .flat_map(|b| RATES.map(|rate| (b, rate)));
    buffers.flat_map(|(buffer, rate)| [Http::One, Http::Two].map(|http| (buffer, rate, http)))
}

#[tokio::test(start_paused = true)]
async fn page_arrives_over_a_slow_line() {
    let dialer = start();
    for (buffer, rate, http) in lines() {
        let start = Instant::now();
        let stream = dialer.dial_slowly(buffer, rate);
        let ask = Ask::plain(http, "/page");
        let answer = if http == Http::Two {
            let http2 = silent_http2(stream).await;
            let answer = http2.send(ask).await;
            // The connection has not ended behind it.
            assert_eq!(http2.send(Ask::plain(http, "/")).await.status, 404);
            answer
        } else {
            let mut peer = Peer::over(stream);
            peer.write(&ask.bytes()).await;
            peer.answer().await
        };
        assert_eq!(answer.body.len(), SIZE, "{buffer}, {rate}, {http:?}");
        let seconds = start.elapsed().as_secs() as usize;
        assert!(seconds >= SIZE / rate, "{seconds} s");
    }
}

/// Reads a response of HTTP/1.1, and keeps the connection.
async fn read_page(stream: &mut DuplexStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let mut body = vec![0; SIZE];
    let read = stream.read_exact(&mut body).await;
    assert_eq!(read.unwrap(), SIZE);
}

#[tokio::test(start_paused = true)]
async fn connection_of_http1_is_kept_while_its_response_is_on_the_way() {
    let dialer = start();
    // With the larger one all is written at once, and the time runs from then.
    let [_, buffer] = BUFFERS;
    for rate in RATES {
        let mut stream = dialer.dial_slowly(buffer, rate);
        let ask = Ask::plain(Http::One, "/page").bytes();
        for _ in 0..2 {
            stream.write_all(&ask).await.unwrap();
            read_page(&mut stream).await;
            sleep(Duration::from_secs(60)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn burst_of_a_websocket_arrives_over_a_slow_line() {
    let dialer = start();
    for (buffer, rate, http) in lines() {
        let stream = dialer.dial_slowly(buffer, rate);
        let ask = Ask::handshake(http, "/burst");
        let (mut peer, http2) = if http == Http::Two {
            let http2 = silent_http2(stream).await;
            let answer = within(http2.send(ask)).await;
            (answer.opened(http), Some(http2))
        } else {
            let mut peer = Peer::over(stream);
            peer.write(&ask.bytes()).await;
            (within(peer.answer()).await.opened(http), None)
        };
        for _ in 0..SIZE >> 14 {
            let (first, payload) = peer.whole_frame().await.unwrap();
            assert_eq!((first, payload.len()), (0x82, 1 << 14));
        }
        // Silence, and then it still lives.
        sleep(Duration::from_secs(600)).await;
        peer.send(8, &1000_u16.to_be_bytes()).await;
        assert_eq!(within(peer.frame()).await.unwrap().0, 8);
        drop(http2);
    }
}

/// An HTTP/2 client with windows for all, that has asked for the page.
async fn ask_for_page(stream: DuplexStream) -> (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
    let (reader, mut writer) = split(stream);
    // SETTINGS_INITIAL_WINDOW_SIZE, and as much for the connection.
    let settings = raw_frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let update = raw_frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    // :method GET, :scheme http, :path /page, :authority a (RFC 7541 §6.1, §6.2.2).
    let headers = raw_frame(1, 5, 1, b"\x82\x86\x04\x05/page\x01\x01a");
    let asked = [PREFACE, &settings, &update, &headers].concat();
    writer.write_all(&asked).await.unwrap();
    (reader, writer)
}

/// How long the server bears a client that says `frame` each second, and reads or does not.
async fn borne(stream: DuplexStream, reads: bool, frame: &[u8]) -> f32 {
    let (mut reader, mut writer) = ask_for_page(stream).await;
    let start = Instant::now();
    let reading = tokio::spawn(async move {
        let mut sink = vec![0; 64 << 10];
        while reads && matches!(reader.read(&mut sink).await, Ok(len) if len > 0) {}
        pending::<()>().await;
    });
    // Nothing is written by the first, and yet it tells whether somebody is there.
    while writer.write(b"").await.is_ok() && writer.write_all(frame).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(3600));
        sleep(Duration::from_secs(1)).await;
    }
    reading.abort();
    start.elapsed().as_secs_f32()
}

#[tokio::test(start_paused = true)]
async fn http2_client_that_reads_nothing_is_given_up() {
    let dialer = start();
    // A PRIORITY frame, which means nothing.
    let chatter = raw_frame(2, 0, 1, &[0; 5]);
    // What fits below the server wants 5 seconds at 14 KiB/s, and all of the page 183.
    for (buffer, allowance) in [(64 << 10, 5.0), (4 << 20, 183.0)] {
        let seconds = borne(dialer.dial_with(buffer), false, b"").await;
        assert!((39.0..=42.0 + allowance).contains(&seconds), "{seconds} s");
    }
    // What it says is no excuse for what it does not read.
    let seconds = borne(dialer.dial_with(64 << 10), false, &chatter).await;
    assert!((39.0..=46.0).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn http2_client_that_takes_all_and_answers_nothing_is_given_up() {
    let dialer = start();
    let seconds = borne(dialer.dial(), true, b"").await;
    assert!((39.0..=225.0).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn http2_client_that_answers_only_pings_stays() {
    let dialer = start();
    let http2 = silent_http2(dialer.dial()).await;
    let page = within(http2.send(Ask::plain(Http::Two, "/page"))).await;
    assert_eq!(page.body.len(), SIZE);
    sleep(Duration::from_secs(36_000)).await;
    let page = within(http2.send(Ask::plain(Http::Two, "/page"))).await;
    assert_eq!(page.body.len(), SIZE);
}

/// The answer to a ping tells that what was sent before has arrived: nothing is allowed for it then.
#[tokio::test(start_paused = true)]
async fn http2_client_that_dies_after_a_large_page_is_found_as_soon_as_any() {
    let dialer = start();
    let mut line = dialer.dial();
    let (ours, mut theirs) = duplex(64 << 10);
    let (cut, is_cut) = oneshot::channel::<()>();
    let relay = tokio::spawn(async move {
        tokio::select! {
            _ = copy_bidirectional(&mut theirs, &mut line) => {}
            _ = is_cut => {}
        }
        line
    });
    let http2 = silent_http2(ours).await;
    let page = within(http2.send(Ask::plain(Http::Two, "/page"))).await;
    assert_eq!(page.body.len(), SIZE);
    sleep(Duration::from_secs(30)).await;
    cut.send(()).unwrap();
    let start = Instant::now();
    let mut line = relay.await.unwrap();
    let mut sink = vec![0; 64 << 10];
    while matches!(line.read(&mut sink).await, Ok(len) if len > 0) {}
    let seconds = start.elapsed().as_secs_f32();
    assert!((19.0..=41.0).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn http1_client_that_does_not_take_its_response_is_given_up() {
    let dialer = start();
    let mut stream = dialer.dial_with(64 << 10);
    let ask = Ask::plain(Http::One, "/page").bytes();
    stream.write_all(&ask).await.unwrap();
    let start = Instant::now();
    while stream.write(b"").await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(3600));
        sleep(Duration::from_secs(1)).await;
    }
    let seconds = start.elapsed().as_secs_f32();
    // The time between two requests, and 5 seconds for what fits below the server.
    assert!((74.0..=81.0).contains(&seconds), "{seconds} s");
}
