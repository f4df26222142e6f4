//! Sessions that share their settings: a registry, reports, a drain.

use tower_websocket::{
    CloseCode, Config, Connections,
    protocol::Role,
    session::{Drain, EndedBy, Sessions},
};

use super::{both, pipe};
use crate::{
    session::support::{Frame, close, text, within},
    support::Log,
};

#[tokio::test]
async fn sessions_are_found_counted_and_reported() {
    for role in both() {
        let (connections, (pen, mut reports)) = (Connections::sequential(), Log::new());
        let sessions = Sessions::new(role)
            .config(Config::default().max_message_size(77))
            .connections(&connections)
            .on_end(move |report| pen.write(report.clone()));
        assert_eq!(
            sessions.configuration().settings().max_message_size,
            Some(77)
        );
        let (ours, mut peer) = pipe();
        let mut socket = sessions.over(ours).spawn().unwrap();
        let id = socket.id().unwrap();
        assert_eq!((id.as_u64(), connections.len()), (1, 1));
        connections.get(id).unwrap().send("found").await.unwrap();
        if role == Role::Server {
            assert_eq!(peer.frame().await, Frame::text("found"));
            peer.send([text("hi"), close(4000, "bye")].concat()).await;
            assert_eq!(socket.recv().await.unwrap(), Some("hi".into()));
            assert_eq!(socket.recv().await.unwrap(), None);
            peer.finish().await;
        } else {
            drop(peer);
            assert!(socket.recv().await.is_err());
        }
        let report = reports.next().await;
        assert_eq!(report.id, Some(id));
        if role == Role::Server {
            assert_eq!((report.ended_by, report.close_code), (EndedBy::Peer, 4000));
            assert!(report.clean);
        } else {
            assert_eq!(
                (report.ended_by, report.close_code),
                (EndedBy::Disconnect, 1006)
            );
        }
        assert!(connections.is_empty());
        assert_eq!(connections.counters().accepted, 1);
    }
}

#[tokio::test]
async fn sessions_are_drained_and_late_ones_are_closed_at_once() {
    let connections = Connections::new();
    let sessions = Sessions::new(Role::Server).connections(&connections);
    let (ours, mut peer) = pipe();
    let socket = sessions.over(ours).spawn().unwrap();
    let all = connections.clone();
    let draining = tokio::spawn(async move { all.drain(Drain::default()).await });
    assert_eq!(peer.frame().await.code(), Some(1001));
    // The handshake was answered while the first connection still had its time.
    let (ours, mut late) = pipe();
    let mut late_socket = sessions
        .over(ours)
        .already_read(text("too late"))
        .spawn()
        .unwrap();
    assert_eq!(late_socket.id(), None);
    assert_eq!(late.frame().await.code(), Some(1001));
    late.send(close(1001, "")).await;
    assert_eq!(within(late_socket.recv()).await.unwrap(), None);
    peer.send(close(1001, "")).await;
    drop(socket);
    let drained = within(draining).await.unwrap();
    assert_eq!((drained.ended, drained.aborted), (1, 0));
    let counters = connections.counters();
    assert_eq!((counters.accepted, counters.failed_upgrades), (1, 0));
    let late_closed = late_socket.received_close().map(|frame| frame.code());
    assert_eq!(late_closed, Some(CloseCode::GOING_AWAY));
}

/// What does not fit leaves no place behind that a drain would wait for.
#[tokio::test]
async fn session_that_does_not_fit_is_not_registered() {
    let connections = Connections::new();
    let sessions = Sessions::new(Role::Server).connections(&connections);
    let (ours, _peer) = pipe();
    assert!(sessions.over(ours).subprotocol("a b").spawn().is_err());
    let counters = connections.counters();
    assert_eq!((counters.accepted, counters.failed_upgrades), (0, 0));
    // Nor does one that was never begun.
    let (ours, _peer) = pipe();
    drop(sessions.over(ours));
    assert_eq!(connections.counters().accepted, 0);
    let drained = within(connections.drain(Drain::default())).await;
    assert_eq!((drained.ended, drained.aborted), (0, 0));
}
