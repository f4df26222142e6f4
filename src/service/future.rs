//! The future of a response.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::{BoxError, Service};

use super::{
    body::ResponseBody,
    hook::{Answer, Handshake, Hook, HookFuture, Kind, add_headers},
    layer::refuse,
    on_upgrade::{Start, Upgrade, Upgrading},
};
use crate::{
    handshake::Rejection,
    protocol::CloseFrame,
    session::{Connections, WebSocket},
};

pin_project! {
    /// The future of [`WebSocketService`](super::WebSocketService).
    ///
    /// Dropping it before it is ready leaves the handshake unanswered; no session is started.
    pub struct ResponseFuture<F, H> {
        #[pin]
        state: State<F, H>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, H> {
        Inner { #[pin] future: F },
        Refused { response: Option<Box<Response<Bytes>>> },
        Accepting { accepting: Box<Accepting<H>> },
    }
}

impl<F, H> ResponseFuture<F, H> {
    pub(super) fn inner(future: F) -> Self {
        Self {
            state: State::Inner { future },
        }
    }

    pub(super) fn refusal(response: Box<Response<Bytes>>) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }

    pub(super) fn accepting(accepting: Accepting<H>) -> Self {
        Self {
            state: State::Accepting {
                accepting: Box::new(accepting),
            },
        }
    }
}

impl<F, H, B, E> Future for ResponseFuture<F, H>
where
    F: Future<Output = Result<Response<B>, E>>,
    H: Service<Request<WebSocket>, Response = ()> + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Inner { future } => future
                .poll(cx)
                .map_ok(|response| response.map(ResponseBody::inner)),
            StateProj::Refused { response } => {
                // A future is not polled again after it was ready.
                let response = response.take().expect("polled after completion");
                Poll::Ready(Ok(response.map(ResponseBody::text)))
            }
            StateProj::Accepting { accepting } => accepting.poll(cx).map(Ok),
        }
    }
}

impl<F, H> fmt::Debug for ResponseFuture<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A handshake that passed all checks, on its way to an answer.
pub(super) struct Accepting<H> {
    route: Option<H>,
    upgrade: Option<Upgrade>,
    hook: Option<Hook>,
    step: Step,
}

enum Step {
    /// Waiting for the route service; with a deadline once it was pending.
    Ready(Box<Handshake>, Option<Pin<Box<Sleep>>>),
    /// Waiting for the hook.
    Hook(HookFuture),
    Done,
}

impl<H> Accepting<H> {
    pub(super) fn new(
        route: H,
        handshake: Handshake,
        upgrade: Upgrade,
        hook: Option<Hook>,
    ) -> Self {
        let step = Step::Ready(Box::new(handshake), None);
        Self {
            route: Some(route),
            upgrade: Some(upgrade),
            hook,
            step,
        }
    }
}

impl<H> Accepting<H>
where
    H: Service<Request<WebSocket>, Response = ()> + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    fn poll<B>(&mut self, cx: &mut Context<'_>) -> Poll<Response<ResponseBody<B>>> {
        if let Step::Ready(handshake, deadline) = &mut self.step {
            let version = handshake.version;
            if !ready!(poll_ready(cx, self.route.as_mut(), handshake, deadline)) {
                let connections = handshake.connections.as_ref();
                let refusal = refuse(connections, &Rejection::NotReady, version);
                return Poll::Ready(refusal.map(ResponseBody::text));
            }
            let Step::Ready(handshake, _) = mem::replace(&mut self.step, Step::Done) else {
                unreachable!("the step was just looked at");
            };
            match &self.hook {
                Some(hook) => self.step = Step::Hook(hook.call(*handshake)),
                None => return Poll::Ready(self.answer(handshake.accept())),
            }
        }
        let Step::Hook(hook) = &mut self.step else {
            panic!("polled after completion");
        };
        let answer = ready!(hook.as_mut().poll(cx));
        self.step = Step::Done;
        Poll::Ready(self.answer(answer))
    }

    /// Makes the response, and opens the connection where the hook accepts it.
    fn answer<B>(&mut self, answer: Answer) -> Response<ResponseBody<B>> {
        let (handshake, close) = match answer.kind {
            Kind::Accept(handshake, close) => (*handshake, close),
            Kind::Refuse(response, connections) => {
                if let Some(connections) = connections {
                    connections.refuse_by_hook();
                }
                return response.map(ResponseBody::text);
            }
        };
        let (Some(route), Some(upgrade)) = (self.route.take(), self.upgrade.take()) else {
            unreachable!("a handshake is answered once");
        };
        open(handshake, close, route, upgrade)
    }
}

/// Answers a handshake with yes, and spawns the session that goes with it.
///
/// With a Close frame the connection is opened only to be closed.
pub(crate) fn open<H, B>(
    mut handshake: Handshake,
    close: Option<CloseFrame>,
    route: H,
    upgrade: Upgrade,
) -> Response<ResponseBody<B>>
where
    H: Service<Request<WebSocket>, Response = ()> + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    let connections = handshake.connections.as_ref();
    let place = connections.map(Connections::accept);
    if let Some(None) = place {
        // Since it was checked.
        let refusal = refuse(connections, &Rejection::Draining, handshake.version);
        return refusal.map(ResponseBody::text);
    }
    let mut response = handshake.opening.response();
    add_headers(&mut response, &mut handshake.response_headers);
    let witness = upgrade.witness();
    let agreed = handshake.agreed();
    let start = Start {
        place: place.flatten(),
        route,
        head: handshake.head,
        setup: handshake.setup,
        agreed,
        close,
    };
    // Boxed, because a task's memory comes in steps of 128 bytes, and a box's does not.
    tokio::spawn(Box::pin(Upgrading::new(upgrade, start)));
    response.map(|()| ResponseBody::switching(witness))
}

/// Asks the route service whether it takes a connection: `false` when it fails or takes too long.
fn poll_ready<H: Service<Request<WebSocket>>>(
    cx: &mut Context<'_>,
    route: Option<&mut H>,
    handshake: &Handshake,
    deadline: &mut Option<Pin<Box<Sleep>>>,
) -> Poll<bool> {
    match route.map(|route| route.poll_ready(cx)) {
        Some(Poll::Ready(Ok(()))) => return Poll::Ready(true),
        Some(Poll::Pending) => {}
        Some(Poll::Ready(Err(_))) | None => return Poll::Ready(false),
    }
    let timeout = handshake.setup.config.ready_timeout;
    if timeout.is_zero() {
        return Poll::Ready(false);
    }
    let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
    deadline.as_mut().poll(cx).map(|()| false)
}
