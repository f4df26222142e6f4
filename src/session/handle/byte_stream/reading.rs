//! What is read of a stream of bytes, and how it ends.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::task::coop;

use super::error::ByteStreamError;
use crate::{
    error::Error,
    protocol::{CloseCode, MessageKind},
    session::shared::Shared,
    sync,
};

/// How far reading is.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What was received and not read.
    current: Bytes,
    accept_text: bool,
    progress: Progress,
}

#[derive(Debug, Default)]
enum Progress {
    #[default]
    Open,
    Ended,
    /// The connection tells its error once.
    Failed(io::ErrorKind),
}

impl Reading {
    pub(super) fn accept_text(&mut self, accept: bool) {
        self.accept_text = accept;
    }

    /// Takes note that so much of what is there was read.
    pub(super) fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }

    /// Waits until there is something to read; nothing, at the end.
    pub(super) fn poll_fill(
        &mut self,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        if self.current.is_empty() {
            ready!(self.poll_next(shared, cx))?;
        }
        Poll::Ready(Ok(&self.current))
    }

    /// Waits for a message that is not empty, or for the end.
    fn poll_next(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.progress {
            Progress::Open => {}
            Progress::Ended => return Poll::Ready(Ok(())),
            Progress::Failed(kind) => return Poll::Ready(Err(kind.into())),
        }
        let coop = ready!(coop::poll_proceed(cx));
        for _ in 0..MAX_EMPTY {
            let received = match ready!(poll_payload(shared, cx)) {
                Ok(received) => received,
                Err(error) => return Poll::Ready(Err(self.fail(error.into()))),
            };
            coop.made_progress();
            let Some((kind, payload)) = received else {
                return Poll::Ready(self.end(shared));
            };
            if kind == MessageKind::Text && !self.accept_text {
                shared.close(Some(
                    &(CloseCode::UNSUPPORTED_DATA, "binary messages only").into(),
                ));
                return Poll::Ready(Err(self.fail(ByteStreamError::Text.into())));
            }
            if !payload.is_empty() {
                self.current = payload;
                return Poll::Ready(Ok(()));
            }
        }
        sync::yield_task(cx);
        Poll::Pending
    }

    /// The connection was closed cleanly. That may be less than a clean end.
    fn end(&mut self, shared: &Shared) -> io::Result<()> {
        match shared.closed_by_peer() {
            Some(frame) if ![CloseCode::NORMAL, CloseCode::GOING_AWAY].contains(&frame.code()) => {
                Err(self.fail(ByteStreamError::Closed(frame).into()))
            }
            _ => {
                self.progress = Progress::Ended;
                Ok(())
            }
        }
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        self.progress = Progress::Failed(error.kind());
        error
    }
}

/// Waits for a message, or for some of one where messages are received as they arrive.
fn poll_payload(
    shared: &Shared,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<(MessageKind, Bytes)>, Error>> {
    if shared.config().streaming {
        let piece = ready!(shared.poll_piece(cx))?;
        return Poll::Ready(Ok(piece.map(|piece| (piece.kind, piece.payload))));
    }
    let message = ready!(shared.poll_message(cx))?;
    Poll::Ready(Ok(
        message.map(|message| (message.kind(), message.into_bytes()))
    ))
}

/// After so many empty messages in one go others have their turn.
const MAX_EMPTY: usize = 32;
