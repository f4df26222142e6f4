//! What groups are known by.

use std::hash::Hash;

/// What a group is known by: anything that can be hashed, cloned and sent.
///
/// `Eq` runs under a lock, and must not use the same [`Groups`](crate::Groups). A key that panics, in
/// whatever it does, leaves nothing half-done.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Key for K {}
