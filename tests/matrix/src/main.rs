//! Echo servers that `benches/compare` does not have: `matrix actix-ws PORT`, `matrix yawc-utf8 PORT`.

mod actix;
mod yawc_utf8;

use std::{env, io};

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let (name, port) = (args.next(), args.next().and_then(|port| port.parse().ok()));
    match (name.as_deref(), port) {
        (Some("actix-ws"), Some(port)) => actix::serve(port),
        (Some("yawc-utf8"), Some(port)) => yawc_utf8::serve(port),
        _ => Err(io::Error::other("matrix actix-ws|yawc-utf8 PORT")),
    }
}
