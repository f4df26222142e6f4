//! Servers that are gone without a word, and such as only seem so.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Duration, Instant, sleep, timeout},
};
use tower_websocket::{
    Config, Error,
    client::{Client, ConnectError},
};

use super::support::{
    self, ACK, DATA, Frame, Http2, INITIAL_WINDOW_SIZE, PING, WINDOW_UPDATE, socket, tasks,
};
use crate::session::support::{idle, within};

const SECOND: Duration = Duration::from_secs(1);

/// Reads for so long, and gives how many pings came; `answer` says whether they are answered.
async fn pings(server: &mut Http2, time: Duration, answer: bool) -> usize {
    let mut pings = 0;
    let reading = async {
        while let Some(frame) = server.any().await {
            if (frame.kind, frame.flags) == (PING, 0) {
                pings += 1;
                if answer {
                    server.write(&Frame::new(PING, ACK, 0, frame.payload)).await;
                }
            }
        }
    };
    let _over = timeout(time, reading).await;
    pings
}

/// A connection that is held and has no socket.
#[tokio::test(start_paused = true)]
async fn silent_server_is_found() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let start = Instant::now();
    let end = async {
        let pings = pings(&mut server, 3600 * SECOND, false).await;
        (pings, start.elapsed().as_secs())
    };
    let (pings, seconds) = within(end).await;
    assert_eq!(pings, 1);
    assert!((40..=60).contains(&seconds), "{seconds}");
    assert!(connection.is_closed());
    let start = Instant::now();
    let error = within(connection.connect("/")).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let ConnectError::Io(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("pings"), "{error}");
    idle().await;
    assert_eq!(tasks(), 0);
}

/// Also one whose application reads nothing, and which has no time of its own for that.
#[tokio::test(start_paused = true)]
async fn sockets_of_a_silent_server_end() {
    let config = Config::default().max_read_ahead(1);
    let client = Client::new().config(config);
    let (connection, mut server) = Http2::pair(&client, &[]).await;
    let (mut reading, _) = socket(&connection, &mut server).await;
    let (mut unread, stream) = socket(&connection, &mut server).await;
    let two = *b"\x81\x02hi\x81\x02ho";
    server.write(&Frame::new(DATA, 0, stream, two)).await;
    let start = Instant::now();
    let error = within(reading.recv()).await.unwrap_err();
    assert!(error.is_disconnect(), "{error:?}");
    while !connection.is_closed() {
        assert!(start.elapsed() <= 61 * SECOND);
        sleep(SECOND).await;
    }
    assert_eq!(within(unread.recv()).await.unwrap(), Some("hi".into()));
    let error = loop {
        match within(unread.recv()).await {
            Ok(message) => assert_eq!(message, Some("ho".into())),
            Err(error) => break error,
        }
    };
    let Error::Io(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    within(unread.closed()).await;
    idle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn server_that_answers_pings_is_kept() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let pings = pings(&mut server, 3600 * SECOND, true).await;
    assert!((60..=180).contains(&pings), "{pings}");
    assert!(!connection.is_closed());
    let (_socket, stream) = socket(&connection, &mut server).await;
    assert_eq!(stream, 1);
}

/// One that never answers, but says something now and then.
#[tokio::test(start_paused = true)]
async fn whatever_comes_is_life() {
    for every in [15, 25, 39].map(Duration::from_secs) {
        let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
        for _ in 0..50 {
            pings(&mut server, every, false).await;
            // A frame of a type that nobody knows.
            server.write(&Frame::new(99, 0, 0, [])).await;
        }
        assert!(!connection.is_closed(), "{every:?}");
        idle().await;
        let seconds = {
            let start = Instant::now();
            pings(&mut server, 3600 * SECOND, false).await;
            start.elapsed().as_secs()
        };
        assert!(seconds <= 60, "{every:?}: {seconds}");
        assert!(connection.is_closed());
    }
}

/// A frame that takes minutes to come: its bytes are life, though nothing of it is a frame yet.
#[tokio::test(start_paused = true)]
async fn part_of_a_frame_is_life() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    // Of a type that nobody knows.
    let frame = [&[0, 0, 200, 99, 0, 0, 0, 0, 0][..], &[0; 200]].concat();
    for byte in frame {
        pings(&mut server, 10 * SECOND, false).await;
        server.stream.write_all(&[byte]).await.unwrap();
    }
    idle().await;
    assert!(!connection.is_closed());
}

/// What was written has to get there, at 14 KiB a second, before anybody can answer.
#[tokio::test(start_paused = true)]
async fn data_on_its_way_to_a_slow_server_is_allowed_for() {
    const DATA_SIZE: usize = 1000 << 10;
    let (ours, theirs) = duplex(2 << 20);
    let settings = [
        (support::ENABLE_CONNECT_PROTOCOL, 1),
        (INITIAL_WINDOW_SIZE, 1 << 20),
    ];
    let client = Client::new();
    let beginning = async {
        let mut server = Http2::begin(theirs, &settings).await;
        let more = Frame::new(WINDOW_UPDATE, 0, 0, (1_u32 << 20).to_be_bytes());
        server.write(&more).await;
        server.answer_ping().await;
        server
    };
    let connecting = client.connect_http2_over(ours, "ws://localhost/");
    let (connection, mut server) = within(async { tokio::join!(connecting, beginning) }).await;
    let connection = connection.unwrap();
    let (socket, _) = socket(&connection, &mut server).await;
    let start = Instant::now();
    socket.send(vec![0; DATA_SIZE]).await.unwrap();
    idle().await;
    // What comes meanwhile says nothing of what is on its way.
    server.write(&Frame::new(0x77, 0, 0, b"")).await;
    // Nothing is read, as where it waits in the buffers of a slow line: 71 s of it, and 20 s for the
    // answer behind it.
    sleep(85 * SECOND).await;
    assert!(!connection.is_closed());
    while !connection.is_closed() {
        assert!(start.elapsed() < 115 * SECOND, "it is given up at last");
        sleep(SECOND).await;
    }
    drop(server);
}

/// It takes no more bytes, either.
#[tokio::test(start_paused = true)]
async fn server_that_stops_reading_is_found() {
    let (ours, mut theirs) = duplex(64);
    let client = Client::new();
    let begun = async {
        theirs.read_exact(&mut [0; 24]).await.unwrap();
        let mut server = Http2 { stream: theirs };
        let settings = [(support::ENABLE_CONNECT_PROTOCOL, 1)];
        server.write(&Frame::settings(&settings)).await;
        server.answer_ping().await;
        server
    };
    let connecting = client.connect_http2_over(ours, "ws://localhost/");
    let (connection, mut server) = within(async { tokio::join!(connecting, begun) }).await;
    let connection = connection.unwrap();
    let (mut socket, _) = socket(&connection, &mut server).await;
    socket.send(vec![0; 10_000]).await.unwrap();
    let error = within(socket.recv()).await.unwrap_err();
    assert!(error.is_disconnect(), "{error:?}");
    sleep(61 * SECOND).await;
    assert!(connection.is_closed());
    within(connection.connect("/")).await.unwrap_err();
    idle().await;
    assert_eq!(tasks(), 0);
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn pings_are_as_configured() {
    let day = 24 * 3600 * SECOND;
    let client = |config: Config| Client::new().config(config);
    let never = client(Config::default().ping_interval(None));
    let (connection, mut server) = Http2::pair(&never, &[]).await;
    assert_eq!(pings(&mut server, day, false).await, 0);
    assert!(!connection.is_closed());

    // One that may be silent for ever owes one answer, and is asked once.
    let patient = client(Config::default().ping_timeout(None));
    let (connection, mut server) = Http2::pair(&patient, &[]).await;
    assert_eq!(pings(&mut server, day, false).await, 1);
    assert!(!connection.is_closed());

    let often = Config::default()
        .ping_interval(2 * SECOND)
        .ping_timeout(SECOND);
    let (connection, mut server) = Http2::pair(&client(often), &[]).await;
    let start = Instant::now();
    assert_eq!(pings(&mut server, day, false).await, 1);
    assert!(start.elapsed() <= 5 * SECOND, "{:?}", start.elapsed());
    assert!(connection.is_closed());

    let extreme = Config::default()
        .ping_interval(Duration::MAX)
        .ping_timeout(Duration::MAX);
    let (connection, mut server) = Http2::pair(&client(extreme), &[]).await;
    assert_eq!(pings(&mut server, day, false).await, 0);
    assert!(!connection.is_closed());
}

/// What was dropped is not kept by its pings.
#[tokio::test(start_paused = true)]
async fn pings_keep_nothing() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    pings(&mut server, 25 * SECOND, false).await;
    drop(connection);
    assert_eq!(within(server.next()).await.unwrap().kind, support::GOAWAY);
    assert_eq!(within(server.next()).await, None);
    assert_eq!(tasks(), 0);
}
