//! MQTT over WebSocket: browsers speak to a broker that listens for TCP alone.
//!
//! Run: `cargo run --example cookbook_mqtt --features serve -- 127.0.0.1:1883`, and let MQTT.js connect to
//! `ws://127.0.0.1:8080/`.

use std::{env, io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpStream, ToSocketAddrs},
    time::timeout,
};
use tower_websocket::{CloseCode, CloseFrame, Config, WebSocket, WebSocketLayer, handler, serve};

/// What both standards, 3.1.1 and 5.0, have the client offer and the server choose.
pub(crate) fn config() -> Config {
    Config::default()
        .subprotocols(["mqtt"])
        .require_subprotocol(true)
        // MQTT has packets up to 256 MiB: a message of any size is carried as it comes.
        .streaming(true)
}

/// Carries the bytes of one client to the broker and back, until one of them has ended.
pub(crate) async fn carry(socket: WebSocket, broker: impl ToSocketAddrs) -> Result<(), CloseFrame> {
    let away = || CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "the broker is away");
    let connected = timeout(PATIENCE, TcpStream::connect(broker)).await;
    let Ok(Ok(mut broker)) = connected else {
        return Err(away());
    };
    let _unsupported = broker.set_nodelay(true);
    let stream = socket.into_byte_stream();
    if stream
        .tunnel(&mut broker, CloseCode::BAD_GATEWAY)
        .await
        .is_err()
    {
        // The client is gone without a word. A broker that sees a reset, and no regular end, publishes its will.
        let _unsupported = broker.set_zero_linger();
    }
    Ok(())
}

/// How long the broker has to be there.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> io::Result<()> {
    let broker: Arc<str> = env::args()
        .nth(1)
        .as_deref()
        .unwrap_or("127.0.0.1:1883")
        .into();
    let route = handler(move |socket| {
        let broker = broker.clone();
        async move { carry(socket, &*broker).await }
    });
    let app = WebSocketLayer::new(route).config(config()).endpoint();
    serve("127.0.0.1:8080", app).await?;
    Ok(())
}
