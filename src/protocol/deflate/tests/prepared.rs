//! Messages that are compressed once for many connections.

use super::{blocks::walk, deflater::FINISHED, *};
use crate::{
    compression::Compression,
    memory::MemoryBudget,
    protocol::{Encoder, deflate::Shape, outbound::PreparedMessage},
};

fn long() -> String {
    "Good news for everybody. ".repeat(100)
}

fn shape(window_bits: u8, settings: &Compression) -> Shape {
    let params = DeflateParams {
        server_max_window_bits: window_bits,
        ..no_takeover()
    };
    Shape::new(params.direction(Role::Server), settings)
}

/// Returns how many messages were compressed by `work`, on this thread.
fn compressed_by(work: impl FnOnce()) -> usize {
    let before = FINISHED.get();
    work();
    FINISHED.get() - before
}

fn server(config: Config) -> Encoder {
    Encoder::new(Role::Server, &config)
}

#[test]
fn each_form_is_made_once() {
    let (server, settings) = (server(Config::default()), Compression::shared());
    let prepared = PreparedMessage::new(long());
    let runs = compressed_by(|| {
        for _ in 0..1000 {
            for bits in 8..=15 {
                let encoded = prepared.clone().encode(
                    &server,
                    Some(shape(bits, &settings)),
                    &MemoryBudget::unlimited(),
                );
                assert!(encoded.compressed);
            }
            assert!(
                !prepared
                    .encode(&server, None, &MemoryBudget::unlimited())
                    .compressed
            );
        }
    });
    assert_eq!(runs, 8);
}

#[test]
fn each_form_fits_its_window() {
    let (server, settings) = (server(Config::default()), Compression::shared());
    // Repeated after 3,000 bytes, which is in reach of some windows only.
    let content = Random(31).bytes(3000).repeat(2);
    let prepared = PreparedMessage::new(content.clone());
    for bits in [8, 9, 11, 12, 15] {
        let encoded = prepared.encode(
            &server,
            Some(shape(bits, &settings)),
            &MemoryBudget::unlimited(),
        );
        assert_eq!(encoded.compressed, bits >= 12);
        let params = DeflateParams {
            server_max_window_bits: bits,
            ..no_takeover()
        };
        let decoded = decode_all(&mut decoder(Role::Client, params), [&encoded.frames[..]]);
        assert_eq!(decoded, (vec![binary(content.clone())], None));
        if encoded.compressed {
            let distance = walk(&encoded.frames[4..], &mut Vec::new());
            assert!(distance <= 1 << bits);
        }
    }
}

#[test]
fn forms_in_fragments_are_others() {
    let settings = Compression::shared();
    let prepared = PreparedMessage::new(long());
    let shape = Some(shape(15, &settings));
    let whole = prepared.encode(
        &server(Config::default()),
        shape,
        &MemoryBudget::unlimited(),
    );
    let fragments = prepared.encode(
        &server(Config::default().fragment_size(10)),
        shape,
        &MemoryBudget::unlimited(),
    );
    assert_ne!(whole.frames, fragments.frames);
    for encoded in [whole, fragments] {
        let mut decoder = decoder(Role::Client, no_takeover());
        let decoded = decode_all(&mut decoder, [&encoded.frames[..]]);
        assert_eq!(decoded, (vec![text(&long())], None));
    }
}

#[test]
fn message_that_does_not_shrink_is_tried_once() {
    let (server, settings) = (server(Config::default()), Compression::shared());
    let content = Random(32).bytes(1000);
    let prepared = PreparedMessage::new(content.clone());
    let runs = compressed_by(|| {
        for _ in 0..10 {
            let encoded = prepared.encode(
                &server,
                Some(shape(15, &settings)),
                &MemoryBudget::unlimited(),
            );
            assert!(!encoded.compressed);
            assert_eq!(encoded.frames, from_server(0x82, &content));
        }
    });
    assert_eq!(runs, 1);
}

#[test]
fn prepared_messages_are_equal_where_content_and_choice_are() {
    let prepared = PreparedMessage::new("news");
    assert_eq!(prepared, prepared.clone());
    assert_eq!(prepared, PreparedMessage::new("news"));
    assert_ne!(prepared, PreparedMessage::new("other news"));
    assert_ne!(prepared, PreparedMessage::new(b"news"));
    let message = || Message::text("news");
    assert_ne!(prepared, PreparedMessage::new(message().compressed()));
    assert_ne!(prepared, PreparedMessage::new(message().uncompressed()));
    // What was made of it does not matter.
    prepared.encode(&server(Config::default()), None, &MemoryBudget::unlimited());
    assert_eq!(prepared, PreparedMessage::new("news"));
    // Prepared twice, it is the same.
    assert_eq!(prepared, PreparedMessage::new(prepared.clone()));
}

#[cfg(feature = "testing")]
mod sessions {
    use std::{convert::Infallible, future::ready, sync::Arc};

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tower::ServiceExt;

    use super::*;
    use crate::{
        groups::{SlowConnection, handle::Groups},
        service::{OnUpgrade, handler::handler, layer::WebSocketLayer},
        session::{Agreed, Connections, Opened, Session, Setup, Transport, WebSocket},
        testing,
    };

    /// The server's ends of `count` connections, and the clients'.
    fn pairs(count: usize, config: &Config) -> (Vec<WebSocket>, Vec<WebSocket>) {
        let pairs = (0..count).map(|_| testing::pair(config.clone()));
        let (clients, servers) = pairs.unzip();
        (servers, clients)
    }

    async fn broadcast(from: &[WebSocket], to: &mut [WebSocket], prepared: &PreparedMessage) {
        for socket in from {
            socket.try_send(prepared).expect("there is room");
        }
        for socket in to {
            let received = socket.recv().await.expect("it is open");
            assert_eq!(received.as_ref(), Some(prepared.message()));
        }
    }

    #[tokio::test]
    async fn message_for_a_thousand_connections_is_compressed_once() {
        for settings in [Compression::shared(), Compression::dedicated()] {
            let config = Config::default().compression(settings);
            let (servers, mut clients) = pairs(1000, &config);
            let before = FINISHED.get();
            let prepared = PreparedMessage::new(long());
            broadcast(&servers, &mut clients, &prepared).await;
            assert_eq!(FINISHED.get() - before, 1);
        }
    }

    #[tokio::test]
    async fn broadcast_to_a_group_is_compressed_once_for_all_who_agreed_on_it() {
        for settings in [Compression::shared(), Compression::dedicated()] {
            let groups: Groups<u8> = Groups::new();
            let compressing = Config::default().compression(settings);
            let (servers, mut clients) = pairs(300, &compressing);
            let (others, mut others_clients) = pairs(30, &Config::default());
            let members: Vec<_> = servers
                .iter()
                .chain(&others)
                .map(|socket| groups.join(0, &socket.sender()).expect("it is open"))
                .collect();
            let before = FINISHED.get();
            let delivery = groups.broadcast(&0, long()).await;
            assert_eq!(FINISHED.get() - before, 1);
            assert_eq!(delivery.sent, 330);
            for client in clients.iter_mut().chain(&mut others_clients) {
                let received = client.recv().await.expect("it is open");
                assert_eq!(received, Some(long().into()));
            }
            drop(members);
        }
    }

    #[tokio::test]
    async fn broadcast_to_all_connections_is_compressed_once_for_all_who_agreed_on_it() {
        let connections = Connections::new();
        let config = Config::default().compression(Compression::shared());
        let layer = WebSocketLayer::new(handler(
            async |mut socket: WebSocket| {
                while let Ok(Some(_)) = socket.recv().await {}
            },
        ));
        let service = layer.config(config).connections(&connections).endpoint();
        let mut peers = Vec::new();
        for index in 0..100 {
            let mut request = testing::request("/");
            // A few take it as it is.
            if index % 10 != 0 {
                request = request.header("sec-websocket-extensions", "permessage-deflate");
            }
            let mut request = request.into_request();
            let (ours, theirs) = duplex(64 << 10);
            request.extensions_mut().insert(OnUpgrade::new(theirs));
            let response = service.clone().oneshot(request).await;
            assert_eq!(response.expect("it never fails").status(), 101);
            peers.push(ours);
        }
        while connections.len() < 100 {
            tokio::task::yield_now().await;
        }
        let before = FINISHED.get();
        let delivery = connections.broadcast(long(), SlowConnection::default());
        assert_eq!(delivery.await.sent, 100);
        assert_eq!(FINISHED.get() - before, 1);
    }

    #[tokio::test]
    async fn message_for_connections_without_compression_is_not_compressed() {
        let (servers, mut clients) = pairs(10, &Config::default());
        let before = FINISHED.get();
        let prepared = PreparedMessage::new(Message::text(long()).compressed());
        broadcast(&servers, &mut clients, &prepared).await;
        assert_eq!(FINISHED.get() - before, 0);
    }

    #[tokio::test]
    async fn choice_and_threshold_hold_for_prepared_messages() {
        let settings = Compression::shared().threshold(100);
        let config = Config::default().compression(settings);
        let (servers, mut clients) = pairs(10, &config);
        let long = || Message::text("x".repeat(100));
        let short = || Message::text("x".repeat(99));
        for (prepared, runs) in [
            (PreparedMessage::new(long()), 1),
            (PreparedMessage::new(short()), 0),
            (PreparedMessage::new(long().uncompressed()), 0),
            (PreparedMessage::new(short().compressed()), 1),
        ] {
            let before = FINISHED.get();
            broadcast(&servers, &mut clients, &prepared).await;
            assert_eq!(FINISHED.get() - before, runs, "{prepared:?}");
        }
    }

    #[tokio::test]
    async fn clients_send_prepared_messages_too() {
        for settings in [Compression::shared(), Compression::dedicated()] {
            let config = Config::default().compression(settings);
            let (mut servers, clients) = pairs(5, &config);
            let prepared = PreparedMessage::new(long());
            let before = FINISHED.get();
            broadcast(&clients, &mut servers, &prepared).await;
            broadcast(&clients, &mut servers, &prepared).await;
            // Masked, each is one of its own.
            assert_eq!(FINISHED.get() - before, 2 * clients.len());
        }
    }

    /// A client's end, and the bytes of its stream.
    fn client() -> (WebSocket, DuplexStream) {
        let (ours, theirs) = duplex(64 << 10);
        let opened = Opened {
            transport: Transport::other(theirs),
            read: Bytes::new(),
            setup: Arc::new(Setup::client()),
            agreed: Agreed::default(),
            place: None,
        };
        let mut socket = None;
        let session = Session::open(opened, |opened| {
            socket = Some(opened);
            ready(Ok::<(), Infallible>(()))
        });
        tokio::spawn(session);
        (socket.expect("a session gives its socket"), ours)
    }

    /// RFC 6455 §5.3: a key is drawn for each frame.
    #[tokio::test]
    async fn clients_draw_a_key_for_each_prepared_message() {
        let prepared = PreparedMessage::new("Hello");
        let mut keys = Vec::new();
        for _ in 0..3 {
            let (socket, mut peer) = client();
            socket.try_send(&prepared).expect("there is room");
            let mut frame = [0; 11];
            peer.read_exact(&mut frame).await.expect("a frame");
            keys.push(frame[2..6].to_vec());
        }
        assert!(keys[0] != keys[1] || keys[1] != keys[2], "{keys:x?}");
    }
}
