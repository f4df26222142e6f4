//! Compression for a decoder and for a connection: without the feature `deflate` there is none.

use super::params::DeflateParams;
use crate::protocol::{connection::Connection, decoder::Decoder};

impl Decoder {
    /// Takes compressed messages, as agreed on in the handshake.
    #[must_use]
    pub fn deflate(mut self, params: DeflateParams) -> Self {
        self.set_deflate(params);
        self
    }
}

impl Connection {
    /// Takes and sends compressed messages, as agreed on in the handshake.
    ///
    /// How much is compressed and how is said by [`Config::compression`](crate::Config::compression);
    /// without it nothing is.
    #[must_use]
    pub fn deflate(mut self, params: DeflateParams) -> Self {
        self.set_deflate(params);
        self
    }
}
