//! How a stream of bytes ends.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_websocket::{CloseCode, Config, Error, session::ByteStreamError, session::EndedBy};

use super::{expect_eof, expect_error, inside, read};
use crate::session::support::{
    Frame, SHAPES, binary, client_frame, close, hold, idle, open, text, within,
};

#[tokio::test(start_paused = true)]
async fn a_clean_close_is_the_end_and_any_other_an_error_with_its_frame() {
    for shape in SHAPES {
        let ends = [client_frame(0x88, ""), close(1000, "done"), close(1001, "")];
        for frame in ends {
            let (mut peer, socket, _) = hold(shape, Config::default()).await;
            let mut stream = socket.into_byte_stream();
            peer.send([binary("last"), frame].concat()).await;
            assert_eq!(read(&mut stream, 4).await, b"last");
            expect_eof(&mut stream).await;
        }
        for (code, reason) in [(1011, "no luck"), (1002, ""), (1012, ""), (4000, "kicked")] {
            let (mut peer, socket, _) = hold(shape, Config::default()).await;
            let mut stream = socket.into_byte_stream();
            peer.send([binary("last"), close(code, reason)].concat())
                .await;
            assert_eq!(read(&mut stream, 4).await, b"last");
            let error = within(stream.read(&mut [0])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            let Some(ByteStreamError::Closed(frame)) = inside(&error) else {
                panic!("no Close frame: {error:?}");
            };
            assert_eq!(u16::from(frame.code()), code);
            assert_eq!(frame.reason(), reason);
            assert!(error.to_string().contains(&code.to_string()));
            let again = expect_error(&mut stream).await;
            assert_eq!(again.kind(), error.kind());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_or_breaks_the_protocol_is_an_error() {
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        peer.send(binary("last")).await;
        peer.finish().await;
        assert_eq!(read(&mut stream, 4).await, b"last");
        let error = expect_error(&mut stream).await;
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);

        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        peer.send([binary("last"), client_frame(0xb2, "")].concat())
            .await;
        assert_eq!(read(&mut stream, 4).await, b"last");
        let error = within(stream.read(&mut [0])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(Error::from(error).is_protocol());
        assert_eq!(
            expect_error(&mut stream).await.kind(),
            ErrorKind::InvalidData
        );

        let config = Config::default().idle_timeout(std::time::Duration::from_secs(1));
        let (_peer, socket, _) = hold(shape, config).await;
        let mut stream = socket.into_byte_stream();
        let error = expect_error(&mut stream).await;
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_behind_what_was_written_and_waits() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        peer.send(binary("never read")).await;
        idle().await;
        within(stream.write_all(b"last")).await.unwrap();
        let shutting = tokio::spawn(async move {
            let shut = stream.shutdown().await;
            (stream, shut)
        });
        assert_eq!(peer.frame().await, Frame::binary("last"));
        let frame = peer.frame().await;
        assert_eq!(frame.code(), Some(1000));
        idle().await;
        assert!(!shutting.is_finished(), "it waits for the answer");
        peer.send(binary("passed over")).await;
        peer.send(close(1000, "")).await;
        peer.finish().await;
        let (mut stream, shut) = within(shutting).await.unwrap();
        shut.unwrap();
        expect_eof(&mut stream).await;
        within(stream.shutdown()).await.unwrap();
        let error = within(stream.write(b"late")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        drop(stream);
        let report = reports.only().await;
        assert_eq!((report.close_code, report.clean), (1000, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_nobody_answers_is_an_error() {
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        let shut = within(stream.shutdown()).await.unwrap_err();
        assert_eq!(shut.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(inside(&shut), Some(&ByteStreamError::Unanswered));
        assert_eq!(expect_error(&mut stream).await.kind(), ErrorKind::TimedOut);
        assert_eq!(peer.frame().await.code(), Some(1000));

        let (peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        drop(peer);
        idle().await;
        let shut = within(stream.shutdown()).await.unwrap_err();
        assert_eq!(inside(&shut), Some(&ByteStreamError::Unanswered));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_after_the_peers_close_is_fine() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        peer.send(close(1001, "")).await;
        peer.finish().await;
        idle().await;
        within(stream.shutdown()).await.unwrap();
        expect_eof(&mut stream).await;
        drop(stream);
        let report = reports.only().await;
        assert_eq!((report.ended_by, report.close_code), (EndedBy::Peer, 1001));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_closes_as_a_websocket_does() {
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        within(stream.write_all(b"last")).await.unwrap();
        drop(stream);
        assert_eq!(peer.frame().await, Frame::binary("last"));
        assert_eq!(peer.frame().await.code(), Some(1000));

        let (mut peer, mut reports) = open(shape, Config::default(), async |socket| {
            let mut stream = socket.into_byte_stream();
            stream.read_exact(&mut [0; 4]).await.map(drop)
        })
        .await;
        peer.send(text("oops")).await;
        // The first Close counts.
        assert_eq!(peer.frame().await.code(), Some(1003));
        peer.send(close(1003, "")).await;
        assert_eq!(reports.first().await.close_code, 1003);

        let (mut peer, _reports) = open(shape, Config::default(), async |socket| {
            let _stream = socket.into_byte_stream();
            Err::<(), _>(std::io::Error::other("the upstream is gone"))
        })
        .await;
        assert_eq!(peer.frame().await.code(), Some(1011));
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_with_another_code_is_the_callers() {
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        stream.get_ref().close((CloseCode::BAD_GATEWAY, "gone"));
        assert_eq!(peer.frame().await.code(), Some(1014));
        peer.send(close(1014, "")).await;
        peer.finish().await;
        within(stream.shutdown()).await.unwrap();
        // It is the answer to ours, and nothing that the peer complains of; no regular end either.
        let error = within(stream.read(&mut [0])).await.unwrap_err();
        let Some(ByteStreamError::ClosedHere(Some(frame))) = inside(&error) else {
            panic!("no Close frame: {error:?}");
        };
        assert_eq!(frame.code(), CloseCode::BAD_GATEWAY);
        let error = expect_error(&mut stream).await;
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_in_the_middle_of_a_message_is_no_clean_end() {
    for shape in SHAPES {
        let config = Config::default().streaming(true);
        let (mut peer, socket, _) = hold(shape, config).await;
        let mut stream = socket.into_byte_stream();
        // Without FIN.
        peer.send([client_frame(0x02, "begun"), close(1000, "")].concat())
            .await;
        assert_eq!(read(&mut stream, 5).await, b"begun");
        let error = expect_error(&mut stream).await;
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_by_somebody_else_here_is_no_clean_end() {
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let sender = socket.sender();
        let mut stream = socket.into_byte_stream();
        peer.send(binary("thrown away")).await;
        idle().await;
        sender.close(CloseCode::NORMAL);
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send(close(1000, "")).await;
        peer.finish().await;
        let error = expect_error(&mut stream).await;
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    }
}
