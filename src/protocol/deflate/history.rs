//! What a message may refer back to.

/// The last bytes of one direction, as far as its window reaches.
///
/// It grows with what is pushed, to a window and a quarter: the quarter saves moving the whole
/// window with every message.
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

    /// Returns how much memory a window takes at most, in bytes.
    pub(super) fn capacity(window: usize) -> usize {
        window + window / 4
    }

    /// Adds what came last.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.window)..];
        let len = self.bytes.len() + kept.len();
        if len > Self::capacity(self.window) {
            self.bytes.drain(..len - self.window);
        }
        if self.bytes.len() + kept.len() > self.bytes.capacity() {
            self.grow(kept.len());
        }
        self.bytes.extend_from_slice(kept);
    }

    /// Makes room by doubling, but never past the capacity.
    fn grow(&mut self, len: usize) {
        let needed = self.bytes.len() + len;
        let target = needed
            .max(2 * self.bytes.capacity())
            .min(Self::capacity(self.window));
        self.bytes.reserve_exact(target - self.bytes.len());
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(self.window)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_window_is_remembered() {
        let all: Vec<u8> = (0..100).collect();
        for sizes in [
            vec![100],
            vec![1; 100],
            vec![7; 14],
            vec![9, 1, 30, 0, 60],
            vec![11, 12, 13, 14, 15],
        ] {
            let mut history = History::new(10);
            let mut end = 0;
            for size in sizes {
                history.push(&all[end..end + size]);
                end += size;
                assert_eq!(history.as_slice(), &all[end.saturating_sub(10)..end]);
            }
        }
    }

    #[test]
    fn no_more_than_a_window_and_a_quarter_is_allocated() {
        for sizes in [
            vec![1 << 17],
            vec![1; 5000],
            vec![1000; 100],
            vec![333; 300],
        ] {
            for bits in [8, 12, 15] {
                let window = 1 << bits;
                let mut history = History::new(window);
                for &size in &sizes {
                    history.push(&vec![7; size]);
                    assert!(history.bytes.capacity() <= window + window / 4);
                }
            }
        }
    }

    #[test]
    fn a_full_window_is_moved_once_in_nine_messages_of_1_kib() {
        let mut history = History::new(32 << 10);
        let mut moves = 0;
        for _ in 0..40 + 9 * 10 {
            let before = history.bytes.len();
            history.push(&[7; 1 << 10]);
            moves += usize::from(history.bytes.len() < before);
        }
        assert_eq!(moves, 10);
    }
}
