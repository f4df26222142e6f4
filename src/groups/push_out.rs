//! Tasks that no thread keeps for itself.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Makes a task that was spawned last one that every thread of its runtime can run.
///
/// A thread keeps the last task for itself, and may be in for some blocking work now.
pub(super) fn push_out(runtime: &Handle) {
    if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
        runtime.spawn(async {});
    }
}
