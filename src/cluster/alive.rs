//! What a node tells of itself in each heartbeat.

use std::time::Duration;

use bytes::Bytes;

use super::malformed::EnvelopeError;

/// A heartbeat, after the header of its envelope. Integers are little-endian:
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | interval in milliseconds; taken as 0.1 s to 10 minutes. A node that is not heard for 3 of them has left |
/// | 4 | 8 | age of the node in milliseconds |
/// | 12 | 4 | connections |
/// | 16 | 4 | groups |
/// | 20 | 1 | flags: bit 0 draining; bit 1 the node waits to hear whether others are there; others 0, ignored |
/// | 21 | 1 | length of the name, in bytes; 64 at most |
/// | 22 | … | name, UTF-8 |
/// | … | … | ignored: later versions may say more |
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Alive {
    pub(super) interval: Duration,
    pub(super) age: Duration,
    pub(super) load: Load,
    /// It has a new connection, and waits to hear whether others are there.
    pub(super) asks: bool,
    pub(super) name: Box<str>,
}

/// What a node has to carry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Load {
    /// How many connections it has.
    pub(crate) connections: u32,
    /// How many groups have members on it.
    pub(crate) groups: u32,
    /// It takes no new connections.
    pub(crate) draining: bool,
}

impl Alive {
    pub(super) fn encode(&self) -> Bytes {
        let name = self.name.as_bytes();
        let name = &name[..self.name.floor_char_boundary(MAX_NAME)];
        let mut payload = Vec::with_capacity(FIXED + name.len());
        let interval = u32::try_from(self.interval.as_millis()).unwrap_or(u32::MAX);
        payload.extend(interval.to_le_bytes());
        payload.extend(millis(self.age).to_le_bytes());
        payload.extend(self.load.connections.to_le_bytes());
        payload.extend(self.load.groups.to_le_bytes());
        payload.push(u8::from(self.load.draining) | u8::from(self.asks) << 1);
        payload.push(name.len() as u8);
        payload.extend(name);
        payload.into()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, EnvelopeError> {
        let (fixed, rest) = payload
            .split_first_chunk::<FIXED>()
            .ok_or(EnvelopeError::Alive)?;
        let [interval, connections, groups] =
            [0, 12, 16].map(|offset| u32::from_le_bytes(field(fixed, offset)));
        let age = u64::from_le_bytes(field(fixed, 4));
        let [.., flags, len] = *fixed;
        let len = usize::from(len);
        if len > MAX_NAME || len > rest.len() {
            return Err(EnvelopeError::Alive);
        }
        let name = str::from_utf8(&rest[..len]).map_err(|_| EnvelopeError::Alive)?;
        let interval = Duration::from_millis(interval.into());
        Ok(Self {
            interval: interval.clamp(MIN_INTERVAL, MAX_INTERVAL),
            age: Duration::from_millis(age),
            load: Load {
                connections,
                groups,
                draining: flags & DRAINING != 0,
            },
            asks: flags & ASKS != 0,
            name: name.into(),
        })
    }
}

/// Returns the `N` bytes at `offset`, where there are some.
fn field<const N: usize>(src: &[u8; FIXED], offset: usize) -> [u8; N] {
    std::array::from_fn(|index| src[offset + index])
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The length of what comes before the name, in bytes.
const FIXED: usize = 22;

/// The flag of a node that takes no new connections.
const DRAINING: u8 = 1;

/// The flag of a node that waits to hear others.
const ASKS: u8 = 2;

/// The longest name, in bytes.
pub(super) const MAX_NAME: usize = 64;

/// The shortest interval that is believed.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest interval that is believed: a node that says more would be listed for ever.
pub(super) const MAX_INTERVAL: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
