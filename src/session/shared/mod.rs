//! What handles and driver share.
//!
//! One lock, held for a few instructions: never over a write, a wake, the drop of a waker or of
//! somebody's bytes. Its poisoning means nothing, since nothing under it can panic half-way.

pub(super) mod answers;
mod close;
mod compress;
mod data;
mod ending;
mod flush;
mod flushing;
pub(super) mod inbox;
pub(super) mod locked;
pub(super) mod pings;
mod receive;
mod room;
mod send;
mod stream;
pub(super) mod wait_list;
pub(super) mod waiters;

pub(crate) use compress::Plain;
pub(crate) use wait_list::Ticket;
pub(crate) use waiters::{Asleep, Wakers};

use std::{
    fmt, ptr,
    sync::{Arc, atomic::Ordering},
};

use tracing::Span;

use self::{
    flushing::Flushing,
    locked::{Lent, Locked},
    waiters::wake,
};
use super::{
    agreed::{Agreed, Compressing},
    id::ConnectionId,
    loan,
    setup::Setup,
    transport::Transport,
};
use crate::{
    config::Config,
    lock::{Lock, LockGuard},
    protocol::State,
    sync::atomic::AtomicBool,
};

/// One connection, as its handles and its driver see it.
///
/// What an idle connection has no use for is boxed and not there.
pub(crate) struct Shared {
    setup: Arc<Setup>,
    /// What the handshake has settled, where that is anything.
    agreed: Option<Box<Agreed>>,
    /// Somebody else than the driver has had the lock since the round began.
    touched: AtomicBool,
    flushing: Flushing,
    locked: Lock<Locked>,
}

impl Shared {
    pub(super) fn new(setup: Arc<Setup>, agreed: Agreed, transport: Transport) -> Arc<Self> {
        Arc::new(Self {
            setup,
            agreed: agreed.boxed(),
            touched: AtomicBool::new(false),
            flushing: Flushing::default(),
            locked: Lock::new(Locked::new(transport)),
        })
    }

    #[inline]
    pub(super) fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    #[inline]
    pub(super) fn config(&self) -> &Config {
        &self.setup.config
    }

    pub(super) fn id(&self) -> Option<ConnectionId> {
        self.agreed.as_ref()?.id
    }

    pub(super) fn has_span(&self) -> bool {
        self.span().is_some()
    }

    pub(super) fn span(&self) -> Option<&Span> {
        self.agreed.as_ref()?.span.as_deref()
    }

    /// How messages are compressed, where that is agreed on.
    #[inline]
    pub(super) fn compressing(&self) -> Option<Compressing<'_>> {
        self.agreed.as_ref()?.compressing()
    }

    /// Reports whether the peer's messages, or ours, may be compressed.
    pub(super) fn is_compressed(&self) -> bool {
        let agreed = self.agreed.as_ref();
        agreed.is_some_and(|agreed| agreed.deflate_params().is_some())
    }

    pub(super) fn subprotocol(&self) -> Option<&str> {
        self.agreed.as_ref()?.protocol()
    }

    /// Locks, for everybody but the driver.
    ///
    /// What the session has lent to its handler, and finds itself under, is in its place then.
    #[inline]
    pub(super) fn lock(&self) -> LockGuard<'_, Locked> {
        let mut locked = self.locked.lock();
        self.touched.store(true, Ordering::Relaxed);
        if locked.lent == Lent::Queue {
            self.reclaim(&mut locked);
        }
        locked
    }

    /// Locks, for who looks at something that the handler does not change without the lock, and changes
    /// nothing: what is lent stays lent.
    #[inline]
    pub(super) fn look(&self) -> LockGuard<'_, Locked> {
        self.locked.lock()
    }

    /// Returns how much waits to be written, in bytes.
    pub(super) fn queued_in_all(&self) -> usize {
        let lent = loan::queued(self.address());
        self.look().queued_in_all() + lent
    }

    /// Locks, for the driver.
    #[inline]
    pub(super) fn lock_to_drive(&self) -> LockGuard<'_, Locked> {
        self.locked.lock()
    }

    /// Reports whether somebody else than the driver has had the lock since the round began.
    #[inline]
    pub(super) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Forgets, under the lock, who has had it.
    #[inline]
    pub(super) fn forget_touched(&self, _locked: &mut Locked) {
        self.touched.store(false, Ordering::Relaxed);
    }

    /// What tells the connection from all others that are alive.
    #[inline]
    pub(super) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Takes what its own handler has sent, before anything else comes behind it.
    #[cold]
    fn reclaim(&self, locked: &mut Locked) {
        loan::reclaim(self.address(), |sent| {
            locked.take_over(&self.setup, sent);
            locked.lent = Lent::TakenBack;
        });
    }

    /// Returns how far the connection is.
    pub(super) fn state(&self) -> State {
        self.look().state()
    }

    /// Changes something that the driver has to look at, and wakes it if it is idle.
    #[inline]
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Locked) -> T) -> T {
        let mut locked = self.lock();
        let result = change(&mut locked);
        let driver = locked.take_driver();
        drop(locked);
        wake(driver);
        result
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.queued_in_all();
        let locked = self.look();
        f.debug_struct("WebSocket")
            .field("state", &locked.state())
            .field("subprotocol", &self.subprotocol())
            .field("queued", &queued)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_leaves_no_mark() {
        let shared = Shared::new(
            Arc::new(Setup::server()),
            Agreed::default(),
            Transport::other(tokio::io::empty()),
        );
        let looks: [fn(&Shared); 5] = [
            |shared| assert_eq!(shared.state(), State::Open),
            |shared| assert_eq!(shared.received_close(), None),
            |shared| assert!(!shared.is_over()),
            |shared| assert_eq!(shared.queued_in_all(), 0),
            |shared| assert!(!format!("{shared:?}").is_empty()),
        ];
        for look in looks {
            look(&shared);
            assert!(!shared.is_touched());
        }
        shared.abort();
        assert!(shared.is_touched());
    }
}
