//! What comes between the two ends of a write that somebody does for a session.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io::Read,
    net,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{
    error::Error,
    protocol::{Message, PreparedMessage},
    session::{Agreed, Opened, Session, Setup},
};

/// How often somebody was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Count {
    fn take(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

/// A session over TCP whose turns are given to it by the test.
struct Member {
    shared: Arc<Shared>,
    session: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Count>,
    /// How often its handler was polled.
    polls: Arc<AtomicUsize>,
    peer: net::TcpStream,
}

/// What was taken to be written.
struct Writing {
    transport: Transport,
    queue: Box<Unsent>,
    queued: usize,
}

impl Member {
    /// One that is idle.
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await;
        let peer = listener.accept().await.unwrap().0.into_std().unwrap();
        peer.set_nonblocking(false).unwrap();
        // A test that fails does not hang.
        peer.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let opened = Opened {
            transport: Transport::other(ours.unwrap()),
            read: Bytes::new(),
            setup: Arc::new(Setup::server()),
            agreed: Agreed::default(),
            place: None,
        };
        let polls = Arc::<AtomicUsize>::default();
        let (mut shared, count) = (None, polls.clone());
        let session = Session::open(opened, |socket| {
            shared = Some(socket.sender().shared().clone());
            async move {
                let _socket = socket;
                poll_fn(|_| {
                    count.fetch_add(1, Relaxed);
                    Poll::<Result<(), Infallible>>::Pending
                })
                .await
            }
        });
        let mut member = Self {
            shared: shared.unwrap(),
            session: Some(Box::pin(session)),
            woken: Arc::default(),
            polls,
            peer,
        };
        assert_eq!(member.turn(), 1);
        member
    }

    /// Gives it a turn; returns how often its handler was polled in that.
    fn turn(&mut self) -> usize {
        let waker = Waker::from(self.woken.clone());
        let session = self.session.as_mut().unwrap().as_mut();
        assert!(session.poll(&mut Context::from_waker(&waker)).is_pending());
        self.polls.swap(0, Relaxed)
    }

    /// Queues as a broadcast does; reports whether that is a promise.
    fn say(&self, text: &str) -> bool {
        let queued = self.shared.try_queue_prepared(&PreparedMessage::new(text));
        queued.ok().unwrap().is_some()
    }

    /// Sends as anybody does.
    fn send(&self, text: &str) {
        let sent = self.shared.try_send(Message::text(text).into());
        assert!(sent.is_ok());
    }

    fn begin(&self) -> Writing {
        let (transport, queue) = self
            .shared
            .take_to_flush(&mut self.shared.lock_to_drive())
            .unwrap();
        let queued = queue.frames.len();
        Writing {
            transport,
            queue,
            queued,
        }
    }

    /// Puts back what was taken, all of which has left or not.
    fn end(&self, writing: Writing) {
        let all = writing.queue.frames.is_empty();
        let Writing {
            transport,
            queue,
            queued,
        } = writing;
        self.shared.flushed(transport, queue, queued, all);
    }

    fn flush(&self, waker: &Arc<Count>) -> Poll<Result<(), Error>> {
        let waker = Waker::from(waker.clone());
        let mut ticket = None;
        let flush = poll_fn(|cx| self.shared.poll_flush(cx, &mut ticket));
        pin!(flush).poll(&mut Context::from_waker(&waker))
    }

    /// Receives so many bytes.
    fn receive(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.peer.read_exact(&mut bytes).unwrap();
        bytes
    }
}

#[tokio::test]
async fn turn_that_begins_while_somebody_writes_is_had_when_that_is_over() {
    let mut member = Member::new().await;
    assert!(member.say("1"));
    let mut writing = member.begin();
    assert_eq!(member.turn(), 0, "the transport is not there");
    assert!(writing.transport.try_write(&mut writing.queue.frames));
    assert_eq!(member.woken.take(), 0);
    member.end(writing);
    assert_eq!(member.woken.take(), 1);
    assert_eq!(member.turn(), 1);
    assert_eq!(member.receive(3), b"\x81\x011");
    assert!(member.say("2"), "it is idle again");
}

#[tokio::test]
async fn what_comes_while_somebody_writes_leaves_behind_the_rest_of_that() {
    for taken in 0..3 {
        let mut member = Member::new().await;
        assert!(member.say("1"));
        let mut writing = member.begin();
        member.send("2");
        assert_eq!(member.woken.take(), 1);
        assert_eq!(member.turn(), 0);
        // What the socket takes, which is full then.
        writing.queue.frames.advance(taken);
        member.end(writing);
        assert_eq!(member.woken.take(), 1);
        member.turn();
        assert_eq!(member.receive(6 - taken), b"\x81\x011\x81\x012"[taken..]);
    }
}

#[tokio::test]
async fn session_is_woken_for_what_the_socket_does_not_take() {
    let mut member = Member::new().await;
    assert!(member.say("1"));
    let writing = member.begin();
    member.end(writing);
    assert_eq!(member.woken.take(), 1);
    member.turn();
    assert_eq!(member.receive(3), b"\x81\x011");
}

#[tokio::test]
async fn flush_waits_while_somebody_writes() {
    let member = Member::new().await;
    assert!(member.say("1"));
    let mut writing = member.begin();
    let waiting = Arc::<Count>::default();
    assert!(member.flush(&waiting).is_pending());
    assert!(writing.transport.try_write(&mut writing.queue.frames));
    assert_eq!(waiting.take(), 0);
    member.end(writing);
    assert_eq!(waiting.take(), 1);
    assert!(matches!(member.flush(&waiting), Poll::Ready(Ok(()))));
    assert_eq!(member.woken.take(), 0, "there is nothing to do");
}

#[tokio::test]
async fn stream_of_a_session_that_ends_while_somebody_writes_ends_with_that() {
    for taken in [0, 3] {
        let mut member = Member::new().await;
        assert!(member.say("1"));
        let mut writing = member.begin();
        member.session = None;
        writing.queue.frames.advance(taken);
        member.end(writing);
        // Though there is still a handle.
        let mut rest = Vec::new();
        assert_eq!(member.peer.read_to_end(&mut rest).unwrap(), 0);
        let flushed = member.flush(&Arc::default());
        assert!(matches!(flushed, Poll::Ready(Err(Error::Closed))));
    }
}

#[tokio::test]
async fn stream_of_an_idle_session_that_is_dropped_ends_though_there_is_a_handle() {
    let mut member = Member::new().await;
    member.session = None;
    assert_eq!(member.peer.read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn promise_is_kept_once_by_whoever_comes_first() {
    let mut member = Member::new().await;
    // By one of two who write.
    assert!(member.say("1"));
    assert!(!member.say("2"));
    member.shared.flush_now();
    assert_eq!(member.receive(6), b"\x81\x011\x81\x012");
    member.shared.flush_now();
    assert_eq!(member.woken.take(), 0);
    // By the session.
    assert!(member.say("3"));
    member.turn();
    assert_eq!(member.receive(3), b"\x81\x013");
    member.shared.flush_now();
    member.shared.wake_promised();
    assert_eq!(member.woken.take(), 0);
    assert!(member.say("4"), "anew");
    // By a session that was woken, and has not had its turn.
    member.send("5");
    member.shared.flush_now();
    assert_eq!(member.shared.look().queued(), 6, "it is the session's");
    assert_eq!(member.woken.take(), 1);
    member.turn();
    assert_eq!(member.receive(6), b"\x81\x014\x81\x015");
}
