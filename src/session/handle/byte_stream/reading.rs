//! What is read of a stream of bytes, and how it ends.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::task::coop;

use super::error::ByteStreamError;
use crate::{
    error::Error,
    protocol::{CloseCode, MessageKind, Piece},
    session::{report::EndedBy, shared::Shared},
    sync,
};

/// How far reading is.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What was received and not read.
    current: Bytes,
    accept_text: bool,
    /// A message has begun, of which the end has not come.
    in_message: bool,
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
        if self.current.is_empty() {
            // Else it keeps the buffer of the whole message until the next one comes.
            self.current = Bytes::new();
        }
    }

    /// Waits until there is something to read; nothing, at the end.
    pub(super) fn poll_fill(
        &mut self,
        shared: &Shared,
        shut_down: &AtomicBool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        if self.current.is_empty() {
            ready!(self.poll_next(shared, shut_down, cx))?;
        }
        Poll::Ready(Ok(&self.current))
    }

    /// Waits for a message that is not empty, or for the end.
    fn poll_next(
        &mut self,
        shared: &Shared,
        shut_down: &AtomicBool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
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
            let Some(Piece {
                kind,
                payload,
                last,
            }) = received
            else {
                return Poll::Ready(self.end(shared, shut_down));
            };
            self.in_message = !last;
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
    fn end(&mut self, shared: &Shared, shut_down: &AtomicBool) -> io::Result<()> {
        let error = match shared.first_closed() {
            Some((EndedBy::Peer, Some(frame)))
                if ![CloseCode::NORMAL, CloseCode::GOING_AWAY].contains(&frame.code()) =>
            {
                ByteStreamError::Closed(frame).into()
            }
            Some((EndedBy::Peer, _)) if self.in_message => io::ErrorKind::UnexpectedEof.into(),
            Some((EndedBy::Local, frame)) if !shut_down.load(Ordering::Acquire) => {
                ByteStreamError::ClosedHere(frame).into()
            }
            _ => {
                self.progress = Progress::Ended;
                return Ok(());
            }
        };
        Err(self.fail(error))
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        self.progress = Progress::Failed(error.kind());
        error
    }
}

/// Waits for a message, or for some of one where messages are received as they arrive.
fn poll_payload(shared: &Shared, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
    if shared.config().streaming {
        return shared.poll_piece(cx);
    }
    let message = ready!(shared.poll_message(cx))?;
    Poll::Ready(Ok(message.map(|message| Piece {
        kind: message.kind(),
        payload: message.into_bytes(),
        last: true,
    })))
}

/// After so many empty messages in one go others have their turn.
const MAX_EMPTY: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::Reading;

    #[test]
    fn what_was_read_is_kept_no_longer() {
        let owner: Arc<[u8]> = [0; 1000].into();
        let mut reading = Reading {
            current: Bytes::from_owner(owner.clone()),
            ..Reading::default()
        };
        reading.consume(999);
        assert_eq!(Arc::strong_count(&owner), 2);
        reading.consume(1);
        assert_eq!(Arc::strong_count(&owner), 1);
    }
}
