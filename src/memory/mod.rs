//! Memory that many connections share: how much there is, who holds it, and who has to give it up.

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

impl MemoryBudget {
    /// Makes a budget of this many bytes.
    ///
    /// At least twice the largest message that is to be received, and what the slow receivers of a
    /// usual day have queued.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            ledger: Arc::new(Ledger::new(bytes)),
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

    /// Returns how many bytes are held.
    #[must_use]
    pub fn used(&self) -> usize {
        self.ledger.used.load(Relaxed)
    }

    /// Returns how many connections were closed for it so far.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.ledger.closed.load(Relaxed)
    }

    /// Reports whether so little is left that handshakes are refused.
    #[must_use]
    pub fn is_nearly_used_up(&self) -> bool {
        self.left() < self.ledger.limit / 8 || self.ledger.limit == 0
    }

    /// Returns how many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.ledger.left()
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

    /// Has those who hold most give it up, until a quarter of the budget is free.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn make_room(&self) {
        self.ledger.free(self.ledger.limit / 4);
    }

    /// Reports, once until there is enough again, that there is too little.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn warns(&self) -> bool {
        !self.ledger.warned.swap(true, Relaxed)
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

#[cfg(all(test, feature = "layer"))]
mod tests;
