//! One sends, all receive.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::client::Client;
use super::connect::open;
use super::frame::Ring;
use super::{Outcome, Progress, Sockets, Target};

/// How many messages have reached their receivers, and who waits for the last.
#[derive(Default)]
struct Round {
    delivered: Cell<u64>,
    expected: Cell<u64>,
    sender: RefCell<Option<Waker>>,
}

impl Round {
    fn add(&self, messages: u64) {
        self.delivered.set(self.delivered.get() + messages);
        if self.is_over()
            && let Some(sender) = self.sender.take()
        {
            sender.wake();
        }
    }

    fn is_over(&self) -> bool {
        self.delivered.get() >= self.expected.get()
    }
}

/// Measures broadcasts.
pub(super) async fn run(
    target: &Target,
    connections: usize,
    burst: usize,
    sizes: &[usize],
) -> io::Result<Outcome> {
    let progress = Rc::new(Progress::default());
    start(target, connections, burst, sizes, &progress).await?;
    progress.measure(target).await
}

/// The next messages go out when every connection has the last, the sender's own too.
pub(super) async fn start(
    target: &Target,
    connections: usize,
    burst: usize,
    sizes: &[usize],
    progress: &Rc<Progress>,
) -> io::Result<()> {
    let ring = Rc::new(Ring::new(sizes, burst, None)?);
    let round = Rc::new(Round::default());
    let mut clients = open(target, Sockets::Http1(connections), &ring, None).await?;
    // A server may take a moment from its answer to being a member.
    tokio::time::sleep(target.warm_up).await;
    let sender = clients.swap_remove(0);
    for client in clients {
        progress.spawn(receive(client, progress.clone(), round.clone()));
    }
    let all = (connections * burst) as u64;
    progress.spawn(send(sender, burst, all, progress.clone(), round));
    Ok(())
}

async fn receive(mut client: Client, progress: Rc<Progress>, round: Rc<Round>) -> io::Result<()> {
    loop {
        let mut messages = 0;
        poll_fn(|cx| client.poll_count(cx, &mut messages)).await?;
        progress.add(messages);
        round.add(messages);
    }
}

async fn send(
    mut client: Client,
    burst: usize,
    all: u64,
    progress: Rc<Progress>,
    round: Rc<Round>,
) -> io::Result<()> {
    loop {
        round.expected.set(round.expected.get() + all);
        let mut data = client.burst(burst);
        poll_fn(|cx| {
            let sent = client.poll_send(cx, &mut data)?.is_ready();
            loop {
                let mut messages = 0;
                if client.poll_count(cx, &mut messages)?.is_pending() {
                    break;
                }
                progress.add(messages);
                round.add(messages);
            }
            if sent && round.is_over() {
                return Poll::Ready(Ok::<(), io::Error>(()));
            }
            round.sender.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await?;
    }
}
