//! All connections of a layer, beside those that open and end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use super::{
    Line, end, explore,
    line::{self, TEXT, close_frame, frame, peer},
    start,
};
use crate::{
    config::Config,
    session::{Connections, Drain},
};

/// Opens a connection, unless it is refused, and serves it to its end; returns the code of its Close.
async fn serve(connections: Connections, drained: Arc<AtomicBool>) -> Option<u16> {
    let place = connections.accept().ok()?;
    assert!(
        !drained.load(SeqCst),
        "a drain waits for all that are let in"
    );
    let mut line = Line::open_at(Config::default(), 256, Some(place));
    let id = line.socket.id();
    let peer = start(peer(line.peer, Vec::new()));
    while let Ok(Some(_)) = line.socket.recv().await {}
    let seen = end(peer).await;
    let report = line.session.report().await;
    assert_eq!((report.id, Some(report.close_code)), (id, seen.close));
    seen.close
}

/// A drain forgets no connection: it closes each that was accepted, and waits for it.
#[test]
fn connection_that_opens_beside_a_drain_is_refused_or_drained() {
    explore(async || {
        let connections = Connections::sequential();
        let early = connections.accept().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let opening = [0, 1].map(|_| start(serve(connections.clone(), over.clone())));
        let drained = {
            let connections = connections.clone();
            start(async move {
                let drained = connections.drain(Drain::default()).await;
                over.store(true, SeqCst);
                // No connection is left, and none is accepted.
                assert_eq!(connections.alive(), 0);
                assert!(connections.accept().is_err());
                drained
            })
        };
        // As if its stream were never handed over.
        drop(early);
        let mut accepted = 1;
        for task in opening {
            if let Some(code) = end(task).await {
                assert_eq!(code, 1001);
                accepted += 1;
            }
        }
        let drained = end(drained).await;
        assert_eq!(drained.aborted, 0);
        let counters = connections.counters();
        assert_eq!((counters.open, connections.alive()), (0, 0));
        assert_eq!((counters.accepted, counters.failed_upgrades), (accepted, 1));
        assert_eq!(
            counters.closed.get(&1001).copied().unwrap_or(0),
            accepted - 1
        );
        assert_eq!(connections.sessions().count(), 0);
    });
}

/// A look at the connections while they end may or may not see them; their traffic counts once.
#[test]
fn connections_are_counted_and_found_while_they_end() {
    explore(async || {
        let connections = Connections::sequential();
        let place = connections.accept().unwrap();
        let line = Line::open_at(Config::default(), 8, Some(place));
        let id = line.socket.id().unwrap();
        let mut socket = line.socket;
        let looking = {
            let connections = connections.clone();
            start(async move {
                let mut sent = 0;
                for sender in connections.iter() {
                    sent += u64::from(sender.try_send("all").is_ok());
                }
                if let Some(sender) = connections.get(id) {
                    sent += u64::from(sender.try_send("one").is_ok());
                }
                assert!(connections.counters().open <= 1 && connections.len() <= 1);
                sent
            })
        };
        let receiving = start(async move { while let Ok(Some(_)) = socket.recv().await {} });
        let says = [frame(TEXT, b"hello"), close_frame()].concat();
        let seen = peer(line.peer, says).await;
        let sent = end(looking).await;
        end(receiving).await;
        let report = line.session.report().await;
        assert_eq!((report.messages_sent, report.messages_received), (sent, 1));
        assert_eq!(seen.messages.len() as u64, sent);
        let counters = connections.counters();
        assert_eq!(
            (counters.messages_sent, counters.messages_received),
            (sent, 1)
        );
        assert_eq!((counters.open, connections.alive()), (0, 0));
        assert!(connections.get(id).is_none() && connections.iter().next().is_none());
    });
}

/// When a drain is over, what handlers held is dropped, also those that it has aborted.
#[test]
fn permits_of_handlers_are_back_when_a_drain_is_over() {
    explore(async || {
        let connections = Connections::sequential();
        let permits = Arc::new(());
        let opening = [false, true].map(|aborts| {
            let (connections, permit) = (connections.clone(), permits.clone());
            start(async move {
                let place = connections.accept().ok()?;
                let (stream, session) =
                    line::serve(Config::default(), 16, Some(place), |socket| async move {
                        let _permit = permit;
                        let mut socket = socket;
                        while let Some(message) = socket.recv().await? {
                            socket.send(message).await?;
                        }
                        Ok(())
                    });
                let session = session.start();
                let peer = start(peer(stream, frame(TEXT, b"hello")));
                if aborts {
                    connections.sessions().for_each(|sender| sender.abort());
                }
                end(peer).await;
                Some(session.report().await)
            })
        });
        let drained = connections.drain(Drain::default()).await;
        assert_eq!((drained.aborted, connections.alive()), (0, 0));
        // A task that was refused holds its own until then.
        let mut refused = 0;
        for task in opening {
            refused += usize::from(end(task).await.is_none());
        }
        assert_eq!(Arc::strong_count(&permits), 1, "{refused} refused");
        assert_eq!(connections.counters().open, 0);
    });
}
