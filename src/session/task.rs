//! The future that a session is: the driver first, then the handler, in one task.

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::{Future, Ready, poll_fn, ready},
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::task::coop::unconstrained;
use tower::{BoxError, load_shed::error::Overloaded};
use tracing::Span;

use super::{
    driver::{
        Driver, Opened,
        alarm::Alarm,
        round::{Begun, Next, Turn},
    },
    handle::{Sender, WebSocket},
    report::EndedBy,
    shared::Shared,
};
use crate::{
    error::Error,
    protocol::{CloseCode, CloseFrame},
};

pin_project! {
    /// One connection and its handler.
    ///
    /// Ends when the transport is gone and the handler has returned. The handler's future is
    /// dropped after the transport, with whatever permit it holds; then the registry is left.
    pub(crate) struct Session<F> {
        driver: Driver,
        #[pin]
        alarm: Alarm,
        // It stays in place once it has returned. `None` if there is none, or if its start panicked.
        #[pin]
        handler: Option<F>,
    }

    impl<F> PinnedDrop for Session<F> {
        /// The registry counts the session until its handler is gone.
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let shared = spanned(this.driver);
            let _entered = shared
                .as_ref()
                .and_then(|shared| shared.span())
                .map(Span::enter);
            this.driver.give_up();
            this.handler.set(None);
        }
    }
}

impl<F> Session<F> {
    /// Starts the handler with the connection.
    pub(crate) fn open(opened: Opened, handler: impl FnOnce(WebSocket) -> F) -> Self {
        let driver = Driver::new(opened);
        let socket = WebSocket::new(driver.shared());
        let handler = {
            let _entered = driver.shared().span().map(Span::enter);
            catch_unwind(AssertUnwindSafe(|| handler(socket))).ok()
        };
        Self::new(driver, handler)
    }

    /// Opens the connection only to tell the client why it is closed: no handler is started, but the hook
    /// is told.
    pub(crate) fn open_to_close(
        opened: Opened,
        frame: &CloseFrame,
        hook: impl FnOnce(&Sender),
    ) -> Self {
        let mut driver = Driver::new(opened);
        driver.close(EndedBy::Local, frame);
        driver.finish_handler();
        let sender = Sender::new(driver.shared().clone());
        {
            let _entered = driver.shared().span().map(Span::enter);
            if catch_unwind(AssertUnwindSafe(|| hook(&sender))).is_err() {
                tracing::error!("websocket hook panicked");
            }
        }
        Self::new(driver, None)
    }

    fn new(driver: Driver, handler: Option<F>) -> Self {
        Self {
            driver,
            alarm: Alarm::new(),
            handler,
        }
    }
}

/// The handler of a connection that somebody else holds.
pub(super) type Nothing = Ready<Result<(), Infallible>>;

impl Session<Nothing> {
    /// Runs a session in a task of its own, for whoever holds the socket.
    #[cfg_attr(
        not(any(feature = "client", feature = "testing")),
        expect(dead_code, reason = "servers have handlers")
    )]
    pub(crate) fn spawn(opened: Opened) -> WebSocket {
        let (session, socket) = Self::held(opened);
        tokio::spawn(session);
        socket
    }

    /// Makes a session, and the socket that somebody else holds.
    pub(super) fn held(opened: Opened) -> (Self, WebSocket) {
        let mut socket = None;
        let session = Self::open(opened, |opened| {
            socket = Some(opened);
            ready(Ok(()))
        });
        // `open` calls what it is given.
        (
            session,
            socket.expect("a session gives its socket to the handler"),
        )
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
        let shared = spanned(driver);
        let _entered = shared
            .as_ref()
            .and_then(|shared| shared.span())
            .map(Span::enter);
        let poll = loop {
            match outside_coop(cx, |cx| driver.begin_round(cx, &mut turn)) {
                Begun::Round => {}
                Begun::Wait => break Poll::Pending,
                Begun::Over => break Poll::Ready(()),
            }
            poll_with_loan(driver, this.handler.as_mut(), cx, &mut turn);
            if driver.gives_more(&mut turn) {
                continue;
            }
            match outside_coop(cx, |cx| {
                driver.end_round(cx, &mut turn, this.alarm.as_mut())
            }) {
                Next::Round => {}
                Next::Wait => break Poll::Pending,
                Next::Over => break Poll::Ready(()),
            }
        };
        driver.leave(&mut turn);
        if poll.is_pending() {
            driver.settle(cx, &turn);
        }
        poll
    }
}

/// Polls the handler, unless it has returned, with what was read; then once more, with what it could not take
/// of that without the driver.
fn poll_with_loan<F, E>(
    driver: &mut Driver,
    mut handler: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
    turn: &mut Turn,
) where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    if driver.is_handler_finished() {
        return;
    }
    driver.lend(cx, turn);
    let mut poll = poll_handler(handler.as_mut(), cx);
    if poll.is_ready() {
        driver.finish_handler();
    }
    if driver.take_back(cx, turn) && poll.is_pending() {
        poll = poll_handler(handler.as_mut(), cx);
    }
    if let Poll::Ready(failure) = poll {
        driver.finish_handler();
        if let Some(frame) = failure {
            driver.close(EndedBy::Local, &frame);
        }
    }
}

/// Polls the handler, which has not returned; gives the reason to close, if it failed or panicked.
fn poll_handler<F, E>(
    handler: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<Option<CloseFrame>>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let handler = handler.as_pin_mut();
    let poll = handler.map(|handler| catch_unwind(AssertUnwindSafe(|| handler.poll(cx))));
    match poll {
        Some(Ok(poll)) => poll.map(|result| Some(failure_frame(&*result.err()?.into()))),
        None | Some(Err(_)) => {
            tracing::error!("websocket handler panicked");
            Poll::Ready(Some(CloseCode::INTERNAL_ERROR.into()))
        }
    }
}

/// Returns what keeps the session's span, if it has one.
fn spanned(driver: &Driver) -> Option<Arc<Shared>> {
    let shared = driver.shared();
    shared.has_span().then(|| shared.clone())
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

/// What the peer is told when a handler fails: no details, unless the error is a Close frame, or has one for a source.
fn failure_frame(error: &(dyn StdError + Send + Sync + 'static)) -> CloseFrame {
    if let Some(frame) = find::<CloseFrame>(error) {
        return frame.clone();
    }
    if error.is::<Overloaded>() {
        return CloseCode::TRY_AGAIN_LATER.into();
    }
    if find::<Error>(error).is_some() {
        // The connection had failed before the handler did.
        tracing::debug!(error, "websocket handler ended with the connection");
    } else {
        tracing::warn!(error, "websocket handler failed");
    }
    CloseCode::INTERNAL_ERROR.into()
}

/// Finds an error of this type: the one itself, or one of its next sources.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut sources = iter::successors(Some(error), |error| (*error).source()).take(DEEPEST_SOURCE);
    sources.find_map(|error| error.downcast_ref())
}

/// So many errors are looked at: one that is its own source does not end.
const DEEPEST_SOURCE: usize = 16;
