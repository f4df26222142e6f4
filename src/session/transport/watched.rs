//! A stream whose traffic is counted on its way.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::downcast::downcast;

/// Is told what passes through a [`Watched`] stream.
pub(crate) trait Watch: Send + Sync {
    /// Reports whether the stream goes on.
    ///
    /// # Errors
    ///
    /// It has been given up: this is what becomes of every use.
    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    /// Records bytes that were received.
    fn received(&self, bytes: &[u8]);

    /// Records how many bytes the stream has taken.
    fn sent(&self, bytes: usize);

    /// Records whether the stream takes what it is given.
    fn blocked(&self, _blocked: bool) {}

    /// Records that the stream goes on without being watched.
    fn taken(&self) {}
}

/// A stream and what watches it.
pub(crate) struct Watched<T> {
    stream: T,
    watch: Arc<dyn Watch>,
}

impl<T> Watched<T> {
    pub(crate) fn new(stream: T, watch: Arc<dyn Watch>) -> Self {
        Self { stream, watch }
    }

    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.watch.blocked(written.is_pending());
        let bytes = ready!(written)?;
        self.watch.sent(bytes);
        Poll::Ready(Ok(bytes))
    }
}

/// Takes a TCP connection out of hyper's box: from there on nothing watches it.
pub(super) fn take_apart(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let (watched, read) = downcast::<Watched<TcpStream>>(upgraded)?;
    watched.watch.taken();
    Ok((watched.stream, read))
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.watch.check()?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let received = &buf.filled()[before..];
        if !received.is_empty() {
            self.watch.received(received);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch.check()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch.check()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.check()?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch.blocked(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.check()?;
        let shut_down = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch.blocked(shut_down.is_pending());
        shut_down
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::{sync::Mutex, task::Waker};

    use super::*;

    #[derive(Default)]
    struct Log(Mutex<Vec<bool>>);

    impl Watch for Log {
        fn received(&self, _: &[u8]) {}

        fn sent(&self, _: usize) {}

        fn blocked(&self, blocked: bool) {
            self.0.lock().unwrap().push(blocked);
        }
    }

    /// Ends its side only when it is asked for the second time, as TLS with a full socket.
    struct Slow(bool);

    impl AsyncRead for Slow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if std::mem::replace(&mut self.0, true) {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        }
    }

    #[test]
    fn an_end_that_waits_is_blocked() {
        let log = Arc::<Log>::default();
        let mut stream = Watched::new(Slow(false), log.clone());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_shutdown(&mut cx).is_pending());
        assert!(Pin::new(&mut stream).poll_shutdown(&mut cx).is_ready());
        assert_eq!(*log.0.lock().unwrap(), [true, false]);
    }
}
