//! The driver: the transport's side of a session, from the first byte to the last.

pub(super) mod alarm;
mod cold;
mod deadlines;
mod decode;
mod deferred;
mod end;
mod end_time;
mod idle;
mod lend;
mod memory;
mod pace;
mod pause;
mod read;
pub(super) mod round;
mod turn;
mod undecoded;
mod write;

use std::{mem, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use self::cold::Cold;
use super::{
    agreed::Agreed,
    registry::entry::{Entry, Place},
    report::EndedBy,
    setup::Setup,
    shared::Shared,
    transport::Transport,
};
use crate::{
    config::Config,
    protocol::{Incoming, Timers, random},
};

/// What a session starts with.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    /// What the HTTP server has read beyond the handshake.
    pub(crate) read: Bytes,
    pub(crate) setup: Arc<Setup>,
    pub(crate) agreed: Agreed,
    /// The place that was kept in a registry.
    pub(crate) place: Option<Place>,
}

/// Reads, writes and keeps the deadlines of one connection.
///
/// Small, because every idle connection has one: what is rarely there is in `cold`.
pub(super) struct Driver {
    shared: Arc<Shared>,
    /// The connection's place in the registry.
    entry: Option<Box<Entry>>,
    incoming: Incoming,
    timers: Timers,
    cold: Option<Box<Cold>>,
    phase: Phase,
    input: Input,
    /// A ping was queued and has not left.
    ping_queued: bool,
    /// The transport takes nothing for now.
    write_blocked: bool,
    /// The transport takes nothing more.
    write_failed: bool,
    flush_pending: bool,
    /// Something may have changed for the handler since it was last polled.
    handler_due: bool,
    handler_finished: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Frames are decoded: open, or waiting for the peer's Close.
    Open,
    /// What is queued still leaves; nothing more is decoded.
    Flushing,
    /// Our side of the transport is being ended.
    ShuttingDown,
    /// The peer's end is waited for.
    Lingering,
    /// The transport is gone.
    Ended,
}

/// What is known of the bytes to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Input {
    /// More may be there.
    Ready,
    /// The transport will wake the session.
    Waiting,
    /// The inbox is full.
    Paused,
    /// The peer has ended its side.
    Ended,
}

impl Driver {
    pub(super) fn new(opened: Opened) -> Self {
        let Opened {
            transport,
            read,
            setup,
            agreed,
            place,
        } = opened;
        let mut incoming = Incoming::new(setup.role);
        if let Some(params) = agreed.deflate_params() {
            incoming.set_deflate(params);
        }
        let entry = place.and_then(Place::take).map(Box::new);
        let agreed = agreed.numbered(entry.as_deref().map(Entry::id));
        let seed = u64::from_ne_bytes(random());
        let mut driver = Self {
            entry,
            incoming,
            timers: Timers::new(Self::now(), seed, &setup.config),
            cold: None,
            phase: Phase::Open,
            input: Input::Ready,
            ping_queued: false,
            write_blocked: false,
            write_failed: false,
            flush_pending: false,
            handler_due: false,
            handler_finished: false,
            shared: Shared::new(setup, agreed, transport),
        };
        if !read.is_empty() {
            // As after a pause: it is decoded before anything is read.
            driver.count_read_ahead(read.len());
            driver.input = Input::Paused;
            driver.keep_undecoded(BytesMut::from(read));
        }
        let entry = driver.entry.as_deref();
        if let Some(frame) = entry.and_then(|entry| entry.open(&driver.shared).cloned()) {
            driver.close(EndedBy::Local, &frame);
        }
        driver
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Notes that the handler has returned, or that there is none.
    pub(super) fn finish_handler(&mut self) {
        self.handler_finished = true;
    }

    pub(super) fn is_handler_finished(&self) -> bool {
        self.handler_finished
    }

    /// Reports whether something may have changed for the handler since it was last polled.
    fn take_handler_due(&mut self) -> bool {
        mem::take(&mut self.handler_due)
    }

    fn config(&self) -> &Config {
        self.shared.config()
    }

    fn setup(&self) -> &Setup {
        self.shared.setup()
    }

    fn now() -> std::time::Instant {
        Instant::now().into_std()
    }
}
