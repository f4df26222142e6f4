//! Broadcasts to members that do nothing: written for them, over TCP, without a turn of their sessions.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Instant,
};
use tower_websocket::{CloseCode, Config, Groups, Sender, groups::SlowMember, session::EndedBy};

use super::{at_once, delivery};
use crate::{
    session::support::{
        Frame, Peer, Reports, SHAPES, Shape, close, idle, pong, serve, text, within,
    },
    support::handler,
};

/// A member whose handler waits, and how often that was polled.
struct Member<S> {
    peer: Peer<S>,
    sender: Sender,
    polls: Arc<AtomicUsize>,
    reports: Reports,
}

impl<S> Member<S> {
    fn polls(&self) -> usize {
        self.polls.load(Relaxed)
    }
}

/// Two ends of a TCP connection, with small buffers where that is asked for.
async fn tcp(small: bool) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    if small {
        SockRef::from(&listener)
            .set_recv_buffer_size(8 << 10)
            .unwrap();
    }
    let address = listener.local_addr().unwrap();
    let ours = TcpStream::connect(address).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    if small {
        SockRef::from(&ours).set_send_buffer_size(8 << 10).unwrap();
    }
    // The listener's is the peer: its buffer was set before the window was told.
    (theirs, ours)
}

/// Opens a connection that joins, and then only waits.
async fn join<S>(
    groups: &Groups<u8>,
    shape: Shape,
    config: Config,
    ours: S,
    theirs: impl AsyncRead + AsyncWrite + Send + 'static,
) -> Member<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (tell, mut told) = mpsc::unbounded_channel();
    let polls = Arc::<AtomicUsize>::default();
    let (groups, count) = (groups.clone(), polls.clone());
    let route = handler(move |mut socket| {
        let (tell, groups, count) = (tell.clone(), groups.clone(), count.clone());
        async move {
            let _membership = groups.join(0, &socket.sender()).unwrap();
            let _gone = tell.send(socket.sender());
            let work = async move {
                while let Ok(Some(message)) = socket.recv().await {
                    socket.send(message).await.unwrap();
                }
                pending::<()>().await;
            };
            let mut work = pin!(work);
            poll_fn(|cx| {
                count.fetch_add(1, Relaxed);
                work.as_mut().poll(cx)
            })
            .await;
        }
    });
    let reports = serve(shape, config, route, theirs).await;
    let sender = within(told.recv()).await.unwrap();
    let mut peer = Peer::new(ours);
    // Its turn is over when this has come.
    peer.send(text("are you there?")).await;
    assert_eq!(peer.frame().await, Frame::text("are you there?"));
    Member {
        peer,
        sender,
        polls,
        reports,
    }
}

async fn join_over_tcp(groups: &Groups<u8>) -> Member<TcpStream> {
    let (ours, theirs) = tcp(false).await;
    join(groups, Shape::H1, Config::default(), ours, theirs).await
}

#[tokio::test]
async fn broadcasts_over_tcp_are_written_without_a_poll_of_the_sessions() {
    let groups = Groups::new();
    let mut members = Vec::new();
    for _ in 0..150 {
        members.push(join_over_tcp(&groups).await);
    }
    let before: Vec<_> = members.iter().map(Member::polls).collect();
    for burst in 0..3 {
        for say in ["1", "2"] {
            assert_eq!(groups.broadcast(&0, say).await, delivery(150, 0, 0));
        }
        for member in &mut members {
            for say in ["1", "2"] {
                assert_eq!(member.peer.frame().await, Frame::text(say), "{burst}");
            }
        }
    }
    let after: Vec<_> = members.iter().map(Member::polls).collect();
    assert_eq!(after, before);
}

#[tokio::test(start_paused = true)]
async fn members_over_other_streams_get_broadcasts_too() {
    for shape in SHAPES {
        let groups = Groups::new();
        let mut members = Vec::new();
        for _ in 0..10 {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let config = Config::default().ping_interval(None);
            members.push(join(&groups, shape, config, ours, theirs).await);
        }
        for say in ["1", "2", "3"] {
            assert_eq!(groups.broadcast(&0, say).await, delivery(10, 0, 0));
        }
        for member in &mut members {
            for say in ["1", "2", "3"] {
                assert_eq!(member.peer.frame().await, Frame::text(say));
            }
        }
    }
}

#[tokio::test]
async fn broadcasts_and_what_others_send_arrive_in_their_order() {
    let groups = Groups::new();
    let mut member = join_over_tcp(&groups).await;
    for _ in 0..3 {
        assert_eq!(at_once(groups.broadcast(&0, "1")), delivery(1, 0, 0));
        member.sender.try_send("2").unwrap();
        assert_eq!(at_once(groups.broadcast(&0, "3")), delivery(1, 0, 0));
        member.sender.ping("4").unwrap();
        assert_eq!(at_once(groups.broadcast(&0, "5")), delivery(1, 0, 0));
        for say in ["1", "2", "3"] {
            assert_eq!(member.peer.frame().await, Frame::text(say));
        }
        assert_eq!(member.peer.frame().await, Frame::ping("4"));
        assert_eq!(member.peer.frame().await, Frame::text("5"));
        member.peer.send(pong("4")).await;
        member.peer.send(text("6")).await;
        assert_eq!(member.peer.frame().await, Frame::text("6"));
    }
}

#[tokio::test]
async fn members_of_two_groups_get_both_in_order() {
    let groups = Groups::new();
    let mut member = join_over_tcp(&groups).await;
    let _other = groups.join(1, &member.sender).unwrap();
    let before = member.polls();
    for _ in 0..3 {
        for (group, say) in [(0, "1"), (1, "2"), (1, "3"), (0, "4")] {
            assert_eq!(at_once(groups.broadcast(&group, say)), delivery(1, 0, 0));
        }
        for say in ["1", "2", "3", "4"] {
            assert_eq!(member.peer.frame().await, Frame::text(say));
        }
    }
    assert_eq!(member.polls(), before);
}

#[tokio::test]
async fn a_flush_waits_for_what_is_written_for_the_session() {
    let groups = Groups::new();
    let mut member = join_over_tcp(&groups).await;
    let before = member.polls();
    assert_eq!(at_once(groups.broadcast(&0, "1")), delivery(1, 0, 0));
    let mut flush = pin!(member.sender.flush());
    assert!(flush.as_mut().now_or_never().is_none(), "nothing has left");
    assert_eq!(member.sender.queued_bytes(), 3);
    within(flush).await.unwrap();
    assert_eq!(member.sender.queued_bytes(), 0);
    assert_eq!(member.peer.frame().await, Frame::text("1"));
    assert_eq!(member.polls(), before);
}

#[tokio::test]
async fn a_close_behind_a_broadcast_is_the_sessions() {
    let groups = Groups::new();
    let mut member = join_over_tcp(&groups).await;
    assert_eq!(at_once(groups.broadcast(&0, "1")), delivery(1, 0, 0));
    member.sender.close(CloseCode::NORMAL);
    assert_eq!(at_once(groups.broadcast(&0, "2")), delivery(0, 0, 0));
    assert_eq!(member.peer.frame().await, Frame::text("1"));
    assert_eq!(member.peer.frame().await.code(), Some(1000));
    member.peer.send(close(1000, "")).await;
    let report = member.reports.first().await;
    assert!(
        report.clean && report.ended_by == EndedBy::Local,
        "{report:?}"
    );
    // With the answer of the handler.
    assert_eq!((report.messages_sent, report.bytes_sent), (2, 15));
}

#[tokio::test]
async fn what_was_written_for_a_session_is_in_its_report() {
    let groups = Groups::new();
    let mut member = join_over_tcp(&groups).await;
    for _ in 0..5 {
        assert_eq!(groups.broadcast(&0, "12345").await, delivery(1, 0, 0));
        assert_eq!(member.peer.frame().await, Frame::text("12345"));
    }
    drop(member.peer);
    let report = member.reports.first().await;
    assert_eq!((report.messages_sent, report.bytes_sent), (6, 39));
}

#[tokio::test]
async fn a_session_writes_itself_now_and_then_to_know_what_lies_below_it() {
    let groups = Groups::new();
    let mut member = join_over_tcp(&groups).await;
    let before = member.polls();
    for _ in 0..140 {
        let message = "x".repeat(1000);
        assert_eq!(groups.broadcast(&0, message).await, delivery(1, 0, 0));
        assert_eq!(member.peer.frame().await.payload.len(), 1000);
    }
    let turns = member.polls() - before;
    assert!((9..=20).contains(&turns), "{turns} for 140,000 bytes");
}

#[tokio::test(start_paused = true)]
async fn a_close_behind_a_broadcast_has_its_deadline() {
    let groups = Groups::new();
    let (ours, theirs) = tcp(false).await;
    let config = Config::default().ping_interval(None);
    let mut member = join(&groups, Shape::H1, config, ours, theirs).await;
    assert_eq!(at_once(groups.broadcast(&0, "1")), delivery(1, 0, 0));
    member.sender.close(CloseCode::NORMAL);
    assert_eq!(member.peer.frame().await, Frame::text("1"));
    assert_eq!(member.peer.frame().await.code(), Some(1000));
    // It is not answered.
    let start = Instant::now();
    assert!(!member.reports.first().await.clean);
    assert!(start.elapsed() < Duration::from_secs(60));
}

/// Broadcasts short messages one by one, until one does not leave; returns how many that took.
async fn fill_slowly(groups: &Groups<u8>, member: &Member<TcpStream>, len: usize) -> usize {
    for number in 0..20_000 {
        let message = format!("{number:0len$}");
        assert_eq!(groups.broadcast(&0, message).await, delivery(1, 0, 0));
        idle().await;
        if member.sender.queued_bytes() > 0 {
            return number + 1;
        }
    }
    panic!("there is room for ever");
}

/// Of different lengths, so that it is not always the session itself that finds the socket full.
const LENGTHS: [usize; 4] = [97, 101, 103, 107];

#[tokio::test(start_paused = true)]
async fn what_the_socket_does_not_take_leaves_when_there_is_room() {
    for len in LENGTHS {
        let (groups, config) = slow();
        let (ours, theirs) = tcp(true).await;
        let mut member = join(&groups, Shape::H1, config, ours, theirs).await;
        let count = fill_slowly(&groups, &member, len).await;
        for number in 0..count {
            let message = format!("{number:0len$}");
            assert_eq!(member.peer.frame().await, Frame::text(&message));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_socket_does_not_take_has_its_deadline() {
    for len in LENGTHS {
        let (groups, config) = slow();
        let (ours, theirs) = tcp(true).await;
        let mut member = join(&groups, Shape::H1, config, ours, theirs).await;
        fill_slowly(&groups, &member, len).await;
        let start = Instant::now();
        let report = member.reports.first().await;
        assert_eq!(report.ended_by, EndedBy::Timeout);
        // It has a second more for each 14 KiB that may be below it.
        let after = start.elapsed().as_secs();
        assert!((9..200).contains(&after), "after {after} s");
    }
}

/// Fills all buffers on the way to a member that does not read; returns how many messages that took.
async fn fill(groups: &Groups<u8>) -> u64 {
    for number in 0..2000 {
        let sent = groups.broadcast(&0, format!("{number:01000}")).await;
        if sent.dropped > 0 {
            return number;
        }
        assert_eq!(sent, delivery(1, 0, 0));
        idle().await;
    }
    panic!("there is room for ever");
}

fn slow() -> (Groups<u8>, Config) {
    let groups = Groups::builder()
        .slow_members(|_| SlowMember::DropNewest)
        .build();
    let config = Config::default()
        .max_send_queue(20_000)
        .ping_interval(None)
        .write_timeout(Duration::from_secs(10));
    (groups, config)
}

#[tokio::test(start_paused = true)]
async fn a_member_that_reads_late_gets_all_in_order() {
    let (groups, config) = slow();
    let (ours, theirs) = tcp(true).await;
    let mut member = join(&groups, Shape::H1, config, ours, theirs).await;
    let count = fill(&groups).await;
    for number in 0..count {
        let say = format!("{number:01000}");
        assert_eq!(member.peer.frame().await, Frame::text(&say));
    }
    assert_eq!(groups.broadcast(&0, "more").await, delivery(1, 0, 0));
    assert_eq!(member.peer.frame().await, Frame::text("more"));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_never_reads_is_ended_in_its_time() {
    let (groups, config) = slow();
    let (ours, theirs) = tcp(true).await;
    let mut member = join(&groups, Shape::H1, config, ours, theirs).await;
    fill(&groups).await;
    let start = Instant::now();
    let report = member.reports.first().await;
    assert_eq!(report.ended_by, EndedBy::Timeout);
    let after = start.elapsed().as_secs();
    assert!((9..200).contains(&after), "after {after} s");
}
