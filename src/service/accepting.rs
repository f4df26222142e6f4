//! From a checked handshake to its answer.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use tokio::time::{Sleep, sleep};
use tower::{BoxError, Service};

use super::{
    admission::admit,
    body::ResponseBody,
    hook::{Decision, Handshake, Hook, HookFuture, Verdict},
    on_upgrade::Upgrade,
    permits::Counted,
    refusal::refuse,
    take_over::take_over,
    upgrading::{Opening, Upgrading},
};
use crate::{handshake::Rejection, protocol::CloseFrame, session::WebSocket};

/// A handshake that passed all checks, on its way to an answer.
pub(super) struct Accepting<H> {
    step: AcceptStep<H>,
    hook: Option<Hook>,
}

enum AcceptStep<H> {
    /// Waiting for the route service; with a deadline once it was pending.
    Ready(Box<Opening<H>>, Option<Pin<Box<Sleep>>>),
    /// Waiting for the hook.
    Hook(HookFuture, Box<(H, Upgrade)>),
    Done,
}

impl<H> Accepting<H> {
    pub(super) fn new(opening: Box<Opening<H>>, hook: Option<Hook>) -> Self {
        Self {
            step: AcceptStep::Ready(opening, None),
            hook,
        }
    }
}

impl<H> Accepting<H>
where
    H: Service<Request<WebSocket>, Response = ()> + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    pub(super) fn poll<B>(&mut self, cx: &mut Context<'_>) -> Poll<Response<ResponseBody<B>>> {
        if let AcceptStep::Ready(opening, deadline) = &mut self.step {
            if !ready!(poll_ready(cx, opening, deadline)) {
                let Handshake {
                    connections,
                    version,
                    ..
                } = &opening.handshake;
                let refusal = refuse(connections.as_ref(), &Rejection::NotReady, *version);
                return Poll::Ready(refusal.map(ResponseBody::text));
            }
            let AcceptStep::Ready(opening, _) = mem::replace(&mut self.step, AcceptStep::Done)
            else {
                unreachable!("the step was just looked at");
            };
            let Some(hook) = &self.hook else {
                return Poll::Ready(open(opening, None));
            };
            let Opening {
                handshake,
                route,
                upgrade,
            } = *opening;
            self.step = AcceptStep::Hook(hook.call(handshake), Box::new((route, upgrade)));
        }
        let AcceptStep::Hook(hook, _) = &mut self.step else {
            panic!("polled after completion");
        };
        let decision = ready!(hook.as_mut().poll(cx));
        let AcceptStep::Hook(_, rest) = mem::replace(&mut self.step, AcceptStep::Done) else {
            unreachable!("the step was just looked at");
        };
        Poll::Ready(answer(decision, *rest))
    }
}

/// Makes the response, and opens the connection if the hook accepts it.
fn answer<H, B>(decision: Decision, (route, upgrade): (H, Upgrade)) -> Response<ResponseBody<B>>
where
    H: Service<Request<WebSocket>, Response = ()> + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    match decision.verdict {
        Verdict::Accept(handshake, close) => {
            let opening = Opening {
                handshake: *handshake,
                route,
                upgrade,
            };
            open(Box::new(opening), close)
        }
        Verdict::Reroute(handshake, other) => {
            let opening = Opening {
                handshake: *handshake,
                // Ready, it may hold a permit.
                route: other.holding(route),
                upgrade,
            };
            open(Box::new(opening), None)
        }
        Verdict::TakeOver(handshake, other) => take_over(*handshake, upgrade, other, route),
        Verdict::Reject(response, connections) => {
            if let Some(connections) = connections {
                connections.refuse_by_hook();
            }
            response.map(ResponseBody::text)
        }
    }
}

/// Accepts a handshake, and spawns the task of its session.
///
/// With a Close frame the connection is opened only to be closed.
pub(crate) fn open<H, B>(
    mut opening: Box<Opening<H>>,
    close: Option<CloseFrame>,
) -> Response<ResponseBody<B>>
where
    H: Service<Request<WebSocket>, Response = ()> + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    let (place, response) = match admit(&mut opening.handshake) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.map(ResponseBody::text),
    };
    let permits = mem::take(&mut opening.handshake.permits);
    let witness = opening.upgrade.witness();
    let upgrading = Upgrading::new(opening, place, close);
    // Boxed, because a task's memory comes in steps of 128 bytes, and a box's does not.
    if permits.is_empty() {
        tokio::spawn(Box::pin(upgrading));
    } else {
        tokio::spawn(Box::pin(Counted::new(upgrading, permits)));
    }
    response.map(|()| ResponseBody::switching(witness))
}

/// Asks the route service whether it takes a connection; `false` if it fails or takes too long.
fn poll_ready<H: Service<Request<WebSocket>>>(
    cx: &mut Context<'_>,
    opening: &mut Opening<H>,
    deadline: &mut Option<Pin<Box<Sleep>>>,
) -> Poll<bool> {
    match opening.route.poll_ready(cx) {
        Poll::Ready(Ok(())) => return Poll::Ready(true),
        Poll::Pending => {}
        Poll::Ready(Err(_)) => return Poll::Ready(false),
    }
    let timeout = opening.handshake.setup.config.ready_timeout;
    if timeout.is_zero() {
        return Poll::Ready(false);
    }
    let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
    deadline.as_mut().poll(cx).map(|()| false)
}
