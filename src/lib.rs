//! WebSocket for every tower, hyper and axum server, as a layer.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod error;
pub mod handshake;
pub mod protocol;

pub use config::Config;
pub use error::{Error, TrySendError};
pub use protocol::{CloseCode, CloseFrame, Event, Message, ProtocolError, Utf8Bytes};
