//! Sessions that have something to write and were not woken for it.

use tokio::runtime::{Handle, Id};

use crate::session::{Asleep, Sender, Wakers};

/// Sessions by the runtime they run in. Those that are left are woken on drop.
#[derive(Default)]
pub(super) struct Unwoken {
    /// Mostly there is one runtime.
    first: Option<SessionBatch>,
    others: Vec<SessionBatch>,
    /// Some were woken here, because it is not known where they run.
    woken: bool,
}

/// Sessions of one runtime.
pub(super) struct SessionBatch {
    pub(super) runtime: Handle,
    pub(super) sessions: Wakers,
}

impl Unwoken {
    /// Adds the session of a connection; `more` may come.
    pub(super) fn add(&mut self, sender: &Sender, session: Asleep, more: usize) {
        let known = session.runtime;
        let batch = known.and_then(|id| self.batch(id, || sender.runtime()));
        let Some(SessionBatch { sessions, .. }) = batch else {
            // No task would wake it better.
            self.woken = true;
            return session.waker.wake();
        };
        if sessions.is_empty() {
            sessions.reserve(more);
        }
        sessions.push(session.waker);
    }

    /// Adds the sessions of a batch, and leaves it empty; reports whether there were none before.
    pub(super) fn append(&mut self, more: &mut SessionBatch) -> bool {
        let runtime = || Some(more.runtime.clone());
        let Some(batch) = self.batch(more.runtime.id(), runtime) else {
            return false;
        };
        let none = batch.sessions.is_empty();
        batch.sessions.append(&mut more.sessions);
        none
    }

    /// Reports whether sessions were woken here since this was asked.
    pub(super) fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Takes the sessions of a runtime out.
    pub(super) fn take(&mut self, runtime: Id) -> Option<SessionBatch> {
        if let Some(batch) = self.first.take_if(|batch| batch.runtime.id() == runtime) {
            return Some(batch);
        }
        let others = &mut self.others;
        let index = others
            .iter()
            .position(|batch| batch.runtime.id() == runtime);
        index.map(|index| others.swap_remove(index))
    }

    pub(super) fn batches(&mut self) -> impl Iterator<Item = &mut SessionBatch> {
        self.first.iter_mut().chain(&mut self.others)
    }

    /// Returns the sessions of a runtime, of which there are as many as cores, at most.
    fn batch(
        &mut self,
        id: Id,
        runtime: impl FnOnce() -> Option<Handle>,
    ) -> Option<&mut SessionBatch> {
        let is_it = |batch: &SessionBatch| batch.runtime.id() == id;
        let first = match &self.first {
            Some(first) => is_it(first),
            None => self.others.is_empty(),
        };
        let new = || {
            Some(SessionBatch {
                runtime: runtime()?,
                sessions: Wakers::default(),
            })
        };
        if first {
            if self.first.is_none() {
                self.first = new();
            }
            return self.first.as_mut();
        }
        let index = match self.others.iter().position(is_it) {
            Some(index) => index,
            None => {
                self.others.push(new()?);
                self.others.len() - 1
            }
        };
        self.others.get_mut(index)
    }
}
