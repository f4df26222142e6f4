//! What a node promises, told to its core and asked of it.

#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use bytes::Bytes;

use super::*;
use crate::{
    cluster::{
        alive::Alive,
        backplane::{BackplaneError, Command, Lost, Publish},
        envelope::{Carried, Letter},
        events::{Remote, Silence, Unpublished},
        incoming::Inbound,
        number::Number,
    },
    protocol::{CloseCode, CloseFrame, Message},
    session::ConnectionId,
};

mod counting;
mod nodes;
mod receiving;
mod sending;
mod subscribing;
mod wire;

/// An engine that echoes and confirms, as Redis does.
fn promises() -> Promises {
    Promises {
        ordered: true,
        echoes: true,
        confirms: true,
        ..Promises::default()
    }
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn core_on(
    promises: Promises,
    number: u64,
    settings: ClusterSettings,
    now: Instant,
) -> Core<usize> {
    Core::new("shop", settings, promises, id(number), number, now).unwrap()
}

fn text(text: &str) -> Carried {
    Carried::Message(Message::text(text).into())
}

fn topic(key: &str) -> Topic {
    let rooms = TopicPrefix::new("shop", "rooms").unwrap();
    rooms.topic(key.as_bytes()).unwrap()
}

/// Returns what the engine would pass on.
fn envelope(publish: &Publish) -> Bytes {
    [publish.head(), publish.payload()].concat().into()
}

/// Node 1, and a clock that is set by hand.
struct Alone {
    core: Core<usize>,
    now: Instant,
}

impl Alone {
    fn new() -> Self {
        Self::with(ClusterSettings::default(), promises())
    }

    fn with(settings: ClusterSettings, promises: Promises) -> Self {
        let now = Instant::now();
        Self {
            core: core_on(promises, 1, settings, now),
            now,
        }
    }

    /// A node that publishes, and has said that it is alive.
    fn ready() -> Self {
        let mut alone = Self::new();
        alone.connect();
        alone
    }

    /// Connects, subscribes, waits until envelopes leave, and says that it is alive.
    fn connect(&mut self) {
        self.core.connected(self.now);
        self.subscribe();
        self.pass(250);
        while let Some(command) = self.core.poll_command(self.now) {
            self.answer(command);
        }
        while self.core.poll_event().is_some() {}
    }

    /// Answers all subscriptions.
    fn subscribe(&mut self) {
        while !self.core.is_connected() || self.core.interest.has_command() {
            let Some(Command::Subscribe(topics)) = self.core.poll_command(self.now) else {
                break;
            };
            self.core.subscribed(&topics, self.now);
        }
    }

    /// Answers all subscriptions, but these cannot be had.
    fn subscribe_but(&mut self, topics: &[Topic], why: Lost) {
        while !self.core.is_connected() {
            let Some(Command::Subscribe(asked)) = self.core.poll_command(self.now) else {
                break;
            };
            let (lost, had): (Vec<_>, Vec<_>) =
                asked.into_iter().partition(|topic| topics.contains(topic));
            self.core.unsubscribed(&lost, why, self.now);
            self.core.subscribed(&had, self.now);
        }
    }

    fn answer(&mut self, command: Command) {
        match command {
            Command::Subscribe(topics) => self.core.subscribed(&topics, self.now),
            Command::Publish(publish) => {
                if publish.topic().groups() == b"!" {
                    let topic = publish.topic().as_bytes();
                    self.core.receive(topic, &envelope(&publish), || self.now);
                }
                self.core.published(publish.ticket(), Ok(()));
            }
            Command::Unsubscribe(_) | Command::Leave => {}
        }
    }

    /// Lets time pass, and keeps the deadlines on the way.
    fn pass(&mut self, millis: u64) -> Option<Silence> {
        let end = self.now + Duration::from_millis(millis);
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            if let Some(silence) = self.core.handle_timeout(self.now) {
                return Some(silence);
            }
            let due = self.core.poll_timeout();
            assert!(due.is_none_or(|due| due > self.now), "{due:?} is over");
        }
        self.now = end;
        None
    }

    fn publish(&mut self, key: &str, what: &str) -> Remote {
        self.core.publish(&topic(key), &text(what), self.now)
    }

    /// Takes all that leaves now, as text; others than messages as `?`.
    fn leaving(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(command) = self.core.poll_command(self.now) {
            texts.push(said(&command));
            while let Some(more) = self.core.poll_more() {
                texts.push(said(&more));
            }
        }
        texts
    }

    fn receive(&mut self, key: &str, from: u64, index: u32, what: Carried) {
        self.receive_in(&topic(key), from, Number { run: 1, index }, what);
    }

    fn receive_in(&mut self, topic: &Topic, from: u64, number: Number, what: Carried) {
        self.receive_letter(topic, from, number, &Letter::from(&what));
    }

    fn receive_letter(&mut self, topic: &Topic, from: u64, number: Number, letter: &Letter) {
        let head = letter.head(id(from), number);
        let envelope = [head.as_bytes(), &letter.payload].concat();
        self.core
            .receive(topic.as_bytes(), &envelope.into(), || self.now);
    }

    fn deliveries(&mut self) -> Vec<Inbound<usize>> {
        let mut deliveries = Vec::new();
        while let Some(delivery) = self.core.poll_delivery() {
            self.core.delivered(&delivery.topic);
            deliveries.push(delivery);
        }
        deliveries
    }

    fn events(&mut self) -> Vec<CoreEvent> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }
}

fn said(command: &Command) -> String {
    match command {
        Command::Publish(publish) if publish.topic().groups() != b"!" => {
            String::from_utf8(publish.payload().to_vec()).unwrap()
        }
        _ => "?".to_owned(),
    }
}

#[test]
fn a_core_may_be_used_by_several_threads() {
    fn is_sent<T: Send>() {}
    is_sent::<Core<std::sync::Weak<dyn Send + Sync>>>();
    is_sent::<Waste>();
}

#[test]
fn no_cluster_has_a_wrong_name() {
    let now = Instant::now();
    let core = Core::<()>::new(
        "Shop",
        ClusterSettings::default(),
        promises(),
        id(1),
        1,
        now,
    );
    assert!(core.is_err());
}
