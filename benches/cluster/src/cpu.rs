//! What threads and processes use. Linux only.

use std::{fs, io, time::Duration};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

/// Returns the time that this thread has had of a CPU.
pub(crate) fn of_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Returns the time that all threads of a process have had.
///
/// # Errors
///
/// It is gone.
pub(crate) fn of_process(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two.
        if let Ok(schedstat) = fs::read_to_string(task?.path().join("schedstat")) {
            nanos += first_number(&schedstat);
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Returns the resident bytes of a process.
///
/// # Errors
///
/// It is gone.
pub(crate) fn memory(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(resident.map_or(0, first_number) * 1024)
}

fn first_number(text: &str) -> u64 {
    let word = text.split_whitespace().next();
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Raises the limit of open descriptors as far as allowed, for the children too.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it may not be raised, it is as it was.
    let _raised = setrlimit(Resource::Nofile, raised);
}
