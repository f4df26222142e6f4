//! What the engine says of subscriptions.

use std::{mem, time::Instant};

use super::{CHUNK, Interest, Subscription, is_in, retain_once};
use crate::cluster::{backplane::Lost, incoming::Target, topic::Topic};

impl<G> Interest<G> {
    /// Begins on a new connection: all that is wanted is to be subscribed.
    pub(in crate::cluster) fn connected(&mut self) {
        self.connected = true;
        self.topics.retain(|_, entry| entry.target.is_some());
        self.lingering.clear();
        self.lingers = 0;
        self.denied.clear();
        self.ask.clear();
        for (topic, entry) in &mut self.topics {
            entry.state = Subscription::Idle;
            entry.unsettled = true;
            if matches!(entry.target, Some(Target::Group(_))) {
                self.ask.push_back(topic.clone());
            } else {
                self.ask.push_front(topic.clone());
            }
        }
        self.unsettled = self.topics.len();
    }

    /// Notes that the connection is gone, and with it all subscriptions.
    pub(in crate::cluster) fn lost(&mut self) {
        self.connected = false;
        self.subscribed = 0;
        self.chunks.clear();
        for topic in mem::take(&mut self.give_up) {
            self.stop_given_up(&topic);
        }
    }

    /// Notes that a topic is subscribed; reports whether that was awaited.
    pub(in crate::cluster) fn subscribed(&mut self, topic: &Topic) -> bool {
        let Some(entry) = self.topics.get_mut(topic).filter(|_| self.connected) else {
            return false;
        };
        match entry.state {
            Subscription::Asked(chunk) => self.chunks.answered(chunk),
            Subscription::Idle | Subscription::Denied => {}
            Subscription::Subscribed | Subscription::GivenUp => return false,
        }
        entry.state = Subscription::Subscribed;
        self.subscribed += 1;
        self.unsettled -= usize::from(mem::take(&mut entry.unsettled));
        let is_awaited = mem::take(&mut entry.awaited);
        if entry.target.is_none() && entry.lingers.is_none() {
            self.stop(topic);
        }
        is_awaited
    }

    /// Notes that a topic is not subscribed, or not any more.
    pub(in crate::cluster) fn unsubscribed(&mut self, topic: &Topic, why: Lost, now: Instant) {
        let Some(entry) = self.topics.get_mut(topic).filter(|_| self.connected) else {
            return;
        };
        match entry.state {
            Subscription::Asked(chunk) => self.chunks.answered(chunk),
            Subscription::Subscribed | Subscription::GivenUp => self.subscribed -= 1,
            Subscription::Idle | Subscription::Denied => {}
        }
        if entry.target.is_none() {
            self.lingers -= usize::from(entry.lingers.take().is_some());
            self.forget(topic);
            return;
        }
        match why {
            Lost::Moved => {
                entry.state = Subscription::Idle;
                self.ask(topic.clone());
            }
            Lost::Denied | Lost::Away => {
                entry.state = Subscription::Denied;
                self.unsettled -= usize::from(mem::take(&mut entry.unsettled));
                self.deny(topic, now);
            }
        }
    }

    fn deny(&mut self, topic: &Topic, now: Instant) {
        self.denied.push_back((now, topic.clone()));
        if self.denied.len() > 2 * self.topics.len() + CHUNK {
            retain_once(
                &mut self.denied,
                |(_, topic)| topic,
                |topic| is_in(&self.topics, topic, Subscription::Denied),
            );
        }
    }
}
