//! What a group is told when a member has left.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
};

use tokio::runtime::Handle;

use super::{
    content::{Broadcast, Content},
    push_out::push_out,
};
use crate::sync::spawn_on;

/// What is broadcast once a member has left.
pub(super) struct Farewell {
    content: Content,
    /// Where it is said, if that takes a task and the membership ends in no runtime.
    runtime: Handle,
}

impl Farewell {
    /// Makes one for the runtime that the caller is in.
    #[track_caller]
    pub(super) fn new(message: Broadcast) -> Self {
        Self {
            content: Content::Message(message),
            runtime: Handle::current(),
        }
    }

    /// Says it, where no lock is held.
    ///
    /// Where it `may_begin`, at once if no broadcast is under way, and few are to hear it. The rest is done by a task,
    /// in the runtime of the caller if there is one: that runs, and the other one may not. It is over where a payload
    /// panics when it is dropped.
    pub(super) fn say<F>(self, may_begin: bool, say: impl FnOnce(Content) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut saying = Box::pin(say(self.content));
        if may_begin {
            let mut cx = Context::from_waker(Waker::noop());
            let poll = AssertUnwindSafe(|| saying.as_mut().poll(&mut cx));
            if !matches!(catch_unwind(poll), Ok(Poll::Pending)) {
                return;
            }
        }
        let runtime = Handle::try_current().unwrap_or(self.runtime);
        spawn_on(&runtime, saying);
        push_out(&runtime);
    }
}
