//! What a hostile peer can make a connection allocate.
//!
//! A binary of its own: its allocator counts, and nothing else may run meanwhile.

mod at_rest;
#[cfg(feature = "deflate")]
mod compression;
mod rise;
#[expect(dead_code, reason = "these tests need less of it than the others")]
#[path = "../it/session/support.rs"]
mod support;

use std::time::Duration;

use rise::{Rise, alone};
use support::{
    Frame, Peer, Plan, Reports, SHAPES, Shape, Wire, binary, client_frame, client_header, close,
    echo, hold_over, idle, ping, pong, serve, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::sleep,
};
use tower_websocket::{
    Compression, Config, Groups, WebSocket, groups::SlowMember, handler, testing,
};

/// The only test, so that the harness itself has nothing to allocate meanwhile.
#[test]
fn the_heap_stays_where_it_is_promised_to_stay() {
    a_thousand_connections_that_declare_a_huge_frame_cost_next_to_nothing();
    a_message_in_one_byte_fragments_peaks_below_twice_the_limit();
    endless_empty_fragments_cost_nothing_and_are_1009();
    a_large_frame_peaks_below_twice_its_size_however_it_arrives();
    a_million_pings_of_a_peer_that_reads_nothing_leave_the_heap_flat();
    messages_that_nobody_receives_are_bounded();
    a_connection_that_ends_frees_everything_though_a_sender_is_kept();
    idle_connections_own_no_buffers_after_traffic();
    a_ping_that_was_answered_leaves_nothing_behind();
    an_echo_takes_the_memory_of_the_one_before();
    joining_and_leaving_leave_nothing_behind_on_a_living_connection();
    a_member_that_reads_nothing_costs_what_is_kept_for_it();
    a_broadcast_is_there_once_for_all_members();
    at_rest::an_idle_connection_of_an_axum_app_takes_at_most_a_thousand_bytes();
    at_rest::what_is_kept_with_a_connection_takes_as_much_as_documented();
    at_rest::an_idle_connection_over_an_upgraded_stream_takes_as_much_as_documented();
    #[cfg(feature = "serve")]
    at_rest::an_idle_connection_of_a_server_of_ours_takes_no_more();
    #[cfg(feature = "serve")]
    at_rest::an_idle_connection_over_tls_takes_as_much_as_documented();
    #[cfg(feature = "axum")]
    {
        at_rest::extract::an_idle_connection_takes_no_more_than_with_the_layer();
        at_rest::extract::an_idle_connection_with_settings_of_its_own_takes_as_much_as_documented();
    }
    #[cfg(feature = "deflate")]
    {
        compression::a_bomb_of_1_gib_takes_no_more_than_a_message_may();
        compression::a_message_that_inflates_to_the_limit_peaks_at_twice_its_size();
        compression::a_message_in_progress_takes_one_decompressor();
        compression::an_idle_connection_takes_nothing_for_shared_compression();
        compression::an_idle_connection_takes_what_is_documented_for_takeover();
    }
}

/// A connection over a small pipe, of which the test knows the size.
async fn small(shape: Shape, config: Config) -> (Peer, WebSocket, Reports) {
    let (ours, theirs) = duplex(PIPE);
    let (socket, reports) = hold_over(shape, config, theirs).await;
    (Peer::new(ours), socket, reports)
}

fn a_thousand_connections_that_declare_a_huge_frame_cost_next_to_nothing() {
    alone(async {
        for shape in SHAPES {
            let config = Config::default()
                .max_message_size(1 << 30)
                .ping_interval(None);
            let mut held = vec![];
            for _ in 0..1000 {
                held.push(small(shape, config.clone()).await);
            }
            // The first one fills what belongs to the thread.
            let header = [client_header(0x82, 1 << 30), b"x".to_vec()].concat();
            held[0].0.send(&header).await;
            idle().await;
            // The pipes' buffers are not the connections'.
            let rise = Rise::begin();
            let mut pipes = 0;
            for (peer, _, _) in &mut held {
                peer.send(&header).await;
                pipes += 64;
            }
            idle().await;
            let each = (rise.now() - pipes) / 1000;
            assert!(each < 1000, "{each} bytes for one byte");
        }
    });
}

fn a_message_in_one_byte_fragments_peaks_below_twice_the_limit() {
    alone(async {
        for shape in SHAPES {
            for first in [0x02, 0x01] {
                let limit = 64 << 10;
                let config = Config::default()
                    .max_message_size(limit)
                    .max_fragments(None);
                let config = config.max_fragments(1 << 20);
                let (mut peer, mut socket, _reports) = small(shape, config).await;
                peer.send(client_frame(first, "x")).await;
                idle().await;
                let rise = Rise::begin();
                let fragment = client_frame(0x00, "x").repeat(100);
                let mut sent = 1;
                while sent + 100 < limit {
                    peer.send(&fragment).await;
                    sent += 100;
                }
                idle().await;
                let peak = rise.peak();
                assert!(peak <= 2 * limit, "{peak} bytes for {limit}");
                peer.send(client_frame(0x00, "x").repeat(limit + 1 - sent))
                    .await;
                assert_eq!(peer.frame().await.code(), Some(1009));
                assert!(
                    within(socket.recv())
                        .await
                        .expect_err("too big")
                        .is_protocol()
                );
            }
        }
    });
}

fn endless_empty_fragments_cost_nothing_and_are_1009() {
    alone(async {
        for shape in SHAPES {
            let (mut peer, _socket, _reports) = small(shape, Config::default()).await;
            peer.send(client_frame(0x02, "")).await;
            idle().await;
            let rise = Rise::begin();
            let fragments = client_frame(0x00, "").repeat(128);
            for _ in 0..127 {
                peer.send(&fragments).await;
            }
            idle().await;
            let peak = rise.peak();
            assert!(peak < 16 << 10, "{peak} bytes");
            peer.send(&fragments).await;
            assert_eq!(peer.frame().await.code(), Some(1009));
        }
    });
}

fn a_large_frame_peaks_below_twice_its_size_however_it_arrives() {
    alone(async {
        for shape in SHAPES {
            for (pieces, size) in [(1, 40_000), (1400, 1 << 20), (60_000, 1 << 20)] {
                let (mut peer, mut socket, _reports) = small(shape, Config::default()).await;
                // What belongs to the thread and to the pipe is there before.
                peer.send(binary(vec![0; 60_000])).await;
                within(socket.recv()).await.expect("a message");
                let piece = vec![0; pieces];
                let rise = Rise::begin();
                peer.send(client_header(0x82, size)).await;
                let mut left = size as usize;
                while left > 0 {
                    let len = piece.len().min(left);
                    peer.send(&piece[..len]).await;
                    left -= len;
                }
                idle().await;
                let peak = rise.peak();
                let most = 2 * size as usize + 2 * PIPE;
                assert!(
                    peak <= most,
                    "{peak} bytes for {size} in pieces of {pieces}"
                );
                let message = within(socket.recv()).await.expect("a message");
                assert_eq!(message.map(|message| message.len()), Some(size as usize));
            }
        }
    });
}

fn a_million_pings_of_a_peer_that_reads_nothing_leave_the_heap_flat() {
    alone(async {
        for shape in SHAPES {
            let config = Config::default()
                .control_frame_rate(None)
                .write_timeout(None);
            let (ours, theirs) = duplex(1000);
            let _reports = serve(shape, config, handler(echo), theirs).await;
            let mut peer = Peer::new(ours);
            let pings = ping([7; 5]).repeat(1000);
            peer.send(&pings).await;
            idle().await;
            let rise = Rise::begin();
            for _ in 0..1000 {
                peer.send(&pings).await;
            }
            idle().await;
            let peak = rise.peak();
            assert!(peak < 8 << 10, "{peak} bytes");
        }
    });
}

/// Writes until the server has stopped reading, and gives the bytes it took.
async fn fill(stream: &mut DuplexStream, piece: &[u8]) -> usize {
    let mut taken = 0;
    // A write that is cut short is the last one.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(10), stream.write_all(piece)).await
    {
        written.expect("the server is there");
        taken += piece.len();
        assert!(taken < 64 << 20, "reading never stops");
    }
    taken
}

fn messages_that_nobody_receives_are_bounded() {
    alone(async {
        for shape in SHAPES {
            for payload in [0, 1, 100, 5000] {
                let read_ahead = 64 << 10;
                let (mut peer, socket, _reports) = small(shape, Config::default()).await;
                let rise = Rise::begin();
                fill(&mut peer.stream, &binary(vec![0; payload]).repeat(10)).await;
                let peak = rise.peak();
                // The inbox, what was read and not decoded, the scratch, and the pipe.
                let most = 3 * read_ahead + 64 * 1024 + 2 * PIPE + 100_000;
                assert!(peak < most, "{peak} bytes of messages of {payload}");
                drop(socket);
            }
        }
    });
}

fn a_connection_that_ends_frees_everything_though_a_sender_is_kept() {
    alone(async {
        for shape in SHAPES {
            let mut kept = vec![];
            for round in 0..3 {
                let rise = Rise::begin();
                {
                    let (ours, theirs) = duplex(1000);
                    let wire = Wire::new(theirs, Plan::default());
                    let (socket, mut reports) = hold_over(shape, Config::default(), wire).await;
                    let mut peer = Peer::new(ours);
                    peer.send(client_frame(0x02, vec![1; 600])).await;
                    socket.try_send(vec![2; 900_000]).expect("there is room");
                    kept.push(socket.sender());
                    let mut piece = [0; 500];
                    peer.stream.read_exact(&mut piece).await.expect("it writes");
                    // The peer reads no more: the write timeout ends it.
                    reports.first().await;
                    sleep(Duration::from_secs(1)).await;
                }
                let left = rise.now();
                // The first round fills what belongs to the thread.
                assert!(
                    round == 0 || left < 5000,
                    "{left} bytes are left in round {round}"
                );
            }
        }
    });
}

fn a_ping_that_was_answered_leaves_nothing_behind() {
    alone(async {
        for shape in SHAPES {
            // The first connection fills what belongs to the thread.
            for first in [true, false] {
                let (mut peer, socket, _reports) = small(shape, Config::default()).await;
                // The pipe's buffers have grown before.
                for _ in 0..20 {
                    peer.send([ping([7; 8]), pong([7; 8])].concat()).await;
                    assert_eq!(peer.frame().await, Frame::pong([7; 8]));
                }
                let rise = Rise::begin();
                for _ in 0..3 {
                    let frame = peer.frame().await;
                    assert!(frame.is_ping(), "{frame:?}");
                    peer.send(pong(&frame.payload)).await;
                    idle().await;
                    assert!(socket.rtt().is_some());
                }
                let left = rise.now();
                assert!(first || left < 100, "{left} bytes are left");
            }
        }
    });
}

fn idle_connections_own_no_buffers_after_traffic() {
    alone(async {
        for shape in SHAPES {
            let mut held = vec![];
            for _ in 0..100 {
                let (ours, theirs) = duplex(64 << 10);
                let config = Config::default().ping_interval(None);
                let reports = serve(shape, config, handler(echo), theirs).await;
                held.push((Peer::new(ours), reports));
            }
            for (peer, _) in &mut held {
                // Fills the pipe's own buffers, both ways.
                peer.send(binary(vec![0; 30_000])).await;
                peer.frame().await;
            }
            idle().await;
            let rise = Rise::begin();
            for (peer, _) in &mut held {
                peer.send(binary(vec![1; 20_000])).await;
                assert_eq!(peer.frame().await, Frame::binary(vec![1; 20_000]));
            }
            idle().await;
            let each = rise.now() / 100;
            assert!(each < 100, "{each} bytes are kept by each");
            let (mut peer, reports) = held.pop().expect("a connection");
            peer.send(close(1000, "")).await;
            peer.finish().await;
            peer.rest().await;
            reports.only().await;
        }
    });
}

/// Buffers, queues and inboxes come from the thread: what an echo takes anew is its payload, and
/// where that is large hardly anything.
fn an_echo_takes_the_memory_of_the_one_before() {
    alone(async {
        for (len, most) in [(125, 125), (1 << 20, 1000)] {
            for shape in SHAPES {
                let (mut peer, theirs) = duplex(PIPE);
                let config = Config::default().ping_interval(None);
                let reports = serve(shape, config, handler(echo), theirs).await;
                let frame = binary(vec![7; len]);
                let mut answer = vec![0; frame.len() - 4];
                // The first few fill what belongs to the thread, and the pipe's own buffers.
                let mut rise = Rise::begin();
                for round in 0..8 {
                    if round == 4 {
                        rise = Rise::begin();
                    }
                    within(peer.write_all(&frame)).await.expect("it reads");
                    within(peer.read_exact(&mut answer))
                        .await
                        .expect("it echoes");
                    assert!(answer.ends_with(&[7; 125]));
                }
                let peak = rise.peak();
                assert!(peak <= most, "{peak} bytes for {len}, {shape:?}");
                drop(peer);
                reports.only().await;
            }
        }
    });
}

fn joining_and_leaving_leave_nothing_behind_on_a_living_connection() {
    alone(async {
        let groups: Groups<u32> = Groups::new();
        let (_client, server) = testing::pair(Config::default());
        let sender = server.sender();
        let stays = groups.join(0, &sender).expect("it is open");
        drop(groups.join(1, &sender));
        let rise = Rise::begin();
        for key in 1..100_000 {
            let membership = groups.join(key % 100 + 1, &sender).expect("it is open");
            drop(membership);
        }
        let left = rise.now();
        assert!(left < 1000, "{left} bytes are left");
        drop(stays);
    });
}

fn a_member_that_reads_nothing_costs_what_is_kept_for_it() {
    alone(async {
        let groups: Groups<u8> = Groups::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let config = Config::default()
            .max_send_queue(10_000)
            .write_timeout(None)
            .ping_interval(None);
        let (_peer, socket, _reports) = small(Shape::H1, config).await;
        let sender = socket.sender();
        while socket.try_send(vec![0; 1000]).is_ok() {
            idle().await;
        }
        let membership = groups.join(0, &sender).expect("it is open");
        let kept = groups.broadcast(&0, vec![1; 1000]).await;
        assert_eq!((kept.sent, kept.dropped), (1, 0));
        let rise = Rise::begin();
        for _ in 0..10_000 {
            groups.broadcast(&0, vec![1; 1000]).await;
        }
        let left = rise.now();
        assert!(left < 2000, "{left} bytes for one message");
        drop(membership);
        for _ in 0..10_000 {
            let membership = groups.join(0, &sender).expect("it is open");
            let kept = groups.broadcast(&0, vec![1; 1000]).await;
            assert_eq!((kept.sent, kept.dropped), (1, 0));
            drop(membership);
        }
        let left = rise.now();
        assert!(left < 2000, "{left} bytes for members that have left");
    });
}

fn a_broadcast_is_there_once_for_all_members() {
    alone(async {
        const LEN: usize = 200_000;
        let compressed = Config::default().compression(Compression::shared());
        for config in [Config::default(), compressed] {
            let groups: Groups<u8> = Groups::new();
            let config = config.write_timeout(None).ping_interval(None);
            let mut members = vec![];
            for _ in 0..200 {
                let (client, server) = testing::pair(config.clone());
                let membership = groups.join(0, &server.sender()).expect("it is open");
                members.push((client, server, membership));
            }
            // Until all are idle.
            sleep(Duration::from_millis(1)).await;
            // Half of it can be compressed away.
            let mut seed = 1_u32;
            let news = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + (seed >> 28) as u8
            });
            let news: Vec<_> = news.take(LEN).collect();
            let rise = Rise::begin();
            // Queued, and not written yet.
            let delivery = groups.broadcast(&0, news).await;
            assert_eq!(delivery.sent, 200);
            // The message, its one wire form, and what compresses it.
            let peak = rise.peak();
            assert!(peak < 6 * LEN, "{peak} bytes for {LEN}");
        }
    });
}

/// What a pipe holds here.
const PIPE: usize = 4 << 10;
