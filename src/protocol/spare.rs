//! A large buffer that goes from a message that was sent to one that is received.
//!
//! Fresh memory is paid for page by page: an echo of 1 MiB costs several times as much where each
//! message gets its own. So each thread keeps one buffer of a payload that has left, for the next large
//! payload: of at most 1 MiB, and a sixteenth.
//!
//! Large payloads begin in the middle of a page. What a peer on the same machine writes in one go begins,
//! in the kernel, at the start of a page; a large allocation begins 16 bytes behind one, and its payload
//! ends up two bytes, modulo the size of a page, behind where it comes from. To AMD's processors from Zen 3 on
//! such a copy looks as if the two overlapped, and `rep movsb`, with which kernels copy, goes byte by byte.

use std::{cell::Cell, hint::black_box, sync::Once};

use bytes::{Buf, Bytes, BytesMut};

use crate::pool;

/// Takes the thread's spare buffer for `len` bytes: where they fit, and need half of it at least.
///
/// It holds more than has been received, but no more than was received before.
pub(super) fn take(len: u64) -> Option<BytesMut> {
    let spare = pool::take(&SPARE)?;
    let capacity = spare.capacity() as u64;
    if len <= capacity && capacity / 2 <= len {
        return Some(amid_page(spare, len as usize));
    }
    pool::put_back(&SPARE, Some(spare));
    None
}

/// Makes a large buffer, for `len` bytes and up to two pages more: one to begin with, and one so that there is
/// as much where it is kept, wherever it has been moved to.
pub(super) fn new(len: usize) -> BytesMut {
    amid_page(BytesMut::with_capacity(len + 2 * PAGE), len)
}

/// Returns how much memory a buffer takes, in bytes: a large one may begin behind the start of what was allocated.
pub(super) fn memory(buffer: &BytesMut) -> usize {
    let skipped = if buffer.capacity() < SPARE_FROM {
        0
    } else {
        PAGE
    };
    buffer.capacity() + skipped
}

/// Has an empty buffer begin in the middle of a page, where `len` bytes have room behind that.
fn amid_page(mut buffer: BytesMut, len: usize) -> BytesMut {
    let start = buffer.as_ptr().addr() % PAGE;
    let skipped = (PAGE + PAGE / 2 - start) % PAGE;
    if skipped + len <= buffer.capacity() {
        buffer.resize(skipped, 0);
        buffer.advance(skipped);
    }
    buffer
}

/// Keeps the buffer of a payload that has left, where it is large and nobody else has a share.
pub(super) fn put_back(payload: Bytes) {
    let Ok(mut buffer) = payload.try_into_mut() else {
        return;
    };
    buffer.clear();
    if buffer.try_reclaim(SPARE_FROM) && buffer.capacity() <= MAX_SPARE {
        pool::put_back(&SPARE, Some(buffer));
        keep_freed_memory();
    }
}

/// Has the allocator keep what is freed for what comes next, as it does by itself where several large
/// messages are under way.
///
/// Over HTTP/2 a large message comes in many pieces, all of which are free behind it. glibc gives the end of
/// its heap back to the kernel from 128 KiB on, and pays for each page of the next message again; once a block
/// was freed that came from the kernel as such, it keeps twice as much as that. With one message at a time no
/// other is: its buffer stays here.
fn keep_freed_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(MAX_SPARE))));
}

thread_local! {
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// The allocator has smaller ones at hand.
pub(super) const SPARE_FROM: usize = 64 << 10;

/// The most that a thread keeps: a payload of 1 MiB whose buffer has grown by doubling, and the page that
/// it began with.
const MAX_SPARE: usize = (1 << 20) + (1 << 16);

/// The size of a page, where that matters.
const PAGE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use bytes::{Buf, BufMut};

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
        let address = first.as_ptr().addr();
        let mut queue = SendQueue::new();
        assert_eq!(queue.share_back(first), None);
        queue.advance(4 * SPARE_FROM);
        // Where it was freed, something else is there now.
        let _other = vec![1; 4 * SPARE_FROM];
        let second = receive();
        // It begins elsewhere in its first page.
        assert!(second.as_ptr().addr().abs_diff(address) < PAGE);
        assert_eq!(second, [7; 4 * SPARE_FROM][..]);
    }

    /// One that grows may be moved, to anywhere in a page; the next message has what has become of it.
    #[test]
    fn large_payloads_begin_in_the_middle_of_a_page() {
        for len in [SPARE_FROM, 100_000, (1 << 20) - 1, 1 << 20] {
            let frame = from_client(0x82, &vec![7; len]);
            for message in 0..3 {
                let (start, mut rest) = frame.split_at(SPARE_FROM);
                let mut decoder = Decoder::new(Role::Server, &Config::default());
                assert_eq!(decoder.decode(&mut start.into()), Ok(None));
                while let Some(mut buffer) = decoder.payload_buffer() {
                    let (read, behind) = rest.split_at(buffer.remaining_mut().min(rest.len() - 1));
                    buffer.put_slice(read);
                    rest = behind;
                    assert_eq!(decoder.decode(&mut BytesMut::new()), Ok(None));
                }
                let Ok(Some(Event::Message(whole))) = decoder.decode(&mut rest.into()) else {
                    panic!("{len}");
                };
                let payload = whole.into_bytes();
                assert_eq!(payload, vec![7; len]);
                if message > 0 || len == SPARE_FROM {
                    let start = payload.as_ptr().addr() % PAGE;
                    assert_eq!(start, PAGE / 2, "message {message} of {len}");
                }
                put_back(payload);
            }
            SPARE.set(None);
        }
    }

    #[test]
    fn what_a_large_buffer_skips_is_counted() {
        for (len, counted) in [(SPARE_FROM, PAGE), (1 << 20, PAGE), (SPARE_FROM / 2, 0)] {
            let buffer = BytesMut::with_capacity(len);
            assert_eq!(memory(&buffer), buffer.capacity() + counted);
        }
        let large = new(SPARE_FROM);
        let allocated = SPARE_FROM + 2 * PAGE;
        assert!((allocated..=allocated + PAGE).contains(&memory(&large)));
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

    /// In a process of its own: other tests free large blocks, too.
    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn pieces_of_the_next_large_message_are_no_fresh_memory() {
        const NAME: &str =
            "protocol::spare::tests::pieces_of_the_next_large_message_are_no_fresh_memory";
        if std::env::var_os("ALONE").is_none() {
            let tests = std::env::current_exe().expect("it runs");
            let mut alone = std::process::Command::new(tests);
            let alone = alone.args(["--exact", NAME]).env("ALONE", "1").output();
            let alone = alone.expect("it starts");
            assert!(alone.status.success(), "{alone:?}");
            return;
        }
        let faults = || -> u64 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("it is there");
            let after_name = stat.rsplit(") ").next().expect("a name in parentheses");
            let faults = after_name.split(' ').nth(7);
            faults.expect("minor faults").parse().expect("a number")
        };
        // What a connection of HTTP/2 holds of a message of 1 MiB.
        let pieces = || drop((0..64).map(|_| vec![1_u8; 16 << 10]).collect::<Vec<_>>());
        put_back(Bytes::from(vec![1; 1 << 20]));
        assert!(kept().is_some());
        pieces();
        let before = faults();
        (0..20).for_each(|_| pieces());
        let each = (faults() - before) / 20;
        assert!(each < 10, "{each} pages a message");
    }
}
