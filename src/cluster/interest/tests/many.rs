//! That many topics hold nobody up: how many are looked at, and that none is forgotten over it.

use std::collections::BTreeSet;

use super::*;
use crate::cluster::chance::Chance;

fn below(chance: &mut Chance, end: usize) -> usize {
    let drawn = chance.between(Duration::ZERO, Duration::from_nanos(0xffff));
    drawn.as_nanos() as usize % end
}

impl Wanted {
    /// Does something, and returns how many entries were looked at for it.
    fn looks(&mut self, of: impl FnOnce(&mut Self)) -> usize {
        let before = self.interest.topics.looks.get();
        of(self);
        self.interest.topics.looks.get() - before
    }

    /// Has so many topics subscribed, and then some of them lingering, given up, denied and asked for again.
    fn with_many(many: usize) -> Self {
        let mut wanted = Self::connected();
        wanted.interest.add(&topic(many), Target::All);
        wanted.add(0..many);
        wanted.subscribe_all();
        for key in 0..many / 5 {
            wanted.remove(key, 0);
        }
        while wanted.interest.linger_due().is_some() {
            wanted.time_out(5000);
        }
        for key in many / 5..many / 4 {
            wanted.remove(key, 5000);
        }
        for key in many / 4..many / 2 {
            let at = wanted.at(5000);
            let why = [Lost::Moved, Lost::Denied][key % 2];
            wanted.interest.unsubscribed(&topic(key), why, at);
        }
        wanted
    }
}

#[test]
fn connection_that_comes_or_goes_looks_at_no_topic_however_many_there_are() {
    for many in [40, 40_000] {
        let mut wanted = Wanted::with_many(many);
        let looks = wanted.looks(|wanted| {
            wanted.interest.lost();
            wanted.interest.connected();
            // One that breaks again before anything is asked.
            wanted.interest.lost();
            wanted.interest.connected();
        });
        assert_eq!(looks, 0, "of {many}");
        assert_eq!(wanted.interest.subscribed_len(), 0);
        assert_eq!(wanted.interest.wanted_len(), many - many / 4 + 1);
        assert!(!wanted.interest.is_settled());
        assert!(!wanted.interest.is_subscribed(&topic(many - 1)));
    }
}

#[test]
fn nothing_looks_at_more_than_so_many_topics_at_a_time() {
    let mut wanted = Wanted::with_many(40_000);
    let most = 8 * STRETCH;
    // What was given up and is not told, and what lingered.
    assert!(
        wanted.interest.give_up.len() > 4 * STRETCH && wanted.interest.lingering.len() > STRETCH
    );
    let mut looks = Vec::new();
    looks.push(wanted.looks(|wanted| drop(wanted.poll())));
    wanted.interest.lost();
    // While there is no connection, time goes on.
    looks.push(wanted.looks(|wanted| wanted.time_out(10_000)));
    looks.push(wanted.looks(|wanted| wanted.time_out(35_000)));
    let mut end = usize::MAX;
    while end > 0 {
        looks.push(wanted.looks(|wanted| (_, end) = wanted.interest.wanted_before(end)));
    }
    wanted.interest.connected();
    while wanted.interest.has_command() {
        let mut topics = None;
        looks.push(wanted.looks(|wanted| topics = wanted.poll()));
        if let Some((_, topics)) = topics {
            wanted.answer(&topics);
        }
    }
    let highest = looks.iter().max();
    assert!(highest.is_some_and(|looks| *looks <= most), "{looks:?}");
    assert_eq!(wanted.interest.subscribed_len(), 30_001);
    assert!(wanted.interest.is_settled());
    assert_eq!(
        wanted.interest.topics.len(),
        30_001,
        "nothing else is known"
    );
}

#[test]
fn many_that_are_due_at_once_are_looked_at_little_by_little() {
    let mut wanted = Wanted::with_many(40_000);
    let at = wanted.at(60_000);
    let (mut looks, mut times) = (0, 0);
    while wanted.interest.due().is_some_and(|due| due <= at) {
        looks = looks.max(wanted.looks(|wanted| wanted.time_out(60_000)));
        times += 1;
    }
    assert!(looks <= 8 * STRETCH, "{looks}");
    assert!(times > 1);
    assert!(wanted.interest.lingering.is_empty() && wanted.interest.denied.is_empty());
    wanted.subscribe_all();
    assert_eq!(wanted.interest.subscribed_len(), 30_001);
}

#[test]
fn all_that_is_wanted_is_returned_in_stretches_whatever_is_removed_meanwhile() {
    let mut chance = Chance::new(7);
    let mut wanted = Wanted::connected();
    wanted.add(0..20_000);
    wanted.subscribe_all();
    let (mut all, mut end) = (BTreeSet::new(), usize::MAX);
    let mut left: BTreeSet<_> = (0..20_000).collect();
    while end > 0 {
        let (topics, start) = wanted.interest.wanted_before(end);
        all.extend(topics);
        end = start;
        for _ in 0..100 {
            let key = below(&mut chance, 20_000);
            left.remove(&key);
            wanted.remove(key, 0);
        }
        wanted.time_out(5000);
        // The engine is told, and they are forgotten.
        assert!(wanted.poll().is_some_and(|(sign, _)| sign == '-'));
    }
    assert!(left.len() < 18_000);
    assert_eq!(wanted.interest.topics.len() as usize, left.len());
    assert!(left.iter().all(|key| all.contains(&topic(*key))));
}

/// A node and its engine, to which anything happens.
struct Walk {
    wanted: Wanted,
    connected: bool,
    /// Asked for, and not answered.
    asked: Vec<Topic>,
    /// What the engine has subscribed.
    there: BTreeSet<Topic>,
}

impl Walk {
    fn step(&mut self, chance: &mut Chance, at: Instant) {
        let key = below(chance, 20);
        let interest = &mut self.wanted.interest;
        match below(chance, 24) {
            0 => self.connect(),
            1 => {
                self.connected = false;
                interest.lost();
            }
            2..=8 => interest.add(&topic(key), Target::Group(key)),
            9..=14 => interest.remove(&topic(key), at),
            15 | 16 if self.connected => {
                self.there.remove(&topic(key));
                self.asked.retain(|asked| *asked != topic(key));
                let why = [Lost::Moved, Lost::Denied][key % 2];
                interest.unsubscribed(&topic(key), why, at);
            }
            17 => interest.handle_timeout(at),
            18..=20 => self.poll(at),
            _ if !self.asked.is_empty() => self.answer(),
            _ => {}
        }
    }

    fn connect(&mut self) {
        self.connected = true;
        self.wanted.interest.lost();
        self.asked.clear();
        self.there.clear();
        self.wanted.interest.connected();
    }

    fn poll(&mut self, at: Instant) {
        match self.wanted.interest.poll(at) {
            Some(Command::Subscribe(topics)) => self.asked.extend(topics),
            Some(Command::Unsubscribe(topics)) => {
                self.there.retain(|topic| !topics.contains(topic));
            }
            _ => {}
        }
    }

    fn answer(&mut self) {
        let topic = self.asked.remove(0);
        self.wanted.interest.subscribed(&topic);
        if self.connected {
            self.there.insert(topic);
        }
    }

    /// Returns the topics for which this is so.
    fn that(&self, are: impl Fn(&Interest<usize>, &Topic) -> bool) -> BTreeSet<Topic> {
        let topics = (0..20).map(topic);
        topics
            .filter(|topic| are(&self.wanted.interest, topic))
            .collect()
    }

    fn check(&self) {
        self.wanted.interest.topics.check();
        let subscribed = self.that(Interest::is_subscribed);
        assert_eq!(subscribed.len(), self.wanted.interest.subscribed_len());
        assert!(!self.connected || subscribed == self.there);
    }
}

#[test]
fn an_engine_has_what_is_wanted_in_the_end_whatever_happens() {
    for seed in 0..500 {
        let mut chance = Chance::new(seed);
        let mut wanted = Wanted::new();
        wanted.interest = Interest::new(Duration::from_secs(5), 3, Duration::from_secs(30));
        let mut walk = Walk {
            wanted,
            connected: false,
            asked: Vec::new(),
            there: BTreeSet::new(),
        };
        for step in 0..300 {
            let at = walk.wanted.at(step * 200);
            walk.step(&mut chance, at);
            walk.check();
        }
        if !walk.connected {
            walk.connect();
        }
        for minute in 2..4 {
            let at = walk.wanted.at(minute * 60_000);
            walk.wanted.interest.handle_timeout(at);
            while walk.wanted.interest.has_command() || !walk.asked.is_empty() {
                walk.poll(at);
                while !walk.asked.is_empty() {
                    walk.answer();
                }
            }
            walk.check();
        }
        assert!(walk.wanted.interest.is_settled(), "{seed}");
        assert_eq!(walk.there, walk.that(Interest::is_wanted), "{seed}");
        assert_eq!(walk.wanted.interest.topics.len() as usize, walk.there.len());
    }
}
