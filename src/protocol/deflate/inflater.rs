//! Decompressing what is received (RFC 7692 §7.2.2).

use std::cell::Cell;

use bytes::BytesMut;

use super::{
    engine::{Corrupt, Decompressor, Step},
    history::History,
    params::MAX_WINDOW,
};
use crate::{pool, protocol::error::ProtocolError};

/// A message that is being decompressed.
#[derive(Debug)]
pub(crate) struct Inflater {
    decompressor: Option<Decompressor>,
    /// What blocks may refer to, where the output does not stay.
    pub(crate) history: Option<History>,
    /// How much of [`TAIL`] was used.
    tail: usize,
    /// The last block was final: what follows is another stream.
    ended: bool,
    /// What of the input was used, in bytes.
    taken: usize,
    /// How many final blocks were followed by more.
    restarts: usize,
}

impl Inflater {
    /// Starts a message. Its blocks may refer to `history`, to which the output is added.
    pub(crate) fn start(history: Option<History>) -> Self {
        let mut decompressor = Decompressor::take();
        decompressor.restart(&[history.as_ref().map_or(&[], History::as_slice)]);
        Self {
            decompressor: Some(decompressor),
            history,
            tail: 0,
            ended: false,
            taken: 0,
            restarts: 0,
        }
    }

    /// Decompresses `input` behind `output`, until that has `room` bytes or the input is used up.
    ///
    /// Returns how much of the input was used. Where the room is filled there may be more to come.
    /// `before` is what stands before `output`; where there is a history it does not matter.
    ///
    /// # Errors
    ///
    /// The input is not DEFLATE; what could be decompressed is in `output`.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        before: &[u8],
        output: &mut BytesMut,
        room: usize,
    ) -> Result<usize, ProtocolError> {
        self.run(input, before, output, room)
    }

    /// Decompresses what the end of a message stands for, as [`inflate`](Self::inflate) does;
    /// tells whether the message is over.
    ///
    /// # Errors
    ///
    /// The message ends inside a block, or nonsense follows its final block.
    pub(crate) fn finish(
        &mut self,
        before: &[u8],
        output: &mut BytesMut,
        room: usize,
    ) -> Result<bool, ProtocolError> {
        // Some end a message without content, or with a final block, and leave it at that.
        if self.taken == 0 || self.ended {
            return Ok(true);
        }
        let tail = &TAIL[self.tail..];
        let used = self.run(tail, before, output, room)?;
        self.tail += used;
        if output.len() >= room && !self.ended {
            return Ok(false);
        }
        // The block added to the tail is final. Where it was not seen as one, it was taken for
        // something else.
        if self.ended && self.tail == TAIL.len() {
            Ok(true)
        } else {
            Err(ProtocolError::CorruptDeflate)
        }
    }

    fn run(
        &mut self,
        mut input: &[u8],
        before: &[u8],
        output: &mut BytesMut,
        room: usize,
    ) -> Result<usize, ProtocolError> {
        let available = input.len();
        with_buffer(|buffer| {
            while output.len() < room {
                if self.ended {
                    if input.is_empty() {
                        break;
                    }
                    self.restart(before, output)?;
                }
                let Some(decompressor) = &mut self.decompressor else {
                    break;
                };
                let len = buffer.len().min(room - output.len());
                let step = decompressor.step(input, &mut buffer[..len]);
                let (Ok(Step { given, .. }) | Err(Corrupt { given })) = step;
                output.extend_from_slice(&buffer[..given]);
                if let Some(history) = &mut self.history {
                    history.push(&buffer[..given]);
                }
                let step = step.map_err(|_| ProtocolError::CorruptDeflate)?;
                input = &input[step.taken..];
                self.taken += step.taken;
                self.ended = step.ended;
                let stuck = step.taken == 0 && step.given == 0;
                if (input.is_empty() && step.given < len) || (stuck && !step.ended) {
                    break;
                }
            }
            Ok(available - input.len())
        })
    }

    /// Starts another stream behind a final block, with the same history (RFC 7692 §7.2.3.4).
    ///
    /// That costs a copy of the history, so a message of nothing but final blocks is an attack.
    fn restart(&mut self, before: &[u8], output: &[u8]) -> Result<(), ProtocolError> {
        self.restarts += 1;
        if self.restarts > FREE_RESTARTS + self.taken / BYTES_PER_RESTART {
            return Err(ProtocolError::CorruptDeflate);
        }
        let history = match &self.history {
            Some(history) => [&[][..], history.as_slice()],
            None => {
                let output = last(MAX_WINDOW, output);
                [last(MAX_WINDOW - output.len(), before), output]
            }
        };
        if let Some(decompressor) = &mut self.decompressor {
            decompressor.restart(&history);
        }
        self.ended = false;
        Ok(())
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        if let Some(decompressor) = self.decompressor.take() {
            decompressor.put_back();
        }
    }
}

fn last(most: usize, bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(most)..]
}

/// Lends the thread's buffer: output is copied out of it, so that no memory has to be cleared.
fn with_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = pool::take(&BUFFER);
    buffer.resize(BUFFER_SIZE, 0);
    let result = work(&mut buffer);
    pool::put_back(&BUFFER, buffer);
    result
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// How much is decompressed at once.
const BUFFER_SIZE: usize = 32 << 10;

/// How many final blocks a short message may have.
const FREE_RESTARTS: usize = 64;

/// How much of a longer message there must be for each further one.
const BYTES_PER_RESTART: usize = 32;

/// What a sender has removed (RFC 7692 §7.2.2), and an empty final block that shows whether it was
/// at the end of a block.
const TAIL: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];
