//! What an engine has to do.

use std::pin::Pin;

use super::{
    backplane::{BackplaneError, Promises},
    line::Line,
};

/// An engine that carries envelopes between nodes.
///
/// It is told what to do and says what happened; it decides nothing, and remembers nothing of what was
/// published. Whatever has publishing and subscribing can be one.
pub trait Backplane: Send + Sync + 'static {
    /// Returns its name, for logs: `redis`.
    fn name(&self) -> &'static str;

    /// Returns what holds for every connection to it.
    fn promises(&self) -> Promises;

    /// Connects, serves the line, and returns when the connection is of no more use.
    ///
    /// It does not connect again: it is called again, after a pause that is not its business. It is
    /// dropped at any await when the line is given up, and must leave no task behind. What it keeps from
    /// one connection to the next, it keeps in itself. Something published or subscribed that is not
    /// answered for 3 seconds ends it, too. After [`Command::Leave`](super::Command::Leave) it sends what it holds back, and
    /// returns.
    ///
    /// # Errors
    ///
    /// Why there was no connection, or why it ended.
    fn run<'a>(
        &'a self,
        line: &'a mut Line,
    ) -> Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>>;
}
