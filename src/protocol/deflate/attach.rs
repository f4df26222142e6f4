//! Compression for a decoder and for a connection: without the feature `deflate` there is none.

use super::params::DeflateParams;
use crate::protocol::{connection::Connection, decoder::Decoder};

impl Decoder {
    /// Enables the decompression of messages, as agreed on in the handshake.
    #[must_use]
    pub fn deflate(mut self, params: DeflateParams) -> Self {
        self.set_deflate(params);
        self
    }
}

impl Connection {
    /// Enables compression in both directions, as agreed on in the handshake.
    ///
    /// [`Config::compression`](crate::Config::compression) sets how much is compressed and how. Without it
    /// nothing that is sent is compressed.
    #[must_use]
    pub fn deflate(mut self, params: DeflateParams) -> Self {
        self.set_deflate(params);
        self
    }
}
