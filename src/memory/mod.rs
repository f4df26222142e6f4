//! Memory that many connections share: how much there is, which connections hold it, and which have to
//! give it up.

mod account;
mod held;
mod ledger;
mod lent;

use std::{fmt, sync::Arc};

use bytes::Bytes;

#[cfg(feature = "layer")]
pub(crate) use self::held::LITTLE;
pub(crate) use self::{account::Account, held::Held};
use self::{ledger::Ledger, lent::Lent};
use crate::sync::atomic::Ordering::Relaxed;

/// A limit on the memory that all connections which share it hold together.
///
/// [`Config`](crate::Config) bounds each connection alone, but 20,000 of them with half a message each
/// still take gigabytes. So what they hold counts against a budget:
///
/// - the received parts of messages that have not ended, decompressed or not;
/// - received messages that the application has not taken;
/// - queued messages that the transport has not taken. A [`PreparedMessage`](crate::PreparedMessage) of 4 KiB
///   and more, as each broadcast to a [group](crate::Groups) is, counts once for all its receivers,
///   from when it is first sent until it is dropped.
///
/// What a connection holds is counted from 1 KiB on, when its turn ends: connections that keep up cost
/// nothing. The budget does not count the buffers of the kernel, of the HTTP server and of TLS, what
/// the application has taken, or the roughly 1,000 bytes of a connection itself. Context takeover has
/// [a limit of its own](crate::Compression).
///
/// # As it is used up
///
/// 1. A connection is not read while it holds more than is left of the budget. The largest stop
///    first, and those that hold nothing continue. The last 32nd is left to connections that hold
///    less than 8 KiB. Every 250 ms a stopped connection checks whether there is room to read again.
/// 2. With less than an eighth left, handshakes are rejected with 503 and `Retry-After`
///    ([`Rejection::OverBudget`](crate::handshake::Rejection::OverBudget)).
/// 3. Beyond the limit, or when a connection that holds less than 8 KiB is stopped, the connections
///    that hold most are closed with code 1013, until an eighth is free again. After a connection was
///    stopped for 2 seconds the largest are closed, too, until a quarter is free; one that was stopped
///    for 10 seconds is closed itself. Their application gets
///    [`Error::OverBudget`](crate::Error::OverBudget); their report has
///    [`EndedBy::OverBudget`](crate::session::EndedBy::OverBudget). If the peer does not take what was
///    sent before, the connection ends without a Close frame.
///
/// What is sent meanwhile, and what one turn of each thread receives, may exceed the limit. A message
/// larger than half of the budget cannot be received.
///
/// # Which connections share one
///
/// Those whose [`Config::memory_budget`](crate::Config::memory_budget) is the same budget, or a clone of
/// it. The default is the budget of the process, [`MemoryBudget::default`], with 256 MiB: a server with
/// 1 GB of memory survives with it. If you have more and need it, set more.
///
/// ```
/// use tower_websocket::{Config, MemoryBudget};
///
/// let budget = MemoryBudget::new(2 << 30);
/// let config = Config::default().memory_budget(&budget);
///
/// // Such as for a page of metrics:
/// println!("{} of {:?} bytes", budget.used(), budget.limit());
/// println!("{} connections were closed for it", budget.closed());
/// assert!(!budget.is_nearly_used_up());
/// assert!(config.settings().memory_budget.is_same(&budget));
/// ```
#[derive(Clone)]
pub struct MemoryBudget {
    ledger: Arc<Ledger>,
}

impl MemoryBudget {
    /// Makes a budget of this many bytes.
    ///
    /// Make it at least twice the largest message that is to be received, plus what is queued for slow
    /// receivers on a usual day.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            ledger: Arc::new(Ledger::new(bytes)),
        }
    }

    /// Makes a budget without a limit, which still counts.
    ///
    /// ```
    /// use tower_websocket::MemoryBudget;
    ///
    /// assert_eq!(MemoryBudget::unlimited().limit(), None);
    /// ```
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Returns the limit in bytes; `None` if there is none.
    #[must_use]
    pub fn limit(&self) -> Option<usize> {
        Some(self.ledger.limit).filter(|limit| *limit < usize::MAX)
    }

    /// Returns how many bytes its connections hold now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.ledger.used.load(Relaxed)
    }

    /// Returns how many connections were closed for this budget so far.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.ledger.closed.load(Relaxed)
    }

    /// Reports whether less than an eighth is left, so that handshakes are rejected.
    #[must_use]
    pub fn is_nearly_used_up(&self) -> bool {
        self.left() < self.ledger.limit / 8 || self.ledger.limit == 0
    }

    /// Reports whether both are the same budget: clones of one, or both the budget of the process.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ledger, &other.ledger)
    }

    /// Returns how many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.ledger.left()
    }

    /// Returns how many of the last bytes are kept for connections that hold little.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn reserve(&self) -> usize {
        self.ledger.limit / 32
    }

    /// Opens the account of one connection.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn open_account(&self) -> Account {
        Account::new(self.ledger.clone())
    }

    /// Counts a payload that many connections will share, as long as one of them has it.
    pub(crate) fn lend(&self, payload: Bytes) -> Bytes {
        self.ledger.used.fetch_add(payload.len(), Relaxed);
        Bytes::from_owner(Lent::new(payload, self.ledger.clone()))
    }

    /// Condemns the connections that hold most, until a quarter of the budget will be free.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn make_room(&self) {
        self.ledger.free(self.ledger.limit / 4);
    }

    /// Condemns the connections that hold most, until an eighth of the budget will be free.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn make_some_room(&self) {
        self.ledger.free(self.ledger.limit / 8);
    }

    /// Reports whether to log that memory is short: once until there is enough again.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn warns(&self) -> bool {
        !self.ledger.warned.swap(true, Relaxed)
    }
}

/// Returns the budget of the process.
#[cfg(not(shuttle))]
fn process() -> MemoryBudget {
    static PROCESS: std::sync::LazyLock<MemoryBudget> =
        std::sync::LazyLock::new(|| MemoryBudget::new(256 << 20));
    PROCESS.clone()
}

/// Makes a new one: under shuttle no lock may outlive one order of threads.
#[cfg(shuttle)]
fn process() -> MemoryBudget {
    MemoryBudget::new(256 << 20)
}

impl Default for MemoryBudget {
    /// Returns the budget of the process: 256 MiB, for all connections without one of their own.
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

#[cfg(all(test, feature = "layer"))]
mod tests;
