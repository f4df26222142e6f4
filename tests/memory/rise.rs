//! How far the heap rises.

use std::future::Future;

use peak_alloc::PeakAlloc;
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs one measurement, on a runtime of its own.
pub(crate) fn alone(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

/// Measures how far the heap rises above where it is.
pub(crate) struct Rise(usize);

impl Rise {
    pub(crate) fn begin() -> Self {
        ALLOCATOR.reset_peak_usage();
        Self(ALLOCATOR.current_usage())
    }

    pub(crate) fn peak(&self) -> usize {
        ALLOCATOR.peak_usage().saturating_sub(self.0)
    }

    pub(crate) fn now(&self) -> usize {
        ALLOCATOR.current_usage().saturating_sub(self.0)
    }
}
