//! What a gateway asks of the end of one connection, to tell the other of it.

use super::{receiver::Receiver, sender::Sender};
use crate::protocol::CloseFrame;

impl Sender {
    /// Closes as [`close`](Self::close), also without a code.
    pub(crate) fn pass_close(&self, frame: Option<&CloseFrame>) {
        self.shared().close(frame);
    }
}

impl Receiver {
    /// Returns what the connection was closed with first, from either side; `None` where no Close was sent or received.
    pub(crate) fn first_close(&self) -> Option<Option<CloseFrame>> {
        self.sender().shared().first_close()
    }

    /// Reports whether messages are to be passed as they arrive: [`Config::streaming`](crate::Config::streaming).
    pub(crate) fn is_streaming(&self) -> bool {
        self.sender().shared().config().streaming
    }
}
