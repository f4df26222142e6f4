//! What a session holds in memory, and how it gives way where that is too much for the budget that
//! it shares with others.

use std::{task::Context, time::Duration};

use super::{Driver, Input, Phase, cold::Cold, round::Line, round::Turn};
use crate::{
    error::Error,
    memory::{Account, Held},
    protocol::{CloseCode, CloseFrame},
    session::report::EndedBy,
};

impl Driver {
    /// What is held of messages that have not ended, in bytes.
    #[inline]
    fn received(&self) -> usize {
        self.incoming.memory() + self.undecoded_len()
    }

    /// Counts what the turn leaves behind: `held` is what waits for the application and for the
    /// transport.
    #[inline]
    pub(crate) fn settle(&mut self, cx: &Context<'_>, turn: &Turn) {
        let held = turn.left.and(self.received());
        if held.is_little() && self.account().is_none() {
            return;
        }
        self.settle_account(cx, held);
    }

    #[cold]
    fn settle_account(&mut self, cx: &Context<'_>, held: Held) {
        if self.phase == Phase::Ended {
            return;
        }
        let shared = self.shared.clone();
        let cold = self.cold();
        if held.is_little() && cold.stopped.is_none() {
            let account = cold.account.take();
            drop(account);
            return self.forget_cold();
        }
        let budget = &shared.config().memory_budget;
        let account = cold.account.get_or_insert_with(|| budget.open_account());
        account.settle(held, cx.waker());
    }

    #[inline]
    fn account(&self) -> Option<&Account> {
        self.cold.as_ref()?.account.as_ref()
    }

    /// Reports whether the connection was told to give up what it holds.
    #[inline]
    pub(super) fn is_condemned(&self) -> bool {
        self.account().is_some_and(Account::is_condemned)
    }

    /// Gives up what is held, and closes with 1013.
    #[cold]
    pub(super) fn give_way(&mut self, cx: &mut Context<'_>, line: &mut Line) {
        let shared = self.shared.clone();
        if shared.config().memory_budget.warns() {
            tracing::warn!(
                budget = ?shared.config().memory_budget,
                "websocket connections are closed: the memory budget is used up: see `tuning#what-a-setting-costs`"
            );
        }
        self.incoming.discard_messages();
        let mut locked = shared.lock_to_drive();
        // Who holds something after that has a deadline for its end, and is told no more.
        let inbox = locked.discard_inbox();
        if inbox.as_ref().is_some_and(|inbox| !inbox.is_empty()) {
            // Even where the peer has closed: a clean end would hide that something is lost.
            locked.fail_end(Error::OverBudget);
        }
        let blocked = self.write_blocked && locked.queued() > 0;
        drop(locked);
        if self.phase == Phase::Open {
            let frame = CloseFrame::new(CloseCode::TRY_AGAIN_LATER, REASON);
            self.fail(cx, Error::OverBudget, EndedBy::OverBudget, &frame);
        }
        if blocked {
            // The Close frame is behind it, and would not be read in time.
            self.end(line);
        }
        // It is code of others, which may panic.
        drop(inbox);
    }

    /// Returns how much more may be read now by a connection that holds `held` bytes: no more than is left
    /// for all, and of the reserve no more than makes it hold [`SMALL`]; who holds more than the reserve leaves as
    /// much to others anyway. `None` where that is more than a read brings.
    #[inline]
    pub(super) fn share(&self, held: usize) -> Option<usize> {
        let budget = &self.config().memory_budget;
        let left = budget.left();
        let share = left.saturating_sub(held.max(budget.reserve()));
        if share >= PLENTY {
            return None;
        }
        let small = SMALL.min(left).saturating_sub(held);
        Some(share.max(small))
    }

    /// Nothing is read for a while: the connection, which holds `held` bytes, holds more than is left for all.
    #[cold]
    pub(super) fn stop_reading(&mut self, cx: &Context<'_>, held: usize) {
        self.input = Input::Paused;
        self.timers.paused();
        let now = Self::now();
        let since = *self.cold().stopped.get_or_insert(now);
        if self.cold().look.is_none() {
            self.look_again(now, LOOK_AGAIN);
        }
        let config = self.shared.config();
        self.timers.restart_first_message(now, config);
        let budget = &config.memory_budget;
        match now - since {
            waited if waited >= OVERDUE => {
                if let Some(account) = &mut self.cold().account {
                    account.condemn(cx.waker());
                }
            }
            waited if waited >= PATIENCE => budget.make_room(),
            // It does nothing that others have to wait for.
            _ if held < SMALL => budget.make_some_room(),
            _ => {}
        }
    }

    /// The connection is read again, where it was stopped: first comes what is given.
    #[inline]
    pub(super) fn go_on_reading(&mut self) -> Option<u8> {
        if !self.waits_for_memory() {
            return None;
        }
        let cold = self.cold();
        (cold.look, cold.stopped) = (None, None);
        cold.ahead.take()
    }

    /// Reports whether the connection is not read because others need the memory.
    #[inline]
    pub(super) fn waits_for_memory(&self) -> bool {
        let stopped = |cold: &Cold| cold.stopped.is_some();
        self.cold.as_deref().is_some_and(stopped)
    }

    /// Reports whether it does not look yet whether there is memory.
    pub(super) fn is_stopped(&self) -> bool {
        let stopped = |cold: &Cold| cold.stopped.is_some() && cold.look.is_some();
        self.cold.as_deref().is_some_and(stopped)
    }
}

/// More than one read brings.
const PLENTY: usize = 128 << 10;

/// A connection that holds less than this, in bytes, does not wait for those that hold more: the last of the
/// budget is for such, and where that is used up, too, others give way at once.
const SMALL: usize = 8 << 10;

/// Where less than this is left for a connection that holds nothing, it may have as much, in bytes.
pub(super) const LEAST_SHARE: usize = 1 << 10;

/// How often a connection that is not read looks whether it may be.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long it is not read until those that hold most have to give up what they hold.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it is not read until it has to give up what it holds itself.
const OVERDUE: Duration = Duration::from_secs(10);

const REASON: &str = "the server is short of memory";
