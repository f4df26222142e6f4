//! Connections that had one message echoed and stay.

use std::io;
use std::rc::Rc;

use futures_util::future::try_join_all;

use super::client::Client;
use super::connect::{AT_ONCE, open};
use super::frame::Ring;
use super::{Deflate, Outcome, Sockets, Target};
use crate::process::Usage;

/// The growth of the server's resident memory per WebSocket.
pub(super) async fn run(
    target: &Target,
    sockets: Sockets,
    sizes: &[usize],
    deflate: Option<Deflate>,
) -> io::Result<Outcome> {
    let ring = Rc::new(Ring::new(sizes, 1, deflate)?);
    let before = baseline(target, sockets, &ring, deflate).await?;
    let mut clients = open(target, sockets, &ring, deflate).await?;
    once(&mut clients).await?;
    // Time to free what the echoes needed.
    tokio::time::sleep(2 * target.warm_up).await;
    let after = Usage::of(target.pid)?;
    let grown = after.memory.saturating_sub(before.memory) as f64;
    Ok(Outcome {
        memory: grown / sockets.count() as f64,
        ..Outcome::default()
    })
}

/// What the server uses when all its connections have gone.
///
/// What the first connections ever make it allocate is not the others'.
pub(super) async fn baseline(
    target: &Target,
    sockets: Sockets,
    ring: &Rc<Ring>,
    deflate: Option<Deflate>,
) -> io::Result<Usage> {
    let first = match sockets {
        Sockets::Http1(_) => Sockets::Http1(3),
        Sockets::Http2(..) => Sockets::Http2(1, 3),
    };
    for mut client in open(target, first, ring, deflate).await? {
        client.verify(1).await?;
    }
    tokio::time::sleep(target.warm_up).await;
    Usage::of(target.pid)
}

/// Has one message echoed on each.
pub(super) async fn once(clients: &mut [Client]) -> io::Result<()> {
    for clients in clients.chunks_mut(AT_ONCE) {
        try_join_all(clients.iter_mut().map(|client| client.exchange(1))).await?;
    }
    Ok(())
}
