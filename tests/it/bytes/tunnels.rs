//! Whole tunnels: any protocol of bytes at both ends, with WebSocket between.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, copy_buf, duplex};
use tower_websocket::{Compression, Config, testing};

use super::noise;
use crate::session::support::within;

#[tokio::test]
async fn bytes_are_the_same_at_the_other_end_however_they_were_written() {
    let compressed = Config::default().compression(Compression::dedicated());
    let configs = [
        Config::default(),
        Config::default().streaming(true).fragment_size(1000),
        Config::default().max_send_queue(0).max_read_ahead(0),
        compressed.clone(),
        compressed.streaming(true),
    ];
    let bytes = noise(300_000);
    for config in configs {
        for piece in [1000, 7777, 100_000] {
            let (client, server) = testing::pair(config.clone());
            let (mut reader, mut writer) = client.into_byte_stream().max_write(5000).into_split();
            let sent = bytes.clone();
            tokio::spawn(async move {
                for piece in sent.chunks(piece) {
                    writer.write_all(piece).await.unwrap();
                }
            });
            let echo = tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(server.into_byte_stream());
                // What comes goes back as it lies there.
                tokio::io::copy(&mut reader, &mut writer).await
            });
            let mut received = vec![0; bytes.len()];
            within(reader.read_exact(&mut received)).await.unwrap();
            assert!(received == bytes, "{piece}");
            drop(reader);
            let echoed = within(echo).await.unwrap().unwrap();
            assert_eq!(echoed, bytes.len() as u64);
        }
    }
}

#[tokio::test]
async fn what_is_received_can_be_copied_out_of_its_buffer() {
    let (client, server) = testing::pair(Config::default());
    let bytes = noise(500_000);
    let sent = bytes.clone();
    tokio::spawn(async move {
        let mut stream = client.into_byte_stream();
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut received = vec![];
    let mut stream = server.into_byte_stream();
    within(copy_buf(&mut stream, &mut received)).await.unwrap();
    assert!(received == bytes);
}

#[tokio::test]
async fn both_directions_go_at_once() {
    let (client, server) = testing::pair(Config::default());
    let (mut near, mut local) = duplex(10_000);
    let (mut far, mut remote) = duplex(10_000);
    let tunnel = tokio::spawn(async move {
        let (mut client, mut server) = (client.into_byte_stream(), server.into_byte_stream());
        tokio::join!(
            copy_bidirectional(&mut local, &mut client),
            copy_bidirectional(&mut server, &mut remote)
        )
    });
    let (up, down) = (noise(2_000_000), noise(1_500_000));
    let (mut received_up, mut received_down) = (vec![0; up.len()], vec![0; down.len()]);
    let (mut near_reader, mut near_writer) = tokio::io::split(&mut near);
    let (mut far_reader, mut far_writer) = tokio::io::split(&mut far);
    let all = async {
        tokio::try_join!(
            near_writer.write_all(&up),
            far_writer.write_all(&down),
            far_reader.read_exact(&mut received_up),
            near_reader.read_exact(&mut received_down),
        )
    };
    within(all).await.unwrap();
    assert!(received_up == up && received_down == down);
    drop(near);
    assert_eq!(within(far.read(&mut [0])).await.unwrap(), 0);
    drop(far);
    let (client, server) = within(tunnel).await.unwrap();
    let lengths = (up.len() as u64, down.len() as u64);
    assert_eq!((client.unwrap(), server.unwrap()), (lengths, lengths));
}

#[cfg(feature = "client")]
mod over_sockets {
    use std::io::ErrorKind;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
        net::{TcpListener, TcpStream},
    };
    use tower_websocket::{
        CloseCode, WebSocket, WebSocketLayer,
        client::{Client, HttpVersion},
        session::{ByteStream, ByteStreamError},
    };

    use crate::{
        bytes::{inside, noise},
        support::{
            Http, Log, handler,
            http::{Ask, Server},
            on_both, within,
        },
    };

    /// Connects to a server whose WebSockets are tunnels to `upstream`; gives the codes they end with, too.
    async fn tunnel(upstream: &TcpListener, http: Http) -> (Server, ByteStream, Log<u16>) {
        let upstream = upstream.local_addr().unwrap();
        let (pen, ended) = Log::new();
        let layer = WebSocketLayer::new(handler(move |socket: WebSocket| async move {
            let mut upstream = TcpStream::connect(upstream).await?;
            let mut stream = socket.into_byte_stream();
            copy_bidirectional(&mut stream, &mut upstream).await?;
            std::io::Result::Ok(())
        }))
        .on_end(move |report| pen.write(report.close_code));
        let server = Server::start(layer.endpoint()).await;
        let version = http.pick(HttpVersion::Http1, HttpVersion::Http2);
        let uri = format!("ws://{}/", server.address);
        let client = Client::new().http_version(version).connect(uri).await;
        (server, client.unwrap().into_byte_stream(), ended)
    }

    async fn listen() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    #[tokio::test]
    async fn much_goes_there_and_back_over_hyper() {
        on_both(async |http| {
            let upstream = listen().await;
            let (_server, mut stream, mut ended) = tunnel(&upstream, http).await;
            let echo = tokio::spawn(async move {
                let (mut echo, _) = upstream.accept().await.unwrap();
                let (mut reader, mut writer) = echo.split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap()
            });
            let bytes = noise(3 << 20);
            let mut received = vec![0; bytes.len()];
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let all = async {
                tokio::try_join!(writer.write_all(&bytes), reader.read_exact(&mut received))
            };
            within(all).await.unwrap();
            assert!(received == bytes);
            within(stream.shutdown()).await.unwrap();
            assert_eq!(within(echo).await.unwrap(), bytes.len() as u64);
            assert_eq!(ended.next().await, 1000);
        })
        .await;
    }

    #[tokio::test]
    async fn an_upstream_that_ends_or_fails_ends_the_client() {
        on_both(async |http| {
            let upstream = listen().await;
            let (_server, mut stream, mut ended) = tunnel(&upstream, http).await;
            let (mut there, _) = within(upstream.accept()).await.unwrap();
            there.write_all(b"bye").await.unwrap();
            drop(there);
            let mut received = vec![];
            within(stream.read_to_end(&mut received)).await.unwrap();
            assert_eq!(received, b"bye");
            assert_eq!(ended.next().await, 1000);

            let (_server, mut stream, mut ended) = tunnel(&upstream, http).await;
            let (there, _) = within(upstream.accept()).await.unwrap();
            // What is closed so is reset.
            there.set_zero_linger().unwrap();
            drop(there);
            let error = within(stream.read(&mut [0])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            let Some(ByteStreamError::Closed(frame)) = inside(&error) else {
                panic!("no Close frame: {error:?}");
            };
            assert_eq!(frame.code(), CloseCode::INTERNAL_ERROR);
            assert_eq!(ended.next().await, 1011);
        })
        .await;
    }

    #[tokio::test]
    async fn a_client_that_vanishes_ends_the_upstream() {
        on_both(async |http| {
            let upstream = listen().await;
            let (server, stream, mut ended) = tunnel(&upstream, http).await;
            let (mut there, _) = within(upstream.accept()).await.unwrap();
            drop(stream);
            assert_eq!(within(there.read(&mut [0])).await.unwrap(), 0);
            assert_eq!(ended.next().await, 1000);

            let peer = Ask::handshake(http, "/").send(&server).await.opened(http);
            let (mut there, _) = within(upstream.accept()).await.unwrap();
            drop(peer);
            assert_eq!(within(there.read(&mut [0])).await.unwrap(), 0);
            assert_eq!(ended.next().await, 1006);
        })
        .await;
    }
}
