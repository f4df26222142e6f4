//! Libraries of others that bring a protocol and no transport, over real connections of both HTTP versions.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod graphql;
mod graphql_client;
mod mqtt;
mod node;
mod postgres;
mod support;
mod yjs;
