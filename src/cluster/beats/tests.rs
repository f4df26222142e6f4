#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;

const FIVE: Duration = Duration::from_secs(5);

struct Heart {
    beats: Beats,
    chance: Chance,
    now: Instant,
}

impl Heart {
    fn connected(watched: bool) -> Self {
        let now = Instant::now();
        let mut beats = Beats::default();
        beats.connected(now, FIVE, watched);
        Self {
            beats,
            chance: Chance::new(1),
            now,
        }
    }

    /// Lets the next one be due, and takes it: after how long it was.
    fn next(&mut self) -> (Number, Duration) {
        let before = self.now;
        self.now = self.beats.due().unwrap_or(before);
        self.beats.handle_timeout(self.now);
        let beat = self.beats.poll(self.now, FIVE, 1, &mut self.chance);
        (beat.unwrap().0, self.now - before)
    }

    fn pass(&mut self, millis: u64) -> Instant {
        self.now += Duration::from_millis(millis);
        self.now
    }
}

#[test]
fn the_first_is_due_at_once_and_each_other_after_four_to_six_seconds() {
    let mut heart = Heart::connected(true);
    assert_eq!(heart.next(), (Number { run: 1, index: 0 }, Duration::ZERO));
    let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
    for index in 1..1000 {
        assert_eq!(
            heart.beats.poll(heart.now, FIVE, 1, &mut heart.chance),
            None
        );
        let (number, pause) = heart.next();
        assert_eq!(number.index, index);
        (least, most) = (least.min(pause), most.max(pause));
    }
    assert!((4000..4050).contains(&least.as_millis()), "{least:?}");
    assert!((5950..=6000).contains(&most.as_millis()), "{most:?}");
}

#[test]
fn of_many_nodes_each_says_it_more_rarely_and_says_how_rarely() {
    let mut heart = Heart::connected(true);
    let beat = heart.beats.poll(heart.now, FIVE, 400, &mut heart.chance);
    assert_eq!(beat.unwrap().1, Duration::from_secs(20));
    let pause = heart.beats.due().unwrap() - heart.now;
    assert!((16..=24).contains(&pause.as_secs()), "{pause:?}");
}

#[test]
fn numbers_go_on_over_connections_so_that_none_looks_like_a_double() {
    let mut heart = Heart::connected(true);
    heart.next();
    heart.beats.lost();
    assert_eq!(heart.beats.due(), None);
    heart.beats.handle_timeout(heart.now);
    assert_eq!(
        heart.beats.poll(heart.now, FIVE, 1, &mut heart.chance),
        None
    );
    heart.beats.connected(heart.now, FIVE, true);
    assert_eq!(heart.next().0.index, 1);
    assert_eq!(heart.beats.number().index, 2);
}

#[test]
fn none_back_for_three_intervals_is_silence() {
    let mut heart = Heart::connected(true);
    let (number, _) = heart.next();
    assert!(
        !heart
            .beats
            .is_silent(heart.now + Duration::from_millis(14_999))
    );
    assert!(
        heart
            .beats
            .is_silent(heart.now + Duration::from_millis(15_000))
    );
    let back = heart.pass(10_000);
    heart.beats.echo(number, FIVE, back);
    assert!(!heart.beats.is_silent(back + Duration::from_millis(14_999)));
    assert!(heart.beats.is_silent(back + Duration::from_millis(15_000)));
    heart.beats.lost();
    assert!(!heart.beats.is_silent(back + Duration::from_secs(99)));
}

#[test]
fn where_none_comes_back_none_is_missed() {
    let mut heart = Heart::connected(false);
    let (number, _) = heart.next();
    let later = heart.pass(60_000);
    assert!(!heart.beats.is_silent(later));
    // Not even once one has.
    heart.beats.echo(number, FIVE, heart.now);
    let later = heart.pass(60_000);
    assert!(!heart.beats.is_silent(later));
}

#[test]
fn round_trip_is_that_of_the_last_and_the_longest_of_the_last_minute_or_two() {
    let mut heart = Heart::connected(true);
    let mut round_trip = |millis| {
        let (number, _) = heart.next();
        let back = heart.pass(millis);
        heart.beats.echo(number, FIVE, back);
        // A second time it tells nothing.
        heart.beats.echo(number, FIVE, back + FIVE);
        let millis = |time: Option<Duration>| time.unwrap().as_millis();
        (
            millis(heart.beats.round_trip()),
            millis(heart.beats.max_round_trip()),
        )
    };
    assert_eq!(round_trip(30), (30, 30));
    assert_eq!(round_trip(900), (900, 900));
    assert_eq!(round_trip(20), (20, 900));
    let later: Vec<_> = (0..30).map(|_| round_trip(20)).collect();
    assert_eq!(later[0], (20, 900));
    assert_eq!(later[29], (20, 20), "that was two minutes ago");
}
