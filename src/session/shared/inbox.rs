//! What was decoded and not received by the application.

use std::{cell::Cell, collections::VecDeque, mem};

use bytes::BytesMut;

use crate::pool;
use crate::protocol::{Decoded, Event, Message, Piece, ProtocolError};

/// Events and pieces of messages, in the order they came.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(super) events: VecDeque<Decoded>,
    /// In bytes, with an allowance for each event.
    size: usize,
    /// What was taken of a message that is received whole though it comes in pieces.
    partial: Option<BytesMut>,
    /// Nobody wants the rest of a message that comes in pieces.
    skipping: bool,
}

impl Inbox {
    /// Takes the thread's spare one, or makes one.
    pub(crate) fn take() -> Box<Self> {
        pool::take(&SPARE).unwrap_or_default()
    }

    /// Gives one that is empty, or that nobody wants, to the thread.
    pub(crate) fn put_back(mut self: Box<Self>) {
        if !self.is_spent() {
            self.clear();
        }
        if self.events.capacity() <= MAX_EVENTS {
            pool::put_back(&SPARE, Some(self));
        }
    }

    /// Reports whether nothing is there to be delivered.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns the size of what is there to be delivered, in bytes, with an allowance for each event.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Adds an event to what is still to be delivered.
    #[inline]
    pub(crate) fn push(&mut self, event: Decoded) {
        self.size += size(&event);
        self.events.push_back(event);
    }

    /// Throws away what is no control frame.
    pub(crate) fn keep_control(&mut self) {
        let is_control =
            |event: &Decoded| matches!(event, Decoded::Event(event) if event.is_control());
        self.events.retain(is_control);
        self.size = self.events.iter().map(size).sum();
    }

    /// Takes what is decoded, unless nobody wants it; what is left in `events` is to be dropped.
    pub(super) fn append(&mut self, events: &mut VecDeque<Decoded>) {
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

    /// Returns how much memory it holds, in bytes, with an allowance for each event.
    pub(super) fn memory(&self) -> usize {
        let partial = self.partial.as_ref();
        self.size + partial.map_or(0, BytesMut::capacity)
    }

    /// Reports whether an event belongs to a message that nobody wants.
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

    /// Takes the next message, as [`pop_whole`](Self::pop_whole), passing over control frames.
    #[inline]
    pub(super) fn pop_message(
        &mut self,
        limit: Option<usize>,
    ) -> Option<Result<Message, ProtocolError>> {
        loop {
            match self.pop_whole(limit)? {
                Ok(Event::Message(message)) => return Some(Ok(message)),
                Ok(_control) => {}
                Err(error) => return Some(Err(error)),
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
        let message = piece.kind.message(whole.freeze());
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
        self.append(&mut events);
    }

    /// Reports whether there is nothing in it to remember.
    pub(crate) fn is_spent(&self) -> bool {
        self.events.is_empty() && self.partial.is_none() && !self.skipping
    }

    pub(crate) fn clear(&mut self) {
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
        kind: message.kind(),
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

thread_local! {
    static SPARE: Cell<Option<Box<Inbox>>> = const { Cell::new(None) };
}

/// A longer queue of events goes back to the allocator.
const MAX_EVENTS: usize = 4096;

/// The memory an event takes beside its payload, about.
const EVENT_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::MessageKind;

    fn piece(text: &'static str, last: bool) -> Decoded {
        Decoded::Piece(Piece {
            kind: MessageKind::Text,
            payload: Bytes::from_static(text.as_bytes()),
            last,
        })
    }

    fn message(text: &'static str) -> Decoded {
        Decoded::Event(Event::Message(text.into()))
    }

    fn push(inbox: &mut Inbox, events: impl IntoIterator<Item = Decoded>) {
        inbox.append(&mut events.into_iter().collect());
    }

    /// What is received whole, up to the first error.
    fn wholes(inbox: &mut Inbox) -> Vec<Event> {
        let pop = || inbox.pop_whole(None).map(|event| event.expect("valid"));
        std::iter::from_fn(pop).collect()
    }

    #[test]
    fn pieces_are_joined_around_control_frames() {
        let mut inbox = Inbox::default();
        let ping = || Event::Ping("p".into());
        push(
            &mut inbox,
            [
                message("whole"),
                piece("a", false),
                Decoded::Event(ping()),
                piece("b", false),
            ],
        );
        let expected = [Event::Message("whole".into()), ping()];
        assert_eq!(wholes(&mut inbox), expected);
        assert!(!inbox.is_spent(), "a part of a message is remembered");
        push(&mut inbox, [piece("", true), message("next")]);
        let expected = ["ab", "next"].map(|text| Event::Message(text.into()));
        assert_eq!(wholes(&mut inbox), expected);
        assert!(inbox.is_spent());
        assert_eq!(inbox.size, 0);
    }

    #[test]
    fn what_was_joined_goes_before_the_next_piece() {
        let mut inbox = Inbox::default();
        push(&mut inbox, [piece("a", false), piece("b", false)]);
        assert!(wholes(&mut inbox).is_empty());
        push(&mut inbox, [piece("c", false), piece("d", true)]);
        let pieces = std::iter::from_fn(|| inbox.pop_piece());
        let pieces: Vec<_> = pieces.map(|piece| (piece.payload, piece.last)).collect();
        assert_eq!(pieces, [("abc".into(), false), ("d".into(), true)]);
        assert!(inbox.is_spent());
    }

    #[test]
    fn a_message_of_the_limit_is_taken_and_one_byte_more_is_not() {
        for (limit, fits) in [(3, true), (2, false)] {
            let whole = vec![message("abc")];
            let pieces = vec![piece("ab", false), piece("c", true)];
            for events in [whole, pieces] {
                let mut inbox = Inbox::default();
                push(&mut inbox, events);
                let taken = inbox.pop_whole(Some(limit)).expect("a message");
                let too_big = ProtocolError::MessageTooBig { size: 3, limit: 2 };
                if fits {
                    assert_eq!(taken, Ok(Event::Message("abc".into())));
                } else {
                    assert_eq!(taken, Err(too_big));
                }
            }
        }
    }

    #[test]
    fn a_skipped_message_ends_with_its_last_piece_wherever_that_is() {
        let events = || {
            [
                piece("b", false),
                Decoded::Event(Event::Ping("p".into())),
                piece("c", true),
                piece("d", false),
                piece("e", true),
            ]
        };
        for there in 0..=events().len() {
            let mut inbox = Inbox::default();
            push(&mut inbox, [piece("a", false)]);
            assert!(inbox.pop_piece().is_some());
            let mut later = Vec::from(events());
            let now: Vec<_> = later.drain(..there).collect();
            push(&mut inbox, now);
            inbox.skip_message();
            assert_eq!(inbox.size, inbox.events.iter().map(size).sum::<usize>());
            assert!(!inbox.is_spent() || there == 5, "{there}");
            push(&mut inbox, later);
            let expected = [Event::Ping("p".into()), Event::Message("de".into())];
            assert_eq!(wholes(&mut inbox), expected, "{there}");
            assert!(inbox.is_spent());
        }
    }

    #[test]
    fn a_cleared_inbox_remembers_nothing() {
        let mut inbox = Inbox::default();
        push(&mut inbox, [piece("a", false)]);
        assert!(wholes(&mut inbox).is_empty());
        inbox.skip_message();
        push(&mut inbox, [message("b")]);
        inbox.clear();
        assert!(inbox.is_spent());
        assert_eq!(inbox.size, 0);
        push(&mut inbox, [piece("c", true)]);
        assert_eq!(wholes(&mut inbox), [Event::Message("c".into())]);
    }
}
