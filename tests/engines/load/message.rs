//! What the clients send each other.

use std::time::Duration;

use super::Phase;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) sender: u32,
    pub(crate) number: u32,
    /// Since the load began.
    pub(crate) sent: Duration,
    /// That of the sender.
    pub(crate) node: u8,
    pub(crate) group: u16,
    /// When it was sent.
    pub(crate) phase: Phase,
}

impl Message {
    /// Writes it, and as many zeros as make it `size` bytes.
    pub(super) fn encode(&self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&self.sender.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        let sent = u64::try_from(self.sent.as_micros()).unwrap_or(u64::MAX);
        bytes.extend_from_slice(&sent.to_le_bytes());
        bytes.extend_from_slice(&[self.node, self.phase as u8]);
        bytes.extend_from_slice(&self.group.to_le_bytes());
        bytes.resize(size.max(bytes.len()), 0);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (sender, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (sent, rest) = rest.split_first_chunk()?;
        let (&[node, phase], rest) = rest.split_first_chunk()?;
        let (group, _) = rest.split_first_chunk()?;
        Some(Self {
            sender: u32::from_le_bytes(*sender),
            number: u32::from_le_bytes(*number),
            sent: Duration::from_micros(u64::from_le_bytes(*sent)),
            node,
            group: u16::from_le_bytes(*group),
            phase: Phase::of(phase)?,
        })
    }
}
