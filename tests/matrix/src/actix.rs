//! actix-ws, with its defaults, and fragments put together.

use std::io;

use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use futures_util::StreamExt;

pub(crate) fn serve(port: u16) -> io::Result<()> {
    rt::System::new().block_on(async {
        HttpServer::new(|| App::new().route("/", web::get().to(upgrade)))
            .workers(1)
            .bind(("127.0.0.1", port))?
            .run()
            .await
    })
}

async fn upgrade(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, Error> {
    let (response, session, stream) = actix_ws::handle(&request, body)?;
    rt::spawn(echo(session, stream.aggregate_continuations()));
    Ok(response)
}

async fn echo(mut session: Session, mut stream: AggregatedMessageStream) {
    while let Some(Ok(message)) = stream.next().await {
        let sent = match message {
            AggregatedMessage::Text(text) => session.text(text).await,
            AggregatedMessage::Binary(bytes) => session.binary(bytes).await,
            AggregatedMessage::Ping(payload) => session.pong(&payload).await,
            AggregatedMessage::Pong(_) => Ok(()),
            AggregatedMessage::Close(reason) => {
                // The other end may have gone.
                let _ended = session.close(reason).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
