//! A chat.
fn main() {}
