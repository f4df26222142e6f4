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
    body::ResponseBody,
    hook::{Decision, Handshake, Hook, HookFuture, Verdict, add_headers},
    on_upgrade::Upgrade,
    refusal::refuse,
    upgrading::Upgrading,
};
use crate::{
    handshake::Rejection,
    protocol::CloseFrame,
    session::{Connections, WebSocket},
};

/// A handshake that passed all checks, on its way to an answer.
pub(super) struct Accepting<H> {
    route: Option<H>,
    upgrade: Option<Upgrade>,
    hook: Option<Hook>,
    step: AcceptStep,
}

enum AcceptStep {
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
        let step = AcceptStep::Ready(Box::new(handshake), None);
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
    pub(super) fn poll<B>(&mut self, cx: &mut Context<'_>) -> Poll<Response<ResponseBody<B>>> {
        if let AcceptStep::Ready(handshake, deadline) = &mut self.step {
            let version = handshake.version;
            if !ready!(poll_ready(cx, self.route.as_mut(), handshake, deadline)) {
                let connections = handshake.connections.as_ref();
                let refusal = refuse(connections, &Rejection::NotReady, version);
                return Poll::Ready(refusal.map(ResponseBody::text));
            }
            let AcceptStep::Ready(handshake, _) = mem::replace(&mut self.step, AcceptStep::Done)
            else {
                unreachable!("the step was just looked at");
            };
            match &self.hook {
                Some(hook) => self.step = AcceptStep::Hook(hook.call(*handshake)),
                None => return Poll::Ready(self.answer(handshake.accept())),
            }
        }
        let AcceptStep::Hook(hook) = &mut self.step else {
            panic!("polled after completion");
        };
        let answer = ready!(hook.as_mut().poll(cx));
        self.step = AcceptStep::Done;
        Poll::Ready(self.answer(answer))
    }

    /// Makes the response, and opens the connection if the hook accepts it.
    fn answer<B>(&mut self, answer: Decision) -> Response<ResponseBody<B>> {
        let (handshake, close) = match answer.verdict {
            Verdict::Accept(handshake, close) => (*handshake, close),
            Verdict::Reject(response, connections) => {
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

/// Accepts a handshake, and spawns the task of its session.
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
    let upgrading = Upgrading::new(handshake, place.flatten(), close, route, upgrade);
    // Boxed, because a task's memory comes in steps of 128 bytes, and a box's does not.
    tokio::spawn(Box::pin(upgrading));
    response.map(|()| ResponseBody::switching(witness))
}

/// Asks the route service whether it takes a connection; `false` if it fails or takes too long.
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
