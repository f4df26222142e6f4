//! Messages that say who has sent them, and what has become of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tower_websocket::Message;

use crate::{rng::lock, world::World};

/// Makes the message of this number, of about this length.
pub(crate) fn message(from: Sender, number: u32, len: usize) -> Message {
    let mut text = format!("{},{number},{len};", from.0);
    if number.is_multiple_of(3) {
        let mut bytes = text.into_bytes();
        bytes.extend((0..len).map(|at| (at as u32).wrapping_mul(31).wrapping_add(number) as u8));
        return Message::binary(bytes);
    }
    while text.len() < len {
        let at = text.len();
        match at % 61 {
            0 => text.push('€'),
            7 => text.push('😀'),
            _ => text.push(char::from(b'a' + ((at as u32 + number) % 26) as u8)),
        }
    }
    Message::text(text)
}

/// Who sends, within a connection and a direction; broadcasts come from one number for all.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Sender(pub(crate) u8);

/// What was sent and received over one direction of a connection.
pub(crate) struct Ledger {
    /// Whom to tell what is wrong.
    world: Option<Arc<World>>,
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many messages of each were accepted.
    sent: HashMap<Sender, u32>,
    /// How many of each have arrived.
    received: HashMap<Sender, u32>,
    total: u64,
    /// Who is sending so many at once.
    under_way: Option<(Sender, u32)>,
}

impl Ledger {
    pub(crate) fn new(world: &Arc<World>, name: String) -> Arc<Self> {
        Arc::new(Self {
            world: Some(world.clone()),
            name,
            state: Mutex::default(),
        })
    }

    /// Makes one that only counts.
    pub(crate) fn of_many() -> Arc<Self> {
        Arc::new(Self {
            world: None,
            name: String::new(),
            state: Mutex::default(),
        })
    }

    /// The next message of this sender, which counts once it is [`accepted`](Self::accepted).
    pub(crate) fn next(&self, from: Sender, len: usize) -> Message {
        let number = lock(&self.state).sent.get(&from).copied();
        message(from, number.unwrap_or(0), len)
    }

    /// The message that comes so many after the next one.
    pub(crate) fn later(&self, from: Sender, after: u32, len: usize) -> Message {
        let number = lock(&self.state).sent.get(&from).copied();
        message(from, number.unwrap_or(0) + after, len)
    }

    /// So many messages may arrive from now on, which count once [`begun`](Self::begun) is called.
    pub(crate) fn begins(&self, from: Sender, count: u32) {
        lock(&self.state).under_way = Some((from, count));
    }

    /// What was under way is sent.
    pub(crate) fn begun(&self, from: Sender) {
        let mut state = lock(&self.state);
        if let Some((_, count)) = state.under_way.take() {
            *state.sent.entry(from).or_default() += count;
        }
    }

    pub(crate) fn accepted(&self, from: Sender) {
        *lock(&self.state).sent.entry(from).or_default() += 1;
    }

    /// Checks a message that has arrived: whole, and the next one of its sender. Those that are sent
    /// to many may leave some out.
    pub(crate) fn received(&self, message: &Message, many: Option<&Self>) {
        let bytes = message.as_bytes();
        let head = bytes.iter().position(|byte| *byte == b';').unwrap_or(0);
        let head = std::str::from_utf8(&bytes[..head]).unwrap_or_default();
        let mut numbers = head.split(',').map(str::parse::<usize>);
        let (Some(Ok(from)), Some(Ok(number)), Some(Ok(len))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return self.fail(format_args!(
                "not a message: {:?}",
                &bytes[..bytes.len().min(40)]
            ));
        };
        let (from, number) = (Sender(from as u8), number as u32);
        if *message != self::message(from, number, len) {
            return self.fail(format_args!("torn: {from:?} {number} of {len}"));
        }
        let mut state = lock(&self.state);
        state.total += 1;
        let next = state.received.entry(from).or_default();
        let expected = *next;
        *next = number + 1;
        let out_of_order = match many {
            Some(_) if from.is_of_group() => number < expected,
            _ => number != expected,
        };
        let sent = match many {
            Some(many) if from.is_of_group() => lock(&many.state).sent.get(&from).copied(),
            _ => state.sent.get(&from).copied(),
        };
        let under_way = state.under_way.filter(|(sender, _)| *sender == from);
        let under_way = under_way.map_or(0, |(_, count)| count);
        drop(state);
        if out_of_order {
            self.fail(format_args!("{from:?}: {number} came, not {expected}"));
        }
        // It counts as sent when the call is over, which may be behind its arrival by one.
        if number > sent.unwrap_or(0) + under_way {
            self.fail(format_args!("{from:?}: {number} came of {sent:?}"));
        }
    }

    /// Checks that all that was accepted has arrived.
    pub(crate) fn is_complete(&self) {
        let state = lock(&self.state);
        for (from, sent) in &state.sent {
            let received = state.received.get(from).copied().unwrap_or(0);
            if received < *sent && !from.is_of_group() {
                let (from, sent) = (*from, *sent);
                drop(state);
                return self.fail(format_args!(
                    "{from:?}: {received} came of {sent}, and the end"
                ));
            }
        }
    }

    /// How many messages were accepted, and how many have arrived.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (
            state.sent.values().map(|sent| u64::from(*sent)).sum(),
            state.total,
        )
    }

    fn fail(&self, what: std::fmt::Arguments<'_>) {
        if let Some(world) = &self.world {
            world.fail(&format!("{}: {what}", self.name));
        }
    }
}

impl Sender {
    /// Who sends to all of a group.
    pub(crate) fn of_group(key: u8) -> Self {
        Self(MANY + key)
    }

    fn is_of_group(self) -> bool {
        self.0 >= MANY
    }
}

const MANY: u8 = 200;
