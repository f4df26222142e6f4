//! The task of a connection: waits for the stream, then is its session.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, request::Parts};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::{BoxError, Service};
use tracing::{Span, field::Empty};

use super::{
    hook::Handshake,
    on_upgrade::{HandedOver, Upgrade, UpgradeFailure},
    peer_addr::PeerAddr,
};
use crate::{
    protocol::CloseFrame,
    session::{Agreed, Opened, Place, Session, Setup, WebSocket},
};

pin_project! {
    /// The task of a connection: waits for the stream, then is its session.
    #[project = UpgradingProj]
    pub(super) enum Upgrading<H: Service<Request<WebSocket>>> {
        Waiting { waiting: Option<Box<Waiting<H>>> },
        Open { #[pin] session: Session<H::Future> },
    }
}

/// A connection whose stream has not been handed over, with all that its session starts with.
pub(super) struct Waiting<H> {
    upgrade: Upgrade,
    deadline: Option<Pin<Box<Sleep>>>,
    route: H,
    head: Parts,
    setup: Arc<Setup>,
    agreed: Agreed,
    place: Option<Place>,
    /// The connection is opened only to be closed with this.
    close: Option<CloseFrame>,
}

impl<H: Service<Request<WebSocket>>> Upgrading<H> {
    /// Starts to wait for the stream, for at most the write timeout.
    ///
    /// With a Close frame the connection is opened only to be closed.
    pub(super) fn new(
        mut handshake: Handshake,
        place: Option<Place>,
        close: Option<CloseFrame>,
        route: H,
        upgrade: Upgrade,
    ) -> Self {
        let agreed = handshake.agreed();
        let timeout = handshake.setup.config.write_timeout;
        Self::Waiting {
            waiting: Some(Box::new(Waiting {
                upgrade,
                deadline: timeout.map(|timeout| Box::pin(sleep(timeout))),
                route,
                head: handshake.head,
                setup: handshake.setup,
                agreed,
                place,
                close,
            })),
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
    /// Waits for the stream; `None` if it does not come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<HandedOver>> {
        let failure = match self.upgrade.poll(cx) {
            Poll::Ready(Ok(transport)) => return Poll::Ready(Some(transport)),
            Poll::Ready(Err(failure)) => failure,
            Poll::Pending => match &mut self.deadline {
                None => return Poll::Pending,
                Some(deadline) => {
                    ready!(deadline.as_mut().poll(cx));
                    UpgradeFailure::TimedOut
                }
            },
        };
        failure.log();
        if let Some(hook) = &self.setup.on_failed_upgrade {
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
            mut route,
            head,
            setup,
            agreed,
            place,
            close,
            ..
        } = self;
        let span = connection_span(&head, place.as_ref(), &agreed);
        let opened = Opened {
            transport,
            read,
            setup,
            agreed: agreed.span(span),
            place,
        };
        match close {
            None => Session::open(opened, |socket| {
                route.call(Request::from_parts(head, socket))
            }),
            Some(frame) => Session::open_to_close(opened, &frame),
        }
    }
}

/// Makes the span in which a connection's session and handler run.
fn connection_span(head: &Parts, place: Option<&Place>, agreed: &Agreed) -> Span {
    let id = place.and_then(Place::id);
    let peer = head.extensions.get::<PeerAddr>();
    tracing::info_span!(
        "websocket",
        id = id.map(display),
        peer = peer.map(|PeerAddr(address)| display(address)),
        path = head.uri.path(),
        http = ?head.version,
        protocol = agreed.protocol.as_deref(),
        close_code = Empty,
    )
}
