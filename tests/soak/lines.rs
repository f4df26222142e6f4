//! Slow lines: a relay that lets so many bytes through per second.

use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep_until},
};

use super::raw::dial;

/// Starts a relay to that port; gives its own.
pub(crate) async fn start(to: u16) -> io::Result<u16> {
    let socket = TcpSocket::new_v4()?;
    // What waits in the kernels is to be little.
    socket.set_recv_buffer_size(BURST as u32)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener: TcpListener = socket.listen(1024)?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(server) = dial(to).await else {
                    return;
                };
                let (client, server) = (client.into_split(), server.into_split());
                tokio::join!(relay(client.0, server.1), relay(server.0, client.1));
            });
        }
    });
    Ok(port)
}

/// One direction, with a bucket of `BURST` bytes that fills at `RATE`.
async fn relay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; BURST];
    // When the bucket is full again.
    let mut full = Instant::now();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        full = full.max(Instant::now()) + Duration::from_secs_f64(read as f64 / RATE);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        sleep_until(full).await;
    }
    drop(to.shutdown().await);
}

const BURST: usize = 4 << 10;

/// 128 kbit/s, in bytes.
const RATE: f64 = 16_000.0;
