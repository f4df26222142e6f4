//! A line between a node and an engine that fails on demand.

use std::{future::pending, io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Pass,
    /// Every connection is reset, and every new one, too.
    Cut,
    /// Nothing comes through in either direction; what was underway waits, as TCP keeps it.
    BlackHole,
    /// Nothing comes through from the engine.
    OnlyToEngine,
    /// Nothing comes through to the engine.
    OnlyFromEngine,
    /// Everything comes through this much later.
    Delay(Duration),
    /// So many bytes a second come through in each direction.
    Throttle(u64),
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    ToEngine,
    FromEngine,
}

impl Mode {
    fn holds(self, direction: Direction) -> bool {
        match self {
            Self::BlackHole => true,
            Self::OnlyToEngine => direction == Direction::FromEngine,
            Self::OnlyFromEngine => direction == Direction::ToEngine,
            _ => false,
        }
    }
}

/// A proxy on a port of 127.0.0.1; its connections end when it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: watch::Sender<Mode>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Listens, and leads every connection to a port of 127.0.0.1.
    pub(crate) fn start(engine: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // What the kernel keeps is neither slowed down nor held: let it be little. Accepted ones inherit it.
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(128)?;
        let port = listener.local_addr()?.port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let accepting = tokio::spawn(accept(listener, engine, modes)).abort_handle();
        Ok(Self {
            port,
            mode,
            accepting,
        })
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, engine: u16, modes: watch::Receiver<Mode>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(client, engine, modes.clone()));
    }
}

async fn serve(mut client: TcpStream, engine: u16, mut modes: watch::Receiver<Mode>) {
    // Of a connection made in a black hole, the engine hears when it has healed.
    let passes = modes.wait_for(|mode| *mode == Mode::Cut || !mode.holds(Direction::ToEngine));
    if passes.await.is_err() {
        return;
    }
    let Ok(mut server) = connect(engine).await else {
        return;
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let mut cut = modes.clone();
    let is_cut = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        // One direction's end is the other's, too: neither engine goes on with half a connection.
        tokio::select! {
            cut = cut.wait_for(|mode| *mode == Mode::Cut) => cut.is_ok(),
            () = pump(from_client, to_server, Direction::ToEngine, modes.clone()) => false,
            () = pump(from_server, to_client, Direction::FromEngine, modes.clone()) => false,
        }
    };
    if is_cut {
        drop((reset(&client), reset(&server)));
    }
}

/// Lets its drop reset a connection.
fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

async fn connect(engine: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)?;
    socket
        .connect(SocketAddr::from(([127, 0, 0, 1], engine)))
        .await
}

async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    modes: watch::Receiver<Mode>,
) {
    let (sender, receiver) = mpsc::channel(IN_BETWEEN);
    let reading = async {
        read(from, sender).await;
        // What was read is written before this ends.
        pending::<()>().await;
    };
    tokio::select! {
        () = reading => {}
        () = write(to, receiver, direction, modes) => {}
    }
}

async fn read(mut from: ReadHalf<'_>, sender: mpsc::Sender<(Instant, Bytes)>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        match from.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        if sender
            .send((Instant::now(), buffer.split().freeze()))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut receiver: mpsc::Receiver<(Instant, Bytes)>,
    direction: Direction,
    mut modes: watch::Receiver<Mode>,
) {
    while let Some((read, piece)) = receiver.recv().await {
        let Ok(mode) = modes
            .wait_for(|mode| !mode.holds(direction))
            .await
            .map(|mode| *mode)
        else {
            return;
        };
        if let Mode::Delay(delay) = mode {
            sleep_until(read + delay).await;
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
        if let Mode::Throttle(bytes) = mode {
            sleep(Duration::from_secs_f64(piece.len() as f64 / bytes as f64)).await;
        }
    }
}

const BUFFER: u32 = 64 << 10;
const PIECE: usize = 16 << 10;
/// How many pieces are kept between reading and writing: a delay of 100 ms lets 10 MB/s through.
const IN_BETWEEN: usize = 64;
