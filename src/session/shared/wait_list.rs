//! Tasks that wait, each in its place: added, found and taken out in constant time.

use std::{
    collections::HashMap,
    mem,
    num::NonZeroU32,
    ptr,
    task::{Context, Waker},
};

/// Tasks in the order they came.
///
/// Whoever waits keeps a [`Ticket`], and gives it back when it waits no longer. Without waiting tasks
/// there is no memory.
#[derive(Default)]
pub(crate) struct WaitList {
    places: Vec<Place>,
    first: Link,
    last: Link,
    /// The first of the places that are free.
    free: Link,
    waiting: u32,
    /// The number of the ticket that was given last.
    number: u32,
}

/// One more than the index of a place.
type Link = Option<NonZeroU32>;

struct Place {
    /// `None` where it is free.
    waker: Option<Waker>,
    /// That of the ticket, so that an old ticket is not taken for one of the next in this place.
    number: u32,
    /// The bytes that are to be sent.
    len: u32,
    before: Link,
    /// In a free place, the next one that is free.
    after: Link,
}

/// Where a task waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ticket {
    place: NonZeroU32,
    number: u32,
}

impl WaitList {
    /// Makes a list whose tickets have higher numbers.
    pub(super) fn after(number: u32) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    pub(super) fn last_number(&self) -> u32 {
        self.number
    }

    /// Waits, with `len` bytes to be sent: in the place it had, or else in a new one, which is the
    /// first for a task that was woken before. Gives the waker to drop outside all locks.
    pub(crate) fn wait(
        &mut self,
        cx: &Context<'_>,
        ticket: &mut Option<Ticket>,
        len: usize,
    ) -> Option<Waker> {
        if let Some(place) = ticket.and_then(|ticket| self.find(ticket)) {
            let waker = self.places[place].waker.as_mut()?;
            if waker.will_wake(cx.waker()) {
                return None;
            }
            return Some(mem::replace(waker, cx.waker().clone()));
        }
        // Before anything is changed: it is somebody's code.
        let waker = cx.waker().clone();
        let was_woken = ticket.is_some();
        *ticket = Some(self.add(waker, len, was_woken));
        None
    }

    /// Takes a task out, whose waker is to be dropped outside all locks; `None` where it was woken.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let place = self.find(ticket)?;
        self.take(place)
    }

    /// Takes the first task, with the bytes it has to send.
    pub(super) fn pop(&mut self) -> Option<(Waker, usize)> {
        let place = index(self.first)?;
        let len = self.places[place].len as usize;
        Some((self.take(place)?, len))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The index of the place where a ticket's task waits.
    fn find(&self, ticket: Ticket) -> Option<usize> {
        let at = index(Some(ticket.place))?;
        let place = self.places.get(at)?;
        (place.waker.is_some() && place.number == ticket.number).then_some(at)
    }

    fn add(&mut self, waker: Waker, len: usize, in_front: bool) -> Ticket {
        self.number = self.number.wrapping_add(1);
        let (before, after) = if in_front {
            (None, self.first)
        } else {
            (self.last, None)
        };
        let place = Place {
            waker: Some(waker),
            number: self.number,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            before,
            after,
        };
        let link = self.put(place);
        self.join(before, Some(link));
        self.join(Some(link), after);
        self.waiting += 1;
        Ticket {
            place: link,
            number: self.number,
        }
    }

    /// Puts a task where nobody is.
    fn put(&mut self, place: Place) -> NonZeroU32 {
        if let Some(link) = self.free
            && let Some(index) = index(self.free)
        {
            self.free = self.places[index].after;
            self.places[index] = place;
            return link;
        }
        if self.places.capacity() == 0 {
            // Mostly there is one.
            self.places.reserve_exact(1);
        }
        self.places.push(place);
        let len = u32::try_from(self.places.len()).ok();
        // More than 2^32 of them do not fit into memory, and one is there now.
        len.and_then(NonZeroU32::new).expect("a list of tasks")
    }

    /// Takes the task of a place out of the list.
    fn take(&mut self, at: usize) -> Option<Waker> {
        let place = &mut self.places[at];
        let waker = place.waker.take()?;
        let (before, after) = (place.before, place.after);
        place.after = self.free;
        self.free = NonZeroU32::new(at as u32 + 1);
        self.join(before, after);
        self.waiting -= 1;
        if self.waiting == 0 {
            self.free = None;
            if self.places.capacity() > KEPT {
                self.places = Vec::new();
            }
            self.places.clear();
        }
        Some(waker)
    }

    /// Lets one place follow upon another.
    fn join(&mut self, before: Link, after: Link) {
        match index(before) {
            Some(before) => self.places[before].after = after,
            None => self.first = after,
        }
        match index(after) {
            Some(after) => self.places[after].before = before,
            None => self.last = before,
        }
    }
}

fn index(link: Link) -> Option<usize> {
    Some(link?.get() as usize - 1)
}

/// Tasks that wait without a future that could keep a ticket, each once: those of sinks.
#[derive(Default)]
pub(super) struct TaskSet(HashMap<(usize, usize), Waker>);

impl TaskSet {
    /// Adds a task, unless it is there.
    pub(super) fn add(&mut self, cx: &Context<'_>) {
        let waker = cx.waker();
        // What `will_wake` compares.
        let task = (waker.data().addr(), ptr::from_ref(waker.vtable()).addr());
        self.0.entry(task).or_insert_with(|| waker.clone());
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        mem::take(&mut self.0).into_values()
    }
}

/// How many empty places are kept.
const KEPT: usize = 4;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::Wake,
    };

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn tasks(count: usize) -> Vec<Arc<Task>> {
        (0..count).map(|_| Arc::default()).collect()
    }

    fn wait(
        list: &mut WaitList,
        task: &Arc<Task>,
        ticket: &mut Option<Ticket>,
        len: usize,
    ) -> Option<Waker> {
        let waker = task.clone().into();
        list.wait(&Context::from_waker(&waker), ticket, len)
    }

    fn is(waker: &Waker, task: &Arc<Task>) -> bool {
        waker.will_wake(&task.clone().into())
    }

    #[test]
    fn tasks_leave_in_the_order_they_came_whoever_leaves_between() {
        let tasks = tasks(100);
        let mut list = WaitList::default();
        let mut tickets = vec![None; 100];
        for (index, (task, ticket)) in tasks.iter().zip(&mut tickets).enumerate() {
            assert!(wait(&mut list, task, ticket, index).is_none());
        }
        for index in (0..100).step_by(3) {
            let waker = list.leave(tickets[index].unwrap()).unwrap();
            assert!(is(&waker, &tasks[index]));
            assert!(list.leave(tickets[index].unwrap()).is_none(), "once");
        }
        for index in (0..100).filter(|index| index % 3 > 0) {
            let (waker, len) = list.pop().unwrap();
            assert!(is(&waker, &tasks[index]));
            assert_eq!(len, index);
        }
        assert!(list.is_empty() && list.pop().is_none());
        assert_eq!(list.places.capacity(), 0, "no memory is left");
    }

    #[test]
    fn a_task_that_waits_again_keeps_its_place_and_one_that_was_woken_is_first() {
        let tasks = tasks(3);
        let mut list = WaitList::default();
        let mut tickets = [None; 3];
        for (task, ticket) in tasks.iter().zip(&mut tickets) {
            wait(&mut list, task, ticket, 0);
        }
        // The same task, then another one for the same future.
        assert!(wait(&mut list, &tasks[1], &mut tickets[1], 0).is_none());
        let replaced = wait(&mut list, &tasks[2], &mut tickets[1], 0).unwrap();
        assert!(is(&replaced, &tasks[1]));
        let woken = list.pop().unwrap().0;
        assert!(is(&woken, &tasks[0]));
        wait(&mut list, &tasks[0], &mut tickets[0], 0);
        for task in [0, 2, 2] {
            assert!(is(&list.pop().unwrap().0, &tasks[task]));
        }
        assert!(list.is_empty());
    }

    #[test]
    fn an_old_ticket_is_not_taken_for_the_next_in_its_place() {
        let tasks = tasks(2);
        let mut list = WaitList::default();
        let (mut old, mut new) = (None, None);
        for _ in 0..10 {
            wait(&mut list, &tasks[0], &mut old, 0);
            list.pop().unwrap();
            wait(&mut list, &tasks[1], &mut new, 0);
            assert_eq!(old.unwrap().place, new.unwrap().place);
            assert!(list.leave(old.unwrap()).is_none());
            assert!(list.leave(new.unwrap()).is_some());
        }
    }

    #[test]
    fn a_task_is_in_a_set_once() {
        let tasks = tasks(10);
        let mut set = TaskSet::default();
        for _ in 0..3 {
            for task in &tasks {
                let waker = task.clone().into();
                set.add(&Context::from_waker(&waker));
            }
        }
        set.take().for_each(Waker::wake);
        assert!(tasks.iter().all(|task| task.0.load(Relaxed) == 1));
        assert_eq!(set.take().count(), 0);
    }
}
