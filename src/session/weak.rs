//! A connection that is known, and not kept in memory.

use std::sync::{Arc, Weak};

use super::{handle::Sender, shared::Shared};

/// A connection, as long as somebody else has a handle on it. What is left of it then is one empty allocation.
#[derive(Clone)]
pub(crate) struct WeakSender(Weak<Shared>);

impl WeakSender {
    pub(crate) fn new(sender: &Sender) -> Self {
        Self(Arc::downgrade(sender.shared()))
    }

    pub(crate) fn upgrade(&self) -> Option<Sender> {
        self.0.upgrade().map(Sender::new)
    }

    /// Reports whether both are the same connection.
    pub(crate) fn same_connection(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}
