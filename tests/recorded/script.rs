//! What is said in every recorded conversation. `page.html`, `peers.py` and `peers.cjs` say the same.

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Text(String),
    Binary(Vec<u8>),
}

/// What is sent one after the other, each when the one before it has come back.
pub(crate) fn messages(deflate: bool) -> Vec<Said> {
    let long = if deflate { 70_000 } else { 10_000 };
    let mut repeated = "0123456789 the same again, ".repeat(long / 20);
    repeated.truncate(long);
    vec![
        Said::Text("hello, κόσμε".to_owned()),
        Said::Binary((0..300_u32).map(|number| (number * 7) as u8).collect()),
        Said::Text(String::new()),
        Said::Text("in three fragments, κόσμε".to_owned()),
        Said::Text(repeated),
        Said::Binary(noise(2000)),
        Said::Binary(Vec::new()),
    ]
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as u8
    };
    (0..len).map(next).collect()
}

/// Has the server close with [`OUR_CLOSE`].
pub(crate) const CLOSE_ME: &str = "close me";

/// Is echoed; then whoever is recorded goes without a Close.
pub(crate) const ABORT_NOW: &str = "abort now";

/// The Close of a server that is asked to.
pub(crate) const OUR_CLOSE: (u16, &str) = (4000, "as asked");

/// The Close of a client.
pub(crate) const PEER_CLOSE: (u16, &str) = (4321, "bye");
