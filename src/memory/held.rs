//! What a connection holds.

/// What a connection holds, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Held {
    /// What would be free if it were gone.
    pub(crate) own: usize,
    /// That, and what it shares with others.
    pub(crate) weight: usize,
}

#[cfg_attr(
    not(feature = "layer"),
    expect(dead_code, reason = "sessions have one")
)]
impl Held {
    /// Adds what the connection holds alone.
    pub(crate) fn and(self, own: usize) -> Self {
        Self {
            own: self.own + own,
            weight: self.weight + own,
        }
    }

    /// Reports whether it is too little to count.
    #[inline]
    pub(crate) fn is_little(self) -> bool {
        self.weight < LITTLE
    }
}

/// Less than this, in bytes, does not count.
pub(crate) const LITTLE: usize = 1 << 10;
