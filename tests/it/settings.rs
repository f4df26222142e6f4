//! Settings at their extremes: what they say happens, and nothing else (T44).

use std::{fmt, time::Duration};

use axum::Router;
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{sleep, timeout},
};
use tower_websocket::{
    CloseCode, Compression, Config, Error, Groups, MessageKind, WebSocket, WebSocketLayer,
    client::{Client, HttpVersion},
    endpoint, serve,
    serve::Serve,
    session::{Drain, SessionReport},
    testing,
};

use crate::{
    serve::support::{Memory, memory},
    support::{Http, echo, handler},
};

/// What became of a conversation.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Outcome {
    /// Everything came back, also after a while, and the end was clean.
    Works,
    /// It ended with that code.
    Code(u16),
    /// It was not opened: the client was cut off, or gave up.
    NotOpened,
}

use Outcome::{Code, NotOpened, Works};

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Works => f.write_str("it works"),
            Code(code) => write!(f, "it ends with {code}"),
            NotOpened => f.write_str("it is not opened"),
        }
    }
}

/// Has a few messages echoed, waits in between for longer than pings do, and closes.
async fn converse(socket: &mut WebSocket) -> Result<bool, Error> {
    for pause in [0, 1, 100] {
        sleep(Duration::from_secs(pause)).await;
        for len in [0, 5, 3000, 100_000] {
            let text = "x".repeat(len);
            socket.send(text.as_str()).await?;
            if socket.recv().await? != Some(text.into()) {
                return Ok(false);
            }
        }
    }
    socket.close(CloseCode::NORMAL);
    Ok(socket.recv().await?.is_none())
}

/// What both ends are set to.
#[derive(Clone, Default)]
struct Ends {
    server: Config,
    client: Config,
}

type Server = Serve<Memory, Router>;

/// Speaks to a server of ours by a client of ours.
async fn conversation(
    http: Http,
    ends: Ends,
    set: impl FnOnce(Server) -> Server,
    client: Client,
) -> Outcome {
    let (ended, mut reports) = unbounded_channel();
    let on_end = |ended: UnboundedSender<SessionReport>| {
        move |report: &SessionReport| {
            let _told = ended.send(report.clone());
        }
    };
    let (listener, dialer) = memory();
    let layer = WebSocketLayer::new(handler(echo)).config(ends.server);
    let layer = layer.on_end(on_end(ended.clone()));
    let app = Router::new().route_service("/", layer.endpoint());
    let serving = tokio::spawn(set(serve(listener, app)).into_future());
    let client = client
        .config(ends.client)
        .on_end(on_end(ended))
        .http_version(http.pick(HttpVersion::Http1, HttpVersion::Http2));
    let talk = async {
        let Ok(opened) = client.request_over(dialer.dial(), "ws://localhost/").await else {
            return NotOpened;
        };
        let mut socket = opened.into_body();
        let works = converse(&mut socket).await;
        drop(socket);
        let reports = [reports.recv().await, reports.recv().await];
        let codes = reports.map(|report| report.map_or(0, |report| report.close_code));
        match works {
            Ok(true) if codes == [1000; 2] => Works,
            _ => Code(*codes.iter().find(|code| **code != 1006).unwrap_or(&1006)),
        }
    };
    // By the clock that is paused: what waits for ever is found at once.
    let outcome = timeout(Duration::from_secs(24 * 3600), talk).await;
    assert!(!serving.is_finished(), "the server has ended");
    serving.abort();
    outcome.expect("the conversation ends")
}

/// Tries settings of `Config` with each value, at the server's end and at the client's.
async fn at_both_ends<T: Copy + fmt::Debug>(
    name: &str,
    set: impl Fn(Config, T) -> Config,
    expected: impl IntoIterator<Item = (T, Outcome)>,
) {
    for (value, expected) in expected {
        for http in [Http::One, Http::Two] {
            let set = || set(Config::default(), value);
            let (server, client) = (Ends::default(), Ends::default());
            let server = Ends {
                server: set(),
                ..server
            };
            let client = Ends {
                client: set(),
                ..client
            };
            for (end, ends) in [("server", server), ("client", client)] {
                let outcome = conversation(http, ends, |server| server, Client::new()).await;
                assert_eq!(outcome, expected, "{name} {value:?}, {end}, {http:?}");
            }
        }
    }
}

/// Zero, one, the most and nothing, in numbers.
fn sizes(outcomes: [Outcome; 4]) -> impl Iterator<Item = (Option<usize>, Outcome)> {
    let values = [Some(0), Some(1), Some(usize::MAX), None];
    values.into_iter().zip(outcomes)
}

/// Nothing at all, next to nothing and the most, in time.
const TIMES: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];

/// The same, and no limit.
fn times(outcomes: [Outcome; 4]) -> impl Iterator<Item = (Option<Duration>, Outcome)> {
    let [zero, one, most] = TIMES.map(Some);
    [zero, one, most, None].into_iter().zip(outcomes)
}

const WORKS: [Outcome; 4] = [Works; 4];

/// Messages are larger than zero bytes, and than one.
const TOO_BIG: [Outcome; 4] = [Code(1009), Code(1009), Works, Works];

#[tokio::test(start_paused = true)]
async fn limits_of_what_is_received() {
    at_both_ends("max_message_size", Config::max_message_size, sizes(TOO_BIG)).await;
    at_both_ends("max_frame_size", Config::max_frame_size, sizes(TOO_BIG)).await;
    at_both_ends("max_fragments", Config::max_fragments, sizes(WORKS)).await;
    let streaming = |config: Config, size: Option<usize>| {
        let size = size.map(|size| size as u64);
        config.streaming(true).max_stream_size(size)
    };
    at_both_ends("max_stream_size", streaming, sizes(TOO_BIG)).await;
    let some = [(0, Works), (1, Works), (usize::MAX, Works)];
    at_both_ends("max_read_ahead", Config::max_read_ahead, some).await;
    let rate = |config: Config, rate: Option<usize>| {
        config.control_frame_rate(rate.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)))
    };
    at_both_ends("control_frame_rate", rate, sizes(WORKS)).await;
    // With one it is chance: a pong and a ping may come together.
    let some = [(0, Code(1008)), (4, Works), (u32::MAX, Works)];
    at_both_ends("control_frame_burst", Config::control_frame_burst, some).await;
}

#[tokio::test(start_paused = true)]
async fn limits_of_what_is_sent() {
    let some = [(0, Works), (1, Works), (usize::MAX, Works)];
    at_both_ends("max_send_queue", Config::max_send_queue, some).await;
    at_both_ends("max_send_messages", Config::max_send_messages, sizes(WORKS)).await;
    at_both_ends("fragment_size", Config::fragment_size, sizes(WORKS)).await;
}

#[tokio::test(start_paused = true)]
async fn compression() {
    for mode in [Compression::shared, Compression::dedicated] {
        let threshold = |config: Config, bytes| config.compression(mode().threshold(bytes));
        let some = [(0, Works), (1, Works), (usize::MAX, Works)];
        at_both_ends("threshold", threshold, some).await;
        let memory = |config: Config, bytes| config.compression(mode().max_memory(bytes));
        at_both_ends("max_memory", memory, sizes(WORKS)).await;
        let least = |config: Config, level| {
            let mode = mode().level(level).memory_level(level);
            config.compression(mode.max_window_bits(9).peer_max_window_bits(9))
        };
        at_both_ends("level", least, [(1, Works), (9, Works)]).await;
    }
}

#[test]
fn compression_refuses_what_it_cannot_do() {
    type Set = fn(Compression, u8) -> Compression;
    let levels: [Set; 2] = [Compression::level, Compression::memory_level];
    let windows: [Set; 2] = [
        Compression::max_window_bits,
        Compression::peer_max_window_bits,
    ];
    for (setters, values) in [(levels, [0, 10, 255]), (windows, [0, 8, 16])] {
        for set in setters {
            for value in values {
                let set = std::panic::catch_unwind(|| set(Compression::shared(), value));
                assert!(set.is_err(), "{value}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines() {
    at_both_ends("ping_interval", Config::ping_interval, times(WORKS)).await;
    at_both_ends("ping_timeout", Config::ping_timeout, times(WORKS)).await;
    at_both_ends("frame_timeout", Config::frame_timeout, times(WORKS)).await;
    at_both_ends("write_timeout", Config::write_timeout, times(WORKS)).await;
    let ready = TIMES.map(|time| (time, Works));
    at_both_ends("ready_timeout", Config::ready_timeout, ready).await;
    let linger = TIMES.map(|time| (time, Works));
    at_both_ends("linger", Config::linger, linger).await;
    let closes = [Code(1001), Code(1001), Works, Works];
    at_both_ends("idle_timeout", Config::idle_timeout, times(closes)).await;
    at_both_ends("max_lifetime", Config::max_lifetime, times(closes)).await;
    // A message that is there at once is in time for the second.
    let first = [Code(1008), Works, Works, Works];
    at_both_ends(
        "first_message_timeout",
        Config::first_message_timeout,
        times(first),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn time_to_close() {
    for http in [Http::One, Http::Two] {
        for timeout in TIMES {
            let config = Config::default().close_timeout(timeout);
            let (server, client) = (config.clone(), config);
            let server = Ends {
                server,
                ..Ends::default()
            };
            let client = Ends {
                client,
                ..Ends::default()
            };
            let outcome = conversation(http, server, |server| server, Client::new()).await;
            assert_eq!(outcome, Works, "{timeout:?}");
            // The client closes. What it has sent has its time to arrive, in which the answer comes.
            let outcome = conversation(http, client, |server| server, Client::new()).await;
            assert_eq!(outcome, Works, "{timeout:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server() {
    let talk = async |http, set: &dyn Fn(Server) -> Server| {
        conversation(http, Ends::default(), set, Client::new()).await
    };
    for http in [Http::One, Http::Two] {
        for (time, _) in times(WORKS) {
            let outcome = talk(http, &|server| server.header_timeout(time)).await;
            assert_eq!(outcome, Works, "header_timeout {time:?}");
            let outcome = talk(http, &|server| server.keep_alive_timeout(time)).await;
            assert_eq!(outcome, Works, "keep_alive_timeout {time:?}");
        }
        for number in [0, 1, u32::MAX] {
            let outcome = talk(http, &|server| server.max_streams(number)).await;
            assert_eq!(outcome, Works, "max_streams {number}");
            let outcome = talk(http, &|server| server.stream_window(number)).await;
            assert_eq!(outcome, Works, "stream_window {number}");
            let both = |server: Server| server.max_streams(number).stream_window(number);
            assert_eq!(talk(http, &both).await, Works, "both {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops() {
    for http in [Http::One, Http::Two] {
        for (time, rate) in TIMES
            .into_iter()
            .flat_map(|time| [0, 1, u32::MAX].map(|rate| (time, rate)))
        {
            let (listener, dialer) = memory();
            let app = Router::new().route_service("/", endpoint(handler(echo)));
            let (stop, stopped) = oneshot::channel::<()>();
            let drain = Drain::default().timeout(time).rate(rate);
            let serving = serve(listener, app).drain(drain).graceful_shutdown(async {
                let _told = stopped.await;
            });
            let serving = tokio::spawn(serving.into_future());
            let client =
                Client::new().http_version(http.pick(HttpVersion::Http1, HttpVersion::Http2));
            let mut open = Vec::new();
            for _ in 0..3 {
                let opened = client.request_over(dialer.dial(), "ws://localhost/").await;
                let mut socket = opened.unwrap().into_body();
                open.push(tokio::spawn(async move {
                    while let Ok(Some(_)) = socket.recv().await {}
                }));
            }
            sleep(Duration::from_secs(1)).await;
            stop.send(()).unwrap();
            let stopped = timeout(Duration::from_secs(60), serving).await;
            let websockets = stopped.unwrap().unwrap().unwrap().websockets;
            let all = websockets.ended + websockets.aborted;
            assert_eq!(all, 3, "{time:?}, {rate}: {websockets:?}");
            if time == Duration::MAX {
                assert_eq!(websockets.aborted, 0, "{rate}");
            }
            for socket in open {
                timeout(Duration::from_secs(60), socket)
                    .await
                    .unwrap()
                    .unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client() {
    for http in [Http::One, Http::Two] {
        let outcomes = [NotOpened, Works, Works, Works];
        for (time, expected) in times(outcomes) {
            let client = Client::new()
                .connect_timeout(time)
                .tls_timeout(time)
                .handshake_timeout(time);
            let outcome = conversation(http, Ends::default(), |server| server, client).await;
            assert_eq!(outcome, expected, "{time:?}");
        }
    }
}

/// Over TCP: connecting, too.
#[tokio::test]
async fn the_time_of_a_client_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("ws://{}/", listener.local_addr().unwrap());
    let app = Router::new().route_service("/", endpoint(handler(echo)));
    let serving = tokio::spawn(serve(listener, app).into_future());
    let zero = Client::new().connect_timeout(Duration::ZERO);
    // On one machine there may be nothing to wait for.
    if let Err(error) = zero.connect(&*uri).await {
        assert!(error.is_timeout(), "{error:?}");
    }
    for time in [Some(Duration::MAX), None] {
        let client = Client::new().connect_timeout(time).handshake_timeout(time);
        let mut socket = client.connect(&*uri).await.unwrap();
        assert!(converse_at_once(&mut socket).await);
    }
    serving.abort();
}

async fn converse_at_once(socket: &mut WebSocket) -> bool {
    socket.send("hello").await.unwrap();
    socket.recv().await.unwrap() == Some("hello".into())
}

#[tokio::test(start_paused = true)]
async fn fragments_of_a_message_that_is_written_in_pieces() {
    for size in [0, 1, usize::MAX] {
        let config = Config::default().fragment_size(size);
        let streaming = Config::default().streaming(true).max_message_size(8 << 20);
        let route = handler(|mut socket: WebSocket| async move {
            let mut total = 0;
            while let Some(message) = socket.recv().await? {
                total += message.len();
                socket.send(total.to_string()).await?;
            }
            Ok::<_, Error>(())
        });
        let layer = WebSocketLayer::new(route).config(streaming);
        let app = Router::new().route_service("/", layer.endpoint());
        let (listener, dialer) = memory();
        tokio::spawn(serve(listener, app).into_future());
        let client = Client::new().config(config);
        let opened = client.request_over(dialer.dial(), "ws://localhost/").await;
        let mut socket = opened.unwrap().into_body();
        // Those of one byte are many.
        let len = if size == usize::MAX { 4 << 20 } else { 20_000 };
        let mut writer = socket.send_writer(MessageKind::Binary).await.unwrap();
        writer.write_all(&vec![7; len]).await.unwrap();
        writer.finish().await.unwrap();
        let answer = socket.recv().await.unwrap();
        assert_eq!(answer, Some(len.to_string().into()), "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_of_a_connection() {
    for (limit, fitting) in [(Some(0), 0), (Some(1), 1), (Some(usize::MAX), 3), (None, 3)] {
        let groups = Groups::builder().max_groups_per_connection(limit).build();
        let app = endpoint(handler(echo));
        let mut client = testing::connect(app, testing::request("/"))
            .await
            .unwrap()
            .1;
        let sender = client.sender();
        let members: Vec<_> = (0..3).map(|room| groups.join(room, &sender)).collect();
        let joined = members.iter().filter(|member| member.is_ok()).count();
        assert_eq!(joined, fitting, "{limit:?}");
        assert!(converse_at_once(&mut client).await);
    }
}
