//! Coming back: a new socket for each that was lost, after a pause.

mod drive;
mod pace;
mod setback;
mod stage;

pub use setback::{Pause, ReconnectError, Setback};

use std::{fmt, future::Future, io, time::Duration};

use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use self::{
    pace::Pace,
    stage::{Connecting, Stage},
};
use super::{
    deadline::Deadline, error::ConnectError, phase::Phase, request::IntoRequest, settings::Client,
};
use crate::session::{SessionReport, WebSocket};

/// Connects again and again: an iterator of fresh sockets, made by [`Client::reconnect`].
///
/// [`next`](Self::next) returns a socket. The next call waits until that one is over, pauses, and connects
/// again. Nothing is hidden: each socket is another session, for the server too. What was sent over
/// the last one and was not answered may or may not have arrived.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_websocket::{CloseCode, Error, WebSocket, client::{Client, ReconnectError}};
///
/// async fn run(mut socket: WebSocket) -> Result<(), Error> {
///     while let Some(message) = socket.recv().await? {
///         println!("{message:?}");
///     }
///     Ok(())
/// }
///
/// async fn keep_running(client: Client) -> Result<(), ReconnectError> {
///     let mut sessions = client
///         .reconnect("wss://example.com/chat")
///         .base_delay(Duration::from_millis(500))
///         .max_delay(Duration::from_secs(60))
///         .max_tries(20)
///         .on_pause(|pause| eprintln!("{}; again in {:.1?}", pause.setback, pause.delay))
///         .give_up_on(|setback| {
///             setback.is_final() || setback.close_code().is_some_and(CloseCode::is_private)
///         });
///     while let Some(session) = sessions.next().await? {
///         if let Err(error) = run(session.socket).await {
///             eprintln!("{error}");
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// # Pauses
///
/// They are random between nothing and a bound ("full jitter"), so that the clients of a server that was
/// restarted do not come back at the same moment. The bound is [`base_delay`](Self::base_delay) after a session
/// is lost. It doubles with each try, up to [`max_delay`](Self::max_delay), until a session has lasted for
/// [`stable_after`](Self::stable_after).
///
/// - If a server refuses with `Retry-After`, the client waits for that long, and then for a pause as above: see
///   [`max_retry_after`](Self::max_retry_after).
/// - The codes 1001 and 1012 mean that the server expects its clients back, and count as any loss. The code
///   1013 means that it has too many clients: the pause is between half of `max_delay` and all of it.
///
/// # The end
///
/// [`give_up_on`](Self::give_up_on) and [`max_tries`](Self::max_tries) decide; by default, only setbacks that
/// [are final](Setback::is_final) end it. Leaving the loop does, too: dropping a `Reconnect` ends a pause, or a
/// connection that is being made. A socket that it has returned is not affected.
///
/// It needs a tokio runtime with I/O and time enabled, and panics without one.
#[must_use = "nothing connects until `next` is awaited"]
pub struct Reconnect {
    client: Client,
    /// What every handshake is made of.
    request: Request<()>,
    connect: Connect,
    pace: Pace,
    max_tries: Option<u32>,
    prepare: Option<Prepare>,
    give_up_on: Box<dyn FnMut(&Setback) -> bool + Send>,
    on_pause: Option<OnPause>,
    stage: Stage,
    /// Since a session that was stable.
    tries: u32,
    lost: Option<SessionReport>,
    /// When the last session was found to be over.
    since: Option<Instant>,
}

/// Makes a connection with this client.
type Connect = Box<dyn FnMut(Client, Request<()>) -> Connecting + Send>;
type Prepare = Box<dyn FnMut(&mut Request<()>) + Send>;
type OnPause = Box<dyn FnMut(&Pause<'_>) + Send>;

/// A session that has just begun.
///
/// ```no_run
/// use tower_websocket::client::{Reconnect, ReconnectError};
///
/// # async fn example(mut sessions: Reconnect) -> Result<(), ReconnectError> {
/// while let Some(session) = sessions.next().await? {
///     if let Some(report) = &session.lost {
///         println!("{report:?} ended; here again after {:?} and {} tries", session.away, session.tries);
///     }
///     println!("{:?}", session.response.headers().get("server"));
///     let _end = session.socket.send("hello, again").await;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The socket.
    ///
    /// Dropping it closes the connection, and [`Reconnect::next`] makes another.
    pub socket: WebSocket,
    /// The response that accepted the session.
    pub response: Response<()>,
    /// How many tries were made, this one included, since a session that lasted for [`Reconnect::stable_after`].
    pub tries: u32,
    /// How the previous session ended; `None` if this is the first.
    pub lost: Option<SessionReport>,
    /// How long [`Reconnect::next`] has looked for this session.
    ///
    /// That is since it saw the end of the previous one, or since the first try. The time before it is called does
    /// not count.
    pub away: Duration,
}

/// Connecting again.
impl Client {
    /// Connects again and again: returns an iterator of new sockets.
    ///
    /// It does nothing before its first [`next`](Reconnect::next). Each try is one of
    /// [`request`](Self::request) with these settings, also over HTTP/2, so it is a connection of its own.
    pub fn reconnect(&self, request: impl IntoRequest) -> Reconnect {
        let connect = |client: Self, request| -> Connecting {
            Box::pin(async move { client.request(request).await })
        };
        Reconnect::new(self, request.into_request(), Box::new(connect))
    }

    /// Connects again and again, as [`reconnect`](Self::reconnect) does, over streams that `reach` makes.
    ///
    /// Each session is opened as [`request_over`](Self::request_over) does. `reach` is called before each try, and has
    /// [`connect_timeout`](Self::connect_timeout). If it fails, so does the try, with [`ConnectError::Connect`]. Fail with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) or [`Unsupported`](io::ErrorKind::Unsupported) if trying again
    /// makes no sense, such as for an invalid proxy: that [is final](Setback::is_final).
    ///
    /// ```no_run
    /// use tokio::net::UnixStream;
    /// use tower_websocket::client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::new();
    /// let mut sessions = client.reconnect_over(|| UnixStream::connect("/run/chat"), "ws://localhost/");
    /// let session = sessions.next().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconnect_over<F, Fut, T>(&self, mut reach: F, request: impl IntoRequest) -> Reconnect
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connect = move |client: Self, request| -> Connecting {
            let reaching = reach();
            Box::pin(async move {
                let deadline = Deadline::of(Phase::Connect, client.connect_timeout);
                let reaching = async { reaching.await.map_err(ConnectError::Connect) };
                let stream = deadline.limit(reaching).await?;
                client.request_over(stream, request).await
            })
        };
        Reconnect::new(self, request.into_request(), Box::new(connect))
    }
}

/// Settings.
impl Reconnect {
    fn new(client: &Client, request: Result<Request<()>, ConnectError>, connect: Connect) -> Self {
        let (request, stage) = match request {
            Ok(request) => (request, Stage::Due),
            Err(error) => (Request::default(), Stage::Unusable(error)),
        };
        Self {
            client: client.clone(),
            request,
            connect,
            pace: Pace::default(),
            max_tries: None,
            prepare: None,
            give_up_on: Box::new(Setback::is_final),
            on_pause: None,
            stage,
            tries: 0,
            lost: None,
            since: None,
        }
    }

    /// Bounds the pause after a session is lost; the bound doubles with each try.
    ///
    /// Default: a second. Zero means no pauses except those that the server asks for: it tries without end.
    pub fn base_delay(mut self, delay: Duration) -> Self {
        self.pace.base = delay;
        self
    }

    /// Bounds every pause, except for what [`max_retry_after`](Self::max_retry_after) allows.
    ///
    /// Default: 30 seconds.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.pace.max = delay;
        self
    }

    /// Sets how long a session has to last for pauses and tries to start over after it.
    ///
    /// So a server that accepts and then closes at once is asked less and less often, too. Default: 10 seconds.
    pub fn stable_after(mut self, duration: Duration) -> Self {
        self.pace.stable_after = duration;
        self
    }

    /// Bounds how long a `Retry-After` is respected.
    ///
    /// Default: 5 minutes. Zero ignores it.
    pub fn max_retry_after(mut self, delay: Duration) -> Self {
        self.pace.max_retry_after = delay;
        self
    }

    /// Limits the tries since a session that [was stable](Self::stable_after); then it gives up.
    ///
    /// Default: `None`, no limit. There is one try at least.
    pub fn max_tries(mut self, tries: impl Into<Option<u32>>) -> Self {
        self.max_tries = tries.into();
        self
    }

    /// Decides after which setbacks it gives up.
    ///
    /// Default: [`Setback::is_final`]. `decide` replaces it: begin with `setback.is_final() ||`, or a 404 is tried
    /// again, too. A session that the server ended with 1000 is such a setback, but no error: `next` returns `None` then.
    /// A request that cannot be a handshake, such as one with a malformed URI, ends it in any case, without a call of
    /// `decide`.
    pub fn give_up_on(mut self, decide: impl FnMut(&Setback) -> bool + Send + 'static) -> Self {
        self.give_up_on = Box::new(decide);
        self
    }

    /// Changes the request before each try.
    ///
    /// Use it for a token that expires, or for the last message seen, in the query. `hook` gets the request as it was
    /// left the last time. Default: the request stays the same.
    ///
    /// ```no_run
    /// use http::header::{AUTHORIZATION, HeaderValue};
    /// use tower_websocket::client;
    ///
    /// # fn fresh_token() -> HeaderValue { HeaderValue::from_static("Bearer 1234") }
    /// let sessions = client::reconnect("wss://example.com/chat").prepare(|request| {
    ///     request.headers_mut().insert(AUTHORIZATION, fresh_token());
    /// });
    /// ```
    pub fn prepare(mut self, hook: impl FnMut(&mut Request<()>) + Send + 'static) -> Self {
        self.prepare = Some(Box::new(hook));
        self
    }

    /// Calls `hook` before each pause, to show it or to log it.
    pub fn on_pause(mut self, hook: impl FnMut(&Pause<'_>) + Send + 'static) -> Self {
        self.on_pause = Some(Box::new(hook));
        self
    }
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // User information and queries have passwords and tokens.
        let uri = self.request.uri();
        f.debug_struct("Reconnect")
            .field("host", &uri.host())
            .field("path", &uri.path())
            .field("pace", &self.pace)
            .field("max_tries", &self.max_tries)
            .field("stage", &self.stage)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}
