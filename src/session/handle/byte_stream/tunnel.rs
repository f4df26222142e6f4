//! A stream of bytes and another one, both ways.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, copy_buf, sink, split},
    time::timeout,
};

use super::ByteStream;
use crate::protocol::CloseFrame;

impl ByteStream {
    /// Copies both ways between the connection and another stream, until one of them ends or fails.
    ///
    /// The end of one is passed on to the other, behind all that came before it:
    ///
    /// - When the peer has closed with code 1000, 1001 or none, what it sent is written, and `stream` shut down. What
    ///   `stream` still sends is read and thrown away, until it ends and for 5 seconds at most: the kernel resets a TCP
    ///   connection that is closed with something unread, and what was written last would be lost.
    /// - When `stream` has ended, the connection is closed with code 1000. What the peer was still sending is discarded.
    ///
    /// The connection is over, or closing, when it returns. Dropping the future closes the connection with code 1000.
    ///
    /// # Errors
    ///
    /// The first error of either side, as reading and writing give it, or of shutting down. The connection is then
    /// closed with `broken`, unless that has begun: so its peer does not take it for the regular end. For the other side
    /// the caller does it: see [`TcpStream::set_zero_linger`](tokio::net::TcpStream::set_zero_linger).
    pub async fn tunnel<S>(self, stream: &mut S, broken: impl Into<CloseFrame>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        let (mut from_peer, mut to_peer) = self.into_split();
        let (mut from_stream, mut to_stream) = split(stream);
        let copied = {
            let down = async {
                copy_buf(&mut from_peer, &mut to_stream).await?;
                to_stream.shutdown().await
            };
            let up = async {
                match copy(&mut from_stream, &mut to_peer).await {
                    // The closing handshake has begun; there may still be much to read.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        // Who is not read may not read either.
                        let _thrown_away = copy(&mut from_stream, &mut sink()).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                    Ok(_) => to_peer.shutdown().await,
                }
            };
            until_down(down, up).await
        };
        if let Err(error) = copied {
            to_peer.get_ref().close(broken);
            return Err(error);
        }
        drop((from_peer, to_peer));
        let _late = timeout(LINGER, copy(&mut from_stream, &mut sink())).await;
        Ok(())
    }
}

/// Waits until `down` has ended, or one of them has failed.
async fn until_down(
    down: impl Future<Output = io::Result<()>>,
    up: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let (mut down, mut up) = (pin!(down), pin!(up));
    let mut up_ended = false;
    poll_fn(|cx| {
        if let Poll::Ready(down) = down.as_mut().poll(cx) {
            return Poll::Ready(down);
        }
        if !up_ended && let Poll::Ready(ended) = up.as_mut().poll(cx) {
            ended?;
            up_ended = true;
        }
        Poll::Pending
    })
    .await
}

/// How long what comes behind the end is read.
const LINGER: Duration = Duration::from_secs(5);
