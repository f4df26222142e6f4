//! Two connections whose bytes are passed from one to the other unread.
//!
//! Frames are followed by their headers, so that each end can be told of the other's in its own words: a Close goes
//! between two frames. Nothing else is added or taken away, and no payload is looked at but a Close's.

mod way;

use std::{
    future::{Future, pending, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use self::way::{Moved, Way};
use super::{
    id::ConnectionId,
    registry::{Entry, Place, Unlisted},
    report::{EndedBy, SessionReport},
    setup::Setup,
    traffic::Traffic,
    transport::Transport,
};
use crate::protocol::{CloseCode, CloseFrame, Role};

/// One of the two connections.
pub(crate) struct Spliced {
    pub(crate) transport: Transport,
    /// What has come behind the handshake.
    pub(crate) read: Bytes,
    pub(crate) setup: Arc<Setup>,
}

/// Passes bytes between a client and an upstream until both connections have ended.
///
/// It is counted, closed and reported as the session of the client's side.
pub(crate) async fn splice(client: Spliced, upstream: Spliced, place: Option<Place>) {
    let mut entry = place.and_then(Place::take).map(Entry::open_unlisted);
    let setup = client.setup.clone();
    let mut splice = Splice::new(client, upstream);
    {
        let drains = entry.as_ref().map(Unlisted::drains);
        let mut draining = pin!(async {
            match &drains {
                Some(drains) => drains.begun().await,
                None => pending().await,
            }
        });
        let mut aborting = pin!(async {
            match &drains {
                Some(drains) => drains.out_of_time().await,
                None => pending().await,
            }
        });
        let mut drained = false;
        poll_fn(|cx| {
            if !drained && let Poll::Ready(frame) = draining.as_mut().poll(cx) {
                drained = true;
                splice.close(EndedBy::Local, [frame.clone(), frame]);
            }
            if aborting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            splice.poll(cx)
        })
        .await;
    }
    let traffic = splice.traffic();
    let report = splice.report(entry.as_ref().map(Unlisted::id), traffic);
    // Before anybody is told: the transports are gone.
    drop(splice);
    if let Some(entry) = &mut entry {
        entry.close(&report, traffic);
    }
    if let Some(hook) = &setup.on_end {
        hook(&report);
    }
}

/// The two connections, [`CLIENT`] first. What comes from one goes by the way of its index to the other.
struct Splice {
    transports: [Transport; 2],
    ways: [Way; 2],
    /// A side that is gone, or whose connection is over: nothing is read from it or written to it.
    over: [bool; 2],
    setups: [Arc<Setup>; 2],
    /// Who closed first, and with what.
    first_close: Option<(EndedBy, Option<CloseFrame>)>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Both are given up then, once the end has begun.
    end_by: Option<Instant>,
    /// For each way, since when it is not taken.
    blocked_since: [Option<Instant>; 2],
    last_traffic: Instant,
    /// A deadline has changed something since the ways were polled.
    expired: bool,
    /// The way that is polled first in the next turn.
    first: usize,
    started: Instant,
}

const CLIENT: usize = 0;
const UPSTREAM: usize = 1;

impl Splice {
    fn new(client: Spliced, upstream: Spliced) -> Self {
        let now = Instant::now();
        Self {
            ways: [
                Way::new(Role::Client, &client.setup.config, client.read),
                Way::new(Role::Server, &upstream.setup.config, upstream.read),
            ],
            transports: [client.transport, upstream.transport],
            over: [false; 2],
            setups: [client.setup, upstream.setup],
            first_close: None,
            timer: None,
            end_by: None,
            blocked_since: [None; 2],
            last_traffic: now,
            expired: false,
            first: CLIENT,
            started: now,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut budget = TURN;
        // In turns, as the first one may spend all of it.
        let first = self.first;
        self.first = 1 - first;
        loop {
            let mut moved = false;
            for from in [first, 1 - first] {
                moved |= self.poll_way(cx, from, &mut budget);
            }
            if self.over == [true; 2] {
                return Poll::Ready(());
            }
            if self.poll_deadlines(cx) {
                // Given up.
                return Poll::Ready(());
            }
            // A deadline has queued what nothing else would write.
            moved |= mem::take(&mut self.expired);
            if !moved {
                return Poll::Pending;
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Moves what can be moved one way; reports whether the state of a connection has changed, which may let
    /// something be moved the other way.
    fn poll_way(&mut self, cx: &mut Context<'_>, from: usize, budget: &mut usize) -> bool {
        let to = 1 - from;
        let [client, upstream] = &mut self.transports;
        let (source, target) = match from {
            CLIENT => (client, upstream),
            _ => (upstream, client),
        };
        let target = (!self.over[to]).then_some(target);
        let source = (!self.over[from]).then_some(source);
        let moved = self.ways[from].poll(cx, source, target, budget);
        if self.ways[from].take_progress() {
            self.blocked_since[from] = None;
            if self.setups[CLIENT].config.idle_timeout.is_some() {
                self.last_traffic = Instant::now();
            }
        }
        match moved {
            Moved::Waiting => {
                if self.ways[from].is_blocked() {
                    self.blocked_since[from].get_or_insert_with(Instant::now);
                }
                return self.settle();
            }
            Moved::Spent => *budget = 0,
            Moved::Ended => {}
            Moved::Closed(frame) => {
                let by = [EndedBy::Peer, EndedBy::Local][from];
                self.first_close.get_or_insert((by, frame));
                self.begin_end();
            }
            Moved::Violation(error) => {
                tracing::debug!(%error, from, "spliced websocket broke off");
                let by = [EndedBy::Violation, EndedBy::Local][from];
                let mut frames = gone(from);
                frames[from] = error.close_frame();
                self.close(by, frames);
            }
            Moved::SourceGone { in_frame } => self.lose(from, in_frame),
            Moved::TargetGone => self.lose(to, !self.ways[to].can_close()),
        }
        self.settle();
        true
    }

    /// A side has gone without a closing handshake: the other one is told, unless it has some of a frame.
    fn lose(&mut self, side: usize, in_frame: bool) {
        let told = self.ways[side].has_closed();
        self.over[side] = true;
        if in_frame && !told {
            // Bytes in place of the rest of a frame would be taken for that.
            self.over[1 - side] = true;
            return;
        }
        if !told {
            let by = [EndedBy::Disconnect, EndedBy::Local][side];
            self.close(by, gone(side));
        }
    }

    /// Closes both sides, each with its frame, as soon as no frame is open.
    fn close(&mut self, by: EndedBy, frames: [CloseFrame; 2]) {
        if self.first_close.is_none() && by != EndedBy::Disconnect {
            self.first_close = Some((by, Some(frames[CLIENT].clone())));
        }
        for (to, frame) in frames.into_iter().enumerate() {
            self.ways[1 - to].close_with(frame);
        }
        self.begin_end();
    }

    fn begin_end(&mut self) {
        let config = &self.setups[CLIENT].config;
        if self.end_by.is_none() {
            self.end_by = Some(Instant::now() + config.close_timeout.min(FOREVER));
        }
    }

    /// Ends connections whose closing handshake is complete; reports whether something has changed.
    fn settle(&mut self) -> bool {
        let before = (self.over, self.ways.each_ref().map(Way::is_shutting));
        for side in [CLIENT, UPSTREAM] {
            let (there, back) = (&self.ways[side], &self.ways[1 - side]);
            let complete = there.has_seen_close() && back.has_sent_close() && back.is_empty();
            let ended = there.is_at_end();
            // One that has ended after its Close, as browsers do, still gets the other's.
            if self.over[side] || !complete {
                continue;
            }
            // A server ends the connection, a client waits for that (RFC 6455 §7.1.1).
            if side == CLIENT || ended {
                self.ways[1 - side].shut_down();
            }
            if ended && self.ways[1 - side].is_shut() {
                self.over[side] = true;
            }
        }
        before != (self.over, self.ways.each_ref().map(Way::is_shutting))
    }

    /// Keeps the deadlines; reports whether it is over.
    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(next) = self.next_deadline() else {
                self.timer = None;
                return false;
            };
            let timer = match &mut self.timer {
                // It is looked at again when it fires, and not moved for each message.
                Some(timer) if timer.deadline() <= next => timer,
                Some(timer) => {
                    timer.as_mut().reset(next);
                    timer
                }
                None => self.timer.insert(Box::pin(sleep(until(next)))),
            };
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            let now = Instant::now();
            if now < next {
                self.timer = None;
                continue;
            }
            if self.expire(now) {
                return true;
            }
            self.timer = None;
        }
    }

    /// Does what is due; reports whether that is the end.
    fn expire(&mut self, now: Instant) -> bool {
        if self.end_by.is_some_and(|end| end <= now) {
            return true;
        }
        self.expired = true;
        for from in [CLIENT, UPSTREAM] {
            if self.stalls_at(from).is_some_and(|at| at <= now) {
                self.blocked_since[from] = None;
                let to = 1 - from;
                self.lose(to, !self.ways[to].can_close());
                return self.over == [true; 2];
            }
        }
        let idle = CloseFrame::new(CloseCode::GOING_AWAY, "idle for too long");
        self.close(EndedBy::Timeout, [idle.clone(), idle]);
        false
    }

    fn next_deadline(&self) -> Option<Instant> {
        let idle = self.setups[CLIENT].config.idle_timeout;
        let idle = idle.filter(|_| self.end_by.is_none());
        let idle = idle.and_then(|idle| self.last_traffic.checked_add(idle));
        let all = [
            self.end_by,
            idle,
            self.stalls_at(CLIENT),
            self.stalls_at(UPSTREAM),
        ];
        all.into_iter().flatten().min()
    }

    /// Until when the target of a way has to take something.
    fn stalls_at(&self, from: usize) -> Option<Instant> {
        let timeout = self.setups[1 - from].config.write_timeout?;
        self.blocked_since[from]?.checked_add(timeout)
    }

    /// What has passed, as the client's side counts it.
    fn traffic(&self) -> Traffic {
        let [there, back] = &self.ways;
        Traffic {
            messages_received: there.messages(),
            bytes_received: there.bytes(),
            messages_sent: back.messages(),
            bytes_sent: back.bytes(),
            queue_full: 0,
        }
    }

    fn report(&mut self, id: Option<ConnectionId>, traffic: Traffic) -> SessionReport {
        let [there, back] = &self.ways;
        let clean = there.has_seen_close() && back.has_sent_close() && back.is_empty();
        let ended = match mem::take(&mut self.first_close) {
            Some((by, frame)) => (by, Some(frame)),
            None => (EndedBy::Disconnect, None),
        };
        SessionReport::spliced(id, ended, clean, self.started.elapsed(), traffic)
    }
}

/// What both sides are told when one is gone; to that it does not matter.
fn gone(side: usize) -> [CloseFrame; 2] {
    let frame = match side {
        CLIENT => CloseFrame::new(CloseCode::GOING_AWAY, "the client is gone"),
        _ => CloseFrame::new(CloseCode::BAD_GATEWAY, "the upstream is gone"),
    };
    [frame.clone(), frame]
}

fn until(instant: Instant) -> Duration {
    instant.saturating_duration_since(Instant::now())
}

/// Longer than any connection lives, and within what an `Instant` can say.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// How much one turn moves before other tasks have theirs, in bytes.
const TURN: usize = 512 << 10;

#[cfg(test)]
mod tests;
