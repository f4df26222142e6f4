//! A stream of HTTP/2 as a connection's transport, frame by frame.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_websocket::{CloseCode, Config, Error, WebSocket, client::Client};

use super::support::{
    self, DATA, END_STREAM, Frame, HEADERS, Http2, OK, RST_STREAM, WINDOW_UPDATE, tasks,
};
use crate::session::support::{idle, within};

/// A socket on a server that speaks frames.
async fn opened(config: Config, settings: &[(u16, u32)]) -> (WebSocket, Http2) {
    let client = Client::new().config(config);
    let (connection, mut server) = Http2::pair(&client, settings).await;
    let accepting = async {
        assert_eq!(server.next().await.unwrap().kind, HEADERS);
        server.write(&Frame::headers(1, OK)).await;
    };
    let (socket, ()) = within(async { tokio::join!(connection.connect("/"), accepting) }).await;
    (socket.unwrap(), server)
}

/// RFC 8441 §5: END_STREAM where TCP has FIN; nothing is reset after it.
#[tokio::test(start_paused = true)]
async fn closing_handshake_ends_the_stream_without_a_reset() {
    let (socket, mut server) = opened(Config::default(), &[]).await;
    socket.close(CloseCode::NORMAL);
    let close = within(server.next()).await.unwrap();
    assert_eq!((close.kind, close.flags, close.payload.len()), (DATA, 0, 8));
    server
        .write(&Frame::new(DATA, 0, 1, *b"\x88\x02\x03\xe8"))
        .await;
    let end = within(server.next()).await;
    assert_eq!(end, Some(Frame::new(DATA, END_STREAM, 1, [])));
    sleep(Duration::from_secs(1)).await;
    server.write(&Frame::new(DATA, END_STREAM, 1, [])).await;
    within(socket.closed()).await;
    drop(socket);
    while let Some(frame) = within(server.next()).await {
        assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
    }
    idle().await;
    assert_eq!(tasks(), 0);
}

/// RFC 8441 §5: CANCEL where TCP has RST.
#[tokio::test(start_paused = true)]
async fn socket_that_is_given_up_resets_its_stream() {
    let config = Config::default().max_lifetime(Duration::from_secs(1));
    let (socket, mut server) = opened(config.close_timeout(Duration::from_secs(1)), &[]).await;
    let mut frame = within(server.next()).await.unwrap();
    while frame.kind == DATA {
        frame = within(server.next()).await.unwrap();
    }
    assert_eq!(frame, Frame::reset(1, support::CANCEL));
    within(socket.closed()).await;
}

#[tokio::test(start_paused = true)]
async fn server_that_opens_no_window_is_given_up() {
    let config = Config::default().ping_interval(None);
    let closed = [(support::INITIAL_WINDOW_SIZE, 0)];
    let (mut socket, mut server) = opened(config, &closed).await;
    let start = Instant::now();
    socket.send("hello").await.unwrap();
    let error = within(socket.recv()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(
        within(server.next()).await,
        Some(Frame::reset(1, support::CANCEL))
    );
    within(socket.closed()).await;
}

/// Many small windows: all of it leaves, in pieces that are never empty.
#[tokio::test(start_paused = true)]
async fn writes_fit_the_window_and_are_never_empty() {
    let config = Config::default().ping_interval(None);
    let narrow = [(support::INITIAL_WINDOW_SIZE, 7)];
    let (socket, mut server) = opened(config, &narrow).await;
    socket.send("").await.unwrap();
    socket.send("x".repeat(100)).await.unwrap();
    socket.send("").await.unwrap();
    let (mut received, mut largest) = (vec![], 0);
    while received.len() < 6 + 106 + 6 {
        let frame = within(server.next()).await.unwrap();
        assert_eq!(frame.kind, DATA);
        assert!(!frame.payload.is_empty());
        largest = largest.max(frame.payload.len());
        received.extend(&frame.payload);
        let more = u32::try_from(frame.payload.len()).unwrap();
        let update = Frame::new(WINDOW_UPDATE, 0, 1, more.to_be_bytes());
        server.write(&update).await;
    }
    assert_eq!(largest, 7);
    assert_eq!(
        (received[0], received[6], received[112]),
        (0x81, 0x81, 0x81)
    );
}

/// What nobody receives is not given back to the window.
#[tokio::test(start_paused = true)]
async fn window_is_given_back_for_what_was_read() {
    let config = Config::default()
        .ping_interval(None)
        .max_read_ahead(0)
        .streaming(false);
    let (mut socket, mut server) = opened(config, &[]).await;
    let message = [&[0x82, 0x7e, 0x20, 0x00][..], &[0; 0x2000]].concat();
    // More than a window of 256 KiB.
    let sending = async {
        let (mut sent, mut window) = (0, 256 << 10);
        while sent < 1 << 20 {
            while window < message.len() {
                let frame = server.any().await.unwrap();
                if (frame.kind, frame.stream) == (WINDOW_UPDATE, 1) {
                    let more = u32::from_be_bytes(frame.payload.try_into().unwrap());
                    window += more as usize;
                }
            }
            server.write(&Frame::new(DATA, 0, 1, &*message)).await;
            window -= message.len();
            sent += message.len();
        }
        server
    };
    let mut sending = std::pin::pin!(sending);
    let early = tokio::time::timeout(Duration::from_secs(1), sending.as_mut()).await;
    assert!(early.is_err(), "nobody has received");
    let receiving = async {
        for _ in 0..(1 << 20) / message.len() {
            socket.recv().await.unwrap().unwrap();
        }
    };
    let (_server, ()) = within(async { tokio::join!(sending, receiving) }).await;
}
