//! Decompressing payloads by hand, for callers who read frames themselves.

use bytes::{Bytes, BytesMut};

use super::{
    history::History,
    inflater::Inflater,
    params::{DeflateParams, Direction},
};
use crate::protocol::{error::ProtocolError, role::Role};

/// Decompresses the payloads of what one end of a connection receives (RFC 7692 §7.2.2).
///
/// It is for callers that read frames themselves, as shown at [`Compressor`](super::Compressor);
/// [`Decoder`](crate::protocol::Decoder), [`Connection`](crate::protocol::Connection) and sessions
/// decompress by themselves. Pass it every payload of each compressed message, in order, and no payload of
/// other messages.
///
/// A few bytes may decompress to a thousand times as many, so a message has a limit: 1 MiB unless
/// [`max_message_size`](Self::max_message_size) sets another one. The caller has to check that text is
/// UTF-8.
///
/// ```
/// use tower_websocket::{ProtocolError, protocol::{Decompressor, DeflateParams, Role}};
///
/// let params = DeflateParams::default();
/// let mut decompressor = Decompressor::new(Role::Client, params).max_message_size(1000);
/// let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00"; // RFC 7692 §7.2.3.1
/// assert_eq!(decompressor.decompress(hello)?, "Hello");
/// let again = b"\xf2\x00\x11\x00\x00"; // which refers to the one before (§7.2.3.2)
/// assert_eq!(decompressor.decompress(again)?, "Hello");
/// # Ok::<(), ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Decompressor {
    direction: Direction,
    limit: usize,
    /// What a message may refer to, with context takeover.
    history: Option<History>,
    message: Option<Message>,
    error: Option<ProtocolError>,
}

/// A message of which not all has come.
#[derive(Debug)]
struct Message {
    inflater: Inflater,
    /// What has come out of it, in bytes.
    given: usize,
}

impl Decompressor {
    /// Makes the decompressor of this end of a connection: `role` is that of the receiver.
    ///
    /// `params` are what was [agreed on](crate::handshake::deflate).
    #[must_use]
    pub fn new(role: Role, params: DeflateParams) -> Self {
        let peer = match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        Self {
            direction: params.direction(peer),
            limit: 1 << 20,
            history: None,
            message: None,
            error: None,
        }
    }

    /// Limits the decompressed size of one message, in bytes.
    ///
    /// Default: 1 MiB.
    #[must_use]
    pub fn max_message_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.limit = bytes.into().unwrap_or(usize::MAX);
        self
    }

    /// Decompresses a whole message, or the last part of one: the payload of a frame with FIN.
    ///
    /// The other parts are for [`decompress_fragment`](Self::decompress_fragment).
    ///
    /// # Errors
    ///
    /// [`InflatedTooBig`](ProtocolError::InflatedTooBig) beyond the limit, and
    /// [`CorruptDeflate`](ProtocolError::CorruptDeflate) for what is not DEFLATE. The connection has failed:
    /// every later call returns the same error.
    pub fn decompress(&mut self, payload: &[u8]) -> Result<Bytes, ProtocolError> {
        self.run(payload, true)
    }

    /// Decompresses a part of a message that is not the last one: the payload of a frame without FIN.
    ///
    /// How much of the message comes out depends on how the peer has cut it; it may be nothing.
    ///
    /// # Errors
    ///
    /// Those of [`decompress`](Self::decompress). The limit applies to all parts of the message together.
    pub fn decompress_fragment(&mut self, payload: &[u8]) -> Result<Bytes, ProtocolError> {
        self.run(payload, false)
    }

    /// Reports whether a message has begun and has not ended.
    #[must_use]
    pub fn is_message_open(&self) -> bool {
        self.message.is_some()
    }

    fn run(&mut self, payload: &[u8], last: bool) -> Result<Bytes, ProtocolError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let mut message = self.message.take().unwrap_or_else(|| self.begin());
        match message.inflate(payload, last, self.limit) {
            Ok(output) if last => {
                if self.direction.context_takeover {
                    self.history = message.inflater.history.take();
                }
                Ok(output)
            }
            Ok(output) => {
                self.message = Some(message);
                Ok(output)
            }
            Err(error) => {
                self.error = Some(error.clone());
                Err(error)
            }
        }
    }

    fn begin(&mut self) -> Message {
        let history = self.history.take();
        let history = history.unwrap_or_else(|| History::new(self.direction.window()));
        Message {
            // What is given away may be referred to by the parts to come.
            inflater: Inflater::start(Some(history)),
            given: 0,
        }
    }
}

impl Message {
    fn inflate(
        &mut self,
        payload: &[u8],
        last: bool,
        limit: usize,
    ) -> Result<Bytes, ProtocolError> {
        let mut output = BytesMut::new();
        // One byte more than allowed shows that it is too much.
        let room = (limit - self.given).saturating_add(1);
        let too_big = ProtocolError::InflatedTooBig {
            limit: limit as u64,
        };
        let used = self.inflater.inflate(payload, &[], &mut output, room)?;
        if output.len() >= room {
            return Err(too_big);
        }
        if used < payload.len() {
            return Err(ProtocolError::CorruptDeflate);
        }
        if last {
            let over = self.inflater.finish(&[], &mut output, room)?;
            if !over || output.len() >= room {
                return Err(too_big);
            }
        }
        self.given += output.len();
        Ok(output.freeze())
    }
}
