//! What is set for a server, with its defaults.

use std::{sync::Arc, time::Duration};

use tokio_rustls::rustls::ServerConfig;

use super::{line::TimeLimits, report::EndHook, tcp::TcpOptions};
use crate::session::{Connections, Drain};

/// The settings of a server.
pub(super) struct Settings {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) drain: Drain,
    pub(super) connections: Option<Connections>,
    pub(super) header_timeout: Option<Duration>,
    pub(super) keep_alive_timeout: Option<Duration>,
    pub(super) stream_window: u32,
    pub(super) max_streams: u32,
    pub(super) max_connections: Option<usize>,
    pub(super) proxy: bool,
    pub(super) tcp: TcpOptions,
    pub(super) on_end: Option<EndHook>,
}

impl Settings {
    /// Returns how long a client may take.
    pub(super) fn limits(&self) -> TimeLimits {
        TimeLimits {
            header: self.header_timeout,
            keep_alive: self.keep_alive_timeout,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tls: None,
            drain: Drain::default(),
            connections: None,
            header_timeout: Some(HEADER_TIMEOUT),
            keep_alive_timeout: Some(KEEP_ALIVE_TIMEOUT),
            stream_window: 64 << 10,
            max_streams: 200,
            max_connections: None,
            proxy: false,
            tcp: TcpOptions::default(),
            on_end: None,
        }
    }
}

/// What a client has for its part of an opening, unless it is set.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an HTTP/1.1 connection may be idle, unless it is set.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
