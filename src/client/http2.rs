//! Many connections over one of HTTP/2 (RFC 8441).

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, Reason, RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{
    Request, Response, Uri, Version,
    request::Parts,
    uri::{Authority, Scheme},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, oneshot, watch},
    task::coop::consume_budget,
    time::{Instant, sleep},
};

use super::{
    deadline::Deadline,
    error::{ConnectError, Phase, is_http1_required},
    keep_alive::KeepAlive,
    request::{self, IntoRequest},
    settings::Client,
};
use crate::{
    handshake::{
        client::{self, Offer},
        target::Target,
    },
    refused::{MAX_REFUSAL, in_time},
    session::{Http2Stream, Transport, WebSocket},
};

/// An HTTP/2 connection that carries many WebSocket connections.
///
/// Made by [`Client::http2`] and [`Client::http2_over`]. Clones share it. It is closed when all
/// clones and all sockets are gone; a socket that is open needs no clone. A server that takes
/// longer than [`Config::close_timeout`](crate::Config::close_timeout) for that end is not waited
/// for.
///
/// While it is there a server that says nothing for
/// [`Config::ping_interval`](crate::Config::ping_interval) is sent a PING of HTTP/2, also where no
/// socket is open. When nothing at all comes for
/// [`Config::ping_timeout`](crate::Config::ping_timeout) after that, and for a second more for each
/// 14 KiB that were written meanwhile, the server is taken for gone: all sockets end with an error
/// ([`io::ErrorKind::TimedOut`](std::io::ErrorKind::TimedOut)). With the defaults this is so between
/// 40 and 60 seconds after its last byte.
///
/// A connection that has ended, and one whose server has sent GOAWAY, [is
/// closed](Self::is_closed): it opens no more sockets, and a new one is to be made. Sockets that were
/// open when GOAWAY came go on.
///
/// ```no_run
/// use tower_websocket::client::Client;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = Client::new().http2("wss://example.com").await?;
/// let mut news = connection.connect("/news").await?;
/// let mut chat = connection.connect("/chat").await?;
/// chat.send("hello").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connection {
    requests: SendRequest<Bytes>,
    /// Streams are opened one after the other, through this one.
    queue: Arc<Mutex<SendRequest<Bytes>>>,
    /// Keeps the connection.
    holder: Holder,
    client: Arc<Client>,
    /// Those of requests that name none.
    scheme: Option<Scheme>,
    authority: Option<Authority>,
}

impl Connection {
    /// Begins HTTP/2 on a stream, and waits for the server's settings.
    pub(super) async fn begin<T>(
        client: &Client,
        stream: T,
        uri: &Uri,
    ) -> Result<Self, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // Before anything is sent.
        Target::of(uri)?;
        let config = &client.setup.config;
        let (keep_alive, stream) = KeepAlive::of(stream, config);
        let handshake = settings().handshake(stream).await;
        let (requests, mut connection) = handshake.map_err(ConnectError::http2)?;
        // Nothing else takes it.
        let mut ping = connection.ping_pong().ok_or(ConnectError::NoHttp2)?;
        let (hand_over, pings) = oneshot::channel();
        let (holders, holder) = watch::channel(());
        let patience = config.close_timeout;
        let connection = keep_alive.beside(connection, pings);
        tokio::spawn(run(while_held(connection, holders, patience)));
        // The settings are the first frame of a server (RFC 9113 §3.4): they are there with the
        // answer to anything.
        if let Err(error) = ping.ping(Ping::opaque()).await {
            return Err(ConnectError::http2(failure(&requests).unwrap_or(error)));
        }
        // The connection's task may be gone; it says so itself.
        let _gone = hand_over.send(ping);
        if !requests.is_extended_connect_protocol_enabled() {
            return Err(ConnectError::NoExtendedConnect);
        }
        Ok(Self {
            queue: Arc::new(Mutex::new(requests.clone())),
            requests,
            holder,
            client: Arc::new(client.clone()),
            scheme: uri.scheme().cloned(),
            authority: uri.authority().cloned(),
        })
    }

    /// Opens a connection: as [`open`](Self::open), without the response.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(&self, request: impl IntoRequest) -> Result<WebSocket, ConnectError> {
        self.open(request).await.map(Response::into_body)
    }

    /// Opens a connection; the socket is the body of the response that accepted it.
    ///
    /// The request may be no more than a path: scheme and authority are those of the connection
    /// then. Where the server allows no more streams at once this waits until one has ended, which
    /// counts for the [`handshake_timeout`](Client::handshake_timeout). Dropping the future resets
    /// the stream, if there is one.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn open(
        &self,
        request: impl IntoRequest,
    ) -> Result<Response<WebSocket>, ConnectError> {
        let mut request = request.into_request()?;
        *request.uri_mut() = self.absolute(request.uri().clone())?;
        let mut head = request::head(request, &self.client.headers);
        head.version = Version::HTTP_2;
        let offer = client::offer(&mut head, &self.client.setup.config)?;
        let deadline = Deadline::of(Phase::Handshake, self.client.handshake_timeout);
        let answer = self.exchange(head, &offer, deadline).await;
        let answer = answer.map_err(|error| self.cause(error))?;
        self.client.accept(answer, &offer)
    }

    async fn exchange(
        &self,
        mut head: Parts,
        offer: &Offer,
        deadline: Deadline,
    ) -> Result<Response<(Transport, Bytes)>, ConnectError> {
        head.extensions.insert(Protocol::from_static("websocket"));
        let request = Request::from_parts(head, ());
        let answering = async {
            let (response, asked) = self.ask(request).await?;
            Ok((response.await.map_err(ConnectError::http2)?, asked))
        };
        let (response, asked) = deadline.limit(answering).await?;
        if !offer.is_accepted(response.status()) {
            let response = collect(response, deadline.until()).await;
            return Err(ConnectError::Refused(Box::new(response)));
        }
        Ok(response.map(|recv| {
            let stream = Http2Stream::new(asked.accepted(), recv).held(self.holder.clone());
            (Transport::other(stream), Bytes::new())
        }))
    }

    /// Opens a stream, once the server allows one more.
    ///
    /// Those who wait do so here: what is queued in `h2` is sent even when nobody waits for it any
    /// more, and only reset behind that.
    async fn ask(&self, request: Request<()>) -> Result<(ResponseFuture, Asked), ConnectError> {
        let mut requests = self.queue.lock().await;
        poll_fn(|cx| requests.poll_ready(cx))
            .await
            .map_err(ConnectError::http2)?;
        // A server must not take it back (RFC 8441 §3).
        if !requests.is_extended_connect_protocol_enabled() {
            return Err(ConnectError::NoExtendedConnect);
        }
        let (response, send) = requests
            .send_request(request, false)
            .map_err(ConnectError::http2)?;
        let asked = Asked(Some(send));
        // It fails where the connection does, which may have brought the answer before.
        let _opened = poll_fn(|cx| requests.poll_ready(cx)).await;
        Ok((response, asked))
    }

    /// Finds what the server has said of the whole connection, where that says what to do.
    fn cause(&self, error: ConnectError) -> ConnectError {
        match failure(&self.requests) {
            Some(failure) if is_http1_required(&failure) && error.response().is_none() => {
                ConnectError::http2(failure)
            }
            _ => error,
        }
    }

    fn absolute(&self, uri: Uri) -> Result<Uri, ConnectError> {
        let mut parts = uri.into_parts();
        if parts.authority.is_none() {
            parts.authority.clone_from(&self.authority);
            parts.scheme.clone_from(&self.scheme);
        }
        Ok(Uri::from_parts(parts).map_err(http::Error::from)?)
    }

    /// Tells whether no more sockets can be opened over it: the server has sent GOAWAY, does not answer
    /// pings, or the connection has ended or failed.
    ///
    /// It stays so. `false` is what is known so far: a server may be gone without a word.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        failure(&self.requests).is_some()
    }

    /// Returns how many sockets the server allows at once, as it has said last; `usize::MAX` where it has not.
    #[must_use]
    pub fn max_sockets(&self) -> usize {
        self.requests.current_max_send_streams()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("authority", &self.authority)
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Returns the settings of HTTP/2 that a client announces.
fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD)
        .enable_push(false);
    settings
}

/// Returns why a connection opens no more streams; `None` if it still does.
fn failure(requests: &SendRequest<Bytes>) -> Option<h2::Error> {
    // A clone waits for no stream of its own, and so for nothing.
    let mut requests = requests.clone();
    let mut cx = Context::from_waker(Waker::noop());
    match requests.poll_ready(&mut cx) {
        Poll::Ready(Err(error)) => Some(error),
        Poll::Ready(Ok(())) | Poll::Pending => None,
    }
}

/// A stream on which the answer has not come. Dropped, it is reset.
struct Asked(Option<SendStream<Bytes>>);

impl Asked {
    fn accepted(mut self) -> SendStream<Bytes> {
        // Nothing else takes it.
        self.0.take().expect("it is there until it is accepted")
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(send) = &mut self.0 {
            send.send_reset(Reason::CANCEL);
        }
    }
}

/// Whoever holds it keeps the connection open.
type Holder = watch::Receiver<()>;

/// Runs a connection to its end.
async fn run(connection: impl Future<Output = Option<Result<(), h2::Error>>>) {
    if let Some(Err(error)) = connection.await {
        tracing::debug!(%error, "http/2 connection of a websocket client failed");
    }
}

/// Runs a connection for as long as somebody holds it; its end then has a moment: a server that
/// reads nothing could draw it out for ever.
async fn while_held<T>(
    connection: impl Future<Output = T>,
    holders: watch::Sender<()>,
    patience: Duration,
) -> Option<T> {
    let released = async {
        holders.closed().await;
        sleep(patience).await;
    };
    let (mut connection, mut released) = (pin!(connection), pin!(released));
    poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => released.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Reads a refusal's body, as far as it is of interest and comes in time.
async fn collect(response: Response<RecvStream>, until: Option<Instant>) -> Response<Bytes> {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let reading = async {
        while bytes.len() < MAX_REFUSAL
            && let Some(Ok(data)) = body.data().await
        {
            bytes.extend_from_slice(&data[..data.len().min(MAX_REFUSAL - bytes.len())]);
            // It was received, so it may be released.
            let _released = body.flow_control().release_capacity(data.len());
            consume_budget().await;
        }
    };
    in_time(until, reading).await;
    Response::from_parts(head, bytes.into())
}

/// How much of one socket's data waits to be read, at most.
const STREAM_WINDOW: u32 = 256 << 10;

/// How much of all sockets' data waits to be read: one that is not read must not stop the others.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// How large the head of a response may be.
const MAX_HEAD: u32 = 64 << 10;
