//! The queue against a plain `Vec<u8>`.

use super::*;
use crate::protocol::test_support::Random;

/// Checks all that [`Buf`] promises against the bytes that must be in `queue`.
fn check(queue: &SendQueue, model: &[u8]) {
    assert_eq!(
        (queue.len(), queue.is_empty()),
        (model.len(), model.is_empty())
    );
    assert_eq!(
        (queue.remaining(), queue.has_remaining()),
        (model.len(), !model.is_empty())
    );
    let chunk = queue.chunk();
    assert!(model.starts_with(chunk));
    assert_eq!(
        chunk.is_empty(),
        model.is_empty(),
        "a chunk is empty at the end only"
    );
    for slots in [0, 1, 2, 3, 64] {
        let mut slices = vec![IoSlice::new(&[]); slots];
        let used = queue.chunks_vectored(&mut slices);
        assert!(used <= slots);
        assert!(slices[..used].iter().all(|slice| !slice.is_empty()));
        let bytes: Vec<u8> = slices[..used]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        assert!(model.starts_with(&bytes));
        // With room for all there is, all there is was given.
        assert!(used == slots || bytes.len() == model.len());
    }
}

/// Adds random pieces to both.
fn fill(queue: &mut SendQueue, model: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let len = match random.below(3) {
            0 => random.below(20),
            1 => SHARE_FROM - 1 + random.below(3),
            _ => random.below(2 * SHARE_FROM),
        };
        let bytes = vec![random.number() as u8; len];
        model.extend_from_slice(&bytes);
        if random.below(2) == 0 {
            queue.gather(&bytes);
        } else {
            queue.share(bytes.into());
        }
    }
}

#[test]
fn random_operations_agree_with_a_vec() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let (mut queue, mut model) = (SendQueue::new(), Vec::new());
        for _ in 0..100 {
            match random.below(4) {
                0 | 1 => fill(&mut queue, &mut model, &mut random),
                2 => {
                    let (mut other, mut others) = (SendQueue::new(), Vec::new());
                    fill(&mut other, &mut others, &mut random);
                    let left = random.below(others.len() + 1);
                    other.advance(left);
                    queue.append(other);
                    model.extend_from_slice(&others[left..]);
                }
                _ => {
                    let most = if random.below(2) == 0 {
                        10
                    } else {
                        model.len()
                    };
                    let count = random.below(most.min(model.len()) + 1);
                    queue.advance(count);
                    model.drain(..count);
                }
            }
            check(&queue, &model);
        }
        queue.advance(model.len());
        check(&queue, &[]);
    }
}

#[test]
fn shared_payloads_are_not_copied() {
    let payload = Bytes::from(vec![1; SHARE_FROM]);
    let mut queue = SendQueue::new();
    queue.gather(b"header");
    queue.share(payload.clone());
    queue.gather(b"trailer");
    let mut slices = [IoSlice::new(&[]); 3];
    assert_eq!(queue.chunks_vectored(&mut slices), 3);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    queue.advance(6 + 100);
    assert_eq!(queue.chunk().as_ptr(), payload[100..].as_ptr());
}

#[test]
fn payloads_below_the_threshold_are_gathered() {
    let payload = Bytes::from(vec![1; SHARE_FROM - 1]);
    let mut queue = SendQueue::new();
    queue.gather(b"header");
    queue.share(payload);
    assert_eq!(queue.chunk().len(), 6 + SHARE_FROM - 1);
}

#[test]
fn appended_payloads_are_not_copied() {
    let payload = Bytes::from(vec![1; SHARE_FROM + 100]);
    let (mut queue, mut other) = (SendQueue::new(), SendQueue::new());
    queue.gather(b"before");
    other.gather(b"header");
    other.share(payload.clone());
    other.advance(6 + 100);
    queue.append(other);
    queue.advance(6);
    assert_eq!(queue.chunk().as_ptr(), payload[100..].as_ptr());
}

#[test]
fn shared_payload_is_released_once_it_has_left() {
    let payload = Bytes::from(vec![1; SHARE_FROM]);
    let mut queue = SendQueue::new();
    queue.share(payload.clone());
    queue.gather(b"behind");
    queue.advance(SHARE_FROM - 1);
    assert!(!payload.is_unique());
    queue.advance(1);
    assert!(payload.is_unique());
}

#[test]
#[should_panic(expected = "advanced past the end")]
fn advancing_past_the_end_panics() {
    let mut queue = SendQueue::new();
    queue.gather(b"12");
    queue.advance(3);
}

#[test]
fn new_queue_holds_no_memory() {
    let queue = SendQueue::new();
    assert_eq!((queue.capacity(), queue.shared.capacity()), (0, 0));
}

#[test]
fn empty_queue_keeps_its_memory_for_the_next_frames() {
    let mut queue = SendQueue::new();
    queue.gather(b"Hello");
    let (address, capacity) = (queue.chunk().as_ptr(), queue.capacity());
    queue.advance(5);
    queue.gather(b"again");
    check(&queue, b"again");
    assert_eq!(
        (queue.chunk().as_ptr(), queue.capacity()),
        (address, capacity)
    );
}

#[test]
fn queue_that_is_never_empty_does_not_grow_for_ever() {
    let mut queue = SendQueue::new();
    let mut moved = 0;
    queue.gather(&[0; 1000]);
    for _ in 0..20_000 {
        queue.gather(&[1; 1000]);
        let before = queue.position;
        queue.advance(1000);
        if queue.position < before {
            moved += queue.gathered.len();
        }
        assert!(queue.gathered.len() <= 2 * COMPACT_FROM + 2000);
    }
    // 20 MB went through; what was moved to make room is a small part of it.
    assert!(moved <= 20_000_000 / 10, "{moved}");
}

#[test]
fn compacting_a_long_queue_moves_no_more_than_has_left() {
    let mut queue = SendQueue::new();
    let total = 4 << 20;
    queue.gather(&vec![1; total]);
    let mut moved = 0;
    while !queue.is_empty() {
        let before = queue.position;
        queue.advance(queue.remaining().min(1000));
        if queue.position < before {
            moved += queue.gathered.len();
        }
    }
    assert!(moved <= total, "{moved}");
}

/// What goes into DATA frames is shared as it is with `writev`.
#[test]
fn large_payloads_are_not_copied_into_pieces() {
    let large = Bytes::from(vec![7; 3 * SHARE_FROM]);
    let mut queue = SendQueue::new();
    queue.gather(b"header");
    queue.share(large.clone());
    queue.gather(b"next");
    assert_eq!(queue.next_piece(4), 4);
    // The header goes with the beginning of what follows, up to what is gathered at once.
    assert_eq!(queue.copy_to_bytes(6), "header");
    assert_eq!(queue.next_piece(4), large.len());
    let (first, second) = (queue.copy_to_bytes(100), queue.copy_to_bytes(SHARE_FROM));
    assert_eq!((first.as_ptr(), first.len()), (large.as_ptr(), 100));
    assert_eq!(second.as_ptr(), large[100..].as_ptr());
    let rest = queue.copy_to_bytes(queue.next_piece(4));
    assert_eq!(rest.as_ptr(), large[100 + SHARE_FROM..].as_ptr());
    assert_eq!(queue.next_piece(16), 4);
    assert_eq!(queue.copy_to_bytes(4), "next");
    assert!(queue.is_empty());
}

#[test]
fn pieces_across_a_large_payload_are_put_together() {
    let mut queue = SendQueue::new();
    queue.gather(b"header");
    queue.share(Bytes::from(vec![7; SHARE_FROM]));
    let piece = queue.copy_to_bytes(10);
    assert_eq!(piece, &b"header\x07\x07\x07\x07"[..]);
    assert_eq!(queue.len(), SHARE_FROM - 4);
}
