//! WebSocket in the handlers of axum, as with axum's own extractor (feature `axum`, for axum 0.8).
//!
//! ```
//! use axum::{Router, extract::{Path, State}, response::Response, routing::any};
//! use tower_websocket::{Error, Groups, WebSocket, extract::WebSocketUpgrade};
//!
//! async fn chat(
//!     ws: WebSocketUpgrade,
//!     Path(room): Path<String>,
//!     State(rooms): State<Groups>,
//! ) -> Response {
//!     ws.max_message_size(4096).on_upgrade(move |socket| talk(socket, room, rooms))
//! }
//!
//! async fn talk(mut socket: WebSocket, room: String, rooms: Groups) -> Result<(), Error> {
//!     let Ok(_membership) = rooms.join(room.clone(), &socket.sender()) else {
//!         return Ok(());
//!     };
//!     while let Some(message) = socket.recv().await? {
//!         rooms.broadcast(&room, message).await;
//!     }
//!     Ok(())
//! }
//!
//! let app: Router = Router::new()
//!     .route("/rooms/{room}", any(chat))
//!     .with_state(Groups::new());
//! ```
//!
//! It does what a [`WebSocketLayer`](crate::WebSocketLayer) does: the same checks, rejections, sessions
//! and sockets. It works beside other extractors, and the same path can serve a page:
//!
//! ```
//! use axum::response::{Html, IntoResponse, Response};
//! use tower_websocket::extract::WebSocketUpgrade;
//!
//! async fn page_or_chat(ws: Option<WebSocketUpgrade>) -> Response {
//!     let Some(ws) = ws else {
//!         return Html("<h1>a page</h1>").into_response();
//!     };
//!     ws.on_upgrade(async |socket| { /* … */ })
//! }
//! ```
//!
//! Settings and hooks are those of the layer:
//!
//! ```
//! use axum::{extract::State, response::Response};
//! use tower_websocket::{Connections, WebSocket, extract::WebSocketUpgrade};
//!
//! async fn chat(ws: WebSocketUpgrade, State(connections): State<Connections>) -> Response {
//!     ws.protocols(["chat.v2", "chat.v1"])
//!         .connections(&connections)
//!         .connection_info(true)
//!         .on_open(|socket, head| println!("{} is open", head.uri.path()))
//!         .on_end(|report| println!("closed with {}", report.close_code))
//!         .on_failed_upgrade(|error| eprintln!("{error}"))
//!         .on_upgrade(async |socket: WebSocket| println!("{:?}", socket.subprotocol()))
//! }
//! ```
//!
//! A handler does before `on_upgrade` what the layer has a hook for: it may return another response, and
//! add headers, as in `([(SET_COOKIE, "a=b")], ws.on_upgrade(talk))`. Instead of a limit around the
//! route service, acquire a permit of a semaphore and move it into the connection's handler.
//!
//! # `any`, not `get`
//!
//! Over HTTP/2 the method of a handshake is CONNECT (RFC 8441), which axum's `get` answers with 405
//! before any extractor runs. `any` accepts it, and HTTP/1.1's GET too; the extractor rejects other
//! methods. axum serves HTTP/2 with its feature `http2`; `axum::serve` announces Extended CONNECT
//! then. It does not set `TCP_NODELAY`, without which an exchange may take 40 ms longer: pass it
//! `listener.tap_io(|stream| drop(stream.set_nodelay(true)))`.
//!
//! # From axum's extractor
//!
//! A server that greets, listens, and says goodbye, with `axum::extract::ws` and here:
//!
//! ```diff
//!  use axum::{
//!      Router,
//! -    body::Bytes,
//! -    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
//!      response::Response,
//!      routing::any,
//!  };
//! +use tower_websocket::{CloseCode, Message, WebSocket, extract::WebSocketUpgrade};
//!
//!  async fn greeter(ws: WebSocketUpgrade) -> Response {
//!      ws.protocols(["greetings"])
//!          .on_failed_upgrade(|error| eprintln!("{error}"))
//!          .on_upgrade(greet)
//!  }
//!
//!  async fn greet(mut socket: WebSocket) {
//! -    if socket.send(Message::Ping(Bytes::from_static(b"hi"))).await.is_err() {
//! +    if socket.ping("hi").is_err() {
//!          return;
//!      }
//!      for i in 1..5 {
//!          if socket.send(Message::Text(format!("Hi {i} times!").into())).await.is_err() {
//!              return;
//!          }
//!      }
//! -    while let Some(Ok(message)) = socket.recv().await {
//! +    while let Ok(Some(message)) = socket.recv().await {
//!          match message {
//!              Message::Text(text) => println!("text: {text}"),
//!              Message::Binary(data) => println!("{} bytes", data.len()),
//! -            Message::Close(_) => break,
//! -            Message::Ping(_) | Message::Pong(_) => {}
//!          }
//!      }
//! -    let goodbye = CloseFrame { code: close_code::NORMAL, reason: "Goodbye".into() };
//! -    drop(socket.send(Message::Close(Some(goodbye))).await);
//! +    socket.close((CloseCode::NORMAL, "Goodbye"));
//!  }
//!
//!  let app: Router = Router::new().route("/greetings", any(greeter));
//! ```
//!
//! `StreamExt::next` stays the same: `socket.next().await` is `Option<Result<Message, _>>` in both.
//! `socket.split()` does not need the crate `futures`, and its [`Sender`](crate::Sender) can be cloned.
//! `send` is no longer `SinkExt`'s: remove that import, and the `mut` of a sender. If a channel and a task were used
//! to send from several places, a clone of the `Sender` replaces both: it has a queue with a bound, and waits if
//! that is full, or returns the message ([`try_send`](crate::Sender::try_send)).
//!
//! Once nothing of `axum::extract::ws` is left, axum's feature `ws` can go from `Cargo.toml`, and with it tungstenite.
//!
//! | axum's `WebSocketUpgrade` | here |
//! | --- | --- |
//! | `protocols`, `max_message_size`, `max_frame_size` | the same |
//! | `on_upgrade` | the same; the handler may end in a `Result` too |
//! | `on_failed_upgrade` | the same, with a `&dyn Error`; the type stays `WebSocketUpgrade` |
//! | `selected_protocol` | the same, as `&str` |
//! | `set_selected_protocol` | [`set_selected_protocol`](WebSocketUpgrade::set_selected_protocol): only what the client offers |
//! | `requested_protocols` | [`requested_protocols`](WebSocketUpgrade::requested_protocols), as `&str`, the client's best first |
//! | `max_write_buffer_size` | [`config(Config::default().max_send_queue(bytes))`](WebSocketUpgrade::config) |
//! | `write_buffer_size` | not needed: what is sent before the task waits leaves in one write |
//! | `read_buffer_size` | not needed: connections share what they read into |
//! | `accept_unmasked_frames` | none: RFC 6455 §5.1 has them fail the connection |
//! | `WebSocketUpgradeRejection` | [`WebSocketUpgradeRejection`], with a [`Rejection`](crate::handshake::Rejection) inside |
//!
//! | axum's `WebSocket` | here |
//! | --- | --- |
//! | `recv`: `Option<Result<Message, _>>` | [`recv`](crate::WebSocket::recv): `Result<Option<Message>, _>`, for `?` |
//! | `send(message)` | the same; `&str`, `String`, `Vec<u8>` and more are messages too |
//! | `protocol` | the same, as `&str` |
//! | `Stream`, `Sink` | the same |
//! | `FusedStream` | none: [`state`](crate::WebSocket::state) returns the state of the connection |
//! | `StreamExt::split`: `SplitSink<…>`, `SplitStream<…>` | [`split`](crate::WebSocket::split): [`Sender`](crate::Sender), [`Receiver`](crate::Receiver) |
//! | `send(Message::Ping(data))`, `Message::Pong(data)` | [`ping(data)`](crate::WebSocket::ping), [`pong(data)`](crate::WebSocket::pong): nothing to be awaited |
//! | `send(Message::Close(frame))` | [`close(frame)`](crate::WebSocket::close): nothing to be awaited |
//! | `SinkExt::close().await` | `close(CloseCode::NORMAL)`, and [`closed().await`](crate::Sender::closed) to wait for the end |
//!
//! | axum's `Message` and what is in it | here |
//! | --- | --- |
//! | `Message::Text(Utf8Bytes)`, `Message::Binary(Bytes)` | the same |
//! | `text`, `binary`, `from` | the same |
//! | `into_data`, `Vec::from` | [`into_bytes`](crate::Message::into_bytes) |
//! | `to_text`, `into_text` | [`as_text`](crate::Message::as_text), or the variant: binary data is no text |
//! | received `Ping`, `Pong`, `Close` | handled; [`recv_event`](crate::WebSocket::recv_event), also [of a `Receiver`](crate::Receiver::recv_event), returns them as [`Event`](crate::Event)s |
//! | `CloseFrame { code, reason }` | `CloseFrame::new(code, reason)`, or `(code, reason)`; read by [`code()`](crate::CloseFrame::code) and [`reason()`](crate::CloseFrame::reason) |
//! | `code: 4001` | [`CloseCode::new(4001)`](crate::CloseCode::new), which is `None` for codes that may not be sent |
//! | `close_code::AWAY` and others, `u16` | [`CloseCode::GOING_AWAY`](crate::CloseCode::GOING_AWAY) and others, by the names of the RFC |
//!
//! What behaves differently:
//!
//! - Pages of other hosts are rejected; axum accepts every page:
//!   [`Config::origin`](crate::Config::origin) through [`WebSocketUpgrade::config`].
//! - The default limit of a message is 1 MiB, not 64.
//! - A client that sends nothing after a ping is disconnected: pings are sent every 20 seconds.
//! - A handler that returns closes with 1000, one that fails or panics with 1011; axum cuts the
//!   connection without a Close frame.
//! - `recv` ends when the client closes; axum's returns `Message::Close` first.

mod own;
mod rejection;
mod upgrade;

pub use rejection::WebSocketUpgradeRejection;
pub use upgrade::WebSocketUpgrade;
