//! Writing for an idle session, beside its own turns.

use super::{
    Line, Seen, end, explore, give_up,
    line::{PING, TEXT, close_frame, frame, peer, serve},
    start,
};
use crate::{
    config::Config,
    groups::handle::Groups,
    protocol::{CloseCode, PreparedMessage},
    session::{Sender, WebSocket},
};

/// Receives until the connection ends.
async fn receive(mut socket: WebSocket) -> usize {
    let mut received = 0;
    while let Ok(Some(_)) = socket.recv().await {
        received += 1;
    }
    received
}

/// Queues as a broadcast does, and writes as it does, each time; returns what was accepted.
async fn write_all(sender: Sender, name: &'static str, count: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0..count {
        let text = format!("{name}{number}");
        match sender.try_queue(&PreparedMessage::new(text.clone())) {
            Ok(asleep) => {
                accepted.push(text);
                if asleep.is_some() {
                    sender.flush_now();
                }
            }
            Err(_) => break,
        }
    }
    accepted
}

async fn send_all(sender: Sender, name: &'static str, count: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0..count {
        let text = format!("{name}{number}");
        if sender.send(text.clone()).await.is_err() {
            break;
        }
        accepted.push(text);
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

/// Two that write, one that sends, the driver's turns for what the peer says, and a close, all at once: what was accepted
/// arrives before the Close, each once and in its order, and who flushes is woken.
#[test]
fn all_that_is_accepted_arrives_whoever_writes_it() {
    explore(async || {
        let line = Line::open(Config::default(), 6);
        let sender = line.socket.sender();
        let writing = ["a", "b"].map(|name| start(write_all(sender.clone(), name, 2)));
        let sending = start(send_all(sender.clone(), "s", 2));
        let flushes = sender.clone();
        let flushing = start(async move { flushes.flush().await.is_ok() });
        let receiving = start(receive(line.socket));
        let mut says = frame(TEXT, b"hello");
        says.extend(frame(PING, b"p"));
        let peer = start(peer(line.peer, says));
        let closing = start(async move { sender.close(CloseCode::NORMAL) });
        let [a, b] = writing;
        let accepted = [end(a).await, end(b).await, end(sending).await];
        end(flushing).await;
        end(closing).await;
        end(receiving).await;
        let seen = end(peer).await;
        for (name, accepted) in ["a", "b", "s"].iter().zip(&accepted) {
            assert_eq!(of(&seen, name), *accepted);
        }
        assert_eq!(seen.close, Some(1000));
        let report = line.session.report().await;
        let sent = accepted.iter().map(Vec::len).sum::<usize>();
        assert_eq!(report.messages_sent, sent as u64);
        assert!(report.clean);
    });
}

/// The peer closes while others write.
#[test]
fn close_of_the_peer_beside_writing_is_answered_behind_all() {
    explore(async || {
        let line = Line::open(Config::default(), 64);
        let sender = line.socket.sender();
        let writing = ["a", "b"].map(|name| start(write_all(sender.clone(), name, 2)));
        let receiving = start(receive(line.socket));
        let peer = start(peer(line.peer, close_frame()));
        let [a, b] = writing;
        let accepted = [end(a).await, end(b).await];
        end(receiving).await;
        let seen = end(peer).await;
        for (name, accepted) in ["a", "b"].iter().zip(&accepted) {
            assert_eq!(of(&seen, name), *accepted);
        }
        assert_eq!(seen.close, Some(1000));
        line.session.report().await;
    });
}

/// Nobody else wakes the session: a promise that is lost leaves the message where it is.
#[test]
fn message_to_an_idle_session_arrives_without_anything_else() {
    explore(async || {
        let line = Line::open(Config::default(), 4);
        let sender = line.socket.sender();
        let groups: Groups = Groups::new();
        let memberships = ["x", "y"].map(|room| groups.join(room.to_owned(), &sender).unwrap());
        let receiving = start(receive(line.socket));
        let broadcasting = ["x", "y"].map(|room| {
            let groups = groups.clone();
            start(async move {
                let mut sent = 0;
                for number in 0..2 {
                    sent += groups.broadcast(room, format!("{room}{number}")).await.sent;
                }
                sent
            })
        });
        let says = frame(TEXT, b"hello");
        // The Close comes behind all four.
        let peer = start(peer(line.peer, says));
        for broadcasting in broadcasting {
            assert_eq!(end(broadcasting).await, 2);
        }
        sender.flush().await.unwrap();
        sender.close(CloseCode::NORMAL);
        end(receiving).await;
        let seen = end(peer).await;
        for room in ["x", "y"] {
            assert_eq!(
                of(&seen, room),
                [0, 1].map(|number| format!("{room}{number}"))
            );
        }
        line.session.report().await;
        drop(memberships);
    });
}

/// The session's task is dropped while somebody writes for it.
#[test]
fn session_that_is_dropped_beside_writing_ends_all_who_wait() {
    explore(async || {
        let mut socket = None;
        let (stream, session) = serve(Config::default(), 4, None, |opened| {
            socket = Some(opened);
            std::future::ready(Ok(()))
        });
        let session = session.start_and_drop(3);
        let sender = socket.as_ref().unwrap().sender();
        let writing = ["a", "b"].map(|name| start(write_all(sender.clone(), name, 3)));
        let flushes = sender.clone();
        let flushing = start(async move { flushes.flush().await.is_ok() });
        let receiving = start(receive(socket.unwrap()));
        let peer = start(peer(stream, frame(TEXT, b"hello")));
        sender.closed().await;
        let [a, b] = writing;
        let accepted = [end(a).await, end(b).await];
        end(flushing).await;
        end(receiving).await;
        // The stream ends, though somebody may have had it.
        let seen = end(peer).await;
        for (name, accepted) in ["a", "b"].iter().zip(&accepted) {
            assert!(accepted.starts_with(&of(&seen, name)));
        }
        session.report().await;
        let gave_up = give_up(sender.flush(), 1).await;
        assert!(gave_up.is_some(), "nothing is waited for");
    });
}
