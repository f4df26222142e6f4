//! The task of a connection: waits for the stream, then is its session.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::{BoxError, Service};
use tracing::{Span, field::Empty};

use super::{
    hook::Handshake,
    on_upgrade::{HandedOver, Upgrade, UpgradeFailure},
};
use crate::{
    protocol::CloseFrame,
    session::{Agreed, Opened, Place, Session, WebSocket},
};

/// What a connection is opened with, once its handshake is accepted and its stream there.
///
/// It lies in one box from the request to the session.
pub(crate) struct Opening<H> {
    pub(crate) handshake: Handshake,
    pub(crate) route: H,
    pub(crate) upgrade: Upgrade,
}

pin_project! {
    /// The task of a connection: waits for the stream, then is its session.
    #[project = UpgradingProj]
    pub(super) enum Upgrading<H: Service<Request<WebSocket>>> {
        Waiting { waiting: Option<Waiting<H>> },
        Open { #[pin] session: Session<H::Future> },
    }
}

/// A connection whose stream has not been handed over.
pub(super) struct Waiting<H> {
    opening: Box<Opening<H>>,
    /// Present once the stream was waited for.
    deadline: Option<Pin<Box<Sleep>>>,
    place: Option<Place>,
    /// The connection is opened only to be closed with this.
    close: Option<CloseFrame>,
}

impl<H: Service<Request<WebSocket>>> Upgrading<H> {
    /// Waits for the stream, for at most the write timeout.
    ///
    /// With a Close frame the connection is opened only to be closed.
    pub(super) fn new(
        opening: Box<Opening<H>>,
        place: Option<Place>,
        close: Option<CloseFrame>,
    ) -> Self {
        Self::Waiting {
            waiting: Some(Waiting::new(opening, place, close)),
        }
    }
}

impl<H> Future for Upgrading<H>
where
    H: Service<Request<WebSocket>, Response = ()>,
    H::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let UpgradingProj::Waiting { waiting } = self.as_mut().project() {
            let transport = match waiting {
                Some(waiting) => ready!(waiting.poll(cx)),
                None => None,
            };
            let (Some(transport), Some(waiting)) = (transport, waiting.take()) else {
                return Poll::Ready(());
            };
            self.set(Self::Open {
                session: waiting.session(transport),
            });
        }
        match self.project() {
            UpgradingProj::Open { session } => session.poll(cx),
            UpgradingProj::Waiting { .. } => Poll::Ready(()),
        }
    }
}

impl<H> Waiting<H> {
    pub(super) fn new(
        opening: Box<Opening<H>>,
        place: Option<Place>,
        close: Option<CloseFrame>,
    ) -> Self {
        Self {
            opening,
            deadline: None,
            place,
            close,
        }
    }

    /// Gives the place in the registry to who has the stream.
    pub(super) fn into_place(self) -> Option<Place> {
        self.place
    }

    /// Waits for the stream; `None` if it does not come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<HandedOver>> {
        let setup = &self.opening.handshake.setup;
        let failure = match self.opening.upgrade.poll(cx) {
            Poll::Ready(Ok(transport)) => return Poll::Ready(Some(transport)),
            Poll::Ready(Err(failure)) => failure,
            Poll::Pending => {
                let Some(timeout) = setup.config.write_timeout else {
                    return Poll::Pending;
                };
                // Most streams are there at once, and need no timer.
                let deadline = &mut self.deadline;
                let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
                ready!(deadline.as_mut().poll(cx));
                UpgradeFailure::TimedOut
            }
        };
        failure.log();
        if let Some(hook) = &setup.on_failed_upgrade {
            hook(&failure);
        }
        Poll::Ready(None)
    }

    /// Makes the session. The route service is called here, and dropped.
    fn session(self, (transport, read): HandedOver) -> Session<H::Future>
    where
        H: Service<Request<WebSocket>, Response = ()>,
    {
        let Self {
            opening,
            place,
            close,
            ..
        } = self;
        let Opening {
            mut handshake,
            mut route,
            ..
        } = *opening;
        let agreed = handshake.agreed();
        let span = connection_span(&handshake, place.as_ref(), &agreed);
        let Handshake {
            head,
            setup,
            on_open,
            ..
        } = handshake;
        let opened = Opened {
            transport,
            read,
            setup,
            agreed: agreed.span(span),
            place,
        };
        match close {
            None => Session::open(opened, |socket| {
                if let Some(hook) = on_open {
                    hook.call(&socket.sender(), &head);
                }
                route.call(Request::from_parts(head, socket))
            }),
            Some(frame) => Session::open_to_close(opened, &frame, |sender| {
                if let Some(hook) = on_open {
                    hook.call(sender, &head);
                }
            }),
        }
    }
}

/// Makes the span in which a connection's session and handler run.
fn connection_span(handshake: &Handshake, place: Option<&Place>, agreed: &Agreed) -> Span {
    let id = place.and_then(Place::id);
    let head = &handshake.head;
    tracing::info_span!(
        "websocket",
        id = id.map(display),
        peer = handshake.peer_addr().map(display),
        path = head.uri.path(),
        http = ?head.version,
        protocol = agreed.protocol(),
        close_code = Empty,
    )
}
