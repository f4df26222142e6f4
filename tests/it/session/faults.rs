//! Faults: streams that cut, stall and fail, and futures that are dropped half-way.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::mpsc,
};
use tower_websocket::{
    Config, Error, Message, WebSocket,
    session::{EndedBy, SessionReport},
};

use super::support::{
    Fault, Frame, Log, PIPE, Peer, Plan, Reports, SHAPES, Shape, Wire, binary, client_frame, close,
    echo, idle, lock, once, open, ping, pong, serve, text, within,
};
use crate::support::{handler, poll_times};

/// A conversation with a bit of everything, as the client's bytes.
fn conversation() -> Vec<u8> {
    [
        text("hello"),
        ping("are you there"),
        client_frame(0x01, "in three "),
        pong("unasked"),
        client_frame(0x00, "fragments, "),
        ping(""),
        client_frame(0x80, "κόσμε"),
        binary(vec![5; 300]),
        text(""),
        binary(vec![6; 9000]),
        client_frame(0x02, vec![7; 5000]),
        client_frame(0x80, vec![8; 70_000]),
        close(4321, "bye"),
    ]
    .concat()
}

/// The data frames and the Close of an answer: pings and pongs may leave between any two of them.
fn data(frames: &[Frame]) -> Vec<Frame> {
    let others = |frame: &&Frame| ![0x89, 0x8a].contains(&frame.first);
    frames.iter().filter(others).cloned().collect()
}

fn expected() -> Vec<Frame> {
    vec![
        Frame::text("hello"),
        Frame::text("in three fragments, κόσμε"),
        Frame::binary([5; 300]),
        Frame::text(""),
        Frame::binary([6; 9000]),
        Frame::binary([vec![7; 5000], vec![8; 70_000]].concat()),
        Frame {
            first: 0x88,
            payload: [&4321_u16.to_be_bytes()[..], b"bye"].concat(),
        },
    ]
}

/// Everything that one run of the conversation shows.
struct Run {
    answer: Vec<u8>,
    operations: usize,
    handler_returned: bool,
    report: SessionReport,
}

/// Holds the conversation with an echo over a stream that follows `plan`.
async fn run(shape: Shape, plan: Plan, pieces: &[&[u8]]) -> Run {
    let (ours, theirs) = duplex(PIPE);
    let wire = Wire::new(theirs, plan);
    let log = wire.log();
    let returned = Arc::new(AtomicUsize::new(0));
    let route = {
        let returned = returned.clone();
        handler(move |socket| {
            let returned = returned.clone();
            async move {
                let result = echo(socket).await;
                returned.fetch_add(1, Ordering::Relaxed);
                result
            }
        })
    };
    let reports = serve(shape, Config::default(), route, wire).await;
    let (mut reader, mut writer) = tokio::io::split(ours);
    let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let writing = tokio::spawn(async move {
        for piece in pieces {
            // The server may be gone: that is what faults are for.
            if writer.write_all(&piece).await.is_err() {
                break;
            }
            idle().await;
        }
        writer
    });
    let mut answer = vec![];
    within(reader.read_to_end(&mut answer))
        .await
        .expect("a duplex does not fail");
    // The client ends its side when the server has.
    let mut writer = within(writing).await.expect("no panic");
    let _gone = writer.shutdown().await;
    drop((reader, writer));
    Run {
        answer,
        report: reports.only().await,
        operations: lock(&log).operations,
        handler_returned: returned.load(Ordering::Relaxed) == 1,
    }
}

fn check(run: &Run, context: &str) {
    let (frames, whole) = Frame::all(run.answer.clone());
    assert!(whole, "{context}");
    assert_eq!(data(&frames), expected(), "{context}");
    assert_eq!(
        frames
            .iter()
            .filter(|frame| **frame == Frame::pong("are you there"))
            .count(),
        1
    );
    assert!(run.handler_returned, "{context}");
    let report = &run.report;
    assert_eq!(
        (report.ended_by, report.close_code, report.clean),
        (EndedBy::Peer, 4321, true)
    );
    assert_eq!(
        (report.messages_received, report.messages_sent),
        (6, 6),
        "{context}"
    );
    assert_eq!(
        report.bytes_received,
        conversation().len() as u64,
        "{context}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_conversation_cut_anywhere_is_the_same_conversation() {
    let bytes = conversation();
    // Everywhere in what is small, and here and there in the large payloads.
    let cuts = (0..900)
        .chain((900..bytes.len()).step_by(997))
        .chain(bytes.len() - 20..bytes.len());
    for shape in SHAPES {
        for cut in cuts.clone() {
            let (first, second) = bytes.split_at(cut);
            let run = run(shape, Plan::default(), &[first, second]).await;
            check(&run, &format!("{shape:?} cut at {cut}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_in_random_pieces_is_the_same_conversation() {
    let bytes = conversation();
    for shape in SHAPES {
        for seed in 0..30_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut pieces = vec![];
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let most = if random & 1 == 0 { 20 } else { 20_000 };
                let (piece, after) = rest.split_at(rest.len().min((random >> 8) as usize % most));
                pieces.push(piece);
                rest = after;
            }
            let plan = Plan {
                max_read: Some(1 + random as usize % 5000),
                max_write: Some(1 + random as usize % 3000),
                pending: Some(seed),
                vectored: seed % 2 == 0,
                ..Plan::default()
            };
            let run = run(shape, plan, &pieces).await;
            check(&run, &format!("{shape:?} seed {seed}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_of_one_byte_make_the_same_conversation() {
    for shape in SHAPES {
        for (max_read, max_write, pending) in [
            (Some(1), None, None),
            (None, Some(1), None),
            (Some(1), Some(1), None),
            (Some(3), Some(2), Some(7)),
        ] {
            let plan = Plan {
                max_read,
                max_write,
                pending,
                ..Plan::default()
            };
            let run = run(shape, plan, &[&conversation()]).await;
            check(&run, &format!("{shape:?} {plan:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_operation_ends_in_one_report_and_no_hang() {
    for shape in SHAPES {
        for fault in [Fault::Error, Fault::Stall] {
            for pending in [None, Some(3)] {
                let mut at = 0;
                loop {
                    let plan = Plan {
                        max_read: Some(5000),
                        max_write: Some(7000),
                        pending,
                        fault: Some((at, fault)),
                        ..Plan::default()
                    };
                    let context = format!("{shape:?} {fault:?} at {at}");
                    let run = run(shape, plan, &[&conversation()]).await;
                    assert!(run.handler_returned, "{context}");
                    let (frames, _) = Frame::all(run.answer);
                    let data = data(&frames);
                    let closes = data.iter().filter(|frame| frame.is_close()).count();
                    assert!(closes <= 1, "{context}");
                    // A handshake is not complete with an answer that did not leave.
                    assert!(!run.report.clean || closes == 1, "{context}");
                    // What came is the beginning of what should have come, but for a Close.
                    let messages = &data[..data.len() - closes];
                    assert!(expected().starts_with(messages), "{context}");
                    if matches!(fault, Fault::Error) {
                        assert_ne!(run.report.ended_by, EndedBy::Timeout, "{context}");
                        // At once, but for what an end waits for: no ping is needed to find it.
                        let took = run.report.duration;
                        assert!(took < Duration::from_secs(10), "{context}: {took:?}");
                    }
                    if run.operations <= at {
                        break;
                    }
                    at += 1;
                }
                assert!(at > 20, "there were operations to fail: {at}");
            }
        }
    }
}

/// Echoes, but drops and repeats every `recv` and `send` after `polls` polls.
async fn impatient(mut socket: WebSocket, polls: usize) -> Result<(), Error> {
    loop {
        let Some(message) = recv_in_pieces(&mut socket, polls).await? else {
            return Ok(());
        };
        loop {
            let mut sending = pin!(socket.send(message.clone()));
            if let Some(result) = poll_times(sending.as_mut(), polls).await {
                result?;
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn recv_in_pieces(socket: &mut WebSocket, polls: usize) -> Result<Option<Message>, Error> {
    loop {
        let mut receiving = pin!(socket.recv());
        if let Some(result) = poll_times(receiving.as_mut(), polls).await {
            return result;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_cancelled_at_every_await_loses_and_doubles_nothing() {
    for shape in SHAPES {
        for polls in 1..4 {
            let config = Config::default()
                .max_send_queue(20_000)
                .max_read_ahead(1000);
            let (peer, _reports) =
                open(shape, config, move |socket| impatient(socket, polls)).await;
            let (reader, mut writer) = tokio::io::split(peer.stream);
            let writing = tokio::spawn(async move {
                for number in 0..300_u32 {
                    let message = binary(vec![number as u8; (number as usize * 97) % 9000]);
                    writer.write_all(&message).await.expect("the server reads");
                }
                writer
            });
            let mut peer = Peer::new(tokio::io::join(reader, tokio::io::sink()));
            for number in 0..300_u32 {
                let expected = vec![number as u8; (number as usize * 97) % 9000];
                assert_eq!(peer.frame().await, Frame::binary(expected), "{polls} polls");
            }
            within(writing).await.expect("everything was read");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_flush_and_closed_leave_nothing_behind() {
    for shape in SHAPES {
        let (sender, mut sockets) = mpsc::unbounded_channel();
        let (mut peer, reports) = open(shape, Config::default(), move |socket| {
            sender.send(socket).expect("the test waits");
            async {}
        })
        .await;
        let socket: WebSocket = within(sockets.recv()).await.expect("it was called");
        socket.try_send(vec![1; 3 * PIPE]).expect("there is room");
        for _ in 0..100 {
            assert!(once(pin!(socket.flush())).await.is_pending());
            assert!(once(pin!(socket.closed())).await.is_pending());
        }
        assert_eq!(peer.frame().await, Frame::binary(vec![1; 3 * PIPE]));
        drop(socket);
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send(close(1000, "")).await;
        peer.finish().await;
        drop(sockets);
        assert!(reports.only().await.clean);
    }
}

/// The report of a session whose runtime goes away in the middle of it.
fn report_of_a_dropped_runtime(shape: Shape) -> (SessionReport, Arc<std::sync::Mutex<Log>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (mut reports, log, kept): (Reports, _, _) = runtime.block_on(async {
        let (ours, theirs) = duplex(PIPE);
        let wire = Wire::new(theirs, Plan::default());
        let log = wire.log();
        let reports = serve(shape, Config::default(), handler(echo), wire).await;
        let mut peer = Peer::new(ours);
        peer.send([text("a"), text("b")].concat()).await;
        peer.frame().await;
        (reports, log, peer)
    });
    drop(runtime);
    drop(kept);
    let waiting = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    (waiting.block_on(reports.first()), log)
}

#[test]
fn a_session_whose_runtime_is_dropped_reports() {
    for shape in SHAPES {
        let (report, _log) = report_of_a_dropped_runtime(shape);
        assert_eq!(
            (report.ended_by, report.close_code),
            (EndedBy::Disconnect, 1006)
        );
        assert_eq!((report.messages_received, report.messages_sent), (2, 2));
        assert!(!report.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_messages_and_bytes_and_time() {
    for shape in SHAPES {
        let (mut peer, reports) = open(shape, Config::default(), echo).await;
        let bytes = [text("hello"), binary([0; 1000]), client_frame(0x88, "")].concat();
        tokio::time::sleep(Duration::from_secs(7)).await;
        peer.send(&bytes).await;
        peer.finish().await;
        assert_eq!(peer.rest().await.len(), 3);
        let report = reports.only().await;
        assert_eq!(report.duration.as_secs(), 7);
        assert_eq!((report.messages_received, report.messages_sent), (2, 2));
        assert_eq!(
            (report.bytes_received, report.bytes_sent),
            (bytes.len() as u64, 1005)
        );
        assert_eq!((report.close_code, report.close_frame), (1005, None));
    }
}
