//! A server in memory, for tests under the paused clock.

use std::{future::pending, io, time::Duration};

use http::Extensions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};
use tower_websocket::serve::Listener;

/// A listener whose connections, and whose errors, a test makes.
pub(crate) struct Memory {
    dialed: UnboundedReceiver<io::Result<DuplexStream>>,
}

/// The clients' side of [`Memory`].
#[derive(Clone)]
pub(crate) struct Dialer {
    dialed: UnboundedSender<io::Result<DuplexStream>>,
}

pub(crate) fn memory() -> (Memory, Dialer) {
    let (sender, receiver) = unbounded_channel();
    (Memory { dialed: receiver }, Dialer { dialed: sender })
}

impl Dialer {
    pub(crate) fn dial(&self) -> DuplexStream {
        self.dial_with(64 << 10)
    }

    /// Dials over a pipe of that size.
    pub(super) fn dial_with(&self, buffer: usize) -> DuplexStream {
        let (ours, theirs) = duplex(buffer);
        // Where nobody listens any more, the stream ends at once.
        let _refused = self.dialed.send(Ok(theirs));
        ours
    }

    /// Dials over a line that carries so many bytes per second to the client, behind a buffer, and
    /// all at once to the server.
    pub(super) fn dial_slowly(&self, buffer: usize, rate: usize) -> DuplexStream {
        let far = self.dial_with(buffer);
        let (ours, near) = duplex(64 << 10);
        let (mut down, mut up) = split(far);
        let (mut sent, mut received) = split(near);
        tokio::spawn(async move {
            let _ended = copy(&mut sent, &mut up).await;
            let _ended = up.shutdown().await;
        });
        tokio::spawn(async move {
            // A tenth of a second's, as often.
            let mut piece = vec![0; rate / 10];
            while let Ok(len) = down.read(&mut piece).await
                && len > 0
            {
                if received.write_all(&piece[..len]).await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1) * len as u32 / rate as u32).await;
            }
            let _ended = received.shutdown().await;
        });
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
