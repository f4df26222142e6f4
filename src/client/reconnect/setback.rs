//! Why there is no session at the moment, and why there will be none.

use std::{error::Error, fmt, time::Duration};

use http::StatusCode;

use crate::{
    client::error::ConnectError,
    protocol::CloseCode,
    session::{EndedBy, SessionReport},
};

/// The reason why there is no session: the last one has ended, or a try has failed.
///
/// ```
/// use tower_websocket::{CloseCode, client::Setback};
///
/// /// Reports whether the user has to log in again.
/// fn logged_out(setback: &Setback) -> bool {
///     match setback {
///         Setback::Ended(_) => setback.close_code() == Some(CloseCode::UNAUTHORIZED),
///         Setback::Failed(_) => setback.status().is_some_and(|status| status == 401),
///     }
/// }
/// # use tower_websocket::client::ConnectError;
/// # assert!(!logged_out(&Setback::Failed(ConnectError::NoHttp2)));
/// ```
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there is a session, or there was a try"
)]
pub enum Setback {
    /// The session ended, on whichever side.
    Ended(SessionReport),
    /// A try failed.
    Failed(ConnectError),
}

impl Setback {
    /// Reports whether it makes no sense to connect again, as far as this crate can tell.
    ///
    /// That is so for a session that the server ended with 1000, "the purpose is fulfilled" (RFC 6455 §7.4.1),
    /// and for a try that failed with an error that [is not temporary](ConnectError::is_temporary), such as a
    /// 401, 403 or 404 or a certificate that is not trusted. All other codes, also those from 4000 to 4999, may
    /// mean anything: only the application knows.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Ended(_) => self.close_code() == Some(CloseCode::NORMAL),
            Self::Failed(error) => !error.is_temporary(),
        }
    }

    /// Returns the code with which the server ended the session; `None` if it was not the server, or sent no code.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Ended(report) if report.ended_by == EndedBy::Peer => {
                report.close_frame.as_ref().map(|frame| frame.code())
            }
            _ => None,
        }
    }

    /// Returns the status of a response that refused, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Ended(_) => None,
            Self::Failed(error) => error.status(),
        }
    }

    /// Reports whether the request can be no handshake: there is nothing to try.
    pub(super) fn is_unusable(&self) -> bool {
        matches!(
            self,
            Self::Failed(ConnectError::Request(_) | ConnectError::Uri(_))
        )
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Ended(_) => None,
            Self::Failed(error) => error.retry_after(),
        }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = match self {
            Self::Failed(error) => return error.fmt(f),
            Self::Ended(report) => report,
        };
        f.write_str(match report.ended_by {
            EndedBy::Peer => "the server ended the session",
            EndedBy::Local => "the session was ended on this side",
            EndedBy::Violation => "the server broke the protocol or a limit",
            EndedBy::Timeout => "the server did not answer in time",
            EndedBy::Disconnect => "the connection was lost",
            EndedBy::OverBudget => "the session held too much of the memory budget",
        })?;
        match &report.close_frame {
            Some(frame) => write!(f, ": {frame}"),
            None => Ok(()),
        }
    }
}

impl Error for Setback {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Ended(_) => None,
            // Its own text is that of the setback.
            Self::Failed(error) => error.source(),
        }
    }
}

/// A pause that begins, for [`Reconnect::on_pause`](super::Reconnect::on_pause).
///
/// ```no_run
/// use tower_websocket::client;
///
/// let sessions = client::reconnect("wss://example.com/chat").on_pause(|pause| {
///     eprintln!("{}: try {} begins in {:?}", pause.setback, pause.tries + 1, pause.delay);
/// });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Pause<'a> {
    /// The reason for it.
    pub setback: &'a Setback,
    /// How many tries were made since the last stable session; 0 if that session has just ended.
    ///
    /// A session is stable if it lasted for [`Reconnect::stable_after`](super::Reconnect::stable_after).
    pub tries: u32,
    /// How long it lasts.
    pub delay: Duration,
}

/// The reason why a [`Reconnect`](super::Reconnect) has given up.
///
/// The last setback is its `source()`.
///
/// ```no_run
/// use tower_websocket::client::{Reconnect, Setback};
///
/// # async fn example(mut sessions: Reconnect) {
/// if let Err(error) = sessions.next().await {
///     eprintln!("given up after {} tries: {}", error.tries(), error.setback());
///     if let Setback::Failed(error) = error.into_setback() {
///         eprintln!("{:?}", error.response());
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct ReconnectError {
    // Results that hold it are moved around.
    setback: Box<Setback>,
    tries: u32,
}

impl ReconnectError {
    pub(super) fn new(setback: Setback, tries: u32) -> Self {
        Self {
            setback: Box::new(setback),
            tries,
        }
    }

    /// Returns the last setback.
    #[must_use]
    pub fn setback(&self) -> &Setback {
        &self.setback
    }

    /// Returns the last setback, by value.
    #[must_use]
    pub fn into_setback(self) -> Setback {
        *self.setback
    }

    /// Returns how many tries were made since the last session that lasted for `Reconnect::stable_after`.
    ///
    /// See [`Reconnect::stable_after`](super::Reconnect::stable_after).
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

impl fmt::Display for ReconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tries {
            0 => f.write_str("the client does not come back"),
            1 => f.write_str("the client gave up after one try"),
            tries => write!(f, "the client gave up after {tries} tries"),
        }
    }
}

impl Error for ReconnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.setback)
    }
}
