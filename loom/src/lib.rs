//! What goes without a lock, in every order that memory allows: tried with `loom`, by
//! `.ci/concurrency`. The code is the crate's own.
#![cfg(test)]

#[path = "../../src/session/registry/doors.rs"]
mod doors;
mod sync;

use loom::{sync::Arc, thread};

use doors::Doors;

/// Who closes the doors sees whoever got in, or who comes sees them closed: never neither.
#[test]
fn who_comes_while_the_doors_are_closed_is_seen_or_turned_away() {
    loom::model(|| {
        let doors = Arc::new(Doors::new());
        let coming = {
            let doors = doors.clone();
            thread::spawn(move || doors.enter())
        };
        doors.close(());
        // And from now on it stays so: who is turned away is never counted, not even for a moment.
        let inside = doors.inside();
        let entered = coming.join().unwrap();
        assert_eq!(
            inside,
            usize::from(entered),
            "let in, and not seen, or seen, and not let in"
        );
        assert_eq!(doors.inside(), inside);
    });
}

/// One of those that leave is the last, and one alone.
#[test]
fn last_who_leaves_is_told() {
    loom::model(|| {
        let doors = Arc::new(Doors::<()>::new());
        assert!(doors.enter() && doors.enter());
        let leaving = {
            let doors = doors.clone();
            thread::spawn(move || doors.leave())
        };
        let last = [doors.leave(), leaving.join().unwrap()];
        assert_eq!(last.into_iter().filter(|last| *last).count(), 1);
        assert_eq!(doors.inside(), 0);
    });
}

/// The first who closes them decides with what, and whoever sees them closed sees that.
#[test]
fn doors_are_closed_once() {
    loom::model(|| {
        let doors = Arc::new(Doors::new());
        let closing = {
            let doors = doors.clone();
            thread::spawn(move || {
                doors.close(1);
                doors.closed().copied()
            })
        };
        doors.close(2);
        let seen = [doors.closed().copied(), closing.join().unwrap()];
        assert!(seen[0].is_some() && seen[0] == seen[1], "{seen:?}");
    });
}
