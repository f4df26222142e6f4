//! A connection by callbacks.
//!
//! - `event_handler`: the callbacks, and what is promised of each.
//! - `callbacks`: calls them back, and guards the last one.
//! - `route`: route services that do so.

mod callbacks;
mod event_handler;
mod route;

pub use callbacks::handle_events;
pub use event_handler::EventHandler;
pub use route::{EventHandlerFactory, EventHandlerService, event_handler, event_handler_with};
