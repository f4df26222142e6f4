//! How two ways share a task.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, join, repeat, sink},
    time::timeout,
};

use super::{Spliced, splice};
use crate::session::{setup::Setup, transport::Transport};

fn side(transport: Transport, setup: Setup) -> Spliced {
    Spliced {
        transport,
        read: Bytes::new(),
        setup: Arc::new(setup),
    }
}

#[tokio::test(start_paused = true)]
async fn side_that_floods_does_not_starve_the_other() {
    // Frames without end: each has a mask, and two bytes.
    let flood = repeat(0x82);
    let (mut near, to_client) = duplex(64);
    let (mut far, from_upstream) = duplex(64);
    far.write_all(b"\x81\x02hi").await.expect("there is room");
    let client = Transport::other(join(flood, to_client));
    let upstream = Transport::other(join(from_upstream, sink()));
    let client = side(client, Setup::server());
    let mut splicing = pin!(splice(client, side(upstream, Setup::client()), None));
    for _ in 0..4 {
        let polled = poll_fn(|cx| Poll::Ready(splicing.as_mut().poll(cx)));
        assert!(polled.await.is_pending());
    }
    let mut got = [0; 4];
    let heard = timeout(Duration::from_secs(1), near.read_exact(&mut got)).await;
    assert!(heard.is_ok(), "the upstream is not heard");
    assert_eq!(&got, b"\x81\x02hi");
}
