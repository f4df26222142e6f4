//! From what a Redis says, or its connection, to an error.

use std::fmt;

use ::redis::{ErrorKind, RedisError, ServerError};

use super::url::Server;
use crate::cluster::backplane::BackplaneError;

/// Returns the error of a connection that could not be made.
pub(super) fn unmade(server: &Server, error: &RedisError) -> BackplaneError {
    let words = said(server, in_words(error));
    match error.code() {
        Some("NOPERM" | "NOAUTH" | "WRONGPASS") => BackplaneError::denied(words),
        Some("NOPROTO") => BackplaneError::unsupported(said(server, TOO_OLD)),
        _ if error.kind() == ErrorKind::RESP3NotSupported || is_unknown(error.detail()) => {
            BackplaneError::unsupported(said(server, TOO_OLD))
        }
        _ => BackplaneError::connect(words),
    }
}

/// Returns the error of a connection that broke.
pub(super) fn broken(server: &Server, error: &RedisError) -> BackplaneError {
    BackplaneError::broken(said(server, in_words(error)))
}

/// Returns the error of a command that the server refused.
pub(super) fn refused(server: &Server, error: &ServerError) -> BackplaneError {
    let words = said(server, server_words(error));
    if is_denied(error) {
        BackplaneError::denied(words)
    } else if is_unknown(error.details()) || is_no_cluster(error) {
        BackplaneError::unsupported(words)
    } else {
        BackplaneError::broken(words)
    }
}

/// Reports whether the server does not permit a command.
pub(super) fn is_denied(error: &ServerError) -> bool {
    matches!(error.code(), "NOPERM" | "NOAUTH")
}

/// Returns what a server says, with its name.
pub(super) fn said(server: &Server, words: impl fmt::Display) -> String {
    format!("{server}: {words}")
}

/// Returns an error of a server as the server wrote it.
pub(super) fn server_words(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

fn in_words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(details)) => format!("{code} {details}"),
        _ => error.to_string(),
    }
}

/// Reports whether a server of a cluster says that another has the channel.
pub(super) fn is_moved(error: &ServerError) -> bool {
    error.code() == "MOVED"
}

fn is_unknown(details: Option<&str>) -> bool {
    let unknown = [
        "unknown command",
        "unknown subcommand",
        "Unknown subcommand",
    ];
    details.is_some_and(|details| unknown.iter().any(|unknown| details.starts_with(unknown)))
}

fn is_no_cluster(error: &ServerError) -> bool {
    error.details() == Some("This instance has cluster support disabled")
}

/// What is missing in a server before 6.0.
const TOO_OLD: &str = "no RESP3: Redis 6.0 or later is needed";
