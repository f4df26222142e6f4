//! A payload that many connections share.

use std::sync::Arc;

use bytes::Bytes;

use super::ledger::Ledger;

/// A payload that many connections share, counted once.
pub(super) struct Lent {
    payload: Bytes,
    ledger: Arc<Ledger>,
}

impl Lent {
    pub(super) fn new(payload: Bytes, ledger: Arc<Ledger>) -> Self {
        Self { payload, ledger }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.ledger.give_back(self.payload.len());
    }
}
