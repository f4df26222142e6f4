//! A server in memory, for tests under the paused clock.

use std::{future::pending, io};

use http::Extensions;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tower_websocket::serve::Listener;

/// A listener whose connections, and whose errors, a test makes.
pub(super) struct Memory {
    dialed: UnboundedReceiver<io::Result<DuplexStream>>,
}

/// The clients' side of [`Memory`].
#[derive(Clone)]
pub(super) struct Dialer {
    dialed: UnboundedSender<io::Result<DuplexStream>>,
}

pub(super) fn memory() -> (Memory, Dialer) {
    let (sender, receiver) = unbounded_channel();
    (Memory { dialed: receiver }, Dialer { dialed: sender })
}

impl Dialer {
    pub(super) fn dial(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 << 10);
        // Where nobody listens any more, the stream ends at once.
        let _refused = self.dialed.send(Ok(theirs));
        ours
    }

    pub(super) fn fail(&self, error: io::Error) {
        self.dialed.send(Err(error)).unwrap();
    }

    /// Whether nobody listens any more.
    pub(super) fn is_closed(&self) -> bool {
        self.dialed.is_closed()
    }
}

impl Listener for Memory {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> io::Result<(DuplexStream, ())> {
        match self.dialed.recv().await {
            Some(dialed) => Ok((dialed?, ())),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }

    fn extend(_: &(), _: &mut Extensions) {}
}

/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2 (RFC 9113 §4.1).
pub(super) fn raw_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = len[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
