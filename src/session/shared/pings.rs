//! Pings whose answer is timed.
//!
//! Each has eight random bytes as its payload: nobody can answer it who has not seen it, and no other ping has them.

use std::{
    mem,
    task::Waker,
    time::{Duration, Instant},
};

/// The payload of a ping whose answer is timed.
pub(crate) type Payload = [u8; 8];

/// Pings that no pong has answered, in the order in which they were queued.
#[derive(Default)]
pub(super) struct Pings(pub(super) Vec<Ping>);

pub(super) struct Ping {
    pub(super) payload: Payload,
    pub(super) place: Place,
    pub(super) asker: Asker,
}

/// Where a ping is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// So many bytes of the queue have to leave until it has.
    Queued(usize),
    /// The same, of a queue that is being written.
    Writing(usize),
    /// It has left.
    Left(Instant),
}

/// Who wants to know.
pub(super) enum Asker {
    /// The session itself.
    Session,
    Waiting(Waker),
    /// Somebody who was told and has not looked yet.
    Told(Duration),
    Nobody,
}

impl Pings {
    pub(super) fn take_writing(&mut self) {
        for ping in &mut self.0 {
            if let Place::Queued(behind) = ping.place {
                ping.place = Place::Writing(behind);
            }
        }
    }

    /// Notes that `left` bytes have left of what was being written, of which the `rest` goes in front of what was
    /// queued meanwhile.
    pub(super) fn leave(&mut self, left: usize, rest: usize) {
        let now = now();
        for ping in &mut self.0 {
            ping.place = match ping.place {
                Place::Writing(behind) if behind <= left => Place::Left(now),
                Place::Writing(behind) => Place::Queued(behind - left),
                Place::Queued(behind) => Place::Queued(behind + rest),
                Place::Left(at) => Place::Left(at),
            };
        }
    }

    /// Notes that so many bytes come in front of the queue.
    pub(super) fn wait_behind(&mut self, bytes: usize) {
        for ping in &mut self.0 {
            if let Place::Queued(behind) = &mut ping.place {
                *behind += bytes;
            }
        }
    }

    /// Takes the answer to a ping into account, and to those before it: a peer may answer only the newest (RFC 6455
    /// §5.5.3). Returns how long the newest has taken.
    pub(super) fn answer(
        &mut self,
        payload: Payload,
        now: Instant,
        waiting: &mut Vec<Waker>,
    ) -> Option<Duration> {
        let timed = |ping: &Ping| match (ping.place, &ping.asker) {
            (Place::Left(_), Asker::Told(_)) | (Place::Queued(_) | Place::Writing(_), _) => None,
            (Place::Left(at), _) => Some(now.saturating_duration_since(at)),
        };
        let is_newest = |ping: &Ping| ping.payload == payload && timed(ping).is_some();
        let newest = self.0.iter().position(is_newest)?;
        let time = timed(&self.0[newest]);
        for ping in &mut self.0[..=newest] {
            let Some(taken) = timed(ping) else {
                continue;
            };
            match mem::replace(&mut ping.asker, Asker::Told(taken)) {
                Asker::Waiting(waker) => waiting.push(waker),
                // Nobody will look.
                Asker::Session | Asker::Nobody | Asker::Told(_) => ping.asker = Asker::Nobody,
            }
        }
        self.0.retain(|ping| !matches!(ping.asker, Asker::Nobody));
        time
    }

    /// Forgets the session's own that are too many: their answers are overdue, or will not come.
    pub(super) fn forget_oldest(&mut self) {
        let own = |ping: &Ping| matches!(ping.asker, Asker::Session);
        if self.0.iter().filter(|ping| own(ping)).count() > MAX_OWN
            && let Some(oldest) = self.0.iter().position(own)
        {
            self.0.remove(oldest);
        }
    }

    pub(super) fn remove(&mut self, payload: Payload) -> Option<Asker> {
        let found = self.0.iter().position(|ping| ping.payload == payload)?;
        Some(self.0.remove(found).asker)
    }
}

/// The time of the session's timers.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How many pings of the session's own are waited for.
const MAX_OWN: usize = 16;
