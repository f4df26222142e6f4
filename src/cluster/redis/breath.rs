//! A stream that lets others have their turn.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of which no more is read in a row than takes about a millisecond. Who reads goes on until there
/// is nothing more, which is long where the server answers thousands of subscriptions.
pub(super) struct Breath<S> {
    stream: S,
    /// How many bytes were read in a row.
    read: usize,
}

impl<S> Breath<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Breath<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= IN_A_ROW {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        match polled {
            Poll::Ready(_) => self.read += buf.filled().len() - before,
            Poll::Pending => self.read = 0,
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Breath<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How many bytes are read in a row: those of some 250 answers or 100 small envelopes.
const IN_A_ROW: usize = 16 << 10;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_reads_on_and_on_pauses_after_some_bytes_and_loses_none() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let mut stream = Breath::new(&bytes[..]);
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let (mut read, mut pauses, mut in_a_row) = (Vec::new(), 0, 0);
        while read.len() < bytes.len() {
            let mut buf = vec![0; 8 << 10];
            let mut buf = ReadBuf::new(&mut buf);
            match Pin::new(&mut stream).poll_read(&mut cx, &mut buf) {
                Poll::Ready(result) => {
                    result.unwrap();
                    in_a_row += buf.filled().len();
                    read.extend_from_slice(buf.filled());
                }
                Poll::Pending => (pauses, in_a_row) = (pauses + 1, 0),
            }
            assert!(in_a_row <= IN_A_ROW);
            assert_eq!(
                woken.0.load(Ordering::Relaxed),
                pauses,
                "it goes on at once"
            );
        }
        assert_eq!(read, bytes);
        assert_eq!(pauses, 12);
    }
}
