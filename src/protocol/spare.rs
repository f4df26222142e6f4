//! A large buffer that goes from a message that was sent to one that is received.
//!
//! Fresh memory is paid for page by page: an echo of 1 MiB costs several times as much where each
//! message gets its own. So each thread keeps one buffer of a payload that has left, of at most
//! 1 MiB, for the next large payload.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

use crate::pool;

/// Takes the thread's spare buffer for `len` bytes: where they fit, and need half of it at least.
///
/// It holds more than has been received, but no more than was received before.
pub(super) fn take(len: u64) -> Option<BytesMut> {
    let spare = pool::take(&SPARE)?;
    let capacity = spare.capacity() as u64;
    if len <= capacity && capacity / 2 <= len {
        return Some(spare);
    }
    pool::put_back(&SPARE, Some(spare));
    None
}

/// Keeps the buffer of a payload that has left, where it is large and nobody else has a share.
pub(super) fn put_back(payload: Bytes) {
    let Ok(mut buffer) = payload.try_into_mut() else {
        return;
    };
    buffer.clear();
    if buffer.try_reclaim(SPARE_FROM) && buffer.capacity() <= MAX_SPARE {
        pool::put_back(&SPARE, Some(buffer));
    }
}

thread_local! {
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// The allocator has smaller ones at hand.
pub(super) const SPARE_FROM: usize = 64 << 10;

/// The most that a thread keeps.
const MAX_SPARE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::{
        config::Config,
        protocol::{Decoder, Role, SendQueue, message::Event, test_support::from_client},
    };

    /// The address of the buffer that is kept, if one is.
    fn kept() -> Option<usize> {
        let spare = SPARE.take();
        let address = spare.as_ref().map(|spare| spare.as_ptr().addr());
        SPARE.set(spare);
        address
    }

    #[test]
    fn buffer_of_a_payload_that_has_left_is_kept_whole() {
        let mut payload = Bytes::from(vec![1; SPARE_FROM]);
        let address = payload.as_ptr().addr();
        payload.advance(SPARE_FROM);
        put_back(payload);
        assert_eq!(kept(), Some(address));
        let spare = take(SPARE_FROM as u64).expect("it fits");
        assert_eq!((spare.len(), spare.capacity()), (0, SPARE_FROM));
        assert_eq!(kept(), None);
    }

    #[test]
    fn large_message_is_received_where_one_was_that_has_left() {
        let mut decoder = Decoder::new(Role::Server, &Config::default());
        let mut receive = || {
            let mut frame = BytesMut::from(&from_client(0x82, &[7; 4 * SPARE_FROM])[..]);
            let mut start = frame.split_to(SPARE_FROM);
            assert_eq!(decoder.decode(&mut start), Ok(None));
            match decoder.decode(&mut frame) {
                Ok(Some(Event::Message(message))) => message.into_bytes(),
                other => panic!("{other:?}"),
            }
        };
        let first = receive();
        let address = first.as_ptr();
        let mut queue = SendQueue::new();
        assert_eq!(queue.share_back(first), None);
        queue.advance(4 * SPARE_FROM);
        // Where it was freed, something else is there now.
        let _other = vec![1; 4 * SPARE_FROM];
        let second = receive();
        assert_eq!(second.as_ptr(), address);
        assert_eq!(second, [7; 4 * SPARE_FROM][..]);
    }

    #[test]
    fn what_others_share_and_what_is_small_or_huge_is_not_kept() {
        let shared = Bytes::from(vec![1; SPARE_FROM]);
        put_back(shared.clone());
        put_back(Bytes::from_static(&[0; SPARE_FROM]));
        put_back(Bytes::from_owner(vec![1; SPARE_FROM]));
        put_back(Bytes::from(vec![1; SPARE_FROM - 1]));
        put_back(Bytes::from(vec![1; MAX_SPARE + 1]));
        assert_eq!(kept(), None);
        put_back(shared);
        assert!(kept().is_some());
    }

    #[test]
    fn a_payload_pins_no_more_than_twice_its_length() {
        for (len, fits) in [
            (2 * SPARE_FROM + 1, false),
            (2 * SPARE_FROM, true),
            (SPARE_FROM, true),
            (SPARE_FROM - 1, false),
        ] {
            put_back(Bytes::from(vec![1; 2 * SPARE_FROM]));
            assert_eq!(take(len as u64).is_some(), fits, "{len}");
            assert_eq!(kept().is_some(), !fits);
        }
    }
}
