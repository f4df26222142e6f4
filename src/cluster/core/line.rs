//! What the connection to the engine has to say.

use std::time::{Duration, Instant};

use super::Core;
use crate::cluster::{backplane::Lost, events::CoreEvent, link::LinkState, topic::Topic};

impl<G: Clone> Core<G> {
    /// Notes that there is a connection: all that is wanted is to be subscribed on it.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.disconnect(now);
        self.link = LinkState::Subscribing { since: now };
        self.waste.leftovers.push(self.interest.connected());
    }

    /// Sets the largest envelope that the engine takes from now on.
    pub(crate) fn set_max_envelope(&mut self, bytes: usize) {
        self.promises.max_envelope = bytes;
    }

    /// Notes that there is no connection, or that none could be made.
    ///
    /// Returns how long to wait before the next attempt.
    pub(crate) fn lost(&mut self, now: Instant) -> Duration {
        self.disconnect(now);
        self.backoff.next(&mut self.chance)
    }

    /// Ends: nothing comes any more, and nothing leaves; what is kept is given up.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.leave(now);
        self.end();
        self.disconnect(now);
        self.expire_all();
    }

    fn disconnect(&mut self, now: Instant) {
        if self.link.is_away() {
            return;
        }
        if self.link.is_settled() {
            self.broken = Some(now);
            self.events.push_back(CoreEvent::Disconnected);
        }
        self.link = LinkState::Away {
            // Connections on which nothing left make no difference.
            since: self.broken.unwrap_or(self.start),
            is_down: false,
        };
        self.outgoing.lost();
        self.waste.leftovers.push(self.interest.lost());
        self.beats.lost();
        self.end_all_questions();
        self.own_unanswered = None;
    }

    /// Notes that envelopes of these topics arrive from now on.
    pub(crate) fn subscribed(&mut self, topics: &[Topic], now: Instant) {
        for topic in topics {
            if self.interest.subscribed(topic) {
                self.events.push_back(CoreEvent::Subscribed(topic.clone()));
            }
        }
        if self.link.is_settled() && self.watches_echoes() && topics.contains(&self.own.all()) {
            self.beats.expect_echo(now, self.interval());
        }
        self.settle(now);
    }

    /// Notes that these topics are not subscribed, while the connection is sound.
    pub(crate) fn unsubscribed(&mut self, topics: &[Topic], why: Lost, now: Instant) {
        for topic in topics {
            self.interest.unsubscribed(topic, why, now);
        }
        let lasts = matches!(why, Lost::Denied | Lost::Away);
        if lasts && self.promises.echoes && topics.contains(&self.own.all()) {
            // What else is subscribed is none the worse for it.
            self.beats.expect_no_echo();
        }
        if why == Lost::Denied && !topics.is_empty() {
            self.events.push_back(CoreEvent::Denied(topics.to_vec()));
        }
        self.settle(now);
    }

    /// Notes that something came from the engine, whatever it was.
    ///
    /// One that neither confirms nor echoes has to say so now and then: if nothing came for three
    /// intervals of heartbeats, the connection is given up.
    pub(crate) fn alive(&mut self, now: Instant) {
        if !self.promises.echoes {
            self.beats.heard(now, self.interval());
        }
    }

    /// Goes on once all that is wanted is subscribed, and other nodes have had time for the same.
    pub(super) fn settle(&mut self, now: Instant) {
        if let LinkState::Subscribing { since } = self.link
            && self.interest.is_settled()
        {
            self.link = LinkState::Settling {
                since,
                until: now + self.settings.settling,
                is_last: false,
            };
            self.settled(now);
        }
        let LinkState::Settling {
            since,
            until,
            is_last,
        } = self.link
        else {
            return;
        };
        let is_over = until <= now;
        // Who leaves has no time for those that do not come back.
        let waits = !self.promises.retains && self.leaving.is_none();
        let are_back = !waits || self.nodes.all_heard_since(since);
        if (is_over || is_last) && are_back || is_over && is_last {
            self.link = LinkState::Ready;
            self.outgoing
                .forgive(now.saturating_duration_since(since), now);
            self.send_questions(now);
            if self.nodes.len() > 0 {
                // Some may have subscribed since this node spoke.
                self.beats.repeat();
            }
        } else if is_over {
            self.link = LinkState::Settling {
                since,
                until: now + PATIENCE,
                is_last: true,
            };
        }
    }

    /// Notes that all is subscribed: says so to the application, and to other nodes.
    fn settled(&mut self, now: Instant) {
        let after = self.broken.map(|at| now.saturating_duration_since(at));
        self.counters.reconnects += u64::from(after.is_some());
        self.backoff.reset();
        self.events.push_back(CoreEvent::Connected { after });
        let watched = self.watches_echoes() || !(self.promises.echoes || self.promises.confirms);
        self.beats.connected(now, self.interval(), watched);
    }

    /// Reports whether the own heartbeats come back.
    pub(super) fn watches_echoes(&self) -> bool {
        self.promises.echoes && self.interest.is_subscribed(&self.own.all())
    }
}

/// How long what is kept waits for nodes that were there before, and are not heard again.
const PATIENCE: Duration = Duration::from_secs(2);
