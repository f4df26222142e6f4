//! What has come of a message: unmasked, decompressed, validated.

use bytes::{Bytes, BytesMut};

use super::piece::Piece;
use crate::protocol::{
    error::ProtocolError,
    message::{Event, MessageKind},
    utf8::Utf8Validator,
};

/// The payload of a message, as far as it has come.
#[derive(Debug)]
pub(super) struct Body {
    kind: MessageKind,
    pub(super) payload: BytesMut,
    /// How much of `payload` is unmasked and validated.
    pub(super) processed: usize,
    utf8: Utf8Validator,
    /// What has left `payload`, in bytes: set aside, or given away.
    before: u64,
}

impl Body {
    pub(super) fn new(kind: MessageKind) -> Self {
        Self {
            kind,
            payload: BytesMut::new(),
            processed: 0,
            utf8: Utf8Validator::default(),
            before: 0,
        }
    }

    /// Returns how much has come, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.before + self.payload.len() as u64
    }

    /// Returns how much has left the payload, in bytes.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    pub(super) fn has_left(&self) -> bool {
        self.before > 0
    }

    /// Returns how much came since the last time, in bytes.
    pub(super) fn unprocessed(&self) -> usize {
        self.payload.len() - self.processed
    }

    /// Returns the bytes that came since the last time.
    pub(super) fn new_bytes(&mut self) -> &mut [u8] {
        &mut self.payload[self.processed..]
    }

    /// Validates the bytes that came since the last time, which are no longer masked.
    #[inline]
    pub(super) fn validate(&mut self) -> Result<(), ProtocolError> {
        if self.kind == MessageKind::Text {
            self.utf8.push(&self.payload[self.processed..])?;
        }
        self.processed = self.payload.len();
        Ok(())
    }

    /// Checks the end of a text.
    pub(super) fn finish(&mut self) -> Result<(), ProtocolError> {
        Ok(self.utf8.finish()?)
    }

    /// Takes a copy of the payload, whose buffer may be much larger and is used again.
    pub(super) fn set_aside(&mut self) -> Bytes {
        let chunk = Bytes::copy_from_slice(&self.payload);
        self.before += chunk.len() as u64;
        self.processed = 0;
        self.payload.clear();
        chunk
    }

    pub(super) fn clear(&mut self) {
        self.payload = BytesMut::new();
        self.processed = 0;
    }

    /// Takes what there is, to be given away; `None` if that is nothing.
    pub(super) fn take_piece(&mut self) -> Option<Piece> {
        if self.payload.is_empty() {
            return None;
        }
        self.before += self.payload.len() as u64;
        self.processed = 0;
        let payload = self.payload.split().freeze();
        Some(self.piece(payload, false))
    }

    pub(super) fn into_last_piece(mut self) -> Piece {
        let payload = std::mem::take(&mut self.payload).freeze();
        self.piece(payload, true)
    }

    fn piece(&self, payload: Bytes, last: bool) -> Piece {
        Piece {
            kind: self.kind,
            payload,
            last,
        }
    }

    /// Makes the message of what was set aside and the payload.
    pub(super) fn into_message(self, chunks: &[Bytes]) -> Result<Event, ProtocolError> {
        let payload = if chunks.is_empty() {
            self.payload.freeze()
        } else {
            let mut whole = BytesMut::with_capacity(self.len() as usize);
            for chunk in chunks {
                whole.extend_from_slice(chunk);
            }
            whole.extend_from_slice(&self.payload);
            whole.freeze()
        };
        Ok(Event::Message(self.kind.message(payload)?))
    }
}

/// The most that is decompressed, or given away, in one piece.
pub(super) const MOST_AT_ONCE: usize = 64 << 10;
