//! Messages from one connection to another, both ways.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use crate::{
    error::Error,
    protocol::{CloseCode, CloseFrame},
    session::{
        WebSocket,
        handle::{Receiver, Sender},
    },
};

/// The upstream's end of a connection that the client's has not been joined to. Dropped it is closed with 1001.
pub(super) struct Upstream(Option<WebSocket>);

impl Upstream {
    pub(super) fn new(socket: WebSocket) -> Self {
        Self(Some(socket))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.close(client_gone());
        }
    }
}

/// Where the client's handler is dropped, the upstream is told.
struct ClosedOnDrop(Sender);

impl Drop for ClosedOnDrop {
    fn drop(&mut self) {
        self.0.close(client_gone());
    }
}

/// Passes messages both ways until both connections have come to their end.
pub(super) async fn relay(client: WebSocket, mut upstream: Upstream) {
    let Some(upstream) = upstream.0.take() else {
        return;
    };
    // Neither receiver goes before the end: nobody else keeps the upstream's connection open.
    let ((to_client, mut from_client), (to_upstream, mut from_upstream)) =
        (client.split(), upstream.split());
    let _gone = ClosedOnDrop(to_upstream.clone());
    let there = pass(&mut from_client, &to_upstream, client_gone);
    let back = pass(&mut from_upstream, &to_client, upstream_gone);
    both(there, back).await;
}

/// Passes messages one way, and then the end.
async fn pass(from: &mut Receiver, to: &Sender, lost: fn() -> CloseFrame) {
    let end = if from.is_streaming() {
        pass_pieces(from, to, lost).await
    } else {
        pass_messages(from, to).await
    };
    match end {
        End::Closed => match from.first_close() {
            Some(frame) => to.pass_close(frame.as_ref()),
            None => to.close(lost()),
        },
        End::Lost => to.close(lost()),
        // The other way brings the reason.
        // What still comes is for nobody, and must not hold up its Close.
        End::NotTaken => while let Ok(Some(_skipped)) = from.recv_reader().await {},
    }
}

/// Why nothing more is passed one way.
enum End {
    /// A Close was received, or sent to where the messages come from.
    Closed,
    /// The connection that the messages come from has failed.
    Lost,
    /// The other connection takes no more.
    NotTaken,
}

impl End {
    fn of<T>(received: Result<Option<T>, Error>) -> Self {
        received.map_or(Self::Lost, |_| Self::Closed)
    }
}

async fn pass_messages(from: &mut Receiver, to: &Sender) -> End {
    loop {
        let message = match from.recv().await {
            Ok(Some(message)) => message,
            end => return End::of(end),
        };
        if to.send(message).await.is_err() {
            return End::NotTaken;
        }
    }
}

/// Passes messages on as they arrive.
async fn pass_pieces(from: &mut Receiver, to: &Sender, lost: fn() -> CloseFrame) -> End {
    loop {
        let mut message = match from.recv_reader().await {
            Ok(Some(message)) => message,
            end => return End::of(end.map(|end| end.map(drop))),
        };
        let Ok(mut writer) = to.send_writer(message.kind()).await else {
            return End::NotTaken;
        };
        loop {
            let written = match message.chunk().await {
                Ok(Some(piece)) => writer.send(piece).await,
                Ok(None) => break,
                Err(error) => {
                    drop(message);
                    // Before the writer goes, which has a reason of its own to close.
                    match from.first_close() {
                        // It was closed in the middle of the message.
                        Some(frame) if matches!(error, Error::Io(_)) => {
                            to.pass_close(frame.as_ref());
                        }
                        _ => to.close(lost()),
                    }
                    return End::Lost;
                }
            };
            if written.is_err() {
                return End::NotTaken;
            }
        }
        if writer.finish().await.is_err() {
            return End::NotTaken;
        }
    }
}

/// What the upstream is told when the client has gone without a Close.
fn client_gone() -> CloseFrame {
    CloseFrame::new(CloseCode::GOING_AWAY, "the client is gone")
}

/// What the client is told when the upstream has gone without a Close.
fn upstream_gone() -> CloseFrame {
    CloseFrame::new(CloseCode::BAD_GATEWAY, "the upstream is gone")
}

/// Runs two futures in one task until both are ready.
async fn both(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut first_done, mut second_done) = (false, false);
    poll_fn(|cx| {
        first_done = first_done || first.as_mut().poll(cx).is_ready();
        second_done = second_done || second.as_mut().poll(cx).is_ready();
        if first_done && second_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await
}
