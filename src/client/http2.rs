//! Many connections over one of HTTP/2 (RFC 8441).

use std::{
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
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
    error::{ConnectError, is_http1_required},
    keep_alive::KeepAlive,
    phase::Phase,
    request::{self, IntoRequest},
    settings::Client,
};
use crate::{
    handshake::{
        client::{self, Offer},
        target::Target,
    },
    refused::{MAX_REFUSAL, in_time},
    session::{Http2Stream, Opened, Session, Transport, WebSocket},
};

/// An HTTP/2 connection that carries many WebSocket connections.
///
/// [`Client::connect_http2`] and [`Client::connect_http2_over`] make it. Clones share it. It closes when all clones
/// and all sockets are dropped; an open socket needs no clone. The server has
/// [`Config::close_timeout`](crate::Config::close_timeout) to end it, then it is dropped.
///
/// If the server sends nothing for [`Config::ping_interval`](crate::Config::ping_interval), it gets
/// an HTTP/2 PING, even if no socket is open. If nothing arrives for
/// [`Config::ping_timeout`](crate::Config::ping_timeout) after that, and for one more second for each
/// 14 KiB that were written meanwhile, the server counts as gone: all sockets end with an error
/// ([`io::ErrorKind::TimedOut`](std::io::ErrorKind::TimedOut)). With the defaults that is 40 to 60
/// seconds after its last byte.
///
/// A connection that has ended, or whose server has sent GOAWAY, [is closed](Self::is_closed): it
/// opens no more sockets and has to be replaced. Sockets that were open before the GOAWAY continue.
///
/// ```no_run
/// use tower_websocket::client::Client;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = Client::new().connect_http2("wss://example.com").await?;
/// println!("{} sockets at a time", connection.max_sockets());
/// let mut news = connection.connect("/news").await?;
/// let mut chat = connection.connect("/chat").await?;
/// chat.send("hello").await?;
/// if connection.is_closed() {
///     // Make another one for the next sockets.
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Http2Connection {
    requests: SendRequest<Bytes>,
    /// Opens one stream after the other.
    queue: Arc<Mutex<SendRequest<Bytes>>>,
    /// Keeps the connection.
    holder: Holder,
    client: Arc<Client>,
    /// The server's address, where it is known.
    peer: Option<SocketAddr>,
    /// For requests without a scheme or an authority.
    scheme: Option<Scheme>,
    authority: Option<Authority>,
}

impl Http2Connection {
    /// Begins HTTP/2 on a stream, and waits for the server's settings.
    pub(super) async fn begin<T>(
        client: &Client,
        stream: T,
        peer: Option<SocketAddr>,
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
        tokio::spawn(async move {
            let connection = keep_alive.beside(connection, pings);
            let result = while_held(connection, holders, patience).await;
            if let Some(Err(error)) = result {
                tracing::debug!(%error, "http/2 connection of a websocket client failed");
            }
        });
        // The settings are a server's first frame (RFC 9113 §3.4), so they come before any answer.
        if let Err(error) = ping.ping(Ping::opaque()).await {
            return Err(ConnectError::http2(failure(&requests).unwrap_or(error)));
        }
        // If the connection's task is gone, it has logged why.
        let _gone = hand_over.send(ping);
        if !requests.is_extended_connect_protocol_enabled() {
            return Err(ConnectError::NoExtendedConnect);
        }
        Ok(Self {
            queue: Arc::new(Mutex::new(requests.clone())),
            requests,
            holder,
            client: Arc::new(client.clone()),
            peer,
            scheme: uri.scheme().cloned(),
            authority: uri.authority().cloned(),
        })
    }

    /// Opens a connection, as [`request`](Self::request) does, without the response.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(&self, request: impl IntoRequest) -> Result<WebSocket, ConnectError> {
        self.request(request).await.map(Response::into_body)
    }

    /// Opens a connection; the socket is the body of the response that accepted it.
    ///
    /// A request that is only a path takes scheme and authority from the connection. If the server
    /// allows no more streams at once, this waits until one has ended; the wait counts towards the
    /// [`handshake_timeout`](Client::handshake_timeout). Dropping the future resets the stream, if
    /// there is one.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn request(
        &self,
        request: impl IntoRequest,
    ) -> Result<Response<WebSocket>, ConnectError> {
        let opened = self.open(request.into_request()?).await?;
        Ok(opened.map(Session::spawn))
    }

    /// Opens a connection, and runs no session.
    pub(crate) async fn open(
        &self,
        mut request: Request<()>,
    ) -> Result<Response<Opened>, ConnectError> {
        *request.uri_mut() = self.absolute(request.uri().clone())?;
        let mut head = request::head(request, &self.client.headers);
        head.version = Version::HTTP_2;
        let offer = client::offer(&mut head, &self.client.setup.config)?;
        let deadline = Deadline::of(Phase::Handshake, self.client.handshake_timeout);
        let info = self.client.info(self.peer, &head);
        let answer = self.exchange(head, &offer, deadline).await;
        let answer = answer.map_err(|error| self.cause(error))?;
        self.client.accept(answer, &offer, info)
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
            return Err(ConnectError::Rejected(Box::new(response)));
        }
        Ok(response.map(|recv| {
            let stream = Http2Stream::new(asked.accepted(), recv).held(self.holder.clone());
            (Transport::other(stream), Bytes::new())
        }))
    }

    /// Opens a stream, once the server allows one more.
    ///
    /// Callers wait here and not in `h2`, which would send a queued request, and then reset it, even
    /// after its caller is gone.
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
        // It fails with the connection, which may have brought the answer before.
        let _opened = poll_fn(|cx| requests.poll_ready(cx)).await;
        Ok((response, asked))
    }

    /// Replaces a stream's error by the connection's, if that asks for HTTP/1.1.
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

    /// Reports whether it opens no more sockets.
    ///
    /// That is so once the server has sent GOAWAY or does not answer pings, or the connection has ended or failed.
    /// `true` is final. `false` says only what is known so far: a server may vanish silently.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        failure(&self.requests).is_some()
    }

    /// Returns how many sockets the server allows at once; `usize::MAX` if it has set no limit.
    #[must_use]
    pub fn max_sockets(&self) -> usize {
        self.requests.current_max_send_streams()
    }
}

impl fmt::Debug for Http2Connection {
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
    // A clone has no stream of its own to wait for.
    let mut requests = requests.clone();
    let mut cx = Context::from_waker(Waker::noop());
    match requests.poll_ready(&mut cx) {
        Poll::Ready(Err(error)) => Some(error),
        Poll::Ready(Ok(())) | Poll::Pending => None,
    }
}

/// A stream that waits for its answer. Dropping it resets the stream.
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

/// Keeps the connection open while it lives.
type Holder = watch::Receiver<()>;

/// Runs a connection as long as a [`Holder`] lives, and then for `patience` at most: a server that
/// reads nothing could delay the end forever.
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

/// Reads the start of a refusal's body, as far as it comes in time.
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
