//! Sockets that are full, and what they take before they say so.
#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use std::{future::poll_fn, io::Read, net, task::Waker};

use tokio::net::TcpListener;

use super::*;

/// A transport over TCP, and its peer.
async fn pair() -> (Transport, net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (peer, _) = listener.accept().await.unwrap();
    let peer = peer.into_std().unwrap();
    peer.set_nonblocking(false).unwrap();
    (Transport::other(stream.unwrap()), peer)
}

/// Writes until nothing more is taken; gives how much was.
async fn fill(transport: &mut Transport) -> usize {
    let mut queue = SendQueue::new();
    queue.share(vec![0; 64 << 20].into());
    poll_fn(|cx| transport.poll_write(cx, &mut queue))
        .await
        .unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match transport.poll_write(&mut cx, &mut queue) {
            Poll::Ready(written) => assert!(written.unwrap() > 0),
            Poll::Pending => return (64 << 20) - queue.len(),
        }
    }
}

#[tokio::test]
async fn socket_takes_bytes_before_it_is_called_writable() {
    for bounded in [false, true] {
        let (mut transport, mut peer) = pair().await;
        if bounded {
            transport.bound_unsent();
        }
        let filled = fill(&mut transport).await;
        let mut cx = Context::from_waker(Waker::noop());
        let mut queue = SendQueue::new();
        queue.share(vec![1; 100_000].into());
        queue.share(vec![2; 100_000].into());
        let (mut read, mut piece) = (0, vec![0; 16 << 10]);
        // The runtime does not look at the socket meanwhile: it has not been told anything.
        let written = loop {
            assert!(transport.poll_write(&mut cx, &mut queue).is_pending());
            if let Poll::Ready(written) = transport.poll_write_anyway(&mut cx, &mut queue) {
                break written.unwrap();
            }
            assert!(read < filled, "all of it was read");
            read += peer.read(&mut piece).unwrap();
        };
        assert!(written > 0);
        assert_eq!(queue.len(), 200_000 - written);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bounded_socket_holds_little_of_what_nobody_reads() {
    let (mut unbounded, _peer) = pair().await;
    let (mut bounded, _other) = pair().await;
    assert_eq!(bounded.stalls_for(), 3 << 19);
    bounded.bound_unsent();
    assert_eq!(bounded.stalls_for(), 1 << 20);
    let (much, little) = (fill(&mut unbounded).await, fill(&mut bounded).await);
    assert!(little <= 2 << 20, "{little} bytes");
    assert!(much > little + (1 << 20), "{much} and {little} bytes");
}

#[test]
fn streams_of_http2_may_stall_for_as_much_as_there_may_be() {
    let stream = tokio::io::duplex(10).0;
    let mut transport = Transport::other(stream).multiplexed(true);
    transport.bound_unsent();
    assert_eq!(transport.stalls_for(), MAX_BELOW);
}
