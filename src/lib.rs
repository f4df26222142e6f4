//! WebSocket for every tower, hyper and axum server, as a layer.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod error;
pub mod handshake;
pub mod protocol;
#[cfg(feature = "layer")]
mod service;
#[cfg(feature = "layer")]
mod session;
#[cfg(feature = "testing")]
pub mod testing;

pub use config::Config;
pub use error::{Error, TrySendError};
pub use protocol::{CloseCode, CloseFrame, Event, Message, ProtocolError, Utf8Bytes};
#[cfg(feature = "layer")]
pub use service::{
    Answer, Endpoint, Events, EventsService, HTTP2, Handler, HandlerFuture, HandlerOutput,
    Handshake, OnUpgrade, PathParams, ResponseBody, ResponseFuture, WebSocketLayer,
    WebSocketService, endpoint, events, handler,
};
#[cfg(feature = "layer")]
pub use session::{EndedBy, Receiver, Report, Sender, Sending, WebSocket};
