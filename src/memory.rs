//! Memory that many connections share: how much there is, who holds it, and who has to give it up.

use std::{
    array,
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError},
    task::Waker,
};

use bytes::Bytes;

use crate::sync::{
    Mutex, MutexGuard,
    atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

/// A limit on what all connections that share it hold in memory together.
///
/// Each connection alone is bounded by [`Config`](crate::Config); 20,000 of them with half a message
/// of 1 MiB each are 20 GB all the same. So what they hold counts against a budget:
///
/// - what was received of messages that have not ended, decompressed or not;
/// - what was received and the application has not taken;
/// - what is queued and the transport has not taken. A [`Prepared`](crate::Prepared) message of 4 KiB
///   and more, as each broadcast to a [group](crate::Groups) is, counts once for all its receivers,
///   from when it is first sent until it is dropped.
///
/// What one connection holds is counted from 1 KiB on, when its turn ends: connections that keep up
/// cost nothing. Not counted are the buffers of the kernel and of the HTTP server, TLS, what the
/// application has taken, the about 1,000 bytes of a connection itself, and what context takeover
/// needs, which has [a limit of its own](crate::Compression).
///
/// # As it is used up
///
/// 1. A connection is not read while it holds more than is left of the budget: the largest stop
///    first, and those that hold nothing go on. It is read again when there is room; the wait is
///    looked at every 250 ms.
/// 2. With less than an eighth left, handshakes are refused with 503 and `Retry-After`
///    ([`Rejection::OverBudget`](crate::handshake::Rejection::OverBudget)).
/// 3. Beyond the limit the connections that hold most are closed with code 1013, until an eighth is
///    free again. Where others have been stopped for 2 seconds that happens too, until a quarter is;
///    and who has been stopped for 10 seconds is closed itself. Their application gets
///    [`Error::OverBudget`](crate::Error::OverBudget), their report says
///    [`EndedBy::OverBudget`](crate::EndedBy::OverBudget). A Close frame would not get past what a
///    peer does not take: such a connection ends without.
///
/// The limit may be passed by what is sent meanwhile, and by what one turn of each thread receives.
/// No message is received that is larger than half of the budget.
///
/// # Which connections share one
///
/// All that are made with the same one by [`Config::memory_budget`](crate::Config::memory_budget),
/// and clones are the same. By default that is the one of the process, [`MemoryBudget::default`], with
/// 256 MiB: a server with 1 GB of memory survives with it. Who has more and needs it sets more.
///
/// ```
/// use tower_websocket::{Config, MemoryBudget};
///
/// let budget = MemoryBudget::new(2 << 30);
/// let config = Config::default().memory_budget(&budget);
/// println!("{} of {:?} bytes", budget.used(), budget.limit());
/// ```
#[derive(Clone)]
pub struct MemoryBudget {
    ledger: Arc<Ledger>,
}

struct Ledger {
    limit: usize,
    used: AtomicUsize,
    /// What those hold who were told to give it up.
    condemned: AtomicUsize,
    /// How many were told so far.
    closed: AtomicU64,
    /// The next holder's number.
    next: AtomicU64,
    /// Those who hold much, in the shard of their number: the oldest first.
    holders: [Mutex<BTreeMap<u64, Arc<Holder>>>; SHARDS],
    /// It is being decided who has to give up.
    deciding: Mutex<()>,
    /// It was said in the log that there is too little, and there still is.
    warned: AtomicBool,
}

/// A connection that holds much.
struct Holder {
    number: u64,
    /// All that it holds, what it shares with others too.
    weight: AtomicUsize,
    /// What was held by it alone when it was told to give it up.
    condemned: AtomicUsize,
    is_condemned: AtomicBool,
    /// What it holds alone.
    own: AtomicUsize,
    session: Waker,
}

impl MemoryBudget {
    /// Makes a budget of this many bytes.
    ///
    /// At least twice the largest message that is to be received, and what the slow receivers of a
    /// usual day have queued.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            ledger: Arc::new(Ledger {
                limit: bytes,
                used: AtomicUsize::new(0),
                condemned: AtomicUsize::new(0),
                closed: AtomicU64::new(0),
                next: AtomicU64::new(0),
                holders: array::from_fn(|_| Mutex::default()),
                deciding: Mutex::default(),
                warned: AtomicBool::new(false),
            }),
        }
    }

    /// Makes a budget without a limit, which counts all the same.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// The limit in bytes; `None` where there is none.
    #[must_use]
    pub fn limit(&self) -> Option<usize> {
        Some(self.ledger.limit).filter(|limit| *limit < usize::MAX)
    }

    /// How many bytes are held.
    #[must_use]
    pub fn used(&self) -> usize {
        self.ledger.used.load(Relaxed)
    }

    /// How many connections were closed for it so far.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.ledger.closed.load(Relaxed)
    }

    /// Whether so little is left that handshakes are refused.
    #[must_use]
    pub fn is_nearly_used_up(&self) -> bool {
        self.left() < self.ledger.limit / 8 || self.ledger.limit == 0
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.ledger.limit.saturating_sub(self.used())
    }

    /// Counts a payload that many connections will share, as long as one of them has it.
    pub(crate) fn lend(&self, payload: Bytes) -> Bytes {
        self.ledger.used.fetch_add(payload.len(), Relaxed);
        Bytes::from_owner(Lent {
            payload,
            budget: self.clone(),
        })
    }

    /// How many bytes are held by those who were not told to give it up.
    fn stays(&self) -> usize {
        let condemned = self.ledger.condemned.load(Relaxed);
        self.used().saturating_sub(condemned)
    }

    /// Has those who hold most give it up, until a quarter of the budget is free.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn make_room(&self) {
        self.free(self.ledger.limit / 4);
    }

    /// Reports, once until there is enough again, that there is too little.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn warns(&self) -> bool {
        !self.ledger.warned.swap(true, Relaxed)
    }

    /// Has those who hold most give it up, until this many bytes are free: the largest first, and
    /// among equals who has held longest.
    fn free(&self, bytes: usize) {
        let ledger = &*self.ledger;
        let target = ledger.limit.saturating_sub(bytes);
        if self.stays() <= target {
            return;
        }
        // Who comes second finds it done.
        let deciding = ledger.deciding.lock();
        let deciding = deciding.unwrap_or_else(PoisonError::into_inner);
        let mut excess = self.stays().saturating_sub(target);
        if excess == 0 {
            return;
        }
        let mut holders: Vec<_> = (0..SHARDS)
            .flat_map(|index| {
                let shard = ledger.shard(index as u64);
                let all: Vec<_> = shard.values().cloned().collect();
                all
            })
            .map(|holder| (holder.weight.load(Relaxed), holder))
            .filter(|(weight, holder)| *weight > 0 && !holder.is_condemned.load(Relaxed))
            .collect();
        holders.sort_by_key(|(weight, holder)| (usize::MAX - weight, holder.number));
        let told = holders.iter().take_while(|(weight, holder)| {
            let due = excess > 0;
            if due {
                excess = excess.saturating_sub(*weight);
                holder.condemn(ledger);
            }
            due
        });
        let told = told.count();
        // Wakers are code of others.
        drop(deciding);
        for (_, holder) in &holders[..told] {
            holder.session.wake_by_ref();
        }
    }
}

#[cfg(not(shuttle))]
fn process() -> MemoryBudget {
    static PROCESS: std::sync::LazyLock<MemoryBudget> =
        std::sync::LazyLock::new(|| MemoryBudget::new(256 << 20));
    PROCESS.clone()
}

/// No lock outlives the order in which threads are tried.
#[cfg(shuttle)]
fn process() -> MemoryBudget {
    MemoryBudget::new(256 << 20)
}

impl Default for MemoryBudget {
    /// The budget of the process: 256 MiB, shared by all that set none of their own.
    fn default() -> Self {
        process()
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("limit", &self.limit())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Ledger {
    fn shard(&self, number: u64) -> MutexGuard<'_, BTreeMap<u64, Arc<Holder>>> {
        // Nothing under the lock can panic half-way.
        self.holders[number as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Relaxed);
        if before - bytes < self.limit / 2 && self.warned.load(Relaxed) {
            self.warned.store(false, Relaxed);
        }
    }
}

impl Holder {
    fn condemn(&self, ledger: &Ledger) {
        let own = self.own.load(Relaxed);
        self.condemned.store(own, Relaxed);
        ledger.condemned.fetch_add(own, Relaxed);
        if self.is_condemned.swap(true, AcqRel) {
            // It has just been forgotten.
            ledger.condemned.fetch_sub(own, Relaxed);
        } else {
            ledger.closed.fetch_add(1, Relaxed);
        }
    }
}

/// What one connection holds of a budget. Given back when dropped.
pub(crate) struct Account {
    budget: MemoryBudget,
    charged: usize,
    /// Present once it is much.
    holder: Option<Arc<Holder>>,
}

#[cfg_attr(
    not(feature = "layer"),
    expect(dead_code, reason = "sessions have one")
)]
impl Account {
    pub(crate) fn new(budget: &MemoryBudget) -> Self {
        Self {
            budget: budget.clone(),
            charged: 0,
            holder: None,
        }
    }

    /// Takes note of what is held now: by this connection alone, and in all.
    ///
    /// Where that is too much for the budget those who hold most learn it, by a wake of their
    /// session. This one's is `session`.
    pub(crate) fn settle(&mut self, held: Held, session: &Waker) {
        self.charge(held.own);
        if self.is_condemned() {
            return self.is_on_its_way(held.own);
        }
        // What those hold that are not known is no more than half of the budget.
        let scarce = self.budget.left() < self.budget.ledger.limit / 2;
        if held.weight >= if scarce { SOME } else { MUCH } {
            self.be_known(held, session);
        } else if let Some(holder) = &self.holder {
            holder.own.store(held.own, Relaxed);
            holder.weight.store(held.weight, Relaxed);
        }
        let limit = self.budget.ledger.limit;
        if self.budget.stays() > limit {
            self.budget.free(limit / 8);
        }
    }

    /// Takes note of how much is still to be given up.
    fn is_on_its_way(&self, own: usize) {
        if let Some(holder) = &self.holder {
            let before = holder.condemned.load(Relaxed);
            let less = before.saturating_sub(own);
            holder.condemned.store(before - less, Relaxed);
            self.budget.ledger.condemned.fetch_sub(less, Relaxed);
        }
    }

    fn charge(&mut self, own: usize) {
        let ledger = &*self.budget.ledger;
        if own > self.charged {
            ledger.used.fetch_add(own - self.charged, Relaxed);
        } else if own < self.charged {
            ledger.give_back(self.charged - own);
        }
        self.charged = own;
    }

    /// Is found from now on by who looks for those that hold most.
    fn be_known(&mut self, held: Held, session: &Waker) {
        if let Some(holder) = &self.holder {
            holder.own.store(held.own, Relaxed);
            holder.weight.store(held.weight, Relaxed);
            if holder.session.will_wake(session) {
                return;
            }
            // Its session has moved to another task.
            self.be_forgotten();
        }
        let ledger = &*self.budget.ledger;
        let number = ledger.next.fetch_add(1, Relaxed);
        let holder = Arc::new(Holder {
            number,
            weight: AtomicUsize::new(held.weight),
            own: AtomicUsize::new(held.own),
            condemned: AtomicUsize::new(0),
            is_condemned: AtomicBool::new(false),
            session: session.clone(),
        });
        ledger.shard(number).insert(number, holder.clone());
        self.holder = Some(holder);
    }

    fn be_forgotten(&mut self) {
        let Some(holder) = self.holder.take() else {
            return;
        };
        let ledger = &*self.budget.ledger;
        let known = ledger.shard(holder.number).remove(&holder.number);
        drop(known);
        // Who found it before finds it condemned.
        if holder.is_condemned.swap(true, AcqRel) {
            let condemned = holder.condemned.load(Relaxed);
            ledger.condemned.fetch_sub(condemned, Relaxed);
        }
    }

    /// Has this connection itself give up what it holds.
    pub(crate) fn condemn(&mut self, session: &Waker) {
        if self.holder.is_none() {
            let held = Held {
                own: self.charged,
                weight: self.charged,
            };
            self.be_known(held, session);
        }
        if let Some(holder) = &self.holder {
            holder.condemn(&self.budget.ledger);
            session.wake_by_ref();
        }
    }

    /// Whether the connection has to give up what it holds.
    pub(crate) fn is_condemned(&self) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.is_condemned.load(Acquire))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.be_forgotten();
        self.charge(0);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("charged", &self.charged)
            .finish_non_exhaustive()
    }
}

/// What a connection holds, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Held {
    /// What would be free if it were gone.
    pub(crate) own: usize,
    /// That, and what it shares with others.
    pub(crate) weight: usize,
}

#[cfg_attr(
    not(feature = "layer"),
    expect(dead_code, reason = "sessions have one")
)]
impl Held {
    /// Adds what the connection has for itself.
    pub(crate) fn and(self, own: usize) -> Self {
        Self {
            own: self.own + own,
            weight: self.weight + own,
        }
    }

    /// Whether it is too little to count.
    #[inline]
    pub(crate) fn is_little(self) -> bool {
        self.weight < LITTLE
    }
}

/// A payload that many connections share, counted once.
struct Lent {
    payload: Bytes,
    budget: MemoryBudget,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.budget.ledger.give_back(self.payload.len());
    }
}

/// Less than this, in bytes, does not count.
pub(crate) const LITTLE: usize = 1 << 10;

/// Who holds less than this, in bytes, is not among those who may have to give it up.
const SOME: usize = 4 << 10;

/// Who holds less than this, in bytes, is not among them while half of the budget is left.
const MUCH: usize = 64 << 10;

/// How many cores can enter and leave without getting in each other's way.
const SHARDS: usize = 16;

#[cfg(all(test, feature = "layer"))]
mod tests {
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
                account: Account::new(budget),
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
        assert_eq!(condemned(&sessions), []);
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
        assert_eq!(condemned(&sessions), []);
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
}
