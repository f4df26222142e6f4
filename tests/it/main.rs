//! What a peer and an application see of the crate.
