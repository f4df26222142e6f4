use std::{sync::atomic::AtomicUsize, task::Wake};

use super::*;

/// Counts how often a session was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

struct Session {
    account: Account,
    woken: Arc<Woken>,
}

impl Session {
    fn new(budget: &MemoryBudget, own: usize) -> Self {
        let mut session = Self {
            account: budget.open_account(),
            woken: Arc::default(),
        };
        session.holds(own);
        session
    }

    fn holds(&mut self, own: usize) {
        self.settle(Held { own, weight: own });
    }

    fn settle(&mut self, held: Held) {
        let waker = self.woken.clone().into();
        self.account.settle(held, &waker);
    }

    fn is_condemned(&self) -> bool {
        let condemned = self.account.is_condemned();
        assert_eq!(condemned, self.woken.0.load(Relaxed) > 0);
        condemned
    }
}

fn condemned(sessions: &[Session]) -> Vec<usize> {
    let all = sessions.iter().enumerate();
    let condemned = all.filter(|(_, session)| session.is_condemned());
    condemned.map(|(index, _)| index).collect()
}

const KIB: usize = 1 << 10;

#[test]
fn what_is_held_is_added_up_and_comes_back() {
    let budget = MemoryBudget::new(1 << 20);
    let mut first = Session::new(&budget, 100 * KIB);
    let second = Session::new(&budget, 2 * KIB);
    assert_eq!(budget.used(), 102 * KIB);
    first.holds(10 * KIB);
    assert_eq!(budget.used(), 12 * KIB);
    drop(second);
    assert_eq!(budget.used(), 10 * KIB);
    drop(first);
    assert_eq!(budget.used(), 0);
}

#[test]
fn limit_is_reached_before_anybody_has_to_go() {
    let budget = MemoryBudget::new(800 * KIB);
    let mut sessions = [300, 500].map(|kib| Session::new(&budget, kib * KIB));
    assert!(condemned(&sessions).is_empty());
    sessions[0].holds(300 * KIB + 1);
    assert_eq!(condemned(&sessions), [1]);
}

#[test]
fn largest_go_first_and_no_more_than_needed() {
    let budget = MemoryBudget::new(800 * KIB);
    let sizes = [100, 90, 300, 80, 200, 40];
    let sessions = sizes.map(|kib| Session::new(&budget, kib * KIB));
    // 810 KiB of 800: 700 may stay.
    assert_eq!(condemned(&sessions), [2]);
    let more = Session::new(&budget, 250 * KIB);
    // 760 stay, which is not beyond the limit.
    assert!(!more.is_condemned());
    let sessions = (sessions, Session::new(&budget, 60 * KIB));
    assert!(more.is_condemned());
    assert_eq!(condemned(&sessions.0), [2]);
    assert_eq!(budget.closed(), 2);
}

#[test]
fn among_equals_who_has_held_longest_goes() {
    let budget = MemoryBudget::new(1000 * KIB);
    let sessions: Vec<_> = (0..11).map(|_| Session::new(&budget, 100 * KIB)).collect();
    assert_eq!(condemned(&sessions), [0, 1, 2]);
}

#[test]
fn what_is_given_up_but_not_yet_free_condemns_nobody_else() {
    let budget = MemoryBudget::new(100 * KIB);
    let mut sessions = [60, 30].map(|kib| Session::new(&budget, kib * KIB));
    sessions[1].holds(50 * KIB);
    for kib in 50..90 {
        sessions[1].holds(kib * KIB);
        assert_eq!(condemned(&sessions), [0], "{kib}");
    }
    // Gone, its memory is there again, once.
    let [gone, mut stays] = sessions;
    drop(gone);
    stays.holds(100 * KIB);
    assert!(!stays.is_condemned());
    stays.holds(101 * KIB);
    assert!(stays.is_condemned());
}

#[test]
fn who_holds_what_others_have_too_counts_as_large_and_costs_nothing() {
    let budget = MemoryBudget::new(100 * KIB);
    let shared = Held {
        own: 0,
        weight: 90 * KIB,
    };
    let mut sessions = [50, 60].map(|_| Session::new(&budget, 0));
    sessions[0].settle(shared);
    assert_eq!(budget.used(), 0);
    sessions[1].holds(101 * KIB);
    assert_eq!(condemned(&sessions), [1]);
    sessions[1] = Session::new(&budget, 80 * KIB);
    sessions[1].holds(101 * KIB);
    sessions[1] = Session::new(&budget, 30 * KIB);
    let _much = Session::new(&budget, 75 * KIB);
    assert_eq!(condemned(&sessions), [0]);
}

#[test]
fn a_payload_that_is_lent_counts_until_its_last_share_is_gone() {
    let budget = MemoryBudget::new(100 * KIB);
    let payload = budget.lend(Bytes::from(vec![7; 5000]));
    let (share, part) = (payload.clone(), payload.slice(10..20));
    assert_eq!((budget.used(), &part[..]), (5000, &[7; 10][..]));
    drop((payload, share));
    assert_eq!(budget.used(), 5000);
    drop(part);
    assert_eq!(budget.used(), 0);
}

#[test]
fn half_of_the_budget_at_most_is_held_by_those_nobody_finds() {
    let budget = MemoryBudget::new(100 * KIB);
    let sessions: Vec<_> = (0..25).map(|_| Session::new(&budget, 4 * KIB)).collect();
    assert!(condemned(&sessions).is_empty());
    let last = Session::new(&budget, 4 * KIB);
    // 104 KiB of 100: 87.5 may stay.
    assert_eq!(
        condemned(&sessions).len() + usize::from(last.is_condemned()),
        5
    );
}

#[test]
fn a_session_that_moves_to_another_task_is_woken_there() {
    let budget = MemoryBudget::new(100 * KIB);
    let mut session = Session::new(&budget, 90 * KIB);
    session.woken = Arc::default();
    session.holds(91 * KIB);
    session.holds(101 * KIB);
    assert!(session.is_condemned());
}

#[test]
fn room_is_made_for_those_who_were_stopped() {
    let budget = MemoryBudget::new(100 * KIB);
    let sessions = [30, 40, 20].map(|kib| Session::new(&budget, kib * KIB));
    budget.make_room();
    assert_eq!(condemned(&sessions), [1]);
    budget.make_room();
    assert_eq!(condemned(&sessions), [1]);
}

#[test]
fn without_a_limit_it_is_counted_and_nobody_goes() {
    let budget = MemoryBudget::unlimited();
    let mut session = Session::new(&budget, usize::MAX / 2);
    assert!(!session.is_condemned() && !budget.is_nearly_used_up());
    session.holds(0);
    assert_eq!(budget.used(), 0);
}
