//! Subscribing at the masters of a cluster, wherever a topic is.

use std::collections::HashSet;

use ::redis::ServerError;
use tokio::time::Instant;
use tracing::warn;

use super::{Partition, Shards, mem};
use crate::cluster::{
    backplane::Lost,
    line::Line,
    redis::{
        fault,
        subscriber::{Subscribed, Subscriber},
    },
    topic::Topic,
};

impl Shards<'_> {
    pub(super) async fn subscribe(&mut self, topics: Vec<Topic>, line: &mut Line) {
        let (lots, away) = self.by_master(topics);
        for (master, lot) in self.masters.iter_mut().zip(lots) {
            master.topics.extend(lot.iter().cloned());
            let Some(subscriber) = master.subscriber.up() else {
                continue;
            };
            for chunk in lot.chunks(CHUNK) {
                subscriber.subscribe(chunk.to_vec()).await;
            }
        }
        self.put_away(away, line);
    }

    pub(super) async fn unsubscribe(&mut self, topics: Vec<Topic>) {
        for topic in &topics {
            self.away.remove(topic);
        }
        let (lots, _) = self.by_master(topics);
        for (master, mut lot) in self.masters.iter_mut().zip(lots) {
            lot.retain(|topic| master.topics.remove(topic));
            if let Some(subscriber) = master.subscriber.up()
                && !lot.is_empty()
            {
                subscriber.unsubscribe(lot).await;
            }
        }
    }

    /// Returns the topics of each master, and those whose master cannot be reached.
    fn by_master(&self, topics: Vec<Topic>) -> (Vec<Vec<Topic>>, Vec<Topic>) {
        let mut lots = vec![Vec::new(); self.masters.len()];
        let mut away = Vec::new();
        for topic in topics {
            match self.owner(Partition::of(topic.as_bytes())) {
                Some(owner) if self.masters[owner].subscriber.is_up() => lots[owner].push(topic),
                _ => away.push(topic),
            }
        }
        (lots, away)
    }

    /// Says that topics are not subscribed: they are once their master can be reached.
    fn put_away(&mut self, topics: Vec<Topic>, line: &mut Line) {
        line.unsubscribed(&topics, Lost::Away);
        self.away.extend(topics);
    }

    /// Subscribes to what was away, as far as it is wanted still.
    pub(super) async fn fetch_back(&mut self, line: &mut Line) {
        if self.away.is_empty() {
            return;
        }
        let wanted: HashSet<_> = line.interest().into_iter().collect();
        let mut away = mem::take(&mut self.away);
        away.retain(|topic| wanted.contains(topic));
        let has_place = |topic: &Topic| {
            let owner = self.owner(Partition::of(topic.as_bytes()));
            owner.is_some_and(|owner| self.masters[owner].subscriber.is_up())
        };
        let back = away.extract_if(has_place).collect::<Vec<_>>();
        self.away = away;
        self.subscribe(back, line).await;
    }

    /// Notes which topics the table gives to others than those that have them subscribed.
    pub(super) fn leave_moved(&mut self, line: &mut Line) {
        let owners = &self.owners;
        let mut moved = Vec::new();
        for (number, master) in self.masters.iter_mut().enumerate() {
            let is_elsewhere = |topic: &Topic| {
                let partition = Partition::of(topic.as_bytes());
                owners[partition.index()] != Some(number)
            };
            moved.extend(master.topics.extract_if(is_elsewhere));
        }
        self.put_away(moved, line);
    }

    /// Takes what a master says about topics. Of those that are away meanwhile it was told already.
    pub(super) fn subscribed(&mut self, master: usize, subscribed: Subscribed, line: &mut Line) {
        let topics = &mut self.masters[master].topics;
        let mut made = subscribed.topics;
        made.retain(|topic| topics.contains(topic));
        let mut refused = subscribed.refused;
        refused.retain(|(topic, _)| topics.remove(topic));
        line.subscribed(&made);
        let (denied, away): (Vec<_>, Vec<_>) = refused
            .into_iter()
            .partition(|(_, error)| fault::is_denied(error));
        if let Some((_, error)) = denied.first() {
            self.warn(master, "subscribe", error);
        }
        if !away.is_empty() {
            self.read_soon();
        }
        let topic = |(topic, _)| topic;
        let denied: Vec<_> = denied.into_iter().map(topic).collect();
        line.unsubscribed(&denied, Lost::Denied);
        self.put_away(away.into_iter().map(topic).collect(), line);
    }

    /// Takes another subscriber in place of this one, of which no answer is to be believed.
    pub(super) fn forsake(&mut self, master: usize, subscriber: Box<Subscriber>, line: &mut Line) {
        let topics = mem::take(&mut self.masters[master].topics);
        self.put_away(topics.into_iter().collect(), line);
        self.forsaken.push_back((Instant::now(), subscriber));
        self.read_soon();
    }

    /// Logs that a master refused something, once a connection.
    pub(super) fn warn(&mut self, master: usize, what: &str, error: &ServerError) {
        if !self.warned {
            self.warned = true;
            let (server, error) = (&self.masters[master].server, fault::server_words(error));
            warn!(%server, error, "Redis refused to {what}: see `scaling#engines`");
        }
    }
}

/// How many topics are asked for together.
const CHUNK: usize = 512;
