//! Topics in a row.

use crate::cluster::topic::Topic;

/// Topics in a row, in pieces: it grows and shrinks by one of them, and never moves all.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Of which all but the last are full.
    pieces: Vec<Vec<Topic>>,
}

impl Row {
    pub(super) fn len(&self) -> usize {
        let Some((last, full)) = self.pieces.split_last() else {
            return 0;
        };
        full.len() * PIECE + last.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Topic> {
        self.pieces.get(place / PIECE)?.get(place % PIECE)
    }

    pub(super) fn push(&mut self, topic: Topic) {
        match self.pieces.last_mut().filter(|last| last.len() < PIECE) {
            Some(last) => last.push(topic),
            None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(topic);
                self.pieces.push(piece);
            }
        }
    }

    pub(super) fn pop(&mut self) {
        if let Some(last) = self.pieces.last_mut() {
            last.pop();
            if last.is_empty() {
                self.pieces.pop();
            }
        }
    }

    /// Lets two topics change places; nothing if there are none.
    pub(super) fn swap(&mut self, one: usize, other: usize) {
        let topics = [one, other].map(|place| self.get(place).cloned());
        for (place, topic) in [other, one].into_iter().zip(topics) {
            let piece = self.pieces.get_mut(place / PIECE);
            let at = piece.and_then(|piece| piece.get_mut(place % PIECE));
            if let (Some(at), Some(topic)) = (at, topic) {
                *at = topic;
            }
        }
    }

    /// Returns some topics, the last of those in front of a place, and the place of the first.
    pub(super) fn before(&self, end: usize) -> (&[Topic], usize) {
        let end = end.min(self.len());
        let Some(number) = end.div_ceil(PIECE).checked_sub(1) else {
            return (&[], 0);
        };
        let start = number * PIECE;
        (&self.pieces[number][..end - start], start)
    }

    /// Returns the memory it takes, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let topics = self.pieces.iter().map(Vec::capacity).sum::<usize>();
        topics * size_of::<Topic>() + self.pieces.capacity() * size_of::<Vec<Topic>>()
    }
}

/// How many topics are in a piece.
const PIECE: usize = 512;
