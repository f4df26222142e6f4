//! What the application lends to a group, and may panic or come back into it: bytes, keys, a policy.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tower_websocket::{
    CloseCode, Config, Groups, Message,
    groups::{Membership, SlowMember},
    testing,
};

use super::{at_once, delivery, padded, stalled};
use crate::session::support::{Shape, idle, lock};

/// Bytes whose owner leaves the group when it is dropped.
struct Leaving(Vec<u8>, Arc<Mutex<Option<Membership<u8>>>>, Arc<AtomicBool>);

impl AsRef<[u8]> for Leaving {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let membership = lock(&self.1).take();
        drop(membership);
        self.2.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_of_the_application_are_dropped_outside_all_locks() {
    for closes in [false, true] {
        let groups: Groups<u8> = Groups::builder()
            .slow_members(|_| SlowMember::Conflate)
            .build();
        let (mut peer, socket, _reports) = stalled(Shape::H1).await;
        for number in 0..30 {
            // Fills the queue.
            let _full = socket.try_send(padded(number));
            idle().await;
        }
        let membership = Arc::new(Mutex::new(Some(groups.join(0, &socket.sender()).unwrap())));
        let dropped = Arc::new(AtomicBool::new(false));
        let owner = Leaving(vec![b'x'; 100], membership, dropped.clone());
        let message = Message::binary(Bytes::from_owner(owner));
        assert_eq!(at_once(groups.broadcast(&0, message)), delivery(1, 0, 0));
        assert!(!dropped.load(Ordering::Relaxed), "it waits");
        if closes {
            socket.close(CloseCode::NORMAL);
        }
        while peer.frame().await.first == 0x81 {}
        assert!(dropped.load(Ordering::Relaxed));
        assert!(groups.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_policy_leaves_everything_as_it_was() {
    let groups: Groups<u8> = Groups::builder()
        .max_groups_per_connection(1)
        .slow_members(|key| {
            assert_ne!(*key, 13, "as ordered");
            SlowMember::default()
        })
        .build();
    let (_client, server) = testing::pair(Config::default());
    let sender = server.sender();
    let unlucky =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| groups.join(13, &sender)));
    assert!(unlucky.is_err());
    assert!(groups.is_empty());
    let _lucky = groups.join(1, &sender).unwrap();
    assert_eq!(groups.len(), 1);
}

/// A key whose clone panics when it is told to, after so many.
#[derive(Debug)]
struct Brittle(u8, Arc<Mutex<usize>>);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        let mut left = lock(&self.1);
        *left = left.checked_sub(1).expect("as ordered");
        drop(left);
        Self(self.0, self.1.clone())
    }
}

impl PartialEq for Brittle {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Brittle {}

impl std::hash::Hash for Brittle {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_panics_when_cloned_leaves_no_half_a_member() {
    let (client, server) = testing::pair(Config::default());
    let sender = server.sender();
    for clones in 0..10 {
        let groups: Groups<Brittle> = Groups::builder().max_groups_per_connection(1).build();
        let left = Arc::new(Mutex::new(clones));
        let key = Brittle(1, left.clone());
        let join = std::panic::AssertUnwindSafe(|| groups.join(key, &sender));
        let joined = std::panic::catch_unwind(join);
        *lock(&left) = usize::MAX;
        match joined {
            Ok(membership) => drop(membership.unwrap()),
            Err(_) => assert!(clones < 3, "{clones}"),
        }
        assert!(groups.is_empty(), "after {clones}");
        let key = Brittle(2, left);
        groups.join(key, &sender).unwrap().leave();
    }
    drop(client);
}
