//! Locks, atomics and tasks: those of the standard library and of tokio.
//!
//! With `--cfg shuttle`, as `.ci/concurrency` compiles them, every order in which threads may reach them
//! can be tried; see `concurrency`. Everything that threads share goes through here.

#[cfg(not(shuttle))]
mod real {
    pub(crate) use std::sync::{Mutex, MutexGuard, OnceLock, atomic};
    #[cfg(feature = "layer")]
    pub(crate) use std::thread_local;

    #[cfg(feature = "layer")]
    pub(crate) use tokio::sync::{Mutex as FairMutex, MutexGuard as FairGuard, Notify};

    /// Starts a task in a runtime.
    #[cfg(feature = "layer")]
    pub(crate) fn spawn_on(
        runtime: &tokio::runtime::Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        runtime.spawn(task);
    }

    /// Waits for something, but not for longer.
    #[cfg(feature = "layer")]
    pub(crate) async fn within(limit: std::time::Duration, event: impl Future<Output = ()>) {
        let _in_time = tokio::time::timeout(limit, event).await;
    }
}

#[cfg(shuttle)]
mod tried {
    pub(crate) use shuttle::{
        sync::{Mutex, MutexGuard, atomic},
        thread_local,
    };

    use std::{ops::Deref, sync};

    use atomic::{AtomicBool, Ordering::SeqCst};

    /// Lets other threads run here.
    fn come_in() {
        AtomicBool::new(false).load(SeqCst);
    }

    /// A value that is set once. What sets it runs nothing else.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T>(sync::OnceLock<T>);

    impl<T> OnceLock<T> {
        pub(crate) const fn new() -> Self {
            Self(sync::OnceLock::new())
        }

        pub(crate) fn get(&self) -> Option<&T> {
            come_in();
            self.0.get()
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            come_in();
            self.0.set(value)
        }

        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            come_in();
            self.0.get_or_init(make)
        }
    }

    /// tokio's, whose every step is one.
    #[derive(Debug)]
    pub(crate) struct Notify(tokio::sync::Notify);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self(tokio::sync::Notify::new())
        }

        pub(crate) fn notified(&self) -> impl Future<Output = ()> {
            come_in();
            self.0.notified()
        }

        pub(crate) fn notify_waiters(&self) {
            come_in();
            self.0.notify_waiters();
        }
    }

    /// tokio's mutex, whose every step is one.
    #[derive(Debug)]
    pub(crate) struct FairMutex<T>(tokio::sync::Mutex<T>);

    pub(crate) struct FairGuard<'a, T>(Option<tokio::sync::MutexGuard<'a, T>>);

    impl<T> FairMutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(tokio::sync::Mutex::new(value))
        }

        pub(crate) async fn lock(&self) -> FairGuard<'_, T> {
            come_in();
            FairGuard(Some(self.0.lock().await))
        }

        pub(crate) fn try_lock(&self) -> Result<FairGuard<'_, T>, tokio::sync::TryLockError> {
            come_in();
            self.0.try_lock().map(|guard| FairGuard(Some(guard)))
        }
    }

    impl<T> Deref for FairGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            // It is taken by the drop alone.
            self.0.as_ref().expect("the lock is held")
        }
    }

    impl<T> Drop for FairGuard<'_, T> {
        fn drop(&mut self) {
            come_in();
            self.0 = None;
        }
    }

    /// Starts a task; the runtime itself does not run.
    pub(crate) fn spawn_on(
        _: &tokio::runtime::Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        shuttle::future::spawn(task);
    }

    /// Waits for something; no time passes.
    pub(crate) async fn within(_: std::time::Duration, event: impl Future<Output = ()>) {
        event.await;
    }
}

/// Has the task polled again, once the runtime has run all that can run and has looked for what has come
/// meanwhile.
///
/// A task that wakes itself is found before that: with two of them, tokio looks at its sockets after 61 polls, and not
/// before.
#[cfg(feature = "layer")]
pub(crate) fn yield_task(cx: &mut std::task::Context<'_>) {
    let yielded = std::pin::pin!(tokio::task::yield_now()).poll(cx);
    debug_assert!(yielded.is_pending(), "it yields once");
}

#[cfg(not(shuttle))]
pub(crate) use real::*;
#[cfg(shuttle)]
pub(crate) use tried::*;
