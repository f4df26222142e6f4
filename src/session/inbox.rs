//! What was decoded and not received by the application.

use std::{collections::VecDeque, mem};

use bytes::BytesMut;

use crate::{
    Event, Message, ProtocolError, Utf8Bytes,
    protocol::{Decoded, Piece},
};

/// Events and pieces of messages, in the order they came.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) events: VecDeque<Decoded>,
    /// In bytes, with an allowance for each event.
    pub(super) size: usize,
    /// What was taken of a message that is received whole though it comes in pieces.
    partial: Option<BytesMut>,
    /// Nobody wants the rest of a message that comes in pieces.
    skipping: bool,
}

impl Inbox {
    /// Takes what is decoded, unless nobody wants it; what is left in `events` is to be dropped.
    pub(super) fn push(&mut self, events: &mut VecDeque<Decoded>) {
        if self.skipping {
            events.retain(|event| !self.skip(event));
        }
        self.size += events.iter().map(size).sum::<usize>();
        if self.events.is_empty() {
            mem::swap(&mut self.events, events);
        } else {
            self.events.append(events);
        }
    }

    /// Whether an event belongs to a message that nobody wants.
    fn skip(&mut self, event: &Decoded) -> bool {
        match event {
            Decoded::Piece(piece) if self.skipping => {
                self.skipping = !piece.last;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Decoded> {
        let event = self.events.pop_front()?;
        self.size -= size(&event);
        Some(event)
    }

    /// Takes the next message or control frame, joining pieces; `None` while there is no whole one.
    ///
    /// # Errors
    ///
    /// A message is larger than `limit`.
    #[inline]
    pub(super) fn pop_whole(
        &mut self,
        limit: Option<usize>,
    ) -> Option<Result<Event, ProtocolError>> {
        let limit = limit.unwrap_or(usize::MAX);
        loop {
            match self.pop()? {
                Decoded::Event(Event::Message(message)) if message.len() > limit => {
                    return Some(Err(too_big(message.len(), limit)));
                }
                Decoded::Event(event) => return Some(Ok(event)),
                Decoded::Piece(piece) => {
                    if let Some(joined) = self.join(piece, limit) {
                        return Some(joined);
                    }
                }
            }
        }
    }

    /// Adds a piece to those before it; gives the message with the last one.
    fn join(&mut self, piece: Piece, limit: usize) -> Option<Result<Event, ProtocolError>> {
        let mut whole = self.partial.take().unwrap_or_default();
        if piece.payload.len() > limit - whole.len().min(limit) {
            return Some(Err(too_big(whole.len() + piece.payload.len(), limit)));
        }
        whole.extend_from_slice(&piece.payload);
        if !piece.last {
            self.partial = Some(whole);
            return None;
        }
        let message = if piece.is_text {
            Utf8Bytes::try_from(whole).map(Message::Text)
        } else {
            Ok(Message::Binary(whole.freeze()))
        };
        Some(message.map(Event::Message).map_err(Into::into))
    }

    /// Takes the next message, or as much of it as there is, passing over control frames.
    pub(super) fn pop_piece(&mut self) -> Option<Piece> {
        loop {
            match self.pop()? {
                Decoded::Event(Event::Message(message)) => return Some(whole(message)),
                Decoded::Event(_control) => {}
                Decoded::Piece(piece) => return Some(self.with_partial(piece)),
            }
        }
    }

    /// The piece, behind what was already taken of its message.
    fn with_partial(&mut self, piece: Piece) -> Piece {
        let Some(mut payload) = self.partial.take() else {
            return piece;
        };
        payload.extend_from_slice(&piece.payload);
        Piece {
            payload: payload.freeze(),
            ..piece
        }
    }

    /// Passes over the rest of the message of which a piece was taken.
    pub(super) fn skip_message(&mut self) {
        self.skipping = true;
        let mut events = mem::take(&mut self.events);
        self.size = 0;
        self.push(&mut events);
    }

    /// Whether there is nothing in it to remember.
    pub(super) fn is_spent(&self) -> bool {
        self.events.is_empty() && self.partial.is_none() && !self.skipping
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        *self = Self {
            events: mem::take(&mut self.events),
            ..Self::default()
        };
    }
}

fn too_big(size: usize, limit: usize) -> ProtocolError {
    ProtocolError::MessageTooBig {
        size: size as u64,
        limit: limit as u64,
    }
}

fn whole(message: Message) -> Piece {
    Piece {
        is_text: message.is_text(),
        payload: message.into_bytes(),
        last: true,
    }
}

/// What an event counts towards `max_read_ahead`.
#[inline]
pub(super) fn size(event: &Decoded) -> usize {
    let payload = match event {
        Decoded::Event(Event::Message(message)) => message.len(),
        Decoded::Event(Event::Ping(payload) | Event::Pong(payload)) => payload.len(),
        Decoded::Event(Event::Close(_)) => 0,
        Decoded::Piece(piece) => piece.payload.len(),
    };
    payload + EVENT_OVERHEAD
}

/// The memory an event takes beside its payload, about.
const EVENT_OVERHEAD: usize = 64;
