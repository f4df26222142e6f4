//! Sessions over streams whose opening handshake was done elsewhere.

mod builder;
mod error;
mod future;
mod sessions;

pub use builder::SessionBuilder;
pub use error::OpenError;
pub use future::SessionFuture;
pub use sessions::Sessions;
