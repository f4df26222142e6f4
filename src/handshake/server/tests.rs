use super::*;
use crate::handshake::requests::*;

const WEBSOCKET: Option<&str> = Some("websocket");

fn open(head: &Parts, config: &Config) -> Result<Accepted, Rejection> {
    negotiate(head, WEBSOCKET, config)
}

fn refusal(head: &Parts) -> Option<Rejection> {
    open(head, &Config::default()).err()
}

/// The headers of an answer, in one spelling and order.
fn headers(opening: &Accepted) -> Vec<String> {
    let response = opening.response();
    let spell = |(name, value): (_, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut headers: Vec<String> = response.headers().iter().map(spell).collect();
    headers.sort();
    headers
}

mod answered;
mod recognised;
mod refused;
mod subprotocols;
