//! The byte stream under a connection, and the few things that tell one kind from another.

mod downcast;
mod flat;
#[cfg(feature = "http2")]
mod http2;
#[cfg(not(feature = "http2"))]
#[path = "http2_off.rs"]
mod http2;
mod kernel_queue;
mod stream;
#[cfg(any(feature = "client", feature = "serve"))]
mod watched;
#[cfg(not(any(feature = "client", feature = "serve")))]
#[path = "watched_off.rs"]
mod watched;

#[cfg(feature = "http2")]
pub use http2::Http2Stream;
#[cfg(not(feature = "http2"))]
use http2::Http2Stream;
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) use kernel_queue::{UNSENT_SHARED, set_notsent_lowat};
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) use watched::{Watch, Watched};

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use self::{
    downcast::{downcast, downcast_to},
    flat::{MAX_SLICES, poll_write_flat},
    kernel_queue::KernelQueue,
    stream::{ByteStream, Stream},
};
use crate::protocol::{MAX_BELOW, SendQueue};

/// The byte stream under a connection.
pub(crate) struct Transport {
    stream: Stream,
    /// The stream is one of many on its connection (HTTP/2): it wants flat writes, is read on
    /// while the application lags, and is not dropped before the peer has ended it.
    multiplexed: bool,
    /// The kernel was asked to keep little that it has not sent.
    kernel_queue: KernelQueue,
}

impl Transport {
    /// The stream that hyper hands over, and what was read of it already.
    ///
    /// TCP, which servers have the most idle connections of, is taken out of its boxes: they take
    /// 112 bytes a connection.
    pub(crate) fn hyper(upgraded: Upgraded, multiplexed: bool) -> (Self, Bytes) {
        let tcp = downcast::<TcpStream>(upgraded).or_else(watched::take_apart);
        let (stream, read) = match tcp {
            Ok((stream, read)) => (Stream::Tcp(stream), read),
            Err(upgraded) => (
                Stream::Hyper(Box::new(TokioIo::new(upgraded))),
                Bytes::new(),
            ),
        };
        (
            Self {
                stream,
                multiplexed,
                kernel_queue: KernelQueue::Unbounded,
            },
            read,
        )
    }

    /// Any stream, also one of hyper's, and what was read of it already.
    pub(crate) fn over(stream: impl ByteStream + 'static) -> (Self, Bytes) {
        match downcast_to::<TokioIo<Upgraded>, _>(stream) {
            Ok(upgraded) => Self::hyper(upgraded.into_inner(), false),
            Err(stream) => (Self::other(stream), Bytes::new()),
        }
    }

    /// Any other stream; those that are known are taken as what they are.
    pub(crate) fn other(stream: impl ByteStream + 'static) -> Self {
        let stream = match downcast_to(stream) {
            Ok(stream) => Stream::Tcp(stream),
            Err(stream) => match downcast_to(stream) {
                Ok(stream) => Stream::Http2(Box::new(stream)),
                Err(stream) => Stream::Other(Box::pin(stream)),
            },
        };
        Self {
            multiplexed: matches!(stream, Stream::Http2(_)),
            stream,
            kernel_queue: KernelQueue::Unbounded,
        }
    }

    /// Says that the stream is one of many on its connection, where it is.
    pub(crate) fn multiplexed(mut self, multiplexed: bool) -> Self {
        self.multiplexed |= multiplexed;
        self
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed
    }

    /// Reads once into the spare room of `dst`.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        dst: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => poll_read_buf(Pin::new(stream), cx, dst),
            Stream::Hyper(stream) => poll_read_buf(Pin::new(&mut **stream), cx, dst),
            Stream::Http2(stream) => stream.poll_read_buf(cx, dst),
            Stream::Other(stream) => poll_read_buf(stream.as_mut(), cx, dst),
        }
    }

    /// Waits until there may be something to read: as a read would, for fewer steps where it can be.
    #[inline]
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.stream {
            // An error is met again by the read.
            Stream::Tcp(stream) => stream.poll_read_ready(cx).map(drop),
            Stream::Hyper(_) | Stream::Http2(_) | Stream::Other(_) => Poll::Ready(()),
        }
    }

    /// Reports whether it is a TCP connection, and all that came was read.
    pub(super) fn is_read_out(&self, cx: &mut Context<'_>) -> bool {
        matches!(self.stream, Stream::Tcp(_)) && self.poll_readable(cx).is_pending()
    }

    /// Writes once from the front of `queue`.
    #[inline(always)]
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut SendQueue,
    ) -> Poll<io::Result<usize>> {
        if let Stream::Http2(stream) = &mut self.stream {
            return stream.poll_write_queue(cx, queue);
        }
        let multiplexed = self.multiplexed;
        let stream = self.stream();
        let written = if multiplexed {
            ready!(poll_write_flat(stream, cx, queue))?
        } else if queue.chunk().len() < queue.len() && stream.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = queue.chunks_vectored(&mut slices);
            ready!(stream.poll_write_vectored(cx, &slices[..used]))?
        } else {
            ready!(stream.poll_write(cx, queue.chunk()))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        queue.advance(written);
        Poll::Ready(Ok(written))
    }

    /// Writes once from the front of `queue` though the stream has not said that it takes anything.
    ///
    /// A TCP socket is called writable when a third of its buffer is free, and takes bytes before.
    pub(super) fn poll_write_anyway(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut SendQueue,
    ) -> Poll<io::Result<usize>> {
        let Stream::Tcp(stream) = &self.stream else {
            return self.poll_write(cx, queue);
        };
        let written = {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = queue.chunks_vectored(&mut slices);
            SockRef::from(stream).send_vectored(&slices[..used])
        };
        match written {
            Ok(written) => {
                queue.advance(written);
                Poll::Ready(Ok(written))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Writes all of `queue` that the stream takes at once, and asks nobody to be woken for the rest; reports whether
    /// that was all.
    ///
    /// Only where it is known to be [possible](Self::writes_at_once). An error is met again by the next write.
    pub(super) fn try_write(&mut self, queue: &mut SendQueue) -> bool {
        while queue.has_remaining() {
            match self.try_write_once(queue) {
                Ok(written) if written > 0 => queue.advance(written),
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    fn try_write_once(&mut self, queue: &SendQueue) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) if queue.chunk().len() == queue.len() => {
                stream.try_write(queue.chunk())
            }
            Stream::Tcp(stream) => {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let used = queue.chunks_vectored(&mut slices);
                stream.try_write_vectored(&slices[..used])
            }
            // What is in memory there takes the place of TCP.
            #[cfg(shuttle)]
            Stream::Other(stream) => {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                match stream.as_mut().poll_write(&mut cx, queue.chunk()) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Reports whether something can be written without a task that is woken when there is room again: on
    /// plain TCP.
    #[inline]
    pub(super) fn writes_at_once(&self) -> bool {
        cfg!(shuttle) || matches!(self.stream, Stream::Tcp(_))
    }

    /// Has the kernel keep little that it has not sent, where it is asked for the first time: what
    /// waits there stands before every ping and Close, and nobody sees how much it is.
    pub(super) fn bound_unsent(&mut self) {
        if self.kernel_queue == KernelQueue::Unbounded {
            self.kernel_queue = match &self.stream {
                Stream::Tcp(stream) => KernelQueue::bound(stream),
                _ => KernelQueue::Unknown,
            };
        }
    }

    /// Returns how much of what was written may have to reach the peer before the stream takes more, in
    /// bytes.
    pub(super) fn stalls_for(&self) -> u64 {
        if self.multiplexed {
            // A window is opened again when half of it was taken, and may be of any size.
            MAX_BELOW
        } else if self.kernel_queue == KernelQueue::Bounded {
            // Half of what was not sent, and what a receiver gathers before it opens its window again.
            1 << 20
        } else {
            // A third of a send buffer of 4 MiB.
            3 << 19
        }
    }

    /// Reports whether what was written leaves only with a flush.
    #[inline]
    pub(super) fn needs_flush(&self) -> bool {
        match &self.stream {
            Stream::Tcp(_) => false,
            // An HTTP/2 stream flushes by itself; its `poll_flush` waits for room, which is not asked.
            Stream::Hyper(_) | Stream::Http2(_) => !self.multiplexed,
            // Whatever is around the stream, buffers for one, may not.
            Stream::Other(_) => true,
        }
    }

    /// Sees to it that what was written leaves.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    /// Ends our side: FIN, or END_STREAM.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn stream(&mut self) -> Pin<&mut dyn ByteStream> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::<&mut TcpStream>::new(stream),
            Stream::Hyper(stream) => Pin::<&mut TokioIo<Upgraded>>::new(stream),
            Stream::Http2(stream) => Pin::<&mut Http2Stream>::new(stream),
            Stream::Other(stream) => stream.as_mut(),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("multiplexed", &self.multiplexed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
