//! The deadlines of one connection: what its client owes, and until when.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use http_body::Body;
use tokio::time::{Instant, sleep};

use super::{expired::Expired, head::Heads};
use crate::{
    lock::{Lock, LockGuard},
    protocol::{MAX_BELOW, SENDING_FLOOR},
    service::ServerPermit,
    session::Watch,
};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    /// For the head of a request.
    pub(super) header: Option<Duration>,
    /// Between two requests, over HTTP/1.1.
    pub(super) keep_alive: Option<Duration>,
}

/// What is known of a connection, by its bytes and by what hyper waits for.
///
/// hyper's own deadlines are too coarse: that for the head of an HTTP/1.1 request runs between
/// requests, too; and for HTTP/2 it takes nothing but the answer to a PING for a sign of life, which
/// waits behind all that was written before. So hyper only shows what it waits for, by the timers
/// that it is given, and the deadlines are kept here.
pub(super) struct Line(Lock<LineState>);

struct LineState {
    limits: TimeLimits,
    /// It goes wherever the stream goes that is watched, also if HTTP's upgrade takes that.
    #[expect(dead_code, reason = "its drop counts")]
    permit: Option<ServerPermit>,
    start: Instant,
    /// Something was received.
    said: bool,
    /// A request has come.
    request: bool,
    /// Bytes were received since the last look.
    receiving: bool,
    /// Bytes that were sent since the last look.
    sending: u64,
    /// Bytes that were sent since the last PING, as far as they were looked at.
    behind_ping: u64,
    /// What was sent last has not been taken, or not all of it.
    blocked: bool,
    received: Instant,
    sent: Instant,
    /// When all that was sent has arrived, at [`FLOOR`].
    arrived: Instant,
    heads: Heads,
    /// Since when hyper has waited for the head of an HTTP/1.1 request.
    waiting: Option<Instant>,
    /// When that head was first seen.
    head: Option<Instant>,
    /// It is an HTTP/2 connection.
    http2: bool,
    /// The stream was taken out of HTTP's hands, and is not watched any longer.
    taken: bool,
    /// Since when hyper has waited for the answer to a PING.
    pinged: Option<Instant>,
}

impl Line {
    pub(super) fn new(limits: TimeLimits, permit: Option<ServerPermit>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self(Lock::new(LineState {
            limits,
            permit,
            start: now,
            said: false,
            request: false,
            receiving: false,
            sending: 0,
            behind_ping: 0,
            blocked: false,
            received: now,
            sent: now,
            arrived: now,
            heads: Heads::default(),
            waiting: None,
            head: None,
            http2: false,
            taken: false,
            pinged: None,
        })))
    }

    /// Records that a request came.
    pub(super) fn request(&self, body: &impl Body) {
        let mut state = self.lock();
        state.request = true;
        state.heads.body(body.size_hint().exact());
    }

    /// Waits until a deadline passes.
    ///
    /// It has to be polled after each poll of the connection, and needs no other waking.
    pub(super) async fn expired(&self) -> Expired {
        // Set before it is polled: a timer that is due would wake every connection once more.
        let mut sleep = pin!(sleep(NEVER));
        poll_fn(|cx| {
            loop {
                let now = Instant::now();
                let Some((deadline, expired)) = self.lock().deadline(now) else {
                    return Poll::Pending;
                };
                if deadline <= now {
                    return Poll::Ready(expired);
                }
                // A deadline that moves away is looked at again when the earlier one passes.
                if sleep.is_elapsed() || deadline < sleep.deadline() {
                    sleep.as_mut().reset(deadline);
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Records that hyper pings the client from now on.
    #[cfg_attr(
        not(feature = "http2"),
        expect(dead_code, reason = "HTTP/1.1 has none")
    )]
    pub(super) fn pinging(&self) {
        self.lock().http2 = true;
    }

    /// Records that a PING was sent just now, or answered.
    #[cfg_attr(
        not(feature = "http2"),
        expect(dead_code, reason = "HTTP/1.1 has none")
    )]
    pub(super) fn pinged(&self, sent: bool) {
        let now = Instant::now();
        let state = &mut *self.lock();
        if sent {
            state.behind_ping = 0;
            state.pinged = Some(now);
        } else if state.pinged.take().is_some() {
            // All that was sent before has arrived.
            let behind = later(now, state.behind_ping + state.sending);
            state.arrived = state.arrived.min(behind);
        }
    }

    /// Records that hyper waits for the head of an HTTP/1.1 request from now on.
    pub(super) fn head_awaited(&self) {
        let mut state = self.lock();
        state.heads.wait();
        state.waiting = Some(Instant::now());
    }

    /// Records that hyper waits for a head no longer: it is complete, or the connection ends.
    pub(super) fn head_came(&self) {
        let mut state = self.lock();
        state.heads.came();
        state.waiting = None;
        state.head = None;
    }

    /// Reports whether the stream goes on without HTTP, once nothing of HTTP is left.
    pub(super) fn is_upgraded(self: &Arc<Self>) -> bool {
        // If nobody has taken it apart, it has this line still.
        let is_watched = Arc::strong_count(self) > 1;
        let state = self.lock();
        !state.http2 && (state.taken || is_watched)
    }

    fn lock(&self) -> LockGuard<'_, LineState> {
        self.0.lock()
    }
}

impl Watch for Line {
    fn received(&self, bytes: &[u8]) {
        let mut state = self.lock();
        (state.receiving, state.said) = (true, true);
        state.heads.read(bytes);
    }

    fn sent(&self, bytes: usize) {
        self.lock().sending += bytes as u64;
    }

    fn blocked(&self, blocked: bool) {
        self.lock().blocked = blocked;
    }

    fn taken(&self) {
        self.lock().taken = true;
    }
}

impl LineState {
    /// Returns the next deadline, as things are now.
    fn deadline(&mut self, now: Instant) -> Option<(Instant, Expired)> {
        self.look(now);
        let silent = [self.answer_deadline(), self.reading_deadline()];
        let silent = silent.into_iter().flatten().min();
        let silent = silent.map(|deadline| (deadline, Expired::Silent));
        let request = self.request_deadline();
        silent.into_iter().chain(request).min_by_key(|(at, _)| *at)
    }

    /// Records the time of what has happened since the last look.
    fn look(&mut self, now: Instant) {
        if self.receiving {
            self.receiving = false;
            self.received = now;
        }
        if self.sending > 0 {
            self.sent = now;
            self.arrived = later(self.arrived.max(now), self.sending).min(now + MAX_ALLOWANCE);
            self.behind_ping += self.sending;
            self.sending = 0;
        }
        if self.waiting.is_some() && self.heads.has_begun() {
            self.head.get_or_insert(now);
        }
    }

    fn request_deadline(&self) -> Option<(Instant, Expired)> {
        let TimeLimits { header, keep_alive } = self.limits;
        let (begin, limit, expired) = match (self.waiting, self.head) {
            _ if !self.said => (self.start, header, Expired::NoRequest),
            (Some(_), _) if !self.request => (self.start, header, Expired::Head),
            (None, _) if !self.request => (self.start, header, Expired::NoRequest),
            (Some(_), Some(head)) => (head, header, Expired::Head),
            // hyper may wait already while the end of the response before has not left.
            (Some(since), None) if self.blocked => (
                since.max(self.sent).max(self.arrived),
                keep_alive,
                Expired::Silent,
            ),
            (Some(since), None) => (since, keep_alive, Expired::Idle),
            (None, _) if self.blocked && !self.http2 => {
                (self.sent.max(self.arrived), keep_alive, Expired::Silent)
            }
            (None, _) => return None,
        };
        // Later than an `Instant` can say is never.
        Some((begin.checked_add(limit?)?, expired))
    }

    /// Returns when something must have come: the answer to a PING, behind what was sent before it.
    fn answer_deadline(&self) -> Option<Instant> {
        let asked = self.pinged?.max(self.received + PING_INTERVAL);
        Some(asked.max(self.arrived) + PING_TIMEOUT)
    }

    /// Returns when the client must have taken something of what waits for it.
    ///
    /// An HTTP/2 client always reads; what it says meanwhile does not excuse it.
    fn reading_deadline(&self) -> Option<Instant> {
        let waits = self.http2 && self.blocked;
        waits.then(|| self.sent.max(self.arrived) + PING_INTERVAL + PING_TIMEOUT)
    }
}

/// Returns when that many more bytes have passed, at [`FLOOR`].
fn later(now: Instant, bytes: u64) -> Instant {
    now + Duration::from_secs(bytes / FLOOR).min(MAX_ALLOWANCE)
        + Duration::from_nanos(bytes % FLOOR * 1_000_000_000 / FLOOR)
}

/// What is sent arrives no slower than this, in bytes per second.
const FLOOR: u64 = SENDING_FLOOR;

/// As much as is below us at most, at [`FLOOR`].
const MAX_ALLOWANCE: Duration = Duration::from_secs(MAX_BELOW / FLOOR);

/// How often a connection is pinged (RFC 9113 §6.7), and how long the answer may take.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Later than any deadline.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Wake, Waker},
    };

    use hyper::rt::{Sleep, Timer};
    use tokio::time::advance;

    use super::{super::head_timer::HeadTimer, *};

    const SECOND: Duration = Duration::from_secs(1);

    /// What ends a connection that has had a request, and after how many seconds.
    async fn end(line: &Line) -> (Expired, u64) {
        let start = Instant::now();
        let expired = line.expired().await;
        (expired, start.elapsed().as_secs())
    }

    fn line() -> Arc<Line> {
        let limits = TimeLimits {
            header: Some(10 * SECOND),
            keep_alive: Some(75 * SECOND),
        };
        Line::new(limits, None)
    }

    /// A connection on which hyper waits for the next head.
    fn waiting() -> (Arc<Line>, Pin<Box<dyn Sleep>>) {
        let line = line();
        let first = HeadTimer(line.clone()).sleep(SECOND);
        line.received(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        drop(first);
        line.request(&String::new());
        let waiting = HeadTimer(line.clone()).sleep(SECOND);
        (line, waiting)
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_woken_before_its_deadline() {
        // Timers fire at whole milliseconds, which few connections begin at.
        advance(Duration::from_micros(300)).await;
        let line = line();
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(wakes.clone());
        let mut expired = pin!(line.expired());
        let first = expired.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(first.is_pending());
        advance(9 * SECOND).await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        assert_eq!(expired.await, Expired::NoRequest);
    }

    /// As without the feature `http2`, whose server looks at the first bytes before hyper waits for a head.
    #[tokio::test(start_paused = true)]
    async fn first_head_is_late_only_if_something_of_it_came() {
        for (said, expired) in [(&b""[..], Expired::NoRequest), (b"GET /", Expired::Head)] {
            let line = line();
            let _first = HeadTimer(line.clone()).sleep(SECOND);
            if !said.is_empty() {
                line.received(said);
            }
            assert_eq!(end(&line).await, (expired, 10));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_begins_when_the_response_has_left() {
        let (line, _waiting) = waiting();
        assert_eq!(end(&line).await, (Expired::Idle, 75));

        // hyper waits already, and a megabyte of the response is on its way.
        let (line, _waiting) = waiting();
        line.sent(1 << 20);
        line.blocked(true);
        assert_eq!(end(&line).await, (Expired::Silent, 75 + 73));
    }
}
