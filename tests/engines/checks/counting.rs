//! A stream with planted losses, doubles and reorders, of which the counting has to see each.

use crate::load::count::{Seen, Tally, Track};

/// What comes, and what has to be made of it.
type Case = (&'static str, &'static [u32], Tally, u64);

const SENT: u32 = 6;

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("everything in order", &[0, 1, 2, 3, 4, 5], tally(6, 0, 0, 0), 0),
    ("nothing", &[], tally(0, 0, 0, 0), 6),
    ("the first is lost", &[1, 2, 3, 4, 5], tally(5, 1, 0, 0), 0),
    ("two in the middle are lost", &[0, 1, 4, 5], tally(4, 2, 0, 0), 0),
    ("lost at two places", &[0, 2, 3, 5], tally(4, 2, 0, 0), 0),
    ("the last are lost", &[0, 1, 2], tally(3, 0, 0, 0), 3),
    ("a double at once", &[0, 1, 1, 2, 3, 4, 5], tally(6, 0, 1, 0), 0),
    ("a double later", &[0, 1, 2, 3, 4, 5, 1], tally(6, 0, 1, 0), 0),
    ("the first and all others twice", &[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5], tally(6, 0, 6, 0), 0),
    ("two change places", &[0, 2, 1, 3, 4, 5], tally(6, 0, 0, 1), 0),
    ("backwards", &[5, 4, 3, 2, 1, 0], tally(6, 0, 0, 5), 0),
    ("late, and then doubled", &[0, 3, 1, 1, 4, 5], tally(5, 1, 1, 1), 0),
    ("lost, doubled, late and a tail", &[1, 3, 2, 3], tally(3, 1, 1, 1), 2),
];

const fn tally(delivered: u64, lost: u64, doubled: u64, late: u64) -> Tally {
    Tally {
        delivered,
        lost,
        doubled,
        late,
    }
}

pub(super) fn check() -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, numbers, tally, tail) in CASES {
        let mut track = Track::from_the_start();
        for number in *numbers {
            track.see(*number);
        }
        let counted = (track.tally, track.tail(SENT));
        if counted != (*tally, *tail) {
            wrong.push(format!("counting: {name}: {counted:?}"));
        }
    }
    wrong.extend(check_away());
    wrong
}

/// Who was away misses nothing meanwhile, and who comes later nothing of before.
fn check_away() -> Option<String> {
    let mut track = Track::default();
    let mut seen = vec![track.see(7), track.see(9)];
    track.away();
    seen.extend([track.see(20), track.see(21)]);
    let right = [Seen::InOrder, Seen::Behind(1), Seen::InOrder, Seen::InOrder];
    let good = seen == right && track.tally == tally(4, 1, 0, 0) && track.tail(22) == 0;
    (!good).then(|| format!("counting: away: {seen:?}, {:?}", track.tally))
}
