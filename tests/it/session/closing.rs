//! Who closes first, and what both sides are told then.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tower_websocket::{
    CloseCode, CloseFrame, Config, WebSocket,
    protocol::State,
    session::{EndedBy, SessionReport},
};

use super::support::{
    Frame, Peer, Reports, SHAPES, Shape, Wire, client_frame, close, hold, hold_over, idle, open,
    ping, pong, text, within,
};

/// One way in which a connection is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Closer {
    HandlerReturns,
    HandlerFails,
    HandlerFailsWithFrame,
    HandlerPanics,
    SocketIsDropped,
    SenderCloses,
    SenderClosesWithoutCode,
    PeerCloses,
    PeerClosesWithoutCode,
    PeerViolates,
    PeerEnds,
    Lifetime,
}

const CLOSERS: [Closer; 12] = [
    Closer::HandlerReturns,
    Closer::HandlerFails,
    Closer::HandlerFailsWithFrame,
    Closer::HandlerPanics,
    Closer::SocketIsDropped,
    Closer::SenderCloses,
    Closer::SenderClosesWithoutCode,
    Closer::PeerCloses,
    Closer::PeerClosesWithoutCode,
    Closer::PeerViolates,
    Closer::PeerEnds,
    Closer::Lifetime,
];

impl Closer {
    /// The code that leaves, and whom the report names.
    fn outcome(self) -> (Option<u16>, EndedBy, u16) {
        match self {
            Self::HandlerReturns | Self::SocketIsDropped => (Some(1000), EndedBy::Local, 1000),
            Self::HandlerFails | Self::HandlerPanics => (Some(1011), EndedBy::Local, 1011),
            Self::HandlerFailsWithFrame => (Some(4100), EndedBy::Local, 4100),
            Self::SenderCloses => (Some(4200), EndedBy::Local, 4200),
            Self::SenderClosesWithoutCode => (None, EndedBy::Local, 1005),
            Self::PeerCloses => (Some(4300), EndedBy::Peer, 4300),
            Self::PeerClosesWithoutCode => (None, EndedBy::Peer, 1005),
            Self::PeerViolates => (Some(1002), EndedBy::Violation, 1002),
            Self::PeerEnds => (None, EndedBy::Disconnect, 1006),
            Self::Lifetime => (Some(1001), EndedBy::Timeout, 1001),
        }
    }

    async fn act(self, peer: &mut Peer, orders: &mpsc::UnboundedSender<Self>) {
        match self {
            Self::PeerCloses => peer.send(close(4300, "")).await,
            Self::PeerClosesWithoutCode => peer.send(client_frame(0x88, "")).await,
            Self::PeerViolates => peer.send(client_frame(0x8b, "reserved opcode")).await,
            Self::PeerEnds => peer.finish().await,
            Self::Lifetime => {}
            _ => {
                let _ended = orders.send(self);
            }
        }
    }
}

/// Opens a connection that can be closed in every way.
async fn open_closable(
    shape: Shape,
    closers: &[Closer],
) -> (Peer, mpsc::UnboundedSender<Closer>, Reports) {
    let (orders, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let lifetime = Duration::from_secs(3600);
    let lifetime = closers.contains(&Closer::Lifetime).then_some(lifetime);
    let config = Config::default().ping_interval(None).max_lifetime(lifetime);
    let handler = move |socket: WebSocket| {
        let orders = receiver.clone();
        async move {
            let mut orders = orders.lock().await;
            let sender = socket.sender();
            let mut socket = Some(socket);
            loop {
                match orders.recv().await {
                    Some(Closer::HandlerReturns) => return Ok(()),
                    Some(Closer::HandlerFails) => {
                        return Err(Box::<dyn std::error::Error + Send + Sync>::from(
                            "on purpose",
                        ));
                    }
                    Some(Closer::HandlerFailsWithFrame) => {
                        let code = CloseCode::new(4100).expect("a private code");
                        return Err(CloseFrame::from(code).into());
                    }
                    Some(Closer::HandlerPanics) => panic!("on purpose"),
                    Some(Closer::SocketIsDropped) => drop(socket.take()),
                    Some(Closer::SenderCloses) => {
                        sender.close(CloseCode::new(4200).expect("a private code"));
                    }
                    Some(Closer::SenderClosesWithoutCode) => sender.close_without_code(),
                    Some(_) => {}
                    None => {
                        sender.closed().await;
                        return Ok(());
                    }
                }
            }
        }
    };
    let (peer, reports) = open(shape, config, handler).await;
    (peer, orders, reports)
}

/// Ends the connection as a peer does, and gives all frames that came.
async fn conclude(mut peer: Peer, ended: bool) -> Vec<Frame> {
    idle().await;
    if ended {
        return peer.rest().await;
    }
    let mut frames = vec![];
    while let Some(frame) = peer.next().await {
        let is_close = frame.is_close();
        frames.push(frame);
        if is_close {
            // Refused where the peer has closed before.
            peer.send(close(1000, "answer")).await;
            peer.finish().await;
            frames.extend(peer.rest().await);
            break;
        }
    }
    frames
}

fn check(report: &SessionReport, closer: Closer, frames: &[Frame], context: &str) {
    let (code, by, reported) = closer.outcome();
    let closes: Vec<_> = frames.iter().filter(|frame| frame.is_close()).collect();
    if closer == Closer::PeerEnds {
        assert_eq!(closes, Vec::<&Frame>::new(), "{context}");
    } else {
        assert_eq!(closes.len(), 1, "one Close: {frames:?} {context}");
        assert_eq!(closes[0].code(), code, "{context}");
        assert!(
            frames[frames.len() - 1].is_close(),
            "nothing follows: {frames:?} {context}"
        );
        // After a violation nothing is read, an answer neither.
        let clean = closer != Closer::PeerViolates;
        assert_eq!(report.clean, clean, "{report:?} {context}");
    }
    assert_eq!(
        (report.ended_by, report.close_code),
        (by, reported),
        "{context}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_way_to_close_sends_one_close_frame_and_makes_one_report() {
    for shape in SHAPES {
        for closer in CLOSERS {
            let (mut peer, orders, reports) = open_closable(shape, &[closer]).await;
            closer.act(&mut peer, &orders).await;
            let frames = conclude(peer, closer == Closer::PeerEnds).await;
            drop(orders);
            let report = reports.only().await;
            check(&report, closer, &frames, &format!("{shape:?} {closer:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_closes_second_changes_nothing() {
    for shape in SHAPES {
        for first in CLOSERS {
            for second in CLOSERS {
                let peer_is_gone = first == Closer::PeerEnds;
                let context = format!("{shape:?} {first:?} then {second:?}");
                if first == Closer::Lifetime || second == Closer::PeerEnds {
                    continue;
                }
                let (mut peer, orders, reports) = open_closable(shape, &[first]).await;
                first.act(&mut peer, &orders).await;
                idle().await;
                if !peer_is_gone {
                    second.act(&mut peer, &orders).await;
                }
                let frames = conclude(peer, peer_is_gone).await;
                drop(orders);
                let report = reports.only().await;
                let closes = frames.iter().filter(|frame| frame.is_close());
                assert_eq!(closes.count(), usize::from(!peer_is_gone), "{context}");
                assert_eq!(report.ended_by, first.outcome().1, "{context}");
                assert_eq!(report.close_code, first.outcome().2, "{context}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_who_close_at_once_send_one_close_frame() {
    for shape in SHAPES {
        for first in CLOSERS {
            for second in CLOSERS {
                let context = format!("{shape:?} {first:?} with {second:?}");
                let (mut peer, orders, reports) = open_closable(shape, &[first, second]).await;
                first.act(&mut peer, &orders).await;
                if first != Closer::PeerEnds {
                    second.act(&mut peer, &orders).await;
                }
                let ended = first == Closer::PeerEnds || second == Closer::PeerEnds;
                let frames = conclude(peer, ended).await;
                drop(orders);
                let report = reports.only().await;
                let closes: Vec<_> = frames.iter().filter(|frame| frame.is_close()).collect();
                assert!(closes.len() <= 1, "{frames:?} {context}");
                assert_eq!(closes.is_empty(), report.close_code == 1006, "{context}");
                if let Some(position) = frames.iter().position(Frame::is_close) {
                    assert_eq!(position, frames.len() - 1, "{frames:?} {context}");
                }
                let either = [first.outcome().1, second.outcome().1];
                assert!(either.contains(&report.ended_by), "{report:?} {context}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn crossing_close_frames_are_a_clean_end() {
    for shape in SHAPES {
        let (mut peer, mut socket, reports) = hold(shape, Config::default()).await;
        socket.close((CloseCode::GOING_AWAY, "ours"));
        peer.send(close(4000, "theirs")).await;
        assert_eq!(peer.frame().await.code(), Some(1001));
        assert_eq!(within(socket.recv()).await.expect("a clean end"), None);
        let theirs = socket.received_close().expect("it had a code");
        assert_eq!((theirs.code().as_u16(), theirs.reason()), (4000, "theirs"));
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
        drop(socket);
        let report = reports.only().await;
        assert_eq!((report.ended_by, report.close_code), (EndedBy::Local, 1001));
        assert!(report.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn after_our_close_only_pings_are_answered() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        socket.send("before").await.expect("it is open");
        socket.close(CloseCode::NORMAL);
        assert_eq!(socket.state(), State::Closing);
        assert!(
            socket
                .send("after")
                .await
                .expect_err("it closes")
                .is_closed()
        );
        assert!(socket.ping("after").expect_err("it closes").is_closed());
        assert!(socket.pong("after").expect_err("it closes").is_closed());
        assert_eq!(peer.frame().await, Frame::text("before"));
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send([ping("answered"), text("discarded"), pong("")].concat())
            .await;
        assert_eq!(peer.frame().await, Frame::pong("answered"));
        peer.send([close(1000, ""), ping("too late")].concat())
            .await;
        assert_eq!(within(socket.recv()).await.expect("a clean end"), None);
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_the_application_has_not_received_when_it_closes_are_discarded() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        peer.send([text("a"), text("b")].concat()).await;
        assert_eq!(
            within(socket.recv()).await.expect("a message"),
            Some("a".into())
        );
        socket.close(CloseCode::NORMAL);
        peer.send([text("too late"), close(1000, "")].concat())
            .await;
        assert_eq!(within(socket.recv()).await.expect("a clean end"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_processed_after_a_violation() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        peer.send([client_frame(0xa1, "rsv2"), ping("no"), text("no")].concat())
            .await;
        assert!(
            within(socket.recv())
                .await
                .expect_err("a violation")
                .is_protocol()
        );
        peer.send([ping("no"), text("no"), close(1000, "")].concat())
            .await;
        peer.finish().await;
        let frames = peer.rest().await;
        assert_eq!(
            frames.iter().map(Frame::code).collect::<Vec<_>>(),
            [Some(1002)]
        );
        assert_eq!(socket.received_close(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_dies_after_the_close_frames_is_a_clean_end() {
    for shape in SHAPES {
        let (ours, theirs) = tokio::io::duplex(1024);
        let wire = Wire::new(theirs, Default::default());
        let (mut socket, reports) = hold_over(shape, Config::default(), wire).await;
        let mut peer = Peer::new(ours);
        peer.send(close(1000, "")).await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        drop(peer);
        assert_eq!(within(socket.recv()).await.expect("a clean end"), None);
        within(socket.closed()).await;
        drop(socket);
        assert!(reports.only().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_ever_does_not_keep_a_closed_connection_open() {
    for shape in SHAPES {
        let (mut peer, mut reports) = open(shape, Config::default(), |socket| async move {
            let _held = socket;
            pending::<()>().await;
        })
        .await;
        peer.send(close(1000, "")).await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.finish().await;
        assert_eq!(peer.next().await, None);
        assert!(reports.first().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn pings_after_our_close_do_not_put_close_timeout_off() {
    for shape in SHAPES {
        let (mut peer, socket, mut reports) = hold(shape, Config::default()).await;
        let start = Instant::now();
        drop(socket);
        assert_eq!(peer.frame().await.code(), Some(1000));
        for _ in 0..4 {
            sleep(Duration::from_secs(1)).await;
            peer.send(ping("still here")).await;
            assert_eq!(peer.frame().await, Frame::pong("still here"));
        }
        assert!(!reports.first().await.clean);
        assert!(start.elapsed() < Duration::from_millis(5100));
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_closed_is_not_waited_for() {
    for shape in SHAPES {
        let (mut peer, socket, mut reports) = hold(shape, Config::default()).await;
        let (sender, mut receiver) = socket.split();
        let receiving = tokio::spawn(async move {
            let first = receiver.recv().await;
            // Never comes back.
            pending::<()>().await;
            first
        });
        tokio::task::yield_now().await;
        peer.send(text("a")).await;
        idle().await;
        let start = Instant::now();
        sender.close(CloseCode::NORMAL);
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send(close(1000, "")).await;
        peer.finish().await;
        assert!(reports.first().await.clean);
        assert_eq!(start.elapsed(), Duration::ZERO);
        receiving.abort();
    }
}
