//! A byte stream in the hands of the test, and the session on it.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, error::SendError, unbounded_channel},
};

use crate::{
    error::Error,
    protocol::Event,
    session::{Agreed, Opened, Sender, Session, SessionReport, Setup, Transport, WebSocket},
};

/// What lies between the session and the test.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) input: BytesMut,
    pub(super) ended: bool,
    pub(super) output: Vec<u8>,
    /// How much the transport still takes, in bytes.
    pub(super) room: usize,
    waker: Option<Waker>,
}

struct Line(Arc<Mutex<Wire>>);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.0);
        if wire.input.is_empty() && !wire.ended {
            wire.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = wire.input.len().min(buf.remaining());
        buf.put_slice(&wire.input.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.0);
        let len = buf.len().min(wire.room);
        if len == 0 {
            wire.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        wire.room -= len;
        wire.output.extend_from_slice(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Receives messages and control frames.
async fn watch(socket: &mut WebSocket, log: &Mutex<Vec<Event>>) -> Result<(), Error> {
    while let Some(event) = socket.recv_event().await? {
        lock(log).push(event);
    }
    Ok(())
}

/// Receives messages, as they are lent, and does what it is told once there are no more.
async fn obey(
    mut socket: WebSocket,
    mut orders: UnboundedReceiver<Order>,
    log: &Mutex<Vec<Event>>,
) -> Result<(), Error> {
    let result = loop {
        let next = poll_fn(|cx| match pin!(socket.recv()).poll(cx) {
            Poll::Ready(received) => Poll::Ready(Ok(received)),
            Poll::Pending => orders.poll_recv(cx).map(Err),
        });
        match next.await {
            Ok(Ok(Some(message))) => lock(log).push(Event::Message(message)),
            Ok(Ok(None)) | Err(None) => break Ok(()),
            Ok(Err(error)) => break Err(error),
            Err(Some(order)) => order(),
        }
    };
    orders.close();
    while let Ok(order) = orders.try_recv() {
        order();
    }
    result
}

/// Remembers that the session was woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// What a handler is told to do.
type Order = Box<dyn FnOnce() + Send>;

/// A session whose turns are given to it by the test.
pub(super) struct Real {
    session: Option<Pin<Box<dyn Future<Output = ()>>>>,
    flag: Arc<Flag>,
    wire: Arc<Mutex<Wire>>,
    pub(super) sender: Sender,
    /// Tells the handler what to do, where it is the one that does it.
    orders: Option<UnboundedSender<Order>>,
    /// What the handler was given.
    pub(super) events: Arc<Mutex<Vec<Event>>>,
    /// How receiving has ended.
    pub(super) result: Arc<Mutex<Option<Result<(), Error>>>>,
    pub(super) report: Arc<Mutex<Option<SessionReport>>>,
}

impl Real {
    pub(super) fn new(mut setup: Setup, agreed: Agreed, inside: bool) -> Self {
        let wire = Arc::<Mutex<Wire>>::default();
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let result = Arc::<Mutex<Option<Result<(), Error>>>>::default();
        let report = Arc::<Mutex<Option<SessionReport>>>::default();
        let reported = report.clone();
        setup.on_end = Some(Arc::new(move |report| {
            *lock(&reported) = Some(report.clone())
        }));
        let opened = Opened {
            transport: Transport::other(Line(wire.clone())),
            read: bytes::Bytes::new(),
            setup: Arc::new(setup),
            agreed,
            place: None,
        };
        let mut sender = None;
        let (orders, received) = unbounded_channel();
        let (log, ended) = (events.clone(), result.clone());
        let session = Session::open(opened, |mut socket| {
            sender = Some(socket.sender());
            async move {
                let result = if inside {
                    obey(socket, received, &log).await
                } else {
                    watch(&mut socket, &log).await
                };
                *lock(&ended) = Some(result);
                Ok::<(), Error>(())
            }
        });
        Self {
            session: Some(Box::pin(session)),
            flag: Arc::new(Flag(AtomicBool::new(true))),
            wire,
            sender: sender.expect("the handler was started"),
            orders: inside.then_some(orders),
            events,
            result,
            report,
        }
    }

    /// Reports whether the handler itself does what is done, and sees no control frames.
    pub(super) fn is_inside(&self) -> bool {
        self.orders.is_some()
    }

    /// Does something with the connection: in the next poll of the handler, where it is the one to do it and has
    /// not returned.
    pub(super) fn does<T: Send + 'static>(
        &mut self,
        order: impl FnOnce(&Sender) -> T + Send + 'static,
    ) -> T {
        let (say, said) = mpsc::channel();
        let sender = self.sender.clone();
        let order: Order = Box::new(move || say.send(order(&sender)).expect("the test waits"));
        match &self.orders {
            Some(orders) => {
                if let Err(SendError(order)) = orders.send(order) {
                    order();
                }
                self.run();
            }
            None => order(),
        }
        said.try_recv().expect("the handler does what it is told")
    }

    /// Changes what lies on the wire, and wakes the session for it.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Wire)) {
        let mut wire = lock(&self.wire);
        change(&mut wire);
        if let Some(waker) = wire.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn wire(&self) -> MutexGuard<'_, Wire> {
        lock(&self.wire)
    }

    /// Gives the session its turns until it waits.
    pub(super) fn run(&mut self) {
        let waker = Waker::from(self.flag.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..1000 {
            if !self.flag.0.swap(false, SeqCst) {
                return;
            }
            let Some(session) = &mut self.session else {
                return;
            };
            if session.as_mut().poll(&mut cx).is_ready() {
                self.session = None;
            }
        }
        panic!("the session does not come to rest");
    }

    pub(super) fn is_over(&self) -> bool {
        self.session.is_none()
    }
}
