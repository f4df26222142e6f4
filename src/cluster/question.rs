//! What nodes ask each other, and what they answer.

use bytes::Bytes;

use super::{malformed::EnvelopeError, topic::MAX_TOPIC};

/// What tells a question from others: drawn at random, so that nobody answers who has not read it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct QuestionId(pub(super) u64);

/// Asks every node how many members a group has there. After the header of its envelope; integers are
/// little-endian:
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | number of the question |
/// | 8 | 2 | length of the topic, in bytes; 580 at most |
/// | 10 | … | topic of the group |
/// | … | … | ignored: later versions may say more |
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Question<'a> {
    pub(super) id: QuestionId,
    pub(super) topic: &'a [u8],
}

/// Answers one node. After the header of its envelope; integers are little-endian:
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | number of the question |
/// | 8 | 4 | members |
/// | 12 | … | ignored: later versions may say more |
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    pub(super) id: QuestionId,
    pub(super) members: u32,
}

impl<'a> Question<'a> {
    pub(super) fn encode(&self) -> Bytes {
        let mut payload = Vec::with_capacity(ID + size_of::<u16>() + self.topic.len());
        payload.extend(self.id.0.to_le_bytes());
        // No topic is longer than 580 bytes.
        payload.extend((self.topic.len() as u16).to_le_bytes());
        payload.extend(self.topic);
        payload.into()
    }

    pub(super) fn decode(payload: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (id, rest) = decode_id(payload)?;
        let (len, rest) = rest.split_first_chunk().ok_or(EnvelopeError::Question)?;
        let len = usize::from(u16::from_le_bytes(*len));
        let topic = rest.get(..len).filter(|topic| topic.len() <= MAX_TOPIC);
        Ok(Self {
            id,
            topic: topic.ok_or(EnvelopeError::Question)?,
        })
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Bytes {
        let mut payload = Vec::with_capacity(ID + size_of::<u32>());
        payload.extend(self.id.0.to_le_bytes());
        payload.extend(self.members.to_le_bytes());
        payload.into()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, EnvelopeError> {
        let (id, rest) = decode_id(payload)?;
        let members = rest.first_chunk().ok_or(EnvelopeError::Question)?;
        Ok(Self {
            id,
            members: u32::from_le_bytes(*members),
        })
    }
}

fn decode_id(payload: &[u8]) -> Result<(QuestionId, &[u8]), EnvelopeError> {
    let (id, rest) = payload
        .split_first_chunk::<ID>()
        .ok_or(EnvelopeError::Question)?;
    Ok((QuestionId(u64::from_le_bytes(*id)), rest))
}

/// The length of the number of a question, in bytes.
const ID: usize = size_of::<u64>();

#[cfg(test)]
mod tests;
