//! Faults in streamed messages: streams that cut, stall and fail, and futures that are dropped.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tower_websocket::{
    Config, Error, MessageKind, WebSocket,
    session::{MessageWriter, SessionReport},
};

use super::{in_bytes, relay, streaming};
use crate::session::support::{
    Fault, Frame, PIPE, Peer, Plan, SHAPES, Shape, Wire, binary, client_frame, close, idle, lock,
    open, ping, pong, serve, text, within,
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
        text(""),
        binary(vec![6; 3000]),
        in_bytes(0x82, b"bytes"),
        client_frame(0x02, vec![7; 2000]),
        client_frame(0x80, vec![8; 9000]),
    ]
    .concat()
}

fn expected() -> Vec<(u8, Vec<u8>)> {
    vec![
        (1, b"hello".to_vec()),
        (1, "in three fragments, κόσμε".into()),
        (1, vec![]),
        (2, vec![6; 3000]),
        (2, b"bytes".to_vec()),
        (2, [vec![7; 2000], vec![8; 9000]].concat()),
    ]
}

/// What a peer has been told.
#[derive(Debug, Default)]
struct Answer {
    /// Opcodes and payloads.
    messages: Vec<(u8, Vec<u8>)>,
    /// The last message has not ended.
    open: bool,
    /// The code of the Close.
    code: Option<u16>,
}

impl Answer {
    fn new(frames: Vec<Frame>) -> Self {
        let mut answer = Self::default();
        for frame in frames {
            assert_eq!(answer.code, None, "nothing follows a Close: {frame:?}");
            match frame.first & 0x0f {
                9 | 10 => {}
                8 => answer.code = frame.code(),
                opcode => answer.add(opcode, frame),
            }
        }
        answer
    }

    fn add(&mut self, opcode: u8, frame: Frame) {
        assert_eq!(self.open, opcode == 0, "messages follow each other");
        if opcode == 0 {
            let (_, payload) = self.messages.last_mut().expect("a message is open");
            payload.extend(frame.payload);
        } else {
            self.messages.push((opcode, frame.payload));
        }
        self.open = frame.first & 0x80 == 0;
    }

    /// Sees that it is the beginning of what should have come.
    fn check_beginning(&self, context: &str) {
        for (number, (opcode, payload)) in self.messages.iter().enumerate() {
            let (expected_opcode, expected) = &expected()[number];
            assert_eq!(opcode, expected_opcode, "{context}");
            if self.open && number + 1 == self.messages.len() {
                assert!(expected.starts_with(payload), "{context}");
            } else {
                assert!(payload == expected, "{context}");
            }
        }
    }
}

/// Everything that one run of the conversation shows.
struct Run {
    answer: Vec<u8>,
    operations: usize,
    report: SessionReport,
}

/// Holds the conversation over a stream that follows `plan`, and closes when all was answered.
async fn run(shape: Shape, config: Config, plan: Plan, mut pieces: Vec<Vec<u8>>) -> Run {
    pieces.push(close(4321, "bye"));
    let (ours, theirs) = duplex(PIPE);
    let wire = Wire::new(theirs, plan);
    let log = wire.log();
    let reports = serve(shape, config, handler(relay), wire).await;
    let (mut reader, mut writer) = tokio::io::split(ours);
    let writing = tokio::spawn(async move {
        for piece in pieces {
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
    let mut writer = within(writing).await.expect("no panic");
    let _gone = writer.shutdown().await;
    drop((reader, writer));
    Run {
        answer,
        report: reports.only().await,
        operations: lock(&log).operations,
    }
}

fn check(run: &Run, context: &str) {
    let (frames, whole_frame) = Frame::all(run.answer.clone());
    assert!(whole_frame, "{context}");
    let answer = Answer::new(frames);
    assert!(answer.messages == expected(), "{context}: {answer:?}");
    assert!(!answer.open, "{context}");
    assert_eq!(answer.code, Some(4321), "{context}");
    let report = &run.report;
    assert!(report.clean, "{context}");
    assert_eq!(
        (report.messages_received, report.messages_sent),
        (6, 6),
        "{context}"
    );
    let bytes = expected()
        .iter()
        .map(|(_, payload)| payload.len())
        .sum::<usize>();
    assert_eq!(report.bytes_sent, bytes as u64, "{context}");
}

/// Settings that make everything wait now and then, and those that do not.
fn configs() -> [Config; 3] {
    [
        streaming(),
        streaming()
            .fragment_size(700)
            .max_send_queue(500)
            .max_read_ahead(1),
        streaming().fragment_size(3).max_read_ahead(1000),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_streamed_conversation_cut_anywhere_is_the_same_conversation() {
    let bytes = conversation();
    let cuts = (0..300).chain((300..bytes.len()).step_by(331));
    for shape in SHAPES {
        for config in configs() {
            for cut in cuts.clone() {
                let (first, second) = bytes.split_at(cut);
                let pieces = vec![first.to_vec(), second.to_vec()];
                let run = run(shape, config.clone(), Plan::default(), pieces).await;
                check(&run, &format!("{shape:?} cut at {cut}"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_of_one_byte_make_the_same_streamed_conversation() {
    for shape in SHAPES {
        for config in configs() {
            for (max_read, max_write, pending) in [
                (Some(1), None, None),
                (None, Some(1), None),
                (Some(1), Some(1), Some(1)),
                (Some(3), Some(2), Some(7)),
            ] {
                let plan = Plan {
                    max_read,
                    max_write,
                    pending,
                    ..Plan::default()
                };
                let run = run(shape, config.clone(), plan, vec![conversation()]).await;
                check(&run, &format!("{shape:?} {plan:?}"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_operation_of_a_streamed_conversation_ends_it_without_a_hang() {
    for shape in SHAPES {
        for config in configs() {
            for fault in [Fault::Error, Fault::Stall] {
                for pending in [None, Some(3)] {
                    let mut at = 0;
                    loop {
                        let plan = Plan {
                            max_read: Some(900),
                            max_write: Some(1100),
                            pending,
                            fault: Some((at, fault)),
                            ..Plan::default()
                        };
                        let context = format!("{shape:?} {fault:?} at {at}");
                        let run = run(shape, config.clone(), plan, vec![conversation()]).await;
                        let (frames, _) = Frame::all(run.answer);
                        Answer::new(frames).check_beginning(&context);
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
}

/// Polls what `begin` makes so many times, drops it, and begins again, until it is ready.
macro_rules! impatiently {
    ($times:expr, $future:expr) => {
        loop {
            if let Some(output) = poll_times(pin!($future), $times).await {
                break output;
            }
            tokio::task::yield_now().await;
        }
    };
}

/// Relays messages with futures that are dropped and made again after `polls` polls.
async fn impatient(mut socket: WebSocket, polls: usize) -> Result<(), Error> {
    let sender = socket.sender();
    loop {
        // A receive that is cancelled in the middle of a message leaves it to the reader.
        if let Some(received) = poll_times(pin!(socket.recv()), polls).await {
            let Some(message) = received? else {
                return Ok(());
            };
            impatiently!(polls, sender.send(message.clone()))?;
            continue;
        }
        let Some(mut reader) = impatiently!(polls, socket.recv_reader())? else {
            return Ok(());
        };
        let mut writer = impatiently!(polls, sender.send_writer(reader.kind()))?;
        let mut number = 0;
        while let Some(chunk) = impatiently!(polls, reader.chunk())? {
            pass_on(&mut writer, chunk, number, polls).await?;
            number += 1;
        }
        impatiently!(polls, poll_fn(|cx| Pin::new(&mut writer).poll_shutdown(cx)))?;
    }
}

/// Passes a chunk on, in one way or another.
async fn pass_on(
    writer: &mut MessageWriter<'_>,
    chunk: Bytes,
    number: usize,
    polls: usize,
) -> Result<(), Error> {
    if number.is_multiple_of(3) {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let taken = impatiently!(polls, writer.write(rest))?;
            rest = &rest[taken..];
        }
        return Ok(());
    }
    impatiently!(polls, writer.send(chunk.clone()))?;
    if number % 3 == 1 {
        impatiently!(polls, writer.flush())?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_relay_cancelled_at_every_await_loses_and_doubles_nothing() {
    for shape in SHAPES {
        for polls in 1..4 {
            for read_ahead in [1, 1000] {
                let config = streaming()
                    .fragment_size(500)
                    .max_send_queue(2000)
                    .max_read_ahead(read_ahead);
                let (peer, _reports) =
                    open(shape, config, move |socket| impatient(socket, polls)).await;
                let (reader, mut writer) = tokio::io::split(peer.stream);
                let message = |number: u32| vec![number as u8; (number as usize * 97) % 9000];
                let writing = tokio::spawn(async move {
                    for number in 0..200 {
                        let payload = message(number);
                        let (a, b) = payload.split_at(payload.len() / 3);
                        let frames = match number % 3 {
                            0 => binary(payload),
                            1 => [client_frame(0x02, a), client_frame(0x80, b)].concat(),
                            _ => in_bytes(0x82, &payload[..payload.len().min(50)]),
                        };
                        for piece in frames.chunks(999) {
                            writer.write_all(piece).await.expect("the server reads");
                            tokio::task::yield_now().await;
                        }
                    }
                    writer
                });
                let mut peer = Peer::new(tokio::io::join(reader, tokio::io::sink()));
                for number in 0..200 {
                    let mut payload = vec![];
                    loop {
                        let frame = peer.frame().await;
                        payload.extend(frame.payload);
                        if frame.first & 0x80 != 0 {
                            break;
                        }
                    }
                    let mut expected = message(number);
                    if number % 3 == 2 {
                        expected.truncate(50);
                    }
                    assert!(payload == expected, "{polls} polls: message {number}");
                }
                within(writing).await.expect("everything was read");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_dropped_after_any_number_of_polls_leaves_whole_messages_or_a_close() {
    for shape in SHAPES {
        let mut finished = false;
        for polls in 1..200 {
            let config = Config::default().fragment_size(10).max_send_queue(20);
            let (mut peer, _reports) = open(shape, config, move |socket: WebSocket| async move {
                let writing = async {
                    let mut writer = socket.send_writer(MessageKind::Binary).await?;
                    for number in 0..10 {
                        writer.write_all(&[number; 25]).await?;
                        writer.flush().await?;
                        writer.send(vec![number; 5]).await?;
                    }
                    writer.finish().await
                };
                let written = poll_times(pin!(writing), polls).await;
                let sent = socket.send("after").await;
                match written {
                    Some(Ok(())) => assert!(sent.is_ok()),
                    Some(Err(error)) => panic!("{error}"),
                    None => {}
                }
                Ok::<_, Error>(())
            })
            .await;
            let Answer {
                messages,
                open,
                code,
            } = Answer::new(until_close(&mut peer).await);
            let payload: Vec<u8> = (0..10).flat_map(|number| [number; 30]).collect();
            let after = (1, b"after".to_vec());
            match code {
                Some(1000) if messages.len() == 2 => {
                    assert!(!open && messages == [(2, payload), after]);
                    finished = true;
                }
                Some(1000) => assert!(!open && messages == [after], "nothing had left"),
                Some(1011) => {
                    assert!(open && messages.len() == 1);
                    assert!(payload.starts_with(&messages[0].1));
                }
                other => panic!("{other:?}"),
            }
            if finished {
                break;
            }
        }
        assert!(finished, "at last the writer is through");
    }
}

/// Receives up to the Close, and answers it.
async fn until_close(peer: &mut Peer) -> Vec<Frame> {
    let mut frames = vec![];
    loop {
        let frame = peer.frame().await;
        let over = frame.is_close();
        frames.push(frame);
        if over {
            peer.send(close(1000, "")).await;
            peer.finish().await;
            assert_eq!(peer.rest().await, []);
            return frames;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn readers_dropped_after_any_number_of_polls_pass_over_their_message_only() {
    for shape in SHAPES {
        for read_ahead in [1, 1000, 64 << 10] {
            for polls in 1..12 {
                let config = streaming().max_read_ahead(read_ahead);
                let (mut peer, _reports) =
                    open(shape, config, move |mut socket: WebSocket| async move {
                        let sender = socket.sender();
                        loop {
                            let Some(mut reader) = socket.recv_reader().await? else {
                                return Ok::<_, Error>(());
                            };
                            let mut payload = vec![];
                            let reading = pin!(reader.read_to_end(&mut payload));
                            poll_times(reading, polls).await.transpose()?;
                            drop(reader);
                            // The next one is whole, whatever happened to this one.
                            match socket.recv().await? {
                                Some(message) => sender.send(message).await?,
                                None => return Ok(()),
                            }
                        }
                    })
                    .await;
                for round in 0..10_u8 {
                    let large = vec![round; 3000];
                    let next = format!("message {round}");
                    let bytes = [
                        client_frame(0x02, &large),
                        ping(""),
                        client_frame(0x00, &large),
                        client_frame(0x80, &large),
                        in_bytes(0x81, next.as_bytes()),
                    ];
                    for piece in bytes.concat().chunks(1500) {
                        peer.send(piece).await;
                        if round % 2 == 0 {
                            idle().await;
                        }
                    }
                    assert_eq!(peer.frame().await, Frame::pong(""));
                    assert_eq!(peer.frame().await, Frame::text(&next));
                }
            }
        }
    }
}
