//! DEFLATE by zlib-rs, with compressors and decompressors that belong to the thread.

use std::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use super::params::Shape;
use crate::pool::{self, Pool};

/// The state of a compressor.
pub(super) struct Compressor {
    shape: Shape,
    deflate: Deflate,
}

impl Compressor {
    /// Takes one from the thread, or makes one; [`restart`](Self::restart) it before use.
    pub(super) fn take(shape: Shape) -> Self {
        let found = pool::with(&COMPRESSORS, |pool| pool.take(|spare| spare.shape == shape));
        found.flatten().unwrap_or_else(|| Self {
            shape,
            deflate: Deflate::new_with_config(config(shape)),
        })
    }

    /// Gives it to the thread, which keeps a few.
    pub(super) fn put_back(self) {
        pool::with(&COMPRESSORS, |pool| pool.put_back(self));
    }

    /// Begins anew, as if `history` had just been compressed.
    pub(super) fn restart(&mut self, history: &[u8]) {
        self.deflate.reset();
        if !history.is_empty() {
            let set = self.deflate.set_dictionary(history);
            debug_assert!(set.is_ok(), "a raw stream takes a dictionary at any time");
        }
    }

    /// Compresses `input` behind `output`; `flush` ends a block, so that all of it is there.
    pub(super) fn compress(&mut self, mut input: &[u8], output: &mut Vec<u8>, flush: bool) {
        let flush = if flush {
            DeflateFlush::SyncFlush
        } else {
            DeflateFlush::NoFlush
        };
        loop {
            let len = output.len();
            // Enough for most; what remains comes in another round.
            output.resize(len + input.len() / 2 + LEAST_ROOM, 0);
            let (taken, given) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self.deflate.compress(input, &mut output[len..], flush);
            debug_assert!(status.is_ok(), "the compressor is in a valid state");
            let taken = (self.deflate.total_in() - taken) as usize;
            let given = (self.deflate.total_out() - given) as usize;
            let full = len + given == output.len();
            output.truncate(len + given);
            input = &input[taken..];
            if !full || status.is_err() {
                return;
            }
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

fn config(shape: Shape) -> DeflateConfig {
    DeflateConfig {
        level: shape.level.get().into(),
        // zlib has no window of 8 bits. Its matches reach 262 bytes less far than the window of 9
        // has, so that they fit the smaller one.
        window_bits: -i32::from(shape.window_bits.max(9)),
        mem_level: shape.memory_level.into(),
        ..DeflateConfig::default()
    }
}

/// The memory of a compressor, in bytes.
pub(super) fn compressor_size(shape: Shape) -> usize {
    // Twice the window, its chains, the hash table, the output and its symbols, and the state.
    (4 << shape.window_bits.max(9)) + (128 << 10) + (7 << (shape.memory_level + 6)) + (8 << 10)
}

/// The state of a decompressor.
pub(super) struct Decompressor(Inflate);

/// What one step of a decompressor did.
#[derive(Debug)]
pub(super) struct Step {
    /// The bytes of input that were used.
    pub(super) taken: usize,
    /// The bytes of output that were made.
    pub(super) given: usize,
    /// The final block of a stream is over (BFINAL, RFC 1951 §3.2.3).
    pub(super) ended: bool,
}

/// The input is not DEFLATE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Corrupt {
    /// The bytes of output that were made of what is before the wrong part.
    pub(super) given: usize,
}

impl Decompressor {
    /// Takes one from the thread, or makes one; [`restart`](Self::restart) it before use.
    pub(super) fn take() -> Self {
        let spare = pool::with(&DECOMPRESSORS, |pool| pool.take(|_| true));
        spare
            .flatten()
            .unwrap_or_else(|| Self(Inflate::new(false, 15)))
    }

    /// Gives it to the thread, which keeps a few.
    pub(super) fn put_back(self) {
        pool::with(&DECOMPRESSORS, |pool| pool.put_back(self));
    }

    /// Begins a stream whose blocks may refer to `history`, of which there may be several pieces.
    pub(super) fn restart(&mut self, history: &[&[u8]]) {
        self.0.reset(false);
        for piece in history.iter().filter(|piece| !piece.is_empty()) {
            let set = self.0.set_dictionary(piece);
            debug_assert!(set.is_ok(), "a raw stream takes dictionaries at its start");
        }
    }

    /// Decompresses from `input` to `output`, as far as either goes.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Corrupt> {
        let (taken, given) = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(input, output, InflateFlush::SyncFlush);
        let given = (self.0.total_out() - given) as usize;
        Ok(Step {
            taken: (self.0.total_in() - taken) as usize,
            given,
            ended: status.map_err(|_| Corrupt { given })? == Status::StreamEnd,
        })
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

thread_local! {
    static COMPRESSORS: Pool<Compressor> = const { Pool::new(MAX_COMPRESSORS) };
    static DECOMPRESSORS: Pool<Decompressor> = const { Pool::new(MAX_DECOMPRESSORS) };
}

/// How many compressors a thread keeps; windows of other sizes need other ones.
const MAX_COMPRESSORS: usize = 4;

/// How many decompressors a thread keeps; messages that arrive in pieces hold on to theirs.
const MAX_DECOMPRESSORS: usize = 4;

/// What a compressor needs for the shortest of messages, and some more.
const LEAST_ROOM: usize = 64;
