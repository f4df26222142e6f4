//! The future that a session is: the driver first, then the handler, in one task.

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::{Future, Ready, poll_fn, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};
use tower::{BoxError, load_shed::error::Overloaded};
use tracing::Span;

use super::{
    Agreed, Transport, WebSocket,
    driver::{
        Driver,
        turn::{Next, Turn},
    },
    report::{EndedBy, Hooks},
};
use crate::{CloseCode, CloseFrame, Error, protocol::Role};

pin_project! {
    /// One connection and its handler.
    ///
    /// Ends when the transport is gone and the handler has returned. The handler's future is
    /// dropped after the transport, with whatever permit it holds; then the registry is left.
    pub(crate) struct Session<F> {
        driver: Driver,
        #[pin]
        sleep: Sleep,
        #[pin]
        handler: HandlerSlot<F>,
    }

    impl<F> PinnedDrop for Session<F> {
        /// The registry counts the session until its handler is gone.
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let shared = this.driver.shared.has_span().then(|| this.driver.shared.clone());
            let _entered = shared
                .as_ref()
                .and_then(|shared| shared.span())
                .map(Span::enter);
            this.driver.give_up();
            this.handler.project().future.set(None);
        }
    }
}

pin_project! {
    /// The handler's future, which stays in place once it has returned.
    struct HandlerSlot<F> {
        #[pin]
        future: Option<F>,
        finished: bool,
    }
}

impl<F> HandlerSlot<F> {
    /// Starts a handler; `None` where `start` panics.
    fn start(start: impl FnOnce() -> F) -> Self {
        Self {
            future: catch_unwind(AssertUnwindSafe(start)).ok(),
            finished: false,
        }
    }

    /// Polls the handler; gives the reason to close, where it failed or panicked.
    fn poll<E: Into<BoxError>>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<CloseFrame>
    where
        F: Future<Output = Result<(), E>>,
    {
        let this = self.project();
        if *this.finished {
            return None;
        }
        let poll = this
            .future
            .as_pin_mut()
            .map(|future| catch_unwind(AssertUnwindSafe(|| future.poll(cx))));
        let failure = match poll {
            Some(Ok(Poll::Pending)) => return None,
            Some(Ok(Poll::Ready(Ok(())))) => None,
            Some(Ok(Poll::Ready(Err(error)))) => Some(failure_frame(&*error.into())),
            None | Some(Err(_)) => {
                tracing::error!("websocket handler panicked");
                Some(CloseCode::INTERNAL_ERROR.into())
            }
        };
        *this.finished = true;
        failure
    }
}

/// What a session starts with.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    /// What the HTTP server has read beyond the handshake.
    pub(crate) read: Bytes,
    pub(crate) role: Role,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) agreed: Agreed,
}

impl<F> Session<F> {
    /// Starts the handler with the connection.
    pub(crate) fn open(opened: Opened, handler: impl FnOnce(WebSocket) -> F) -> Self {
        let driver = Driver::new(opened);
        let socket = WebSocket::new(&driver.shared);
        let handler = {
            let _entered = driver.shared.span().map(Span::enter);
            HandlerSlot::start(|| handler(socket))
        };
        Self::new(driver, handler)
    }

    /// Opens the connection only to tell the client why it is closed: no handler is started.
    pub(crate) fn open_to_close(opened: Opened, frame: &CloseFrame) -> Self {
        let mut driver = Driver::new(opened);
        driver.close(EndedBy::Local, frame);
        Self::new(
            driver,
            HandlerSlot {
                future: None,
                finished: true,
            },
        )
    }

    fn new(driver: Driver, handler: HandlerSlot<F>) -> Self {
        Self {
            driver,
            sleep: sleep_until(Instant::now()),
            handler,
        }
    }
}

/// The handler of a connection that somebody else holds.
type Nothing = Ready<Result<(), Infallible>>;

impl Session<Nothing> {
    /// Runs a session in a task of its own, for whoever holds the socket.
    #[cfg_attr(
        not(any(feature = "client", feature = "testing")),
        expect(dead_code, reason = "servers have handlers")
    )]
    pub(crate) fn spawn(opened: Opened) -> WebSocket {
        let mut socket = None;
        let session = Self::open(opened, |opened| {
            socket = Some(opened);
            ready(Ok(()))
        });
        tokio::spawn(session);
        // `open` calls what it is given.
        socket.expect("a session gives its socket to the handler")
    }
}

impl<F, E> Future for Session<F>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let driver = this.driver;
        let mut turn = Turn::default();
        let shared = driver.shared.has_span().then(|| driver.shared.clone());
        let _entered = shared
            .as_ref()
            .and_then(|shared| shared.span())
            .map(Span::enter);
        let poll = loop {
            let finished = this.handler.finished;
            if !outside_coop(cx, |cx| driver.begin_round(cx, &mut turn, finished)) {
                break Poll::Ready(());
            }
            if let Some(frame) = this.handler.as_mut().poll(cx) {
                driver.close(EndedBy::Local, &frame);
            }
            if driver.gives_more(&mut turn) {
                continue;
            }
            let finished = this.handler.finished;
            let next = outside_coop(cx, |cx| {
                driver.end_round(cx, &mut turn, this.sleep.as_mut(), finished)
            });
            match next {
                Next::Round => {}
                Next::Wait => break Poll::Pending,
                Next::Over => break Poll::Ready(()),
            }
        };
        if turn.undecoded {
            driver.keep_undecoded(&mut turn);
        }
        if poll.is_pending() {
            driver.settle(cx, turn.left);
        }
        poll
    }
}

/// Runs the driver outside tokio's cooperative budget: it has one of its own, and a handler that
/// used the task's up must not keep it from the socket.
fn outside_coop<T>(cx: &mut Context<'_>, mut work: impl FnMut(&mut Context<'_>) -> T) -> T {
    match pin!(unconstrained(poll_fn(|cx| Poll::Ready(work(cx))))).poll(cx) {
        Poll::Ready(result) => result,
        // The closure above is always ready.
        Poll::Pending => unreachable!("the driver's step does not wait"),
    }
}

/// What the peer is told when a handler fails: no details, unless the error carries a Close frame.
fn failure_frame(error: &(dyn StdError + Send + Sync + 'static)) -> CloseFrame {
    if let Some(frame) = error.downcast_ref::<CloseFrame>() {
        return frame.clone();
    }
    if error.is::<Overloaded>() {
        return CloseCode::TRY_AGAIN_LATER.into();
    }
    if error.is::<Error>() {
        // The connection had failed before the handler did.
        tracing::debug!(error, "websocket handler ended with the connection");
    } else {
        tracing::warn!(error, "websocket handler failed");
    }
    CloseCode::INTERNAL_ERROR.into()
}
