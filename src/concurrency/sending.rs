//! One connection: sending, receiving, waiting and closing, each in a thread of its own.

use std::{future::poll_fn, pin::Pin};

use super::{
    Line, Seen, end, explore, give_up,
    line::{PING, TEXT, close_frame, frame, peer, serve},
    start,
};
use crate::{
    config::Config,
    error::Error,
    protocol::{CloseCode, Event, MessageKind},
    session::{EndedBy, Sender, handle::Receiver},
};

/// Receives until the end; returns the texts.
async fn receive_all(mut receiver: Receiver) -> Vec<String> {
    let mut texts = Vec::new();
    while let Ok(Some(message)) = receiver.recv().await {
        texts.push(message.as_text().unwrap().to_string());
    }
    texts
}

/// Sends texts one after the other, until one is refused; returns those that were sent.
async fn send_all(sender: Sender, name: &'static str, count: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0..count {
        let text = format!("{name}{number}");
        match sender.send(text.clone()).await {
            Ok(()) => accepted.push(text),
            Err(error) => {
                assert!(matches!(error, Error::Closed));
                break;
            }
        }
    }
    accepted
}

fn of(seen: &Seen, name: &str) -> Vec<String> {
    let messages = seen.messages.iter();
    messages
        .filter(|text| text.starts_with(name))
        .cloned()
        .collect()
}

/// Queued messages leave before the Close, and a refused message never leaves.
#[test]
fn message_that_is_accepted_beside_a_close_arrives() {
    explore(async || {
        let line = Line::open(Config::default(), 5);
        let (sender, receiver) = line.socket.split();
        let tasks = ["a", "b"].map(|name| start(send_all(sender.clone(), name, 2)));
        let receiving = start(receive_all(receiver));
        let closing = start(async move { sender.close(CloseCode::NORMAL) });
        let seen = peer(line.peer, Vec::new()).await;
        end(closing).await;
        for (name, task) in ["a", "b"].into_iter().zip(tasks) {
            assert_eq!(of(&seen, name), end(task).await);
        }
        assert_eq!(end(receiving).await.len(), 0);
        assert_eq!(seen.close, Some(1000));
        let report = line.session.report().await;
        assert_eq!(report.messages_sent, seen.messages.len() as u64);
        assert!(report.clean && report.ended_by == EndedBy::Local);
    });
}

/// `try_send` during the peer's Close: what it queues counts, and may be too late to arrive; but
/// everything ends, and what arrives is in order.
#[test]
fn connection_ends_when_the_peer_closes_while_many_send() {
    explore(async || {
        let line = Line::open(Config::default().max_send_queue(4), 5);
        let (sender, receiver) = line.socket.split();
        let tasks = ["a", "b"].map(|name| start(send_all(sender.clone(), name, 2)));
        let receiving = start(receive_all(receiver));
        let says = [frame(TEXT, b"hello"), close_frame()].concat();
        let seen = peer(line.peer, says).await;
        let mut accepted = 0;
        for (name, task) in ["a", "b"].into_iter().zip(tasks) {
            let sent = end(task).await;
            assert_eq!(
                of(&seen, name),
                sent,
                "the Close is behind what was accepted"
            );
            accepted += sent.len();
        }
        assert_eq!(end(receiving).await, ["hello"]);
        sender.closed().await;
        let report = line.session.report().await;
        assert_eq!(report.messages_sent, accepted as u64);
        assert_eq!(
            (report.messages_received, report.ended_by),
            (1, EndedBy::Peer)
        );
    });
}

/// A sender that gives up passes on what it was woken for.
#[test]
fn room_that_is_given_to_one_that_gives_up_is_given_to_the_next() {
    explore(async || {
        let line = Line::open(Config::default().max_send_messages(1), 3);
        let (sender, receiver) = line.socket.split();
        let tasks = ["a", "b"].map(|name| start(send_all(sender.clone(), name, 1)));
        let impatient = sender.clone();
        let giving_up = start(async move {
            let sent = give_up(impatient.send("c0"), 1).await;
            usize::from(sent.is_some_and(|result| result.is_ok()))
        });
        let receiving = start(receive_all(receiver));
        let peer = start(peer(line.peer, Vec::new()));
        let mut accepted = Vec::new();
        for task in tasks {
            accepted.push(end(task).await);
        }
        let given_up = end(giving_up).await;
        sender.close(CloseCode::NORMAL);
        let seen = end(peer).await;
        assert_eq!(accepted, [of(&seen, "a"), of(&seen, "b")]);
        assert_eq!((accepted[0].len(), accepted[1].len()), (1, 1));
        assert_eq!(of(&seen, "c").len(), given_up);
        assert_eq!(end(receiving).await.len(), 0);
        line.session.report().await;
    });
}

/// The same with a message that is sent piece by piece, of which there is one at a time.
#[test]
fn turn_of_a_writer_that_gives_up_is_given_to_the_next() {
    explore(async || {
        let line = Line::open(Config::default(), 3);
        let (sender, receiver) = line.socket.split();
        let write = async |sender: Sender, text: &'static str| {
            let mut writer = sender.send_writer(MessageKind::Text).await?;
            writer.send(text).await?;
            writer.finish().await
        };
        let tasks = ["a", "b"].map(|text| start(write(sender.clone(), text)));
        let impatient = sender.clone();
        let giving_up = start(async move {
            // A writer that has written nothing leaves nothing behind.
            drop(give_up(impatient.send_writer(MessageKind::Text), 1).await);
        });
        let receiving = start(receive_all(receiver));
        let closes = sender.clone();
        let closing = start(async move {
            for task in tasks {
                end(task).await.unwrap();
            }
            end(giving_up).await;
            closes.close(CloseCode::NORMAL);
        });
        let mut stream = line.peer;
        let mut bytes = Vec::new();
        let close = [0x88, 0x02, 0x03, 0xE8];
        while !bytes.ends_with(&close) {
            let mut byte = [0];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut byte)
                .await
                .unwrap();
            bytes.extend(byte);
        }
        tokio::io::AsyncWriteExt::write_all(&mut stream, &close_frame())
            .await
            .unwrap();
        let payloads: Vec<u8> = bytes
            .into_iter()
            .filter(|byte| b"ab".contains(byte))
            .collect();
        assert!(payloads == b"ab" || payloads == b"ba", "{payloads:?}");
        end(closing).await;
        assert_eq!(end(receiving).await.len(), 0);
        drop(stream);
        assert_eq!(line.session.report().await.messages_sent, 2);
    });
}

/// Ready means on its way: the stream has it.
#[test]
fn flush_is_ready_once_what_was_sent_before_is_written() {
    explore(async || {
        let line = Line::open(Config::default(), 4);
        let (sender, receiver) = line.socket.split();
        let came = line.peer.has_come();
        let flushing = ["a", "b"].map(|text| {
            let (sender, came) = (sender.clone(), came.clone());
            start(async move {
                sender.send(text).await.unwrap();
                // A flush that gives up does not take the others' wake-up along.
                let early = give_up(sender.flush(), 1).await;
                let flushed = match early {
                    Some(result) => result,
                    None => sender.flush().await,
                };
                flushed.unwrap();
                came.written()
            })
        });
        let receiving = start(receive_all(receiver));
        let closes = sender.clone();
        let closing = start(async move {
            let mut written = Vec::new();
            for task in flushing {
                written.push(end(task).await);
            }
            closes.close(CloseCode::NORMAL);
            written
        });
        let seen = peer(line.peer, Vec::new()).await;
        // Each message takes three bytes, behind those before it.
        for (text, written) in ["a", "b"].into_iter().zip(end(closing).await) {
            let place = seen.messages.iter().position(|seen| seen == text).unwrap();
            assert!(written >= 3 * (place + 1), "{text} at {place}: {written}");
        }
        assert_eq!(end(receiving).await.len(), 0);
        line.session.report().await;
    });
}

/// Dropping the last handle ends the connection, whatever the session does meanwhile.
#[test]
fn last_handle_dropped_beside_a_message_closes_the_connection() {
    explore(async || {
        let line = Line::open(Config::default(), 64);
        let socket = line.socket;
        let dropping = start(async move { drop(socket) });
        let seen = peer(line.peer, frame(TEXT, b"hello")).await;
        end(dropping).await;
        assert_eq!(seen.close, Some(1000));
        let report = line.session.report().await;
        assert!(
            report.clean && report.ended_by == EndedBy::Local,
            "{report:?}"
        );
    });
}

/// The halves are dropped in any order: the receiver's drop closes the connection, a sender's does not.
#[test]
fn receiver_dropped_beside_its_senders_closes_the_connection() {
    explore(async || {
        let line = Line::open(Config::default(), 6);
        let (sender, receiver) = line.socket.split();
        let sending = start(send_all(sender.clone(), "a", 2));
        let dropping = start(async move { drop(receiver) });
        let waiting = start(async move { sender.closed().await });
        let seen = peer(line.peer, frame(TEXT, b"hello")).await;
        end(dropping).await;
        assert_eq!(seen.messages, end(sending).await);
        assert_eq!(seen.close, Some(1000));
        end(waiting).await;
        line.session.report().await;
    });
}

/// The task that received last is woken; the one before it need not be.
#[test]
fn message_wakes_the_task_that_the_receiver_was_moved_to() {
    explore(async || {
        let line = Line::open(Config::default(), 64);
        let mut receiver = line.socket.split().1;
        let first = start(async move {
            let early = give_up(receiver.recv(), 1).await;
            (early, receiver)
        });
        let receiving = start(async move {
            let (early, receiver) = end(first).await;
            let mut texts = Vec::new();
            if let Some(Ok(Some(message))) = early {
                texts.push(message.as_text().unwrap().to_string());
            }
            texts.extend(receive_all(receiver).await);
            texts
        });
        let says = [frame(TEXT, b"1"), frame(TEXT, b"2"), close_frame()].concat();
        let seen = peer(line.peer, says).await;
        assert_eq!(end(receiving).await, ["1", "2"]);
        assert_eq!(seen.close, Some(1000));
        assert_eq!(line.session.report().await.messages_received, 2);
    });
}

/// A full inbox stops the reading, and taking from it starts it again.
#[test]
fn reading_goes_on_when_the_inbox_has_room_again() {
    explore(async || {
        let line = Line::open(Config::default().max_read_ahead(1), 64);
        let receiver = line.socket.split().1;
        let receiving = start(receive_all(receiver));
        let texts = ["1", "2", "3", "4"];
        let mut says = texts.map(|text| frame(TEXT, text.as_bytes())).concat();
        says.extend(close_frame());
        let seen = peer(line.peer, says).await;
        assert_eq!(end(receiving).await, texts);
        assert_eq!(seen.close, Some(1000));
        line.session.report().await;
    });
}

/// The session answers pings, and a handle's pings leave, beside all else.
#[test]
fn pings_of_both_sides_are_answered_beside_messages() {
    explore(async || {
        let line = Line::open(Config::default(), 5);
        let (sender, mut receiver) = line.socket.split();
        let pinging = sender.clone();
        let pings = start(async move { pinging.ping("p").unwrap() });
        let sending = start(send_all(sender.clone(), "a", 2));
        let receiving = start(async move {
            let mut events = Vec::new();
            while let Ok(Some(event)) = receiver.recv_event().await {
                events.push(event);
            }
            events
        });
        let closing = start(async move {
            end(pings).await;
            let sent = end(sending).await;
            sender.flush().await.unwrap();
            sender.close(CloseCode::NORMAL);
            sent
        });
        let seen = peer(line.peer, frame(PING, b"q")).await;
        assert_eq!(seen.messages, end(closing).await);
        assert_eq!((seen.messages.len(), seen.pings), (2, vec!["p".to_owned()]));
        // Behind our Close, too, since it came before the peer's (RFC 6455 §5.5.2).
        assert_eq!(seen.pongs, ["q"]);
        let pinged = |event: &&Event| matches!(event, Event::Ping(_));
        assert!(end(receiving).await.iter().filter(pinged).count() <= 1);
        assert_eq!(seen.close, Some(1000));
        line.session.report().await;
    });
}

/// However it ends, every task that waits learns it, and it is reported once.
#[test]
fn abort_beside_a_close_ends_all_who_wait() {
    explore(async || {
        let line = Line::open(Config::default().max_send_messages(1), 2);
        let (sender, receiver) = line.socket.split();
        let receiving = start(receive_all(receiver));
        let sending = ["a", "b"].map(|name| start(send_all(sender.clone(), name, 2)));
        let waits = sender.clone();
        let waiting = start(async move { waits.closed().await });
        let flushes = sender.clone();
        let flushing = start(async move { flushes.flush().await.is_ok() });
        let aborts = sender.clone();
        let aborting = start(async move { aborts.abort() });
        let closing = start(async move { sender.close(CloseCode::NORMAL) });
        let peer = start(peer(line.peer, frame(TEXT, b"hello")));
        end(waiting).await;
        end(receiving).await;
        end(flushing).await;
        let mut accepted = 0;
        for task in sending {
            accepted += end(task).await.len();
        }
        for task in [aborting, closing] {
            end(task).await;
        }
        let seen = end(peer).await;
        let report = line.session.report().await;
        assert_eq!(report.messages_sent, accepted as u64);
        assert!(seen.messages.len() <= accepted);
    });
}

/// A session that has nothing to do notices it, too.
#[test]
fn abort_beside_a_message_ends_the_connection() {
    explore(async || {
        let line = Line::open(Config::default(), 64);
        let (sender, receiver) = line.socket.split();
        let receiving = start(receive_all(receiver));
        let aborting = start(async move { sender.abort() });
        let seen = peer(line.peer, frame(TEXT, b"hello")).await;
        end(aborting).await;
        assert_eq!(seen.close, None);
        assert!(end(receiving).await.len() <= 1);
        assert_eq!(line.session.report().await.ended_by, EndedBy::Disconnect);
    });
}

/// A sink has no future that could keep a ticket, and is woken nevertheless.
#[test]
fn sink_that_waits_for_room_and_for_the_end_is_woken() {
    explore(async || {
        let line = Line::open(Config::default().max_send_messages(1), 2);
        let mut socket = line.socket;
        let sender = socket.sender();
        let other = start(send_all(sender.clone(), "b", 1));
        let sink = start(async move {
            use futures_sink::Sink;
            let mut sent = 0;
            for text in ["a0", "a1"] {
                if poll_fn(|cx| Pin::new(&mut socket).poll_ready(cx))
                    .await
                    .is_err()
                {
                    break;
                }
                Pin::new(&mut socket).start_send(text.into()).unwrap();
                sent += 1;
            }
            poll_fn(|cx| Pin::new(&mut socket).poll_flush(cx))
                .await
                .unwrap();
            poll_fn(|cx| Pin::new(&mut socket).poll_close(cx))
                .await
                .unwrap();
            sent
        });
        let seen = peer(line.peer, Vec::new()).await;
        assert_eq!(of(&seen, "a").len(), end(sink).await);
        assert_eq!(of(&seen, "a").len(), 2);
        assert_eq!(of(&seen, "b"), end(other).await);
        line.session.report().await;
    });
}

/// A handler inside the session is polled for everything that other tasks do to its connection.
#[test]
fn handler_that_echoes_beside_other_senders_answers_all() {
    explore(async || {
        let mut sender = None;
        let (stream, session) = serve(Config::default(), 64, None, |socket| {
            sender = Some(socket.sender());
            async move {
                let mut socket = socket;
                while let Some(message) = socket.recv().await? {
                    socket.send(message).await?;
                }
                Ok(())
            }
        });
        let session = session.start();
        let others = start(send_all(sender.unwrap(), "a", 2));
        let texts = ["1", "2", "3"];
        let mut says = texts.map(|text| frame(TEXT, text.as_bytes())).concat();
        says.extend(close_frame());
        let seen = peer(stream, says).await;
        assert_eq!(of(&seen, "a"), end(others).await);
        let echoes: Vec<_> = seen
            .messages
            .iter()
            .filter(|text| !text.starts_with('a'))
            .collect();
        assert_eq!(echoes, texts, "replies leave before the Close is answered");
        let report = session.report().await;
        assert_eq!(report.messages_sent, seen.messages.len() as u64);
    });
}

/// When the runtime ends, so does everything that waits in another one.
#[test]
fn session_that_is_dropped_ends_all_who_wait() {
    explore(async || {
        let mut socket = None;
        let config = Config::default().max_send_messages(1);
        let (stream, session) = serve(config, 2, None, |opened| {
            socket = Some(opened);
            std::future::ready(Ok(()))
        });
        let session = session.start_and_drop(3);
        let (sender, receiver) = socket.unwrap().split();
        let sending = ["a", "b"].map(|name| start(send_all(sender.clone(), name, 2)));
        let receiving = start(receive_all(receiver));
        let flushes = sender.clone();
        let flushing = start(async move { flushes.flush().await.is_ok() });
        let peer = start(peer(stream, frame(TEXT, b"hello")));
        sender.closed().await;
        let mut accepted = 0;
        for task in sending {
            accepted += end(task).await.len();
        }
        end(receiving).await;
        end(flushing).await;
        let seen = end(peer).await;
        assert!(seen.messages.len() <= accepted);
        assert_eq!(session.report().await.messages_sent, accepted as u64);
    });
}
