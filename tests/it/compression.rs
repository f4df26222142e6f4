//! permessage-deflate between two ends: what is agreed on, and conversations by it.

use std::time::Instant;

use axum::Router;
use bytes::{Buf, Bytes};
use http::{Response, header};
use tokio::task::JoinSet;
use tower_websocket::{
    Compression, Config, Error, Event, Handshake, Message, PreparedMessage, WebSocket,
    WebSocketLayer,
    protocol::{Connection, DeflateParams, Outbound, Role},
    service::Decision,
    testing,
};

use crate::{
    session::{
        self,
        support::{Frame, SHAPES, Shape, hold_compressed},
    },
    support::{
        Http, Log, close, echo, handler,
        http::{Ask, Peer, Server},
        on_both, within,
    },
};

const EXTENSIONS: &str = "sec-websocket-extensions";

/// RFC 7692 §7.2.3.1 and §7.2.3.2: "Hello", and "Hello" again with context takeover.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
const HELLO_AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

/// The first byte of a frame with a whole compressed text message.
const COMPRESSED: u8 = 0xc1;

/// Both modes.
fn modes() -> [Compression; 2] {
    [Compression::shared(), Compression::dedicated()]
}

fn compressing(settings: Compression) -> Config {
    Config::default().compression(settings)
}

/// A server of an echo at `/`.
async fn echo_server(config: Config) -> Server {
    let service = WebSocketLayer::new(handler(echo)).config(config).endpoint();
    Server::start(Router::new().route_service("/", service)).await
}

fn offering(http: Http, offer: &str) -> Ask {
    Ask::handshake(http, "/").header(EXTENSIONS, offer)
}

/// The list of extensions in a response.
fn extensions<B>(response: &Response<B>) -> Option<&str> {
    let list = response.headers().get(header::SEC_WEBSOCKET_EXTENSIONS);
    list.map(|list| list.to_str().unwrap())
}

/// A frame as a client sends it, unmasked by zeroes.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126, "a short frame");
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

async fn echoes_compressed(peer: &mut Peer, payload: &[u8]) -> (u8, Bytes) {
    peer.write(&client_frame(COMPRESSED, payload)).await;
    peer.whole_frame().await.expect("an echo")
}

#[tokio::test]
async fn server_answers_what_is_agreed_on_and_echoes_by_it() {
    let dedicated = || Compression::dedicated().threshold(0);
    let shared = || Compression::shared().threshold(0);
    let no_takeover = "; server_no_context_takeover; client_no_context_takeover";
    for (settings, offer, answer, again) in [
        (dedicated(), "", "", Some(HELLO_AGAIN)),
        // As browsers send it.
        (
            dedicated(),
            "; client_max_window_bits",
            "",
            Some(HELLO_AGAIN),
        ),
        (
            dedicated(),
            "; server_max_window_bits=10; client_max_window_bits=9",
            "; server_max_window_bits=10; client_max_window_bits=9",
            Some(HELLO_AGAIN),
        ),
        (
            dedicated().max_window_bits(12).peer_max_window_bits(11),
            "; client_max_window_bits",
            "; server_max_window_bits=12; client_max_window_bits=11",
            Some(HELLO_AGAIN),
        ),
        (
            dedicated(),
            "; client_no_context_takeover",
            "; client_no_context_takeover",
            None,
        ),
        (shared(), "; client_max_window_bits", no_takeover, None),
        (dedicated().max_memory(0), "", no_takeover, None),
    ] {
        let server = echo_server(compressing(settings)).await;
        on_both(async |http| {
            let offer = format!("permessage-deflate{offer}");
            let opened = offering(http, &offer).send(&server).await;
            let expected = format!("permessage-deflate{answer}");
            assert_eq!(opened.header(EXTENSIONS), Some(&*expected));
            let mut peer = opened.opened(http);
            let echoed = echoes_compressed(&mut peer, HELLO).await;
            // It is shorter as it is.
            let hello = (0x81, Bytes::from_static(b"Hello"));
            assert_eq!(echoed, hello);
            // Whether the client may refer back.
            if let Some(again) = again {
                assert_eq!(echoes_compressed(&mut peer, again).await, hello);
                peer.close().await;
            } else {
                peer.write(&client_frame(COMPRESSED, HELLO_AGAIN)).await;
                assert_eq!(peer.closed().await.0, 1007);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn server_goes_on_without_compression_where_no_offer_can_be_met() {
    let server = echo_server(compressing(Compression::dedicated().threshold(0))).await;
    for offer in [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=\"10\"",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; unknown",
        "x-webkit-deflate-frame",
        "permessage-bzip2, permessage-foo; a=1",
    ] {
        on_both(async |http| {
            let opened = offering(http, offer).send(&server).await;
            assert_eq!(opened.header(EXTENSIONS), None, "{offer}");
            opens_without_compression(opened.opened(http)).await;
        })
        .await;
    }
}

/// The connection takes and sends plain messages, and no compressed ones.
async fn opens_without_compression(mut peer: Peer) {
    peer.echoes("plain").await;
    peer.write(&client_frame(COMPRESSED, HELLO)).await;
    assert_eq!(peer.closed().await.0, 1002);
}

#[tokio::test]
async fn client_that_offers_nothing_gets_nothing() {
    for settings in modes() {
        let server = echo_server(compressing(settings.threshold(0))).await;
        on_both(async |http| {
            let opened = Ask::handshake(http, "/").send(&server).await;
            assert_eq!(opened.header(EXTENSIONS), None);
            opens_without_compression(opened.opened(http)).await;
        })
        .await;
    }
}

#[tokio::test]
async fn server_without_settings_agrees_to_nothing() {
    let server = echo_server(Config::default()).await;
    on_both(async |http| {
        let opened = offering(http, "permessage-deflate").send(&server).await;
        assert_eq!(opened.header(EXTENSIONS), None);
        opens_without_compression(opened.opened(http)).await;
    })
    .await;
}

#[tokio::test]
async fn hook_declines_compression() {
    async fn decline(mut handshake: Handshake) -> Decision {
        handshake.decline_compression();
        handshake.accept()
    }
    let service = WebSocketLayer::new(handler(echo))
        .config(compressing(Compression::dedicated().threshold(0)))
        .on_handshake(decline)
        .endpoint();
    let server = Server::start(Router::new().route_service("/", service)).await;
    on_both(async |http| {
        let opened = offering(http, "permessage-deflate").send(&server).await;
        assert_eq!(opened.header(EXTENSIONS), None);
        opens_without_compression(opened.opened(http)).await;
    })
    .await;
}

/// What was agreed on holds for what the peer sends, whatever the hook does to the settings.
#[tokio::test]
async fn hook_that_takes_the_settings_away_leaves_messages_uncompressed() {
    async fn plain(mut handshake: Handshake) -> Decision {
        let config = handshake.config_mut();
        *config = config.clone().compression(None);
        handshake.accept()
    }
    let service = WebSocketLayer::new(handler(echo))
        .config(compressing(Compression::dedicated().threshold(0)))
        .on_handshake(plain)
        .endpoint();
    let server = Server::start(Router::new().route_service("/", service)).await;
    on_both(async |http| {
        let opened = offering(http, "permessage-deflate").send(&server).await;
        assert_eq!(opened.header(EXTENSIONS), Some("permessage-deflate"));
        let mut peer = opened.opened(http);
        for payload in [HELLO, HELLO_AGAIN] {
            let echoed = echoes_compressed(&mut peer, payload).await;
            assert_eq!(echoed, (0x81, Bytes::from_static(b"Hello")));
        }
        peer.close().await;
    })
    .await;
}

/// Sends messages of every kind, in the order of [`FIRST_BYTES`].
async fn choices(socket: WebSocket) -> Result<(), Error> {
    let long = || Message::text("secret ".repeat(20));
    let short = || Message::text("secret ".repeat(4));
    for outbound in [
        Outbound::from(long()),
        long().uncompressed(),
        long().compressed(),
        short().into(),
        short().uncompressed(),
        short().compressed(),
    ] {
        let prepared = PreparedMessage::new(outbound.clone());
        socket.send(outbound).await?;
        socket.send(prepared).await?;
    }
    Ok(())
}

const FIRST_BYTES: [u8; 6] = [COMPRESSED, 0x81, COMPRESSED, 0x81, 0x81, COMPRESSED];

#[tokio::test]
async fn secrets_are_not_compressed_on_the_wire() {
    for settings in modes() {
        let service = WebSocketLayer::new(handler(choices))
            .config(compressing(settings.threshold(100)))
            .endpoint();
        let server = Server::start(Router::new().route_service("/", service)).await;
        on_both(async |http| {
            let opened = offering(http, "permessage-deflate").send(&server).await;
            let mut peer = opened.opened(http);
            for first in FIRST_BYTES {
                for _prepared in [false, true] {
                    let frame = peer.whole_frame().await.unwrap();
                    assert_eq!(frame.0, first, "{frame:?}");
                    let plain = frame.1.starts_with(b"secret secret ");
                    assert_eq!(plain, first == 0x81);
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn bomb_is_1009_and_what_follows_is_not_looked_at() {
    for settings in modes() {
        let server = echo_server(compressing(settings.clone())).await;
        on_both(async |http| {
            let opened = offering(http, "permessage-deflate").send(&server).await;
            let mut peer = opened.opened(http);
            let now = Instant::now();
            let config = compressing(settings.clone());
            let params = DeflateParams {
                client_no_context_takeover: true,
                ..DeflateParams::default()
            };
            let mut bomb = Connection::new(Role::Client, config, now).deflate(params);
            bomb.send(vec![0; (1 << 20) + 1]).unwrap();
            bomb.send("late").unwrap();
            let queue = bomb.poll_transmit().unwrap();
            let len = queue.remaining();
            assert!(len < 30_000, "{len} bytes");
            peer.write(&queue.copy_to_bytes(len)).await;
            let (code, reason) = peer.closed().await;
            assert_eq!(code, 1009);
            assert_eq!(
                reason,
                "message decompresses to more than the limit of 1048576"
            );
        })
        .await;
    }
}

/// Messages of all sorts, of which those after the first can refer back.
fn conversation() -> Vec<Message> {
    let noise = |len: usize| -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    vec![
        Message::text(""),
        Message::text("Hello, wörld"),
        Message::text("Hello, wörld"),
        Message::binary(""),
        Message::text("wörld 😀 ".repeat(1000)),
        Message::binary(vec![0; 100_000]),
        Message::binary(noise(40_000)),
        Message::binary(noise(40_000)),
        Message::binary(noise(1000)),
        Message::text("wörld 😀 ".repeat(6000)),
        Message::text("the end"),
    ]
}

fn is_noise(message: &Message) -> bool {
    message.as_text().is_none() && message.as_bytes().iter().any(|byte| *byte != 0)
}

/// Has every message echoed, sent in several ways.
async fn converse(client: &mut WebSocket) {
    for message in conversation() {
        for outbound in [
            Outbound::from(message.clone()),
            message.clone().uncompressed(),
            PreparedMessage::new(message.clone()).into(),
        ] {
            client.send(outbound).await.unwrap();
            let received = client.recv().await.unwrap();
            assert!(
                received.as_ref() == Some(&message),
                "{} bytes",
                message.len()
            );
        }
    }
}

/// Sends every message back prepared, and once more as it is.
async fn echo_prepared(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(PreparedMessage::new(message.clone())).await?;
        socket.send(message).await?;
    }
    Ok(())
}

#[tokio::test]
async fn two_ends_in_memory_converse_whatever_their_settings() {
    let server_settings = modes().into_iter().chain([
        Compression::dedicated()
            .max_window_bits(9)
            .peer_max_window_bits(9),
        Compression::dedicated().max_memory(0),
        // Memory for the windows, and none for a compressor.
        Compression::dedicated().max_memory(100 << 10),
        Compression::shared().level(9).memory_level(1).threshold(0),
    ]);
    for server in server_settings {
        for (client, http) in modes().into_iter().zip([Http::One, Http::Two]) {
            let config = compressing(server.clone());
            let (pen, mut ends) = Log::new();
            let service = WebSocketLayer::new(handler(echo))
                .config(config)
                .on_end(move |report| pen.write(report.bytes_received))
                .endpoint();
            let request = http.request("/").config(compressing(client));
            let (response, mut client) = testing::connect(service, request).await.unwrap();
            let answer = extensions(&response).unwrap();
            assert!(answer.starts_with("permessage-deflate"), "{answer}");
            within(converse(&mut client)).await;
            close(client).await;
            // Of each message one in three is left as it is; of the others only noise is as long.
            let len = |message: &Message| message.len() as u64;
            let plain: u64 = conversation().iter().map(len).sum();
            let received = ends.next().await;
            assert!(plain < received, "{received} bytes");
            assert!(received < 2 * plain, "{received} bytes of {}", 3 * plain);
        }
    }
}

#[tokio::test]
async fn prepared_messages_among_others_leave_takeover_intact() {
    on_both(async |http| {
        let config = || compressing(Compression::dedicated().threshold(0));
        let (pen, mut ends) = Log::new();
        let service = WebSocketLayer::new(handler(echo_prepared))
            .config(config())
            .on_end(move |report| pen.write(report.bytes_received));
        let request = http.request("/").config(config());
        let connected = testing::connect(service.endpoint(), request).await;
        let (response, mut client) = connected.unwrap();
        assert_eq!(extensions(&response), Some("permessage-deflate"));
        // What is said twice is referred to over all that was said in between.
        let short = || {
            conversation()
                .into_iter()
                .filter(|message| message.len() < 20_000)
        };
        for message in short().chain(conversation()).chain(short()) {
            client.send(message.clone()).await.unwrap();
            for _ in 0..2 {
                let received = client.recv().await.unwrap();
                assert!(received.as_ref() == Some(&message));
            }
        }
        close(client).await;
        // The noise as it is, and hardly anything of some 460,000 bytes beside it.
        let received = ends.next().await;
        assert!((80_000..90_000).contains(&received), "{received} bytes");
    })
    .await;
}

#[tokio::test]
async fn ends_of_which_one_does_not_compress_converse() {
    let with = compressing(Compression::dedicated());
    for (server, client) in [
        (with.clone(), Config::default()),
        (Config::default(), with.clone()),
    ] {
        on_both(async |http| {
            let layer = WebSocketLayer::new(handler(echo)).config(server.clone());
            let request = http.request("/").config(client.clone());
            let connected = testing::connect(layer.endpoint(), request).await;
            let (response, mut client) = connected.unwrap();
            assert_eq!(extensions(&response), None);
            converse(&mut client).await;
            close(client).await;
        })
        .await;
    }
}

/// Sends what compresses well, and looks at what waits to be written: the session has had no turn.
async fn sends_compressed(from: &WebSocket, to: &mut WebSocket) {
    let text = "again and ".repeat(10_000);
    assert_eq!(from.sender().queued_bytes(), 0);
    from.try_send(text.clone()).unwrap();
    let queued = from.sender().queued_bytes();
    assert!((1..2000).contains(&queued), "{queued} bytes");
    let received = within(to.recv()).await.unwrap();
    assert_eq!(received, Some(text.into()));
}

#[tokio::test]
async fn pair_converses_with_compression() {
    for settings in modes() {
        let (mut client, mut server) = testing::pair(compressing(settings));
        sends_compressed(&client, &mut server).await;
        sends_compressed(&server, &mut client).await;
        let echo = tokio::spawn(echo(server));
        within(converse(&mut client)).await;
        close(client).await;
        echo.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn pair_converses_with_compression_in_fragments() {
    for settings in modes() {
        let config = compressing(settings).fragment_size(100);
        let (mut client, mut server) = testing::pair(config);
        sends_compressed(&client, &mut server).await;
        sends_compressed(&server, &mut client).await;
        let echo = tokio::spawn(echo(server));
        within(converse(&mut client)).await;
        close(client).await;
        echo.await.unwrap().unwrap();
    }
}

/// The peer of [`hold_compressed`], which understands what is compressed.
struct Reading {
    peer: session::support::Peer,
    client: Connection,
}

impl Reading {
    fn new(peer: session::support::Peer, settings: &Compression) -> Self {
        let alone = format!("{settings:?}").contains("context_takeover: false");
        let params = DeflateParams {
            server_no_context_takeover: alone,
            client_no_context_takeover: alone,
            ..DeflateParams::default()
        };
        let config = compressing(settings.clone());
        let client = Connection::new(Role::Client, config, Instant::now()).deflate(params);
        Self { peer, client }
    }

    /// Receives a message, and the frames it came in.
    async fn message(&mut self) -> (Message, Vec<Frame>) {
        let mut frames = Vec::new();
        loop {
            let frame = self.peer.frame().await;
            self.client.receive(&frame.bytes(), Instant::now());
            frames.push(frame);
            match self.client.poll_event() {
                Some(Event::Message(message)) => return (message, frames),
                None => assert_eq!(self.client.error(), None),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// RFC 7692 §6: a message is compressed and then cut; RSV1 is on its first fragment only.
#[tokio::test]
async fn messages_in_fragments_are_compressed_whole() {
    const SIZE: usize = 100;
    for (settings, shape) in modes().into_iter().zip(SHAPES) {
        let config = compressing(settings.clone()).fragment_size(SIZE);
        let (peer, socket) = hold_compressed(shape, config).await;
        let mut peer = Reading::new(peer, &settings);
        for message in conversation() {
            for outbound in [
                Outbound::from(message.clone()),
                PreparedMessage::new(message.clone()).into(),
            ] {
                socket.send(outbound).await.unwrap();
                let (received, frames) = peer.message().await;
                assert!(received == message, "{} bytes", message.len());
                let (last, others) = frames.split_last().unwrap();
                assert!(others.iter().all(|frame| frame.payload.len() == SIZE));
                assert!(last.payload.len() <= SIZE);
                let reserved = frames[1..].iter().map(|frame| frame.first & 0x70);
                assert_eq!(reserved.max().unwrap_or(0), 0);
                let len: usize = frames.iter().map(|frame| frame.payload.len()).sum();
                // Noise gets no shorter, and short messages are left as they are.
                let compressed = message.len() > 10_000 && !is_noise(&message);
                assert_eq!(frames[0].is_compressed(), compressed, "{len} bytes");
                assert!(!compressed || len < message.len() / 10, "{len} bytes");
            }
        }
    }
}

/// What one of several tasks sends: tagged, and like what the others send.
fn tagged(task: usize, number: usize) -> Message {
    let text = format!("task {task}, number {number}; ");
    Message::text(text.repeat(1 + (7 * task + number) % 50))
}

/// Takeover needs the order on the wire to be that of compression.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_of_many_tasks_arrive_whole_and_in_the_order_of_each() {
    const TASKS: usize = 8;
    const MESSAGES: usize = 100;
    for memory in [256 << 20, 100 << 10] {
        let settings = Compression::dedicated().threshold(100).max_memory(memory);
        let (peer, socket) = hold_compressed(Shape::H1, compressing(settings.clone())).await;
        let mut peer = Reading::new(peer, &settings);
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let sender = socket.sender();
            tasks.spawn(async move {
                for number in 0..MESSAGES {
                    let message = tagged(task, number);
                    let outbound = match number % 5 {
                        0 => PreparedMessage::new(message).into(),
                        1 => message.uncompressed(),
                        2 => message.compressed(),
                        _ => message.into(),
                    };
                    sender.send(outbound).await.unwrap();
                }
            });
        }
        let mut next = [0; TASKS];
        for _ in 0..TASKS * MESSAGES {
            let (message, frames) = peer.message().await;
            let text = message.as_text().unwrap();
            let tag = text.strip_prefix("task ").unwrap().split_once(',').unwrap();
            let task: usize = tag.0.parse().unwrap();
            let number = next[task];
            assert_eq!(message, tagged(task, number));
            let compressed = number % 5 != 1 && (number % 5 == 2 || message.len() >= 100);
            assert_eq!(frames[0].is_compressed(), compressed, "{message:?}");
            next[task] += 1;
        }
        assert_eq!(next, [MESSAGES; TASKS]);
        while let Some(sent) = tasks.join_next().await {
            sent.unwrap();
        }
    }
}
