//! What the engine says of subscriptions.

use std::{collections::VecDeque, mem, time::Instant};

use super::{CHUNK, Interest, asking::retain_once, known::Subscription};
use crate::cluster::{backplane::Lost, topic::Topic, waste::Leftover};

impl<G> Interest<G> {
    /// Begins on a new connection: all that is wanted is to be subscribed.
    pub(in crate::cluster) fn connected(&mut self) -> Leftover {
        self.topics.connected();
        self.lingers = 0;
        self.unsettled = self.wanted;
        let own = self.own.iter().cloned().collect();
        Leftover {
            _topics: mem::replace(&mut self.ask, own),
            _lingering: mem::take(&mut self.lingering),
            _denied: mem::take(&mut self.denied),
        }
    }

    /// Notes that the connection is gone, and with it all subscriptions.
    pub(in crate::cluster) fn lost(&mut self) -> Leftover {
        self.topics.lost();
        self.subscribed = 0;
        self.chunks.clear();
        Leftover {
            _topics: mem::take(&mut self.give_up),
            _lingering: VecDeque::new(),
            _denied: VecDeque::new(),
        }
    }

    /// Notes that a topic is subscribed; reports whether that was awaited.
    pub(in crate::cluster) fn subscribed(&mut self, topic: &Topic) -> bool {
        if !self.topics.parts().connected {
            return false;
        }
        let Some(entry) = self.topics.take_up(topic) else {
            return false;
        };
        match entry.own_state() {
            Subscription::Asked => self.chunks.answered(entry.chunk),
            Subscription::Idle | Subscription::Denied => {}
            Subscription::Subscribed | Subscription::GivenUp => return false,
        }
        entry.set_state(Subscription::Subscribed);
        self.subscribed += 1;
        self.unsettled -= usize::from(entry.settle());
        let is_awaited = mem::take(&mut entry.awaited);
        if !entry.is_wanted() && entry.lingers.is_none() {
            self.stop(topic);
        }
        is_awaited
    }

    /// Notes that a topic is not subscribed, or not any more.
    pub(in crate::cluster) fn unsubscribed(&mut self, topic: &Topic, why: Lost, now: Instant) {
        if !self.topics.parts().connected {
            return;
        }
        let Some(entry) = self.topics.take_up(topic) else {
            return;
        };
        match entry.own_state() {
            Subscription::Asked => self.chunks.answered(entry.chunk),
            Subscription::Subscribed | Subscription::GivenUp => self.subscribed -= 1,
            Subscription::Idle | Subscription::Denied => {}
        }
        if !entry.is_wanted() {
            self.lingers -= usize::from(entry.lingers.take().is_some());
            self.forget(topic);
            return;
        }
        match why {
            Lost::Moved => {
                entry.set_state(Subscription::Idle);
                self.ask(topic.clone());
            }
            Lost::Denied | Lost::Away => {
                entry.set_state(Subscription::Denied);
                self.unsettled -= usize::from(entry.settle());
                self.deny(topic, now);
            }
        }
    }

    fn deny(&mut self, topic: &Topic, now: Instant) {
        self.denied.push_back((now, topic.clone()));
        if self.denied.len() > 2 * self.topics.len() as usize + CHUNK {
            let topics = &self.topics;
            retain_once(
                &mut self.denied,
                |(_, topic)| topic,
                |topic| topics.is_in(topic, Subscription::Denied),
            );
        }
    }
}
