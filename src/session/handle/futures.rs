//! The futures of the handles.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::writer::MessageWriter;
use crate::{
    error::Error,
    protocol::{MessageKind, Outbound},
    session::shared::{Shared, wait_list::Ticket},
};

/// The future of [`WebSocket::send`](crate::WebSocket::send).
///
/// Dropping it before it is ready sends nothing.
#[must_use = "futures do nothing unless polled"]
pub struct SendFuture<'a> {
    shared: &'a Shared,
    stage: Stage,
}

/// How far a message is. Few have to wait, so that the ticket is boxed.
enum Stage {
    New(Outbound),
    Waiting(Box<Waiting>),
    Done,
}

struct Waiting {
    /// Taken once it is queued.
    outbound: Option<Outbound>,
    /// That with which it waits for room.
    ticket: Option<Ticket>,
}

impl<'a> SendFuture<'a> {
    pub(super) fn new(shared: &'a Shared, outbound: Outbound) -> Self {
        Self {
            shared,
            stage: Stage::New(outbound),
        }
    }

    #[inline(always)]
    fn poll_new(&mut self, cx: &mut Context<'_>, outbound: Outbound) -> Poll<Result<(), Error>> {
        let (mut outbound, mut ticket) = (Some(outbound), None);
        let poll = self.shared.poll_send(cx, &mut outbound, &mut ticket);
        if poll.is_pending() {
            self.stage = match (outbound, ticket) {
                (Some(outbound), None) => Stage::New(outbound),
                (outbound, ticket) => Stage::Waiting(Box::new(Waiting { outbound, ticket })),
            };
        }
        poll
    }
}

impl SendFuture<'_> {
    #[inline(never)]
    fn poll_waiting(
        &mut self,
        cx: &mut Context<'_>,
        mut waiting: Box<Waiting>,
    ) -> Poll<Result<(), Error>> {
        let Waiting { outbound, ticket } = &mut *waiting;
        let poll = self.shared.poll_send(cx, outbound, ticket);
        if !matches!(poll, Poll::Ready(Ok(()))) {
            self.stage = Stage::Waiting(waiting);
        } else if let Some(ticket) = *ticket {
            // Whether it was its turn or not: nobody is to be woken in its place any more.
            self.shared.leave_room(ticket);
        }
        poll
    }
}

impl Future for SendFuture<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Stage::New(outbound) = &mut this.stage
            && this.shared.send_lent(outbound)
        {
            this.stage = Stage::Done;
            return Poll::Ready(Ok(()));
        }
        match mem::replace(&mut this.stage, Stage::Done) {
            Stage::New(outbound) => this.poll_new(cx, outbound),
            Stage::Waiting(waiting) => this.poll_waiting(cx, waiting),
            Stage::Done => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for SendFuture<'_> {
    fn drop(&mut self) {
        if let Stage::Waiting(waiting) = &self.stage
            && let Some(ticket) = waiting.ticket
        {
            self.shared.forget_room(ticket);
        }
    }
}

impl fmt::Debug for SendFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outbound = match &self.stage {
            Stage::New(outbound) => Some(outbound),
            Stage::Waiting(waiting) => waiting.outbound.as_ref(),
            Stage::Done => None,
        };
        f.debug_struct("SendFuture")
            .field("outbound", &outbound)
            .finish_non_exhaustive()
    }
}

/// Waits until all that was sent has been given to the transport.
pub(super) struct Flush<'a> {
    shared: &'a Shared,
    ticket: Option<Ticket>,
}

impl<'a> Flush<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            ticket: None,
        }
    }
}

impl Future for Flush<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.shared.poll_flush(cx, &mut this.ticket)
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.forget_flush(ticket);
        }
    }
}

/// Waits for the end, and leaves nothing behind when it is dropped before.
pub(super) struct Closed<'a> {
    shared: &'a Shared,
    ticket: Option<Ticket>,
}

impl<'a> Closed<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            ticket: None,
        }
    }
}

impl Future for Closed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.poll_closed(cx, &mut this.ticket)
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.forget_closed(ticket);
        }
    }
}

/// Waits for the message before a message, where that is sent piece by piece too.
pub(super) struct Begin<'a> {
    shared: &'a Shared,
    kind: MessageKind,
    ticket: Option<Ticket>,
}

impl<'a> Begin<'a> {
    pub(super) fn new(shared: &'a Shared, kind: MessageKind) -> Self {
        Self {
            shared,
            kind,
            ticket: None,
        }
    }
}

impl<'a> Future for Begin<'a> {
    type Output = Result<MessageWriter<'a>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let writer = ready!(MessageWriter::poll_begin(
            this.shared,
            this.kind,
            cx,
            &mut this.ticket
        ));
        if writer.is_ok()
            && let Some(ticket) = this.ticket.take()
        {
            // Whether it was its turn or not: nobody is to be woken in its place any more.
            this.shared.leave_begin(ticket);
        }
        Poll::Ready(writer)
    }
}

impl Drop for Begin<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.forget_begin(ticket);
        }
    }
}
