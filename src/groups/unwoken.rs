//! Sessions that have something to write and were not woken for it.

use std::{cell::RefCell, collections::LinkedList, mem};

use tokio::runtime::{Handle, Id};

use crate::{pool, session::Sender};

/// Sessions by the runtime they run in. Those that are left are woken on drop.
#[derive(Default)]
pub(super) struct Unwoken {
    /// Mostly there is one runtime.
    first: Option<SessionBatch>,
    others: Vec<SessionBatch>,
    /// It is not known where these run.
    anywhere: Chunk,
}

/// Sessions of one runtime.
pub(super) struct SessionBatch {
    pub(super) runtime: Handle,
    pub(super) sessions: Sessions,
}

impl Unwoken {
    /// Adds a session, which runs in `runtime` if that is known. Nothing is written or woken before the next call of
    /// another method.
    #[inline]
    pub(super) fn add(&mut self, session: Sender, runtime: Option<&Handle>) {
        match runtime {
            Some(runtime) => self.batch(runtime).sessions.push(session),
            None => self.anywhere.0.push(session),
        }
    }

    /// Adds the sessions of a batch, and leaves it empty; reports whether there were none before.
    pub(super) fn append(&mut self, more: &mut SessionBatch) -> bool {
        let batch = self.batch(&more.runtime);
        let none = batch.sessions.is_empty();
        batch.sessions.append(&mut more.sessions);
        none
    }

    /// Wakes those of which it is not known where they run, since no task would do it better; reports whether
    /// there were any.
    pub(super) fn wake_anywhere(&mut self) -> bool {
        let any = !self.anywhere.0.is_empty();
        self.anywhere.wake();
        any
    }

    /// Takes the sessions of a runtime out.
    pub(super) fn take(&mut self, runtime: Id) -> Sessions {
        let is_it = |batch: &SessionBatch| batch.runtime.id() == runtime;
        if let Some(first) = self.first.take_if(|batch| is_it(batch)) {
            return first.sessions;
        }
        let index = self.others.iter().position(is_it);
        let batch = index.map(|index| self.others.swap_remove(index));
        batch.map_or_else(Sessions::default, |batch| batch.sessions)
    }

    pub(super) fn batches(&mut self) -> impl Iterator<Item = &mut SessionBatch> {
        self.first.iter_mut().chain(&mut self.others)
    }

    /// Returns the sessions of a runtime, of which there are as many as cores, at most.
    #[inline]
    fn batch(&mut self, runtime: &Handle) -> &mut SessionBatch {
        let Self { first, others, .. } = self;
        let new = || SessionBatch {
            runtime: runtime.clone(),
            sessions: Sessions::default(),
        };
        let is_it = |batch: &SessionBatch| batch.runtime.id() == runtime.id();
        let first = first.get_or_insert_with(new);
        if is_it(first) {
            return first;
        }
        let index = others.iter().position(is_it).unwrap_or_else(|| {
            others.push(new());
            others.len() - 1
        });
        &mut others[index]
    }
}

/// Sessions in the order they were added, in chunks, so that neither adding one nor writing for some takes time that
/// grows with their number. Those that are left are woken on drop.
#[derive(Default)]
pub(super) struct Sessions(LinkedList<Chunk>);

impl Sessions {
    #[inline]
    fn push(&mut self, session: Sender) {
        match self.0.back_mut() {
            Some(last) if last.0.len() < CHUNK => last.0.push(session),
            _ => self.push_chunk(session),
        }
    }

    fn push_chunk(&mut self, session: Sender) {
        let mut chunk = take_spare();
        chunk
            .iter_mut()
            .for_each(|chunk| chunk.0.reserve_exact(CHUNK));
        self.0.append(&mut chunk);
        if let Some(last) = self.0.back_mut() {
            last.0.push(session);
        }
    }

    /// Adds those of another one, and leaves it empty.
    fn append(&mut self, more: &mut Self) {
        if let (Some(last), Some(first)) = (self.0.back_mut(), more.0.front_mut())
            && last.0.len() + first.0.len() <= CHUNK
        {
            last.0.append(&mut first.0);
            put_back(more.take_chunk());
        }
        self.0.append(&mut more.0);
    }

    /// Writes for the first few, or wakes them where they have to write themselves; reports whether there are
    /// more.
    pub(super) fn flush_some(&mut self) -> bool {
        let mut chunk = self.take_chunk();
        chunk.iter_mut().for_each(Chunk::flush);
        put_back(chunk);
        !self.is_empty()
    }

    /// Takes all but the first few, if there are more.
    pub(super) fn take_rest(&mut self) -> Self {
        Self(self.0.split_off(self.0.len().min(1)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take_chunk(&mut self) -> LinkedList<Chunk> {
        take_first(&mut self.0)
    }
}

/// A few sessions. Those that are left are woken on drop.
#[derive(Default)]
struct Chunk(Vec<Sender>);

impl Chunk {
    /// Writes for all, and keeps the room for others.
    fn flush(&mut self) {
        self.0.drain(..).for_each(|session| session.flush_now());
    }

    /// Wakes all, and keeps the room for others.
    fn wake(&mut self) {
        self.0.drain(..).for_each(|session| session.wake_promised());
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Takes the first chunk out, if there is one.
fn take_first(chunks: &mut LinkedList<Chunk>) -> LinkedList<Chunk> {
    let rest = chunks.split_off(chunks.len().min(1));
    mem::replace(chunks, rest)
}

/// Takes one of the thread's spare chunks, or makes one.
fn take_spare() -> LinkedList<Chunk> {
    let spare = pool::with(&SPARE, |spare| take_first(&mut spare.borrow_mut()));
    spare
        .filter(|spare| !spare.is_empty())
        .unwrap_or_else(|| LinkedList::from([Chunk::default()]))
}

/// Gives a chunk to the thread, whose sessions were written for.
fn put_back(mut chunk: LinkedList<Chunk>) {
    pool::with(&SPARE, |spare| {
        let spare = &mut *spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.append(&mut chunk);
        }
    });
}

thread_local! {
    static SPARE: RefCell<LinkedList<Chunk>> = const { RefCell::new(LinkedList::new()) };
}

/// How many sessions are written for before others get their turn.
///
/// They take less than 1 KiB: from there on glibc's malloc first tidies up all that was ever freed, which takes
/// milliseconds where many connections are.
const CHUNK: usize = STRETCH;

/// How many members a broadcast sends to before others get their turn. Where many connections are, none of what
/// it touches is in the cache: that takes 1 to 2 us for each.
pub(super) const STRETCH: usize = 60;

/// How many chunks a thread keeps: 16 KiB, at most.
const MAX_SPARE: usize = 16;
