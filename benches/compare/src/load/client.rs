//! One client: sends prepared messages, counts the answers.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::frame::{Counter, Ring, bad};
use super::wire::Wire;

/// The client's end of one WebSocket.
pub(crate) struct Client {
    wire: Box<dyn Wire>,
    ring: Rc<Ring>,
    counter: Counter,
    /// The next message in the ring.
    next: usize,
}

impl Client {
    pub(crate) fn new(wire: impl Wire + 'static, ring: Rc<Ring>) -> Self {
        Self {
            wire: Box::new(wire),
            ring,
            counter: Counter::default(),
            next: 0,
        }
    }

    /// Sends `count` messages at once, and waits until all of them have come back.
    pub(crate) async fn exchange(&mut self, count: usize) -> io::Result<()> {
        self.exchange_seen(count, &mut |_| {}).await
    }

    /// Like [`exchange`](Self::exchange), and compares every byte. Only for a fresh connection.
    pub(crate) async fn verify(&mut self, count: usize) -> io::Result<()> {
        let mut echoes = Vec::new();
        let mut keep = |bytes: &[u8]| echoes.extend_from_slice(bytes);
        self.exchange_seen(count, &mut keep).await?;
        self.ring.verify(&echoes)
    }

    async fn exchange_seen(&mut self, count: usize, see: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut data = self.ring.run(self.next, count);
        let (mut done, mut wrong) = (0, false);
        poll_fn(|cx| {
            // Both ways at once: a large message comes back before it is sent.
            let sent = self.poll_send(cx, &mut data)?.is_ready();
            while done < count {
                let (counter, ring, first) = (&mut self.counter, &self.ring, self.next);
                let received = self.wire.poll_receive(cx, &mut |bytes| {
                    see(bytes);
                    counter.count(bytes, |len| {
                        wrong |= ring
                            .echoed_len(first + done)
                            .is_some_and(|wanted| wanted != len);
                        done += 1;
                    });
                });
                if received?.is_pending() {
                    return Poll::Pending;
                }
            }
            if sent {
                Poll::Ready(Ok::<(), io::Error>(()))
            } else {
                Poll::Pending
            }
        })
        .await?;
        if wrong || done != count {
            return Err(bad("other messages than were sent"));
        }
        self.next = (self.next + count) % self.ring.len();
        Ok(())
    }

    /// Sends one message a byte at a time, and waits in between.
    pub(crate) async fn trickle(&mut self, pause: std::time::Duration) -> io::Result<()> {
        let mut data = self.ring.run(self.next, 1);
        while data.len() > 1 {
            let mut byte = data.split_to(1);
            poll_fn(|cx| self.poll_send(cx, &mut byte)).await?;
            tokio::time::sleep(pause).await;
        }
        let mut done = 0;
        poll_fn(|cx| {
            let _sent = self.poll_send(cx, &mut data)?;
            while done == 0 {
                if self.poll_count(cx, &mut done)?.is_pending() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(Ok::<(), io::Error>(()))
        })
        .await?;
        self.next = (self.next + 1) % self.ring.len();
        Ok(())
    }

    /// Gives it other messages to send.
    pub(crate) fn refill(&mut self, ring: &Rc<Ring>) {
        self.ring = ring.clone();
        self.next = 0;
    }

    /// The first messages of the ring, for one who sends them without waiting for answers.
    pub(crate) fn burst(&self, count: usize) -> Bytes {
        self.ring.run(0, count)
    }

    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        if data.is_empty() {
            Poll::Ready(Ok(()))
        } else {
            self.wire.poll_send(cx, data)
        }
    }

    /// Receives once, and adds the messages that came.
    pub(crate) fn poll_count(
        &mut self,
        cx: &mut Context<'_>,
        messages: &mut u64,
    ) -> Poll<io::Result<()>> {
        let counter = &mut self.counter;
        self.wire
            .poll_receive(cx, &mut |bytes| counter.count(bytes, |_| *messages += 1))
    }
}
