#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::protocol::test_support::Random;

fn alive() -> Alive {
    Alive {
        interval: Duration::from_millis(5000),
        age: Duration::from_millis(0x0102_0304_0506),
        load: Load {
            connections: 70_000,
            groups: 9,
            draining: true,
        },
        asks: false,
        name: "büro-1".into(),
    }
}

#[test]
fn heartbeat_is_read_as_it_is_written() {
    for (draining, asks) in [(false, false), (true, false), (false, true), (true, true)] {
        for name in ["", "a", "büro-1", &"x".repeat(64)] {
            let mut alive = alive();
            (alive.load.draining, alive.asks, alive.name) = (draining, asks, name.into());
            assert_eq!(Alive::decode(&alive.encode()), Ok(alive));
        }
    }
}

#[test]
fn heartbeat_is_laid_out_as_the_page_says() {
    let expected = b"\x88\x13\0\0\x06\x05\x04\x03\x02\x01\0\0\
        \x70\x11\x01\0\x09\0\0\0\x01\x07b\xc3\xbcro-1";
    assert_eq!(alive().encode(), &expected[..]);
}

#[test]
fn what_follows_the_name_is_ignored() {
    let longer = [&alive().encode(), &b"something new"[..]].concat();
    assert_eq!(Alive::decode(&longer), Ok(alive()));
}

#[test]
fn any_cutting_is_an_error() {
    let payload = alive().encode();
    for len in 0..payload.len() {
        assert_eq!(
            Alive::decode(&payload[..len]),
            Err(EnvelopeError::Alive),
            "{len}"
        );
    }
}

#[test]
fn a_name_is_utf8_of_64_bytes_at_most() {
    let with_name = |name: &[u8]| {
        let mut payload = alive().encode()[..21].to_vec();
        payload.push(name.len() as u8);
        payload.extend(name);
        Alive::decode(&payload)
    };
    assert!(with_name(&[b'x'; 64]).is_ok());
    assert!(with_name(&[b'x'; 65]).is_err());
    assert!(with_name(&[b'x'; 255]).is_err());
    assert!(with_name(b"\xff").is_err());
}

#[test]
fn a_long_name_is_cut_between_characters() {
    let mut alive = alive();
    alive.name = ("x".to_owned() + &"ä".repeat(100)).into();
    let decoded = Alive::decode(&alive.encode()).unwrap();
    assert_eq!(*decoded.name, *("x".to_owned() + &"ä".repeat(31)));
}

#[test]
fn no_interval_makes_a_node_live_for_ever_or_come_and_go() {
    let with_interval = |millis: u32| {
        let mut payload = alive().encode().to_vec();
        payload[..4].copy_from_slice(&millis.to_le_bytes());
        Alive::decode(&payload).unwrap().interval.as_millis()
    };
    assert_eq!([0, 99, 100].map(with_interval), [100; 3]);
    assert_eq!(
        [600_000, 600_001, u32::MAX].map(with_interval),
        [600_000; 3]
    );
}

#[test]
fn numbers_too_large_for_their_fields_are_the_largest() {
    let mut alive = alive();
    (alive.interval, alive.age) = (Duration::MAX, Duration::MAX);
    let decoded = Alive::decode(&alive.encode()).unwrap();
    assert_eq!(decoded.age, Duration::from_millis(u64::MAX));
    assert_eq!(decoded.interval, MAX_INTERVAL);
}

#[test]
fn any_bytes_are_decoded_or_refused_without_a_panic() {
    let mut random = Random(7);
    for _ in 0..100_000 {
        let len = random.below(100);
        drop(Alive::decode(&random.bytes(len)));
    }
}
