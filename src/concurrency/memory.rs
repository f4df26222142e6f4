//! A budget of memory, while connections fill it, leave it, and are condemned.

use std::task::Waker;

use super::{end, explore, start};
use crate::memory::{Held, MemoryBudget};

const KIB: usize = 1 << 10;

/// Takes that much, then a little more, and leaves.
async fn hold(budget: MemoryBudget, kib: usize) {
    let mut account = budget.open_account();
    for own in [kib * KIB, (kib + 8) * KIB] {
        account.settle(Held { own, weight: own }, Waker::noop());
        if account.is_condemned() {
            return;
        }
    }
}

/// Nothing is counted twice, forgotten, or taken off twice, though some are condemned as they leave.
#[test]
fn budget_comes_back_to_nothing_whoever_is_told_to_go() {
    explore(async || {
        let budget = MemoryBudget::new(100 * KIB);
        let holders = [60, 45, 30].map(|kib| start(hold(budget.clone(), kib)));
        let room = {
            let budget = budget.clone();
            start(async move { budget.make_room() })
        };
        for holder in holders {
            end(holder).await;
        }
        end(room).await;
        assert_eq!(budget.used(), 0);
        let mut all = budget.open_account();
        for (own, too_much) in [(100 * KIB, false), (100 * KIB + 1, true)] {
            all.settle(Held { own, weight: own }, Waker::noop());
            assert_eq!(all.is_condemned(), too_much);
        }
    });
}
