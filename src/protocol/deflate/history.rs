//! What a message may refer back to.

/// The last bytes of one direction, as far as its window reaches.
///
/// Grows with what is pushed, up to the window.
#[derive(Debug)]
pub(crate) struct History {
    bytes: Vec<u8>,
    window: usize,
}

impl History {
    /// Remembers nothing yet, and `window` bytes at most.
    pub(crate) fn new(window: usize) -> Self {
        Self {
            bytes: Vec::new(),
            window,
        }
    }

    /// Adds what came last.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.window)..];
        let overflow = (self.bytes.len() + kept.len()).saturating_sub(self.window);
        self.bytes.drain(..overflow);
        if self.bytes.len() + kept.len() > self.bytes.capacity() {
            self.grow(kept.len());
        }
        self.bytes.extend_from_slice(kept);
    }

    /// Makes room by doubling, but never past the window.
    fn grow(&mut self, len: usize) {
        let needed = self.bytes.len() + len;
        let target = needed.max(2 * self.bytes.capacity()).min(self.window);
        self.bytes.reserve_exact(target - self.bytes.len());
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_window_is_kept() {
        let all: Vec<u8> = (0..100).collect();
        for sizes in [vec![100], vec![1; 100], vec![7; 14], vec![9, 1, 30, 0, 60]] {
            let mut history = History::new(10);
            let mut end = 0;
            for size in sizes {
                history.push(&all[end..end + size]);
                end += size;
                assert_eq!(history.as_slice(), &all[end.saturating_sub(10)..end]);
                assert!(history.bytes.capacity() <= 10);
            }
        }
    }
}
