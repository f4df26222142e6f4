//! What connections that never rest leave to others of their thread.

use std::{
    io::{ErrorKind, Read, Write},
    net::{self, Ipv4Addr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::yield_now,
};
use tower_websocket::{Config, Error, MessageKind, WebSocket, handler};

use super::support::{SHAPES, Shape, client_frame, echo, serve};

/// A peer that always has more of the same frame, and takes everything. What it is given and gives is counted.
struct Endless {
    frame: Arc<[u8]>,
    at: usize,
    moved: Arc<AtomicUsize>,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let rest = &self.frame[self.at..];
            let len = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..len]);
            self.at = (self.at + len) % self.frame.len();
        }
        self.moved.fetch_add(buf.filled().len() - before, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.moved.fetch_add(bytes.len(), Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Does what keeps its connection busy for ever.
#[derive(Clone, Copy, Debug)]
enum Busy {
    Echoing,
    Receiving,
    Sending,
    Writing,
}

async fn keep_busy(busy: Busy, mut socket: WebSocket) -> Result<(), Error> {
    match busy {
        Busy::Echoing => echo(socket).await,
        Busy::Receiving => {
            while socket.recv().await?.is_some() {}
            Ok(())
        }
        Busy::Sending => loop {
            socket.send(vec![0; 100_000]).await?;
        },
        Busy::Writing => {
            let mut writer = socket.send_writer(MessageKind::Binary).await?;
            loop {
                writer.send(vec![0; 100_000]).await?;
            }
        }
    }
}

/// A socket and its peer's, of which one belongs to no runtime.
async fn connected() -> (TcpStream, net::TcpStream) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let client = net::TcpStream::connect(address).expect("it listens");
    client.set_nonblocking(true).expect("it can be set");
    let (server, _) = listener.accept().await.expect("somebody has connected");
    (server, client)
}

/// Returns how many bytes the others move while a short message is echoed.
async fn moved_meanwhile(shape: Shape, busy: Busy) -> usize {
    let (server, mut client) = connected().await;
    let config = Config::default().max_message_size(8 << 20);
    let _reports = serve(shape, config.clone(), handler(echo), server).await;
    let moved = Arc::<AtomicUsize>::default();
    for len in [1_000, 1 << 20, 4 << 20] {
        let endless = Endless {
            frame: client_frame(0x82, vec![0; len]).into(),
            at: 0,
            moved: moved.clone(),
        };
        let busy = handler(move |socket| keep_busy(busy, socket));
        let _reports = serve(shape, config.clone(), busy, endless).await;
    }
    while moved.load(Relaxed) < 20 << 20 {
        yield_now().await;
    }
    let before = moved.load(Relaxed);
    let sent = client.write_all(&client_frame(0x81, "there?"));
    sent.expect("the socket takes so little");
    for _ in 0..1000 {
        yield_now().await;
        match client.read(&mut [0; 8]) {
            Ok(len) => {
                assert_eq!(len, 8);
                return moved.load(Relaxed) - before;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    panic!("it is not echoed");
}

#[tokio::test]
async fn connections_that_never_rest_let_others_pass_after_every_turn() {
    // A turn reads and writes half a MiB, and may have a message of 4 MiB at its end; who only sends writes
    // in pieces of 100,000 bytes.
    for (busy, most) in [
        (Busy::Echoing, 12 << 20),
        (Busy::Receiving, 12 << 20),
        (Busy::Sending, 1 << 20),
        (Busy::Writing, 1 << 20),
    ] {
        for shape in SHAPES {
            let moved = moved_meanwhile(shape, busy).await;
            assert!(
                moved <= most,
                "{busy:?}, {shape:?}: {moved} bytes meanwhile"
            );
        }
    }
}
