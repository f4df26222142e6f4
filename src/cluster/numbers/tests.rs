#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::cluster::topic::TopicPrefix;

fn topic(key: usize) -> Topic {
    let rooms = TopicPrefix::new("shop", "rooms").unwrap();
    rooms.topic(key.to_string().as_bytes()).unwrap()
}

/// Returns the next number of a topic as run and index.
fn next(numbers: &mut Numbers, key: usize) -> (u64, u32) {
    let number = numbers.next(&topic(key), &mut Waste::default());
    (number.run, number.index)
}

#[test]
fn each_topic_has_its_own_indices_from_0_in_a_run_of_its_own() {
    let mut numbers = Numbers::new(4);
    let given: Vec<_> = [1, 2, 1, 1, 2].map(|key| next(&mut numbers, key)).into();
    assert_eq!(given, [(1, 0), (2, 0), (1, 1), (1, 2), (2, 1)]);
}

#[test]
fn run_0_is_given_to_nothing() {
    assert_eq!(next(&mut Numbers::new(1), 1), (1, 0));
}

#[test]
fn topics_that_are_used_are_remembered_whatever_else_is_used() {
    let mut numbers = Numbers::new(4);
    for index in 0..1000 {
        assert_eq!(next(&mut numbers, 0), (1, index));
        // Two others between two uses: fewer than a generation.
        next(&mut numbers, 1 + 2 * index as usize);
        next(&mut numbers, 2 + 2 * index as usize);
    }
}

#[test]
fn forgotten_topic_begins_a_run_above_all_earlier_ones() {
    let mut numbers = Numbers::new(4);
    assert_eq!(next(&mut numbers, 0), (1, 0));
    for key in 1..=8 {
        next(&mut numbers, key);
    }
    assert_eq!(next(&mut numbers, 0), (10, 0));
    assert_eq!(next(&mut numbers, 0), (10, 1));
}

#[test]
fn a_topic_is_forgotten_no_sooner_than_after_a_generation_of_others_and_no_later_than_after_two() {
    for before in 0..4 {
        for others in 0..12 {
            let mut numbers = Numbers::new(4);
            for key in 0..before {
                next(&mut numbers, 100 + key);
            }
            next(&mut numbers, 0);
            for key in 1..=others {
                next(&mut numbers, key);
            }
            let (_, index) = next(&mut numbers, 0);
            if others <= 4 {
                assert_eq!(index, 1, "{others} others, {before} before");
            }
            if others >= 8 {
                assert_eq!(index, 0, "{others} others, {before} before");
            }
        }
    }
}

#[test]
fn never_more_than_two_generations_are_kept_and_a_third_is_left_to_be_dropped() {
    let (mut numbers, mut waste) = (Numbers::new(4), Waste::default());
    let mut dropped = 0;
    for key in 0..100 {
        numbers.next(&topic(key), &mut waste);
        dropped += waste.numbers.drain(..).map(|map| map.len()).sum::<usize>();
        let kept = numbers.young.len() + numbers.old.len();
        assert!(kept <= 8);
        assert_eq!(kept + dropped, key + 1);
    }
}

#[test]
fn the_last_index_of_a_run_is_followed_by_the_first_of_another() {
    let mut numbers = Numbers::new(4);
    next(&mut numbers, 0);
    numbers.young.get_mut(&topic(0)).unwrap().index = u32::MAX - 1;
    assert_eq!(next(&mut numbers, 0), (1, u32::MAX - 1));
    assert_eq!(next(&mut numbers, 0), (2, 0));
    assert_eq!(next(&mut numbers, 0), (2, 1));
}

#[test]
fn two_generations_of_32768_topics_take_some_4_mib_beside_their_names() {
    let mut numbers = Numbers::new(32_768);
    let names: Vec<_> = (0..65_536).map(topic).collect();
    for name in &names {
        numbers.next(name, &mut Waste::default());
    }
    let places = numbers.young.capacity() + numbers.old.capacity();
    // hashbrown fills seven eighths of a power of two, with a byte beside each place.
    let bytes = places * 8 / 7 * (size_of::<(Topic, Number)>() + 1);
    assert_eq!(numbers.young.len() + numbers.old.len(), 65_536);
    assert!(bytes <= 9 << 19, "{bytes}");
}
