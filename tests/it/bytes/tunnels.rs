//! Whole tunnels: any protocol of bytes at both ends, with WebSocket between.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional, copy_buf,
        duplex,
    },
    time::{Instant, advance},
};
use tower_websocket::{CloseCode, Compression, Config, testing};

use super::noise;
use crate::session::support::{Frame, SHAPES, binary, close, hold, idle, within};

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

#[tokio::test(start_paused = true)]
async fn what_a_peer_has_sent_before_it_closed_arrives_however_slow_the_other_end_is() {
    for shape in SHAPES {
        // Its Close is there long before the database has read all.
        let config = Config::default().max_read_ahead(100_000);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let (mut here, mut database) = duplex(1000);
        let tunnel = tokio::spawn(async move {
            let stream = socket.into_byte_stream();
            stream.tunnel(&mut here, CloseCode::BAD_GATEWAY).await
        });
        let bytes = noise(50_000);
        peer.send(binary(&bytes)).await;
        peer.send(close(1000, "")).await;
        idle().await;
        // By now the Close is answered, for all that is still to be read.
        advance(Duration::from_secs(1)).await;
        idle().await;
        // What it says meanwhile nobody takes any more, and it does not read before it has said it.
        within(database.write_all(&[0; 10_000])).await.unwrap();
        let mut received = vec![];
        within(database.read_to_end(&mut received)).await.unwrap();
        assert!(received == bytes, "{}", received.len());
        // And what it says behind the end is no reason to reset it.
        within(database.write_all(&[0; 10_000])).await.unwrap();
        assert!(!tunnel.is_finished());
        drop(database);
        within(tunnel).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_other_end_that_does_not_end_is_left_after_a_while() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let (mut here, mut database) = duplex(1000);
        peer.send(close(1000, "")).await;
        peer.finish().await;
        let began = Instant::now();
        let stream = socket.into_byte_stream();
        let tunnel = stream.tunnel(&mut here, CloseCode::BAD_GATEWAY);
        tunnel.await.unwrap();
        let took = began.elapsed();
        assert!((5..6).contains(&took.as_secs()), "{took:?}");
        assert_eq!(within(database.read(&mut [0])).await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_of_the_other_end_closes_and_an_error_says_so() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let (mut here, mut database) = duplex(1000);
        let tunnel = tokio::spawn(async move {
            let stream = socket.into_byte_stream();
            stream.tunnel(&mut here, CloseCode::BAD_GATEWAY).await
        });
        database.write_all(b"bye").await.unwrap();
        database.shutdown().await.unwrap();
        assert_eq!(peer.frame().await, Frame::binary("bye"));
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send(close(1000, "")).await;
        peer.finish().await;
        within(tunnel).await.unwrap().unwrap();

        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let tunnel = tokio::spawn(async move {
            let (stream, mut broken) = (socket.into_byte_stream(), Broken);
            stream.tunnel(&mut broken, CloseCode::BAD_GATEWAY).await
        });
        let error = within(tunnel).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(peer.frame().await.code(), Some(1014));
    }
}

/// What was reset.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "client")]
mod over_sockets {
    use std::io::ErrorKind;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
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
            let stream = socket.into_byte_stream();
            stream.tunnel(&mut upstream, CloseCode::BAD_GATEWAY).await
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
            let (mut there, _) = within(upstream.accept()).await.unwrap();
            // The tunnel is there.
            there.write_all(b"hi").await.unwrap();
            within(stream.read_exact(&mut [0; 2])).await.unwrap();
            // What is closed so is reset.
            there.set_zero_linger().unwrap();
            drop(there);
            let error = within(stream.read(&mut [0])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            let Some(ByteStreamError::Closed(frame)) = inside(&error) else {
                panic!("no Close frame: {error:?}");
            };
            assert_eq!(frame.code(), CloseCode::BAD_GATEWAY);
            assert_eq!(ended.next().await, 1014);
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
