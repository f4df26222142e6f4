//! A connection as both its ends know it.

use std::sync::{Arc, Mutex};

use tower_websocket::{
    ConnectionId, Error, Message,
    session::{EndedBy, SessionReport},
};

use crate::{
    line::View,
    message::Ledger,
    rng::{Rng, lock},
    world::World,
};

/// A connection as both its ends know it.
pub(crate) struct Conn {
    pub(crate) number: usize,
    pub(crate) world: Arc<World>,
    /// From the client to the server.
    pub(crate) up: Arc<Ledger>,
    pub(crate) down: Arc<Ledger>,
    pub(crate) rng: Mutex<Rng>,
    pub(crate) line: View,
    pub(crate) facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The connection's number at the server, once its handler was called.
    pub(crate) id: Option<ConnectionId>,
    /// The handler has received until it was told of an end.
    pub(crate) read_all: bool,
    /// How many wait for something that they do to the connection.
    pub(crate) busy: usize,
    /// The handler waits for messages.
    pub(crate) attentive: bool,
    /// It was told that something was lost, because others needed the memory.
    pub(crate) gave_way: bool,
    /// How often it was told of one.
    pub(crate) ends: usize,
    /// A message that was sent in pieces was not finished.
    pub(crate) torn: bool,
    /// The client has begun to close, or has stopped receiving.
    pub(crate) client_closes: bool,
    /// The client has got the server's Close frame.
    pub(crate) closed: bool,
}

/// What is outstanding on a connection, and with whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Outstanding {
    pub(crate) queued: usize,
    pub(crate) busy: usize,
    /// How many messages a handler that waits for them has not got.
    pub(crate) unread: u64,
    pub(crate) up: (u64, u64),
    pub(crate) down: (u64, u64),
}

/// As long as it lives, somebody waits.
pub(crate) struct Waits<'a> {
    conn: &'a Conn,
    end: fn(&mut Facts),
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        (self.end)(&mut lock(&self.conn.facts));
    }
}

impl Conn {
    /// Somebody waits for what he does to the connection.
    pub(crate) fn busy(&self) -> Waits<'_> {
        lock(&self.facts).busy += 1;
        Waits {
            conn: self,
            end: |facts| facts.busy -= 1,
        }
    }

    /// The handler waits for a message.
    pub(crate) fn attentive(&self) -> Waits<'_> {
        lock(&self.facts).attentive = true;
        Waits {
            conn: self,
            end: |facts| facts.attentive = false,
        }
    }

    /// What is outstanding; `None` where the connection is not one that has to go on.
    pub(crate) fn outstanding(&self) -> Option<Outstanding> {
        let facts = lock(&self.facts);
        let socket = self
            .world
            .connections
            .get(facts.id?)
            .filter(|_| self.line.is_good())?;
        let (up, down) = (self.up.counts(), self.down.counts());
        let unread = if facts.attentive {
            up.0.saturating_sub(up.1)
        } else {
            0
        };
        socket.is_open().then(|| Outstanding {
            queued: socket.queued_bytes(),
            busy: facts.busy,
            unread,
            up,
            down,
        })
    }

    pub(crate) fn rng(&self) -> Rng {
        lock(&self.rng).fork()
    }

    pub(crate) fn path(&self) -> String {
        format!("/{}", self.number)
    }

    /// The handler was called.
    pub(crate) fn is_open(&self, id: Option<ConnectionId>) {
        if lock(&self.facts)
            .id
            .replace(id.expect("each is registered"))
            .is_some()
        {
            self.world.fail("a handler is called twice");
        }
    }

    /// Takes note that the handler receives no more; always `false`.
    pub(crate) fn receiving_ended(&self, end: Result<(), Error>) -> bool {
        self.world
            .trace(|| format!("handler {} at its end: {end:?}", self.number));
        let mut facts = lock(&self.facts);
        facts.ends += 1;
        facts.gave_way |= matches!(end, Err(Error::OverBudget));
        false
    }

    pub(crate) fn has_read_all(&self) {
        let mut facts = lock(&self.facts);
        facts.read_all = facts.ends > 0;
    }

    pub(crate) fn down_is_torn(&self) {
        lock(&self.facts).torn = true;
    }

    pub(crate) fn client_closes(&self) {
        lock(&self.facts).client_closes = true;
    }

    /// The client has got the server's Close frame.
    pub(crate) fn closed(&self, code: Option<u16>) {
        self.world
            .trace(|| format!("client {} is closed: {code:?}", self.number));
        lock(&self.facts).closed = true;
    }

    /// A message has come to a client that reads by hand.
    pub(crate) fn arrived(&self, opcode: u8, payload: Vec<u8>) {
        let message = match opcode {
            1 => match String::from_utf8(payload) {
                Ok(text) => Message::text(text),
                Err(_) => return self.world.fail("a text is no text"),
            },
            _ => Message::binary(payload),
        };
        self.received(&message);
    }

    pub(crate) fn received(&self, message: &Message) {
        if lock(&self.facts).closed {
            self.world.fail("a message behind the Close frame");
        }
        self.down.received(message, Some(&self.world.many));
    }

    /// Checks what both ends know when all is over.
    pub(crate) fn check(&self, report: &SessionReport) {
        let facts = lock(&self.facts);
        let (accepted, arrived) = self.down.counts();
        self.world.trace(|| {
            format!(
                "{}: {report:?} {facts:?}, {accepted} accepted, {arrived} arrived",
                self.number
            )
        });
        if facts.closed && !facts.torn && !facts.client_closes {
            self.down.is_complete();
        }
        if facts.read_all && !facts.gave_way && report.ended_by == EndedBy::Peer {
            self.up.is_complete();
        }
        if report.messages_sent < accepted.saturating_sub(1) {
            let sent = report.messages_sent;
            self.world
                .fail(&format!("{}: {sent} reported of {accepted}", self.number));
        }
        let (_, received) = self.up.counts();
        if report.messages_received < received {
            let reported = report.messages_received;
            self.world.fail(&format!(
                "{}: {reported} reported of {received}",
                self.number
            ));
        }
    }
}
