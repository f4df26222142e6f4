//! Messages that come back.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::connect::open;
use super::frame::Ring;
use super::idle::{baseline, once};
use super::{Deflate, Outcome, Progress, Sockets, Target};
use crate::process::Usage;

/// How many connections have a message under way in [`around`].
const WALKERS: usize = 100;

/// How many messages the first connections compare byte for byte.
const COMPARED: usize = 16;

/// Every connection for itself.
pub(super) async fn run(
    target: &Target,
    sockets: Sockets,
    burst: usize,
    sizes: &[usize],
    deflate: Option<Deflate>,
) -> io::Result<Outcome> {
    let ring = Rc::new(Ring::new(sizes, burst, deflate)?);
    let progress = Rc::new(Progress::default());
    let mut clients = open(target, sockets, &ring, deflate).await?;
    compare(target, &mut clients, &ring).await?;
    for mut client in clients {
        let shared = progress.clone();
        progress.spawn(async move {
            loop {
                client.exchange(burst).await?;
                shared.add(burst as u64);
            }
        });
    }
    add_slow(target, sockets, &progress).await?;
    progress.measure(target).await
}

/// Many connections, of which a hundred have a message under way.
pub(super) async fn around(
    target: &Target,
    sockets: Sockets,
    sizes: &[usize],
) -> io::Result<Outcome> {
    let ring = Rc::new(Ring::new(sizes, 1, None)?);
    let progress = Rc::new(Progress::default());
    let before = baseline(target, sockets, &ring, None).await?;
    let mut clients = open(target, sockets, &ring, None).await?;
    once(&mut clients).await?;
    let after = Usage::of(target.pid)?;
    let mut walkers: Vec<Vec<Client>> = (0..WALKERS).map(|_| Vec::new()).collect();
    for (index, client) in clients.into_iter().enumerate() {
        walkers[index % WALKERS].push(client);
    }
    for mut walk in walkers.into_iter().filter(|walk| !walk.is_empty()) {
        let shared = progress.clone();
        progress.spawn(async move {
            loop {
                for client in &mut walk {
                    client.exchange(1).await?;
                    shared.add(1);
                }
            }
        });
    }
    let outcome = progress.measure(target).await?;
    let memory = after.memory.saturating_sub(before.memory) as f64 / sockets.count() as f64;
    Ok(Outcome { memory, ..outcome })
}

/// How long small messages take while large ones pass, all on streams of the same connection.
///
/// The time of these clients is part of it: they have one thread for all streams, as one connection has.
pub(super) async fn beside(target: &Target, small: usize, large: usize) -> io::Result<Outcome> {
    let little = Rc::new(Ring::new(&[125], 1, None)?);
    let much = Rc::new(Ring::new(&[1 << 20], 64, None)?);
    let progress = Rc::new(Progress::default());
    let mut clients = open(target, Sockets::Http2(1, small + large), &little, None).await?;
    for client in clients.iter_mut().take(large) {
        client.refill(&much);
    }
    for mut client in clients.drain(..large) {
        progress.spawn(async move {
            loop {
                client.exchange(64).await?;
            }
        });
    }
    for mut client in clients {
        let shared = progress.clone();
        progress.spawn(async move {
            loop {
                let start = Instant::now();
                client.exchange(1).await?;
                shared.add(1);
                if shared.measuring.get() {
                    shared.latencies.borrow_mut().push(start.elapsed());
                }
            }
        });
    }
    progress.measure(target).await
}

/// Sees that the server echoes what it is sent; counting alone would not notice.
pub(super) async fn compare(
    target: &Target,
    clients: &mut [Client],
    ring: &Ring,
) -> io::Result<()> {
    for client in clients.iter_mut().take(COMPARED) {
        let whole = client.verify(COMPARED.min(ring.len()));
        tokio::time::timeout(target.warm_up + Duration::from_secs(10), whole).await??;
    }
    Ok(())
}

/// Connections that send a byte every millisecond, if there are to be any.
async fn add_slow(target: &Target, sockets: Sockets, progress: &Rc<Progress>) -> io::Result<()> {
    if target.slow == 0 || sockets.is_http2() {
        return Ok(());
    }
    let ring = Rc::new(Ring::new(&[125], 1, None)?);
    for mut client in open(target, Sockets::Http1(target.slow), &ring, None).await? {
        progress.spawn(async move {
            loop {
                client.trickle(Duration::from_millis(1)).await?;
            }
        });
    }
    Ok(())
}
