//! Connections that are aborted from outside.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{io::duplex, time::Instant};
use tower::ServiceBuilder;
use tower_websocket::{Config, Connections, Sender, WebSocket, WebSocketLayer, session::EndedBy};

use super::gone;
use crate::{
    crowd::{Kept, OnDrop, ask, registered},
    session::support::{PIPE, Plan, SHAPES, Shape, Wire, hold_over, idle, lock},
    support::{Log, handler, http::Peer, within},
};

#[tokio::test(start_paused = true)]
async fn aborted_connection_ends_at_once_and_says_nothing() {
    for shape in SHAPES {
        let connections = Connections::new();
        let (value, kept) = Kept::new();
        let (pen, mut log) = Log::new();
        let ended = pen.clone();
        let route = move |mut socket: WebSocket| {
            let (value, pen) = (value.clone(), pen.clone());
            async move {
                let _dropped = OnDrop(move || pen.write(None));
                let _value = value;
                while let Ok(Some(_)) = socket.recv().await {}
                unreachable_after_abort();
            }
        };
        // A place that comes back.
        let limited = ServiceBuilder::new()
            .concurrency_limit(1)
            .service(handler(route));
        let service = WebSocketLayer::new(limited)
            .connections(&connections)
            .on_end(move |report| ended.write(Some(report.clone())))
            .endpoint();
        let mut peer = Peer::open(service.clone(), ask(shape)).await;
        idle().await;
        let sender = connections.iter().next().unwrap();
        sender.try_send(vec![0; 500_000]).unwrap();
        sender.abort();
        assert!(sender.is_open(), "not before its task has had its turn");
        within(sender.closed()).await;
        idle().await;
        let report = log.next().await.unwrap();
        assert_eq!((report.close_code, report.clean), (1006, false));
        assert_eq!(report.ended_by, EndedBy::Disconnect);
        assert!(log.next().await.is_none(), "the handler goes last");
        assert_eq!(kept.count(), 1, "the service's own");
        assert!(connections.is_empty());
        assert_eq!(within(peer.rest()).await, "", "nothing was sent");
        assert!(sender.try_send("more").is_err());
        // Aborting twice, or after the end, has no effect.
        sender.abort();
        idle().await;
        assert!(log.is_empty());
        let _again = Peer::open(service, ask(shape)).await;
        idle().await;
        assert_eq!(connections.len(), 1);
    }
}

fn unreachable_after_abort() {
    panic!("it is not polled again");
}

#[tokio::test(start_paused = true)]
async fn handler_that_aborts_its_own_connection_sends_nothing_either() {
    for shape in SHAPES {
        for returns in [true, false] {
            let connections = Connections::new();
            let service = registered(&connections, move |socket: WebSocket| async move {
                socket.try_send("thrown away").unwrap();
                socket.sender().abort();
                if !returns {
                    pending::<()>().await;
                }
            });
            let mut peer = Peer::open(service, ask(shape)).await;
            let received = within(peer.rest()).await;
            assert_eq!(received, "", "{shape:?}, returns: {returns}");
            idle().await;
            let counted = connections.counters();
            assert_eq!(counted.closed, BTreeMap::from([(1006, 1)]));
            assert_eq!(gone(&connections).await, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn abort_while_the_session_writes_is_not_overlooked() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(PIPE);
        let aborts: Arc<Mutex<Option<Sender>>> = Arc::default();
        let hook = aborts.clone();
        let wire = Wire::new(theirs, Plan::default()).on_write(move || {
            if let Some(sender) = lock(&hook).take() {
                sender.abort();
            }
        });
        let (socket, mut reports) = hold_over(shape, Config::default(), wire).await;
        idle().await;
        *lock(&aborts) = Some(socket.sender());
        socket.try_send("hello").unwrap();
        let start = Instant::now();
        assert_eq!(reports.first().await.close_code, 1006);
        assert_eq!(start.elapsed(), Duration::ZERO, "no deadline ended it");
        drop(ours);
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_was_over_is_aborted_with_its_handler() {
    let connections = Connections::new();
    let (value, kept) = Kept::new();
    let service = registered(&connections, move |socket: WebSocket| {
        let value = value.clone();
        async move {
            let sender = socket.sender();
            let _value = value;
            sender.closed().await;
            pending::<()>().await;
        }
    });
    let peer = Peer::open(service, ask(Shape::H1)).await;
    idle().await;
    let sender = connections.iter().next().unwrap();
    drop(peer);
    within(sender.closed()).await;
    idle().await;
    // Its handler runs on; nobody finds it.
    assert_eq!((connections.len(), kept.count()), (0, 1));
    assert_eq!(connections.iter().count(), 0);
    assert!(connections.get(sender.id().unwrap()).is_none());
    sender.abort();
    idle().await;
    assert_eq!(kept.count(), 0);
    assert_eq!(connections.counters().closed, BTreeMap::from([(1006, 1)]));
    assert_eq!(gone(&connections).await, 0);
}
