//! Faults of a server, for the harness to find.

#[derive(Clone, Copy)]
pub(super) enum Planted {
    /// A message is lost.
    Lose,
    /// It comes twice.
    Double,
    /// It comes after the next one.
    Swap,
    /// One comes late, and the others behind it.
    Slow,
    /// The member that sends is out of its group for a while.
    One,
    /// Its sender is closed.
    Close,
    /// A task is left.
    Keep,
}

impl Planted {
    /// Returns what is planted in a group.
    pub(super) fn in_group(group: &str) -> Option<Self> {
        Some(match group {
            "1" => Self::Lose,
            "2" => Self::Double,
            "3" => Self::Swap,
            "4" => Self::Slow,
            "5" => Self::One,
            "6" => Self::Close,
            "7" => Self::Keep,
            _ => return None,
        })
    }
}
