//! An accepted handshake whose stream goes to something other than a session.

use std::{future::poll_fn, mem};

use http::Response;

use super::{
    admission::admit,
    body::ResponseBody,
    hook::Handshake,
    on_upgrade::Upgrade,
    permits::Counted,
    reroute::TakeOver,
    upgrading::{Opening, Waiting},
};

/// Accepts a handshake, and spawns the task that takes its stream. What is held is kept until that has ended.
pub(super) fn take_over<B>(
    mut handshake: Handshake,
    upgrade: Upgrade,
    take_over: TakeOver,
    held: impl Send + 'static,
) -> Response<ResponseBody<B>> {
    let (place, mut response) = match admit(&mut handshake) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.map(ResponseBody::text),
    };
    for (name, value) in take_over.answer {
        response.headers_mut().append(name, value);
    }
    let permits = mem::take(&mut handshake.permits);
    let setup = handshake.setup.clone();
    let witness = upgrade.witness();
    let opening = Box::new(Opening {
        handshake,
        route: (),
        upgrade,
    });
    let mut waiting = Waiting::new(opening, place, None);
    let taker = take_over.taker;
    let task = async move {
        let stream = poll_fn(|cx| waiting.poll(cx)).await;
        let place = waiting.into_place();
        if let Some(stream) = stream {
            taker((stream, place, setup)).await;
        }
        drop(held);
    };
    tokio::spawn(Counted::new(Box::pin(task), permits));
    response.map(|()| ResponseBody::switching(witness))
}
