//! Ends what the harness started when the harness itself is gone, however it ended.
//!
//! A process of this same program. It is told of every process on standard input; when that ends, it kills those that
//! are left, and removes the directories.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, BufRead, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use tower::BoxError;

use super::signal;

/// The argument that makes this program the reaper.
pub(crate) const REAPER: &str = "the-reaper-of-the-engines";

static TOLD: OnceLock<Mutex<Option<(Child, ChildStdin)>>> = OnceLock::new();

/// Starts it; without it, nothing else is started.
pub(crate) fn start() -> Result<(), BoxError> {
    let mut child = Command::new(env::current_exe()?)
        .arg(REAPER)
        .stdin(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take().ok_or("no standard input")?;
    drop(TOLD.set(Mutex::new(Some((child, stdin)))));
    Ok(())
}

/// Lets it do what is left, and waits for that.
pub(crate) fn stop() {
    let told = TOLD.get().and_then(|told| lock(told).take());
    if let Some((mut child, stdin)) = told {
        drop(stdin);
        drop(child.wait());
    }
}

/// `process` or `directory`, there from now on.
pub(crate) fn note(kind: &str, what: &str) {
    tell(&format!("+{kind} {what}"));
}

/// It is gone already.
pub(crate) fn forget(kind: &str, what: &str) {
    tell(&format!("-{kind} {what}"));
}

fn tell(line: &str) {
    let Some(mut told) = TOLD.get().map(lock) else {
        return;
    };
    if let Some((_, stdin)) = told.as_mut() {
        drop(writeln!(stdin, "{line}"));
    }
}

/// Runs it.
pub(crate) fn run() -> Result<(), BoxError> {
    let mut left = BTreeSet::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let Some((sign, what)) = line.split_at_checked(1) else {
            continue;
        };
        match sign {
            "+" => drop(left.insert(what.to_owned())),
            _ => drop(left.remove(what)),
        }
    }
    // Processes first, by the alphabet backwards, so that none writes into a directory that goes.
    for what in left.iter().rev() {
        match what.split_once(' ') {
            Some(("process", pid)) => drop(signal("KILL", pid.parse()?)),
            Some(("directory", path)) => drop(fs::remove_dir_all(path)),
            _ => {}
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
