//! permessage-deflate (RFC 7692): messages compressed one by one.
//!
//! - `params`: what two endpoints agree on;
//! - `deflater`, `inflater`: one direction each, by `engine`, which is zlib-rs;
//! - `history`: what a later message may refer to;
//! - `attach`: what there is only with the feature `deflate`;
//! - `compressor`, `decompressor`: the same for payloads of frames, for who has no connection.
//!
//! Compressors and decompressors belong to the thread. A connection with context takeover remembers
//! the last bytes of each direction, which is all that a message needs of those before it.

#[cfg(feature = "deflate")]
mod attach;
#[cfg(feature = "deflate")]
mod compressor;
#[cfg(feature = "deflate")]
mod decompressor;
mod deflater;
#[cfg(feature = "deflate")]
mod engine;
#[cfg(not(feature = "deflate"))]
#[path = "engine_off.rs"]
mod engine;
mod history;
mod inflater;
mod params;

pub use self::params::DeflateParams;
#[cfg(feature = "deflate")]
pub use self::{compressor::Compressor, decompressor::Decompressor};
pub(crate) use self::{
    deflater::{Context, Deflater, Output, deflate},
    history::History,
    inflater::Inflater,
    params::{Direction, MAX_WINDOW, MAX_WINDOW_BITS, MIN_WINDOW_BITS, Shape},
};

#[cfg(all(test, feature = "deflate"))]
mod tests;
