//! Callbacks: which come, in which order, and which is the last one.

mod by_hand;
mod endings;
mod last;
mod opening;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, request::Parts};
use tokio::{io::duplex, time::sleep};
use tower::{ServiceExt, service_fn};
use tower_websocket::{
    CloseCode, CloseFrame, Error, Sender, TrySendError, Utf8Bytes, WebSocket, WebSocketLayer,
    service::{EventHandler, OnUpgrade, event_handler, event_handler_with, handle_events},
};

use crate::{
    crowd::ask,
    session::support::{Failure, PIPE, Peer, Shape, lock},
    support::Boxed,
};

/// What the implementations of a test have noted.
#[derive(Clone, Default)]
struct Notes {
    lines: Arc<Mutex<Vec<String>>>,
    alive: Arc<AtomicUsize>,
}

impl Notes {
    /// Makes an implementation that notes here.
    fn told(&self) -> Told {
        self.alive.fetch_add(1, Relaxed);
        Told {
            notes: self.clone(),
            panics_last: false,
            panics_at_end: false,
        }
    }

    fn write(&self, line: impl Into<String>) {
        lock(&self.lines).push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// How many implementations there are.
    fn alive(&self) -> usize {
        self.alive.load(Relaxed)
    }
}

/// Notes what it is told, and does what it is told to.
struct Told {
    notes: Notes,
    panics_last: bool,
    panics_at_end: bool,
}

impl Clone for Told {
    fn clone(&self) -> Self {
        self.notes.told()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.notes.alive.fetch_sub(1, Relaxed);
    }
}

impl EventHandler for Told {
    async fn on_open(&mut self, _: &Sender, head: &Parts) {
        if head.headers.contains_key("x-slow") {
            sleep(Duration::from_secs(1)).await;
        }
        self.notes.write("open");
        assert!(!head.headers.contains_key("x-panic"), "as ordered");
    }

    async fn on_text(&mut self, socket: &Sender, text: Utf8Bytes) {
        match text.as_str() {
            "close" => socket.close((CloseCode::NORMAL, "enough")),
            "abort" => {
                socket.abort();
                sleep(Duration::from_secs(1)).await;
            }
            "panic" => panic!("as ordered"),
            "panic last" => self.panics_last = true,
            "panic at the end" => self.panics_at_end = true,
            "sleep" => sleep(Duration::from_secs(1)).await,
            _ => {}
        }
        self.notes.write(text.as_str());
    }

    async fn on_ping(&mut self, _: &Sender, _: Bytes) {
        self.notes.write("ping");
    }

    async fn on_close(&mut self, socket: &Sender, frame: Option<CloseFrame>) {
        assert!(matches!(socket.send("late").await, Err(Error::Closed)));
        self.notes.write(match frame {
            Some(frame) => format!("on_close {}", frame.code().as_u16()),
            None => "on_close".to_owned(),
        });
        assert!(!self.panics_last, "as ordered");
    }

    async fn on_error(&mut self, socket: &Sender, error: Error) {
        assert!(matches!(socket.send("late").await, Err(Error::Closed)));
        self.notes.write(match error {
            Error::Protocol(_) => "on_error protocol",
            Error::Timeout(_) => "on_error timeout",
            Error::Io(_) => "on_error io",
            Error::OverBudget => "on_error over budget",
            _ => "on_error",
        });
        assert!(!self.panics_last, "as ordered");
    }

    fn on_end(&mut self, socket: &Sender) {
        let refused = matches!(socket.try_send("late"), Err(TrySendError::Closed(_)));
        self.notes.write(if refused { "end" } else { "end?" });
        assert!(!self.panics_at_end, "as ordered");
    }
}

/// How a connection comes by its callbacks.
#[derive(Clone, Copy, Debug)]
enum By {
    Clone,
    Factory,
    /// By a route service of one's own.
    Hand,
}

impl By {
    const ALL: [Self; 3] = [Self::Clone, Self::Factory, Self::Hand];

    /// Makes a layer whose connections note what they are told.
    fn layer(self, notes: &Notes) -> WebSocketLayer<Boxed> {
        let told = notes.told();
        WebSocketLayer::new(match self {
            Self::Clone => Boxed::new(event_handler(told).map_err(Failure::new)),
            Self::Factory => {
                let route = event_handler_with(move |_, _| told.clone());
                Boxed::new(route.map_err(Failure::new))
            }
            Self::Hand => Boxed::new(service_fn(move |request: Request<WebSocket>| {
                let calls = handle_events(request, told.clone());
                async move {
                    calls.await;
                    Ok(())
                }
            })),
        })
    }
}

/// Opens a connection in memory; the request has these headers, with the value 1.
async fn connect(layer: WebSocketLayer<Boxed>, shape: Shape, headers: &[&'static str]) -> Peer {
    let (ours, theirs) = duplex(PIPE);
    let mut request = ask(shape);
    for name in headers {
        let value = HeaderValue::from_static("1");
        request.headers_mut().insert(*name, value);
    }
    request.extensions_mut().insert(OnUpgrade::new(theirs));
    layer.endpoint().oneshot(request).await.unwrap();
    Peer::new(ours)
}
