//! How much of a drain is done at once.

use std::{future::poll_fn, pin::pin, sync::Arc};

use super::*;
use crate::{
    protocol::State,
    session::{Agreed, Setup, Transport, registry::entry::Entry, shared::Shared},
};

/// Connections without a session: they are closed, and aborted, and stay.
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
fn connections(count: usize) -> (Connections, Vec<(Entry, Arc<Shared>)>) {
    let connections = Connections::new();
    let setup = Arc::new(Setup::server());
    let open = |_| {
        let entry = connections.accept().unwrap().take().unwrap();
        let shared = Shared::new(
            setup.clone(),
            Agreed::default(),
            Transport::other(tokio::io::empty()),
        );
        entry.open(&shared);
        (entry, shared)
    };
    let all = (0..count).map(open).collect();
    (connections, all)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_connections_are_closed_and_aborted_64_at_most_between_two_yields() {
    let (connections, all) = connections(10_000);
    let count = |is_it: fn(&Shared) -> bool| all.iter().filter(|(_, one)| is_it(one)).count();
    let minute = Drain::default().timeout(Duration::from_secs(60));
    let mut drain = pin!(connections.drain(minute.rate(u32::MAX)));
    let mut before = (0, 0);
    let drained = poll_fn(|cx| {
        let poll = drain.as_mut().poll(cx);
        let closed = count(|one| one.state() != State::Open);
        let aborted = count(|one| one.lock().is_aborted());
        assert!(
            closed - before.0 <= 64 && aborted - before.1 <= 64,
            "{closed} and {aborted} after {before:?}"
        );
        before = (closed, aborted);
        poll
    })
    .await;
    assert_eq!(before, (10_000, 10_000));
    assert_eq!((drained.ended, drained.aborted), (0, 10_000));
}
