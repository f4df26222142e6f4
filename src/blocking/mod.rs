//! WebSockets over blocking streams, without a runtime: a thread for each connection (feature `blocking`).
//!
//! A client and a server over HTTP/1.1, on any [`Read`](std::io::Read) and [`Write`](std::io::Write):
//! [`handshake`](crate::handshake) and [`protocol::Connection`](crate::protocol::Connection), driven by
//! calls that wait. Nothing of tokio or hyper is built for it.
//!
//! ```no_run
//! use std::net::{TcpListener, TcpStream};
//! use tower_websocket::{CloseCode, Config, blocking};
//!
//! // A client. The application connects, so that it decides on addresses and deadlines.
//! let stream = TcpStream::connect("127.0.0.1:8080")?;
//! stream.set_nodelay(true)?;
//! let mut socket = blocking::connect(stream, "ws://127.0.0.1:8080/echo", &Config::default())?;
//! socket.send("Hello")?;
//! println!("{:?}", socket.recv()?);
//! socket.close(CloseCode::NORMAL)?;
//!
//! // A server: an echo, with a thread for each connection.
//! for stream in TcpListener::bind("127.0.0.1:8080")?.incoming() {
//!     let stream = match stream {
//!         Ok(stream) => stream,
//!         Err(error) => {
//!             eprintln!("not accepted: {error}"); // such as one that was aborted meanwhile
//!             continue;
//!         }
//!     };
//!     std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!         stream.set_nodelay(true)?;
//!         let mut socket = blocking::accept(stream, &Config::default())?;
//!         while let Some(message) = socket.recv()? {
//!             socket.send(message)?;
//!         }
//!         Ok(())
//!     });
//! }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Time
//!
//! A call that waits for a blocking stream cannot be interrupted, so the deadlines of
//! [`Config`](crate::Config) are checked before and after each read and write. **Set a read and a write timeout
//! on the stream**, such as `TcpStream::set_read_timeout`, of a second or so: then pings are sent and
//! deadlines kept to within that time. Without one a peer that sends nothing keeps its thread forever,
//! during the handshake too.
//!
//! With a timeout, or a nonblocking stream, calls return [`Error::Io`](crate::Error::Io) of the kind
//! `WouldBlock` or `TimedOut` when nothing came; [`may_repeat`] recognises it. Nothing is lost: make the
//! call again. [`send`](WebSocket::send) consumes its message: to repeat that, keep a clone, which copies no
//! payload.
//!
//! ```no_run
//! # use std::{net::TcpStream, time::Duration};
//! # use tower_websocket::{Config, blocking};
//! # let stream = TcpStream::connect("127.0.0.1:8080")?;
//! stream.set_read_timeout(Some(Duration::from_secs(1)))?;
//! stream.set_write_timeout(Some(Duration::from_secs(1)))?;
//! let mut socket = blocking::connect(stream, "ws://127.0.0.1:8080/echo", &Config::default())?;
//! loop {
//!     match socket.recv() {
//!         Ok(Some(message)) => println!("{message:?}"),
//!         Ok(None) => break,
//!         Err(error) if blocking::may_repeat(&error) => {} // a second in which nothing came
//!         Err(error) => return Err(error.into()),
//!     }
//! }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! A handshake cannot be repeated: such an error ends it. It has to be complete within 10
//! seconds, which is checked after each read, and its head has at most 64 KiB and 100 header fields.
//!
//! # TLS
//!
//! Any stream does: for `wss`, wrap the `TcpStream` by rustls or native-tls first.
//!
//! ```ignore
//! let tls = rustls::ClientConnection::new(tls_config, "example.com".try_into()?)?;
//! let stream = rustls::StreamOwned::new(tls, TcpStream::connect("example.com:443")?);
//! let socket = blocking::connect(stream, "wss://example.com/chat", &Config::default())?;
//! ```
//!
//! # What is different from a session
//!
//! Nothing happens between calls: pings are answered, and sent, while [`recv`](WebSocket::recv) waits.
//! Both directions are one value: if several threads send, one of them owns the socket, with a read
//! timeout, and takes from a channel what to send. `max_read_ahead`, `streaming`, `ready_timeout`, the rates
//! of messages and bytes and `memory_budget` of [`Config`](crate::Config) have no effect: a socket reads no
//! more than 16 KiB ahead.

mod client;
#[cfg(feature = "deflate")]
mod deflated;
#[cfg(not(feature = "deflate"))]
#[path = "deflated_off.rs"]
mod deflated;
mod error;
mod head;
mod pair;
mod server;
mod socket;

pub use self::{
    client::{connect, request},
    error::{AcceptError, ConnectError, InvalidHead, may_repeat},
    pair::Pair,
    server::{Handshake, accept},
    socket::WebSocket,
};

#[cfg(test)]
mod tests;
