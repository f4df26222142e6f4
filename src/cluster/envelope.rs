//! What travels between nodes: a header of 24 bytes, and what the application gave.
//!
//! Its tables are in the docs of [the module](super).

use bytes::Bytes;

use super::{
    alive::Alive,
    malformed::EnvelopeError,
    node_id::NodeId,
    number::Number,
    question::{Answer, Question},
};
use crate::{
    protocol::{CloseFrame, MessageKind, Outbound, outbound::Choice},
    session::ConnectionId,
};

/// What an application has for other nodes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Carried {
    /// A message to the members of a group.
    Message(Outbound),
    /// Closes the members of a group.
    Close(Option<CloseFrame>),
    /// A message to one connection.
    MessageTo(ConnectionId, Outbound),
    /// Closes one connection.
    CloseConnection(ConnectionId, Option<CloseFrame>),
}

/// The header of an envelope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EnvelopeHeader {
    pub(super) kind: Kind,
    flags: u8,
    /// `None` is a sender outside the cluster.
    pub(super) node: Option<NodeId>,
    pub(super) number: Number,
}

/// What an envelope is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Text = 1,
    Binary = 2,
    Close = 3,
    TextTo = 4,
    BinaryTo = 5,
    CloseConnection = 6,
    Alive = 7,
    Leaving = 8,
    Question = 9,
    Answer = 10,
}

impl EnvelopeHeader {
    /// Reads the header at the front of `src`.
    pub(super) fn decode(src: &[u8]) -> Result<Self, EnvelopeError> {
        let src = src
            .first_chunk::<HEADER>()
            .ok_or(EnvelopeError::Truncated)?;
        let &[version, kind, flags, _, ..] = src;
        if version != VERSION {
            return Err(EnvelopeError::Version);
        }
        let kind = Kind::of(kind).ok_or(EnvelopeError::Kind)?;
        if flags & TOPIC_INSIDE != 0 {
            return Err(EnvelopeError::Kind);
        }
        let number = Number {
            run: u64::from_le_bytes(field(src, 12)),
            index: u32::from_le_bytes(field(src, 20)),
        };
        if number.index == u32::MAX {
            return Err(EnvelopeError::Number);
        }
        Ok(Self {
            kind,
            flags,
            node: NodeId::new(u64::from_le_bytes(field(src, 4))),
            number,
        })
    }

    fn choice(&self) -> Choice {
        match self.flags & COMPRESSION {
            1 => Choice::Always,
            2 => Choice::Never,
            _ => Choice::BySize,
        }
    }
}

/// Returns the `N` bytes at `offset`, where there are some.
fn field<const N: usize>(src: &[u8; HEADER], offset: usize) -> [u8; N] {
    std::array::from_fn(|index| src[offset + index])
}

impl Kind {
    fn of(kind: u8) -> Option<Self> {
        Some(match kind {
            1 => Self::Text,
            2 => Self::Binary,
            3 => Self::Close,
            4 => Self::TextTo,
            5 => Self::BinaryTo,
            6 => Self::CloseConnection,
            7 => Self::Alive,
            8 => Self::Leaving,
            9 => Self::Question,
            10 => Self::Answer,
            _ => return None,
        })
    }

    /// Reports whether nodes say it to each other, and nothing of an application is in it.
    pub(super) fn is_of_nodes(self) -> bool {
        matches!(self, Self::Alive | Self::Leaving) || self.is_talk()
    }

    /// Reports whether nodes ask it each other, or answer.
    pub(super) fn is_talk(self) -> bool {
        matches!(self, Self::Question | Self::Answer)
    }

    /// Reports whether it closes connections.
    pub(super) fn is_close(self) -> bool {
        matches!(self, Self::Close | Self::CloseConnection)
    }
}

impl Carried {
    /// Returns the length of what follows the header and the id of a connection, in bytes.
    pub(super) fn payload_len(&self) -> usize {
        match self {
            Self::Message(message) | Self::MessageTo(_, message) => message.len(),
            Self::Close(frame) | Self::CloseConnection(_, frame) => {
                let frame = frame.as_ref();
                frame.map_or(0, |frame| size_of::<u16>() + frame.reason().len())
            }
        }
    }

    /// Returns the length of the envelope, in bytes.
    pub(super) fn len(&self) -> usize {
        let connection = match self {
            Self::Message(_) | Self::Close(_) => 0,
            Self::MessageTo(..) | Self::CloseConnection(..) => CONNECTION,
        };
        HEADER + connection + self.payload_len()
    }

    /// Reads what follows the header of a kind that carries something of an application.
    pub(super) fn decode(header: &EnvelopeHeader, mut body: Bytes) -> Result<Self, EnvelopeError> {
        Ok(match header.kind {
            Kind::Text | Kind::Binary => Self::Message(message(header, body)?),
            Kind::Close => Self::Close(close(&body)?),
            Kind::TextTo | Kind::BinaryTo => {
                let connection = connection(&mut body)?;
                Self::MessageTo(connection, message(header, body)?)
            }
            Kind::CloseConnection => {
                let connection = connection(&mut body)?;
                Self::CloseConnection(connection, close(&body)?)
            }
            Kind::Alive | Kind::Leaving | Kind::Question | Kind::Answer => {
                return Err(EnvelopeError::Misplaced);
            }
        })
    }
}

fn message(header: &EnvelopeHeader, payload: Bytes) -> Result<Outbound, EnvelopeError> {
    let kind = match header.kind {
        Kind::Text | Kind::TextTo => MessageKind::Text,
        _ => MessageKind::Binary,
    };
    let message = kind.message(payload).map_err(|_| EnvelopeError::Utf8)?;
    Ok(match header.choice() {
        Choice::BySize => message.into(),
        Choice::Always => message.compressed(),
        Choice::Never => message.uncompressed(),
    })
}

fn close(payload: &[u8]) -> Result<Option<CloseFrame>, EnvelopeError> {
    if payload.len() > MAX_CLOSE {
        return Err(EnvelopeError::Close);
    }
    CloseFrame::decode(payload).map_err(|_| EnvelopeError::Close)
}

/// Takes the id of a connection from the front.
fn connection(body: &mut Bytes) -> Result<ConnectionId, EnvelopeError> {
    let id = body.first_chunk().ok_or(EnvelopeError::Truncated)?;
    let id = u64::from_le_bytes(*id);
    if id == 0 {
        return Err(EnvelopeError::Truncated);
    }
    drop(body.split_to(size_of::<u64>()));
    Ok(ConnectionId::new(id))
}

/// What is sent, before it has a sender and a number.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    kind: Kind,
    flags: u8,
    connection: Option<ConnectionId>,
    pub(super) payload: Bytes,
}

impl Letter {
    fn message(
        connection: Option<ConnectionId>,
        [text, binary]: [Kind; 2],
        outbound: &Outbound,
    ) -> Self {
        let flags = match outbound.choice() {
            Choice::BySize => 0,
            Choice::Always => 1,
            Choice::Never => 2,
        };
        Self {
            kind: match outbound.kind() {
                MessageKind::Text => text,
                MessageKind::Binary => binary,
            },
            flags,
            connection,
            payload: outbound.to_bytes(),
        }
    }

    fn close(connection: Option<ConnectionId>, kind: Kind, frame: Option<&CloseFrame>) -> Self {
        let payload = frame.map_or_else(Vec::new, |frame| {
            [
                &frame.code().as_u16().to_be_bytes(),
                frame.reason().as_bytes(),
            ]
            .concat()
        });
        Self {
            kind,
            flags: 0,
            connection,
            payload: payload.into(),
        }
    }

    /// Makes a heartbeat.
    pub(super) fn alive(alive: &Alive) -> Self {
        Self::own(Kind::Alive, alive.encode())
    }

    /// Makes the last word of a node.
    pub(super) fn leaving() -> Self {
        Self::own(Kind::Leaving, Bytes::new())
    }

    /// Makes a question.
    pub(super) fn question(question: &Question<'_>) -> Self {
        Self::own(Kind::Question, question.encode())
    }

    /// Makes an answer.
    pub(super) fn answer(answer: &Answer) -> Self {
        Self::own(Kind::Answer, answer.encode())
    }

    fn own(kind: Kind, payload: Bytes) -> Self {
        Self {
            kind,
            flags: 0,
            connection: None,
            payload,
        }
    }

    /// Returns what precedes the payload.
    pub(super) fn head(&self, node: NodeId, number: Number) -> Head {
        let mut head = Head {
            bytes: [0; HEADER + CONNECTION],
            len: HEADER,
        };
        head.bytes[..3].copy_from_slice(&[VERSION, self.kind as u8, self.flags]);
        head.put(4, &node.as_u64().to_le_bytes());
        head.put(12, &number.run.to_le_bytes());
        head.put(20, &number.index.to_le_bytes());
        if let Some(connection) = self.connection {
            head.put(HEADER, &connection.as_u64().to_le_bytes());
            head.len += CONNECTION;
        }
        head
    }

    /// Returns the length of the envelope, in bytes.
    pub(super) fn len(&self) -> usize {
        let connection = self.connection.map_or(0, |_| CONNECTION);
        HEADER + connection + self.payload.len()
    }
}

impl From<&Carried> for Letter {
    fn from(carried: &Carried) -> Self {
        match carried {
            Carried::Message(message) => Self::message(None, [Kind::Text, Kind::Binary], message),
            Carried::Close(frame) => Self::close(None, Kind::Close, frame.as_ref()),
            Carried::MessageTo(connection, message) => {
                let kinds = [Kind::TextTo, Kind::BinaryTo];
                Self::message(Some(*connection), kinds, message)
            }
            Carried::CloseConnection(connection, frame) => {
                Self::close(Some(*connection), Kind::CloseConnection, frame.as_ref())
            }
        }
    }
}

/// What precedes the payload of an envelope: 24 bytes, or 32 of what is for one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    bytes: [u8; HEADER + CONNECTION],
    len: usize,
}

impl Head {
    /// Returns the bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, offset: usize, field: &[u8]) {
        self.bytes[offset..offset + field.len()].copy_from_slice(field);
    }
}

/// The version of the envelopes.
const VERSION: u8 = 1;

/// The length of a header, in bytes.
pub(super) const HEADER: usize = 24;

/// The length of the id of a connection, in bytes.
const CONNECTION: usize = size_of::<u64>();

/// By how much an envelope may be longer than what it carries.
pub(super) const OVERHEAD: usize = HEADER + CONNECTION;

/// The flags that say whether to compress.
const COMPRESSION: u8 = 0b11;

/// The flag of a later version, which puts a topic before the payload.
const TOPIC_INSIDE: u8 = 0b100;

/// The longest payload of a Close frame (RFC 6455 §5.5).
const MAX_CLOSE: usize = 125;

#[cfg(test)]
mod tests;
