//! What all sessions of a layer, or of a client, share.

use std::{error::Error, fmt, sync::Arc};

use super::report::SessionReport;
use crate::{
    config::Config,
    protocol::{Encoder, Role},
};

type EndHook = Arc<dyn Fn(&SessionReport) + Send + Sync>;
type FailureHook = Arc<dyn Fn(&(dyn Error + 'static)) + Send + Sync>;

/// The settings and hooks of one layer or client.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) role: Role,
    pub(crate) config: Config,
    /// Called with the report of every session, when its transport is gone.
    pub(crate) on_end: Option<EndHook>,
    /// Called when a handshake was accepted and the server never handed the stream over.
    pub(crate) on_failed_upgrade: Option<FailureHook>,
}

impl Setup {
    pub(crate) fn server() -> Self {
        Self::new(Role::Server)
    }

    #[cfg_attr(
        not(any(test, feature = "client", feature = "testing")),
        expect(dead_code, reason = "clients have it")
    )]
    pub(crate) fn client() -> Self {
        Self::new(Role::Client)
    }

    fn new(role: Role) -> Self {
        Self {
            role,
            config: Config::default(),
            on_end: None,
            on_failed_upgrade: None,
        }
    }

    /// Returns what messages are encoded with.
    #[inline]
    pub(super) fn encoder(&self) -> Encoder {
        Encoder::new(self.role, &self.config)
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("role", &self.role)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
