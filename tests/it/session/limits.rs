//! Limits: what a peer may not do, and what it costs at most.

use std::time::Duration;

use tokio::{io::duplex, time::Instant};
use tower_websocket::{Config, Error, Message, ProtocolError, WebSocket, session::EndedBy};

use super::support::{
    Frame, PIPE, Peer, Plan, Reports, SHAPES, Shape, Wire, binary, client_frame, client_header,
    close, echo, hold, hold_over, idle, lock, open, ping, pong, serve, text, within,
};
use crate::support::handler;

/// Sends bytes to an echo, and gives all that came back.
async fn answers(shape: Shape, config: Config, bytes: Vec<u8>) -> Vec<Frame> {
    let (mut peer, _reports) = open(shape, config, echo).await;
    peer.send(bytes).await;
    idle().await;
    peer.finish().await;
    peer.rest().await
}

#[tokio::test(start_paused = true)]
async fn a_reserved_bit_without_an_extension_is_1002() {
    for shape in SHAPES {
        for first in [0xc1, 0xa1, 0x91, 0xf2, 0xc9, 0xc8] {
            let frames = answers(shape, Config::default(), client_frame(first, "x")).await;
            assert_eq!(frames.len(), 1);
            assert_eq!(frames[0].code(), Some(1002), "{first:#x}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unmasked_frame_from_a_client_is_1002_however_it_is_cut() {
    for shape in SHAPES {
        for frame in [
            &b"\x81\x05Hello"[..],
            b"\x82\x7e\x01\x00rest",
            b"\x89\x00",
            b"\x88\x02\x03\xe8",
        ] {
            for cut in 0..frame.len() {
                let (mut peer, _reports) = open(shape, Config::default(), echo).await;
                peer.send(&frame[..cut]).await;
                idle().await;
                // What follows the header of a failed connection may go unread.
                peer.send(&frame[cut..]).await;
                assert_eq!(peer.frame().await.code(), Some(1002), "cut at {cut}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_control_frames_at_once_pass_and_the_next_is_1008() {
    for shape in SHAPES {
        for control in [ping(""), pong("")] {
            let (mut peer, mut socket, reports) = hold(shape, Config::default()).await;
            peer.send(control.repeat(200)).await;
            peer.send(text("fine")).await;
            let message = within(socket.recv()).await.expect("200 are fine");
            assert_eq!(message, Some("fine".into()));
            peer.send(control).await;
            let error = within(socket.recv()).await.expect_err("201 are not");
            assert!(matches!(
                error,
                Error::Protocol(ProtocolError::ControlFlood { .. })
            ));
            let frames = {
                peer.finish().await;
                peer.rest().await
            };
            let (last, pongs) = frames.split_last().expect("a Close");
            assert_eq!(last.code(), Some(1008));
            assert!(pongs.iter().all(|frame| *frame == Frame::pong("")));
            drop(socket);
            assert_eq!(reports.only().await.close_code, 1008);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_within_their_rate_pass_for_ever() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(shape, Config::default().ping_interval(None), echo).await;
        for _ in 0..50 {
            peer.send(ping("x").repeat(100)).await;
            for _ in 0..100 {
                assert_eq!(peer.frame().await, Frame::pong("x"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_in_order_and_then_only_the_newest() {
    for shape in SHAPES {
        let config = Config::default()
            .control_frame_rate(None)
            .write_timeout(None);
        let (ours, theirs) = duplex(64);
        let _reports = serve(shape, config, handler(echo), theirs).await;
        let mut peer = Peer::new(ours);
        for number in 0..10_000_u32 {
            peer.send(ping(number.to_be_bytes())).await;
        }
        let last = Frame::pong(9_999_u32.to_be_bytes());
        let mut frames = vec![peer.frame().await];
        while frames.last() != Some(&last) {
            frames.push(peer.frame().await);
        }
        assert!(frames.len() < 1000, "{} pongs", frames.len());
        let numbers: Vec<_> = frames.iter().map(|frame| frame.payload.clone()).collect();
        assert!(numbers.is_sorted());
        assert_eq!(
            numbers[..10],
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9_u32].map(|n| n.to_be_bytes().to_vec())
        );
    }
}

/// How much a peer may go on sending that has our Close.
const MAX_DISCARD: u64 = 128 << 20;

/// After our Close the peer goes on with `endless`: gives the time and the bytes it took.
async fn after_our_close(shape: Shape, endless: Vec<u8>) -> (Duration, u64, Reports) {
    let (ours, theirs) = duplex(PIPE);
    let wire = Wire::new(theirs, Plan::default());
    let log = wire.log();
    let (socket, reports) = hold_over(shape, Config::default(), wire).await;
    let mut peer = Peer::new(ours);
    let start = Instant::now();
    drop(socket);
    assert_eq!(peer.frame().await.code(), Some(1000));
    let mut written = 0;
    while written < 2 * MAX_DISCARD {
        use tokio::io::AsyncWriteExt;
        if peer.stream.write_all(&endless).await.is_err() {
            break;
        }
        written += endless.len() as u64;
    }
    assert!(written < 2 * MAX_DISCARD, "all of it was read");
    let read = lock(&log).read;
    (start.elapsed(), read, reports)
}

#[tokio::test(start_paused = true)]
async fn endless_data_after_our_close_is_cut_off() {
    for shape in SHAPES {
        let endless = [
            binary([0; 100]).repeat(100),
            binary(vec![0; 1 << 20]),
            binary(vec![0; 20_000]).repeat(4),
            client_frame(0x02, vec![0; 512 << 10]),
        ];
        for endless in endless {
            let (elapsed, read, reports) = after_our_close(shape, endless).await;
            // More than any peer has on its way, so that it sees the Close, and no more.
            assert!(
                (MAX_DISCARD..=MAX_DISCARD + (128 << 10)).contains(&read),
                "{read}"
            );
            assert!(elapsed < Duration::from_secs(5));
            let report = reports.only().await;
            assert_eq!((report.ended_by, report.clean), (EndedBy::Local, false));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_our_close_is_left_after_close_timeout() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        drop(socket);
        assert_eq!(peer.frame().await.code(), Some(1000));
        let start = Instant::now();
        assert_eq!(peer.next().await, None);
        let report = reports.only().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!((report.ended_by, report.clean), (EndedBy::Local, false));
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_utf8_is_1007_at_the_first_impossible_byte_wherever_it_is_cut() {
    let texts: [&[u8]; 4] = [
        b"ok \xc3\x28 rest",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"a\xff",
    ];
    for shape in SHAPES {
        for bad in texts {
            let frame = client_frame(0x81, bad);
            for cut in 0..frame.len() {
                let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
                peer.send(&frame[..cut]).await;
                idle().await;
                peer.send(&frame[cut..]).await;
                assert_eq!(peer.frame().await.code(), Some(1007), "cut at {cut}");
                let error = within(socket.recv()).await.expect_err("it is not text");
                assert!(matches!(error, Error::Protocol(ProtocolError::InvalidUtf8)));
            }
            for cut in 0..=bad.len() {
                // In two fragments, and in a frame whose end never comes.
                let parts = [
                    client_frame(0x01, &bad[..cut]),
                    client_frame(0x80, &bad[cut..]),
                ];
                let frames = answers(shape, Config::default(), parts.concat()).await;
                assert_eq!(frames[0].code(), Some(1007), "cut at {cut}");
            }
            let mut unfinished = client_frame(0x81, [bad, &[b'x'; 100]].concat());
            unfinished.truncate(6 + bad.len());
            let (mut peer, _reports) = open(shape, Config::default(), echo).await;
            peer.send(unfinished).await;
            assert_eq!(
                peer.frame().await.code(),
                Some(1007),
                "it does not wait for the rest"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn text_that_ends_inside_a_character_is_1007() {
    for shape in SHAPES {
        for cut in 1..4 {
            let half = &"\u{1f980}".as_bytes()[..cut];
            let frames = answers(shape, Config::default(), client_frame(0x81, half)).await;
            assert_eq!(frames[0].code(), Some(1007));
            let parts = [client_frame(0x01, half), client_frame(0x80, "")];
            let frames = answers(shape, Config::default(), parts.concat()).await;
            assert_eq!(frames[0].code(), Some(1007));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_reason_that_is_not_utf8_is_1007_and_a_bad_code_1002() {
    for shape in SHAPES {
        for cut in 1..4 {
            let frames = answers(
                shape,
                Config::default(),
                close(1000, &"\u{1f980}".as_bytes()[..cut]),
            )
            .await;
            assert_eq!(frames[0].code(), Some(1007));
            assert_eq!(frames.len(), 1);
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535] {
            let frames = answers(shape, Config::default(), close(code, "")).await;
            assert_eq!(frames[0].code(), Some(1002), "{code}");
        }
        let frames = answers(shape, Config::default(), client_frame(0x88, [3])).await;
        assert_eq!(frames[0].code(), Some(1002));
    }
}

#[tokio::test(start_paused = true)]
async fn valid_utf8_passes_wherever_it_is_cut() {
    let message = "κόσμε \u{1f980} \u{10ffff} é";
    for shape in SHAPES {
        for cut in 0..=message.len() {
            let (first, second) = message.as_bytes().split_at(cut);
            let parts = [client_frame(0x01, first), client_frame(0x80, second)];
            let frames = answers(shape, Config::default(), parts.concat()).await;
            assert_eq!(frames, [Frame::text(message)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_at_its_limit_passes_and_one_byte_more_is_1009() {
    for shape in SHAPES {
        let config = Config::default().max_message_size(1000);
        let frames = answers(shape, config.clone(), binary([1; 1000])).await;
        assert_eq!(frames, [Frame::binary([1; 1000])]);
        // The header alone decides.
        let frames = answers(shape, config.clone(), client_header(0x82, 1001)).await;
        assert_eq!(frames[0].code(), Some(1009));
        let parts = [client_frame(0x02, [1; 600]), client_header(0x80, 401)];
        let frames = answers(shape, config.clone(), parts.concat()).await;
        assert_eq!(frames[0].code(), Some(1009));
        let frames = answers(shape, config, client_header(0x82, u64::MAX >> 1)).await;
        assert_eq!(frames[0].code(), Some(1009));
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_at_their_limit_pass_and_one_more_is_1009() {
    for shape in SHAPES {
        let config = Config::default().max_fragments(1000);
        let fragments = |count: usize| {
            let mut bytes = client_frame(0x02, "");
            bytes.extend(client_frame(0x00, "").repeat(count - 2));
            bytes.extend(client_frame(0x80, "x"));
            bytes
        };
        let frames = answers(shape, config.clone(), fragments(1000)).await;
        assert_eq!(frames, [Frame::binary("x")]);
        let frames = answers(shape, config, fragments(1001)).await;
        assert_eq!(frames[0].code(), Some(1009));
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_may_have_control_frames_between_them() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        peer.send([client_frame(0x01, "a"), ping("p"), client_frame(0x00, "b")].concat())
            .await;
        assert_eq!(peer.frame().await, Frame::pong("p"));
        peer.send([pong(""), client_frame(0x80, "c")].concat())
            .await;
        assert_eq!(
            within(socket.recv()).await.expect("a message"),
            Some(Message::text("abc"))
        );
    }
}

/// Pongs that answer our pings are no flood, and others still are.
#[tokio::test(start_paused = true)]
async fn pongs_that_answer_own_pings_are_no_flood() {
    for shape in SHAPES {
        let route = async |mut socket: WebSocket| {
            for number in 0..500_u32 {
                socket.ping(number.to_be_bytes())?;
            }
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok::<_, Error>(())
        };
        let (mut peer, _reports) = open(shape, Config::default(), route).await;
        for number in 0..500_u32 {
            let ping = peer.frame().await;
            assert_eq!(ping, Frame::ping(number.to_be_bytes()));
            peer.send(pong(ping.payload)).await;
        }
        peer.send(client_frame(0x81, "after")).await;
        assert_eq!(peer.frame().await, Frame::text("after"));
        // The burst of those that nobody has asked for is what it was.
        peer.send(pong("").repeat(200)).await;
        peer.send(client_frame(0x81, "after")).await;
        assert_eq!(peer.frame().await, Frame::text("after"));
        peer.send(pong("").repeat(2)).await;
        assert_eq!(peer.frame().await.code(), Some(1008));
    }
}

/// A pong for each ping is free, one more is not.
#[tokio::test(start_paused = true)]
async fn pongs_beyond_own_pings_are_a_flood() {
    for shape in SHAPES {
        let config = Config::default().control_frame_burst(0).ping_interval(None);
        for (pongs, code) in [(3, None), (4, Some(1008))] {
            let route = async |mut socket: WebSocket| {
                for _ in 0..3 {
                    socket.ping("")?;
                }
                while let Some(Message::Text(_)) = socket.recv().await? {
                    socket.send("still here").await?;
                }
                Ok::<_, Error>(())
            };
            let (mut peer, _reports) = open(shape, config.clone(), route).await;
            for _ in 0..3 {
                assert_eq!(peer.frame().await, Frame::ping(""));
            }
            peer.send(pong("").repeat(pongs)).await;
            peer.send(client_frame(0x81, "?")).await;
            assert_eq!(peer.frame().await.code(), code, "{pongs}");
        }
    }
}
