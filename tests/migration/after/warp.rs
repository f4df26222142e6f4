use std::env;

use http::Request;
use tower::{BoxError, Layer, service_fn};
use tower_websocket::{
    CloseCode, Groups, Message, WebSocket, WebSocketLayer, serve, service::PathParams,
};
use warp::Filter;

async fn talk(request: Request<WebSocket>, rooms: Groups) -> Result<(), BoxError> {
    let params = request.extensions().get::<PathParams>();
    let room = params.and_then(|params| params.get("room"));
    let room = room.ok_or("the layer has a path with a room")?.to_owned();
    let mut socket = request.into_body();
    let membership = rooms.join(room.clone(), &socket.sender())?;
    let _membership = membership.on_leave("left");

    while let Some(message) = socket.recv().await? {
        match &message {
            Message::Text(text) if text == "quit" => {
                let code = CloseCode::new(4001).expect("4001 is the application's");
                socket.close((code, "as you wish"));
            }
            _ => drop(rooms.broadcast(&room, message).await),
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let rooms = Groups::new();
    let chat = service_fn(move |request| talk(request, rooms.clone()));
    let chat = WebSocketLayer::new(chat).path("/rooms/{room}");
    let pages = warp::path!("hello" / String).map(|name: String| format!("Hello, {name}!"));
    serve(address, chat.layer(warp::service(pages))).await?;
    Ok(())
}
