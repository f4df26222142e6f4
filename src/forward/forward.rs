//! Where connections are passed on to, and what goes with them.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, Request, Uri, header::SEC_WEBSOCKET_EXTENSIONS, request::Parts};
use tower::BoxError;

use super::{
    headers::{PASSED, PASSED_BACK, is_hop_by_hop, pass_back},
    pool::{Pool, Ticket},
    relay::{Upstream, relay},
    request::upstream_request,
    route::Forwarded,
    settings::Settings,
};
use crate::{
    client::{Client, ConnectError, IntoRequest},
    handshake::{client::InvalidRequest, target::Target},
    protocol::random::random,
    service::{Decision, Reroute, TakeOver, TakenOver, hook::Handshake, layer::WebSocketLayer},
    session::{Opened, Session, Spliced, WebSocket, splice},
};

/// Passes connections on to an upstream: see the [module](self).
///
/// Clones are cheap, and share the connections of [`sockets_per_connection`](Self::sockets_per_connection).
#[derive(Clone)]
pub struct Forward {
    settings: Arc<Settings>,
}

impl Forward {
    /// Makes a gateway to a server, with the default settings.
    ///
    /// The path of a client's request is put behind that of the URI, the query behind its query: with
    /// `ws://10.0.0.7:9000/v2` a request for `/chat?room=1` becomes one for `/v2/chat?room=1`. To use another path,
    /// change it with [`on_request`](Self::on_request). The headers of a request are sent with every request to the
    /// upstream, and replace the client's of the same name. Nothing is connected yet.
    ///
    /// Make it once, and clone it. It recognises a loop by a name that is made here, so if it is made anew for each
    /// request it recognises none.
    ///
    /// # Errors
    ///
    /// The URI is malformed, or has no `ws`, `wss`, `http` or `https`, or no host.
    pub fn to(upstream: impl IntoRequest) -> Result<Self, ConnectError> {
        let (head, ()) = upstream.into_request()?.into_parts();
        let target = Target::of(&head.uri)?;
        target.scheme.ok_or(InvalidRequest::Scheme)?;
        target.authority.ok_or(InvalidRequest::MissingHost)?;
        let pseudonym = format!("tower-websocket-{:016x}", u64::from_ne_bytes(random()));
        Ok(Self {
            settings: Arc::new(Settings {
                uri: head.uri,
                own_headers: head.headers,
                client: Client::new(),
                headers: PASSED.to_vec(),
                response_headers: PASSED_BACK.to_vec(),
                x_forwarded_for: false,
                forwarded: false,
                preserve_host: false,
                on_request: None,
                pool: None,
                end_to_end: false,
                pseudonym: pseudonym.into(),
            }),
        })
    }

    /// Sets how to connect to the upstream: version of HTTP, TLS, deadlines, headers, and [`Config`](crate::Config).
    ///
    /// That is the `Config` of the upstream's side. Its subprotocols are not offered: those of each client are. Default:
    /// [`Client::new`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_websocket::{client::{Client, HttpVersion}, forward::Forward};
    ///
    /// # fn example() -> Result<Forward, tower_websocket::client::ConnectError> {
    /// let client = Client::new()
    ///     .http_version(HttpVersion::Negotiated)
    ///     .connect_timeout(Duration::from_secs(2));
    /// Ok(Forward::to("wss://chat.internal/")?.client(client).x_forwarded_for(true).preserve_host(true))
    /// # }
    /// # assert!(example().is_ok());
    /// ```
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        let settings = self.settings_mut();
        settings.client = client.without_subprotocols();
        settings.renew_pool();
        self
    }

    /// Shares one HTTP/2 connection to the upstream among up to this many sockets.
    ///
    /// If the upstream allows fewer, that is the limit.
    /// It implies [`HttpVersion::Http2`](crate::client::HttpVersion::Http2). If all connections are full, another one
    /// is made. One that is closed, or whose upstream has sent GOAWAY, gets no more sockets. Zero means one. Default:
    /// every socket has a connection of its own.
    #[must_use]
    pub fn sockets_per_connection(mut self, sockets: usize) -> Self {
        self.settings_mut().pool = Some(Arc::new(Pool::new(sockets.max(1))));
        self
    }

    /// Sets which headers of a client's request are passed on, with all of their lines.
    ///
    /// Default: `Accept-Language`, `Authorization`, `Cookie`, `Origin` and `User-Agent`.
    ///
    /// A header that was passed to [`to`](Self::to) is the gateway's own, and replaces the client's.
    /// No other header is passed: so a client cannot set the `X-Real-IP` and the like that an upstream may trust. What
    /// belongs to one connection only is never passed on, listed or not: hop-by-hop headers, those that the client's
    /// `Connection` names (RFC 9110 §7.6.1), and the handshake's. Subprotocols are always passed.
    ///
    /// An upstream that compares `Origin` with its host refuses pages, whose origin is the gateway's.
    /// Use [`preserve_host`](Self::preserve_host), or check the origin only here and leave it out.
    ///
    /// # Panics
    ///
    /// Panics if one of them is hop-by-hop, or the handshake's.
    #[must_use]
    pub fn headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.settings_mut().headers = checked(names);
        self
    }

    /// Sets which headers of the upstream's response are passed back.
    ///
    /// They are those of a refusal, or of the response that accepts, without `Content-*`. Default: `Content-Encoding`,
    /// `Content-Type`, `Location`, `Retry-After`, `Set-Cookie` and `WWW-Authenticate`.
    ///
    /// # Panics
    ///
    /// As [`headers`](Self::headers).
    #[must_use]
    pub fn response_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.settings_mut().response_headers = checked(names);
        self
    }

    /// Appends the client's address to `X-Forwarded-For`.
    ///
    /// What the client has sent in it stays in front, for an upstream that knows how many proxies to trust: only the
    /// last address is this gateway's word. The address is that of [`PeerAddr`](crate::service::PeerAddr), and
    /// `unknown` if there is none. Default: `false`.
    #[must_use]
    pub fn x_forwarded_for(mut self, append: bool) -> Self {
        self.settings_mut().x_forwarded_for = append;
        self
    }

    /// Appends the client's address, and the host it asked for, to `Forwarded` (RFC 7239).
    ///
    /// Trust it as [`x_forwarded_for`](Self::x_forwarded_for) says. A line of the client's that leaves a quoted string
    /// open is left out: otherwise the gateway's word would be a part of it. Default: `false`.
    #[must_use]
    pub fn forwarded(mut self, append: bool) -> Self {
        self.settings_mut().forwarded = append;
        self
    }

    /// Sends the host that the client has asked for as that of the request.
    ///
    /// Over HTTP/2 it needs [`sockets_per_connection`](Self::sockets_per_connection). Default: `false`, which sends the
    /// host of the upstream's URI.
    #[must_use]
    pub fn preserve_host(mut self, preserve: bool) -> Self {
        self.settings_mut().preserve_host = preserve;
        self
    }

    /// Changes each request to the upstream before it is sent.
    ///
    /// `hook` gets the head of the client's request, and the one to the upstream, of which it may change URI and
    /// headers. If it changes the host in the URI, the request goes there, without
    /// [`sockets_per_connection`](Self::sockets_per_connection). A later call replaces the hook. Default: no change.
    ///
    /// ```
    /// use tower_websocket::forward::Forward;
    ///
    /// # fn example() -> Result<Forward, tower_websocket::client::ConnectError> {
    /// Ok(Forward::to("ws://10.0.0.7:9000/")?.on_request(|_, request| {
    ///     *request.uri_mut() = "ws://10.0.0.7:9000/only/this".parse().expect("a URI");
    /// }))
    /// # }
    /// # assert!(example().is_ok());
    /// ```
    #[must_use]
    pub fn on_request(
        mut self,
        hook: impl Fn(&Parts, &mut Request<()>) + Send + Sync + 'static,
    ) -> Self {
        self.settings_mut().on_request = Some(Arc::new(hook));
        self
    }

    /// Passes bytes on unread, so that client and upstream negotiate extensions with each other.
    ///
    /// See the [module](self#end-to-end). Default: `false`.
    #[must_use]
    pub fn end_to_end(mut self, end_to_end: bool) -> Self {
        self.settings_mut().end_to_end = end_to_end;
        self
    }

    /// Makes a layer whose connections all go to the upstream.
    ///
    /// The layer's [`WebSocketLayer::on_handshake`] is in use: to set another hook, call [`accept`](Self::accept) there.
    /// Leave [`Config::subprotocols`](crate::Config::subprotocols) of the layer empty: the upstream chooses.
    #[must_use]
    pub fn layer(self) -> WebSocketLayer<Forwarded> {
        WebSocketLayer::new(Forwarded::default()).on_handshake(move |handshake| {
            let forward = self.clone();
            async move { forward.accept(handshake).await }
        })
    }

    /// Opens a connection to the upstream, and accepts the client's with what the upstream has chosen.
    ///
    /// Call it in a hook of [`WebSocketLayer::on_handshake`].
    /// The connection is passed on, whatever the layer's route service is; that is not called. Until the connection
    /// has ended it keeps the permits of the route service, such as those of tower's `ConcurrencyLimit`.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_websocket::{Handshake, WebSocketLayer, forward::{Forward, Forwarded}};
    ///
    /// # fn example() -> Result<WebSocketLayer<Forwarded>, tower_websocket::client::ConnectError> {
    /// let (old, new) = (Forward::to("ws://10.0.0.7:9000/")?, Forward::to("ws://10.0.0.8:9000/")?);
    /// let layer = WebSocketLayer::new(Forwarded::default()).on_handshake(move |handshake: Handshake| {
    ///     let (old, new) = (old.clone(), new.clone());
    ///     async move {
    ///         match handshake.headers().get("authorization") {
    ///             None => handshake.reject((StatusCode::UNAUTHORIZED, "a token is needed")),
    ///             Some(token) if token == "Bearer beta" => new.accept(handshake).await,
    ///             Some(_) => old.accept(handshake).await,
    ///         }
    ///     }
    /// });
    /// # Ok(layer)
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops connecting to the upstream.
    pub async fn accept(&self, mut handshake: Handshake) -> Decision {
        let opened = match upstream_request(&self.settings, &handshake) {
            Ok(request) => self.settings.open(request).await,
            Err(failure) => Err(failure),
        };
        let (response, ticket) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                let response = failure.response(&self.settings.response_headers);
                return handshake.reject(response);
            }
        };
        let (head, opened) = response.into_parts();
        let listed = &self.settings.response_headers;
        pass_back(
            &head.headers,
            listed,
            true,
            handshake.response_headers_mut(),
        );
        // The client offers it, or the upstream's answer was not accepted.
        let _offered = handshake.replace_subprotocol(opened.agreed.protocol());
        if self.settings.end_to_end {
            return handshake.take_over(spliced(&head.headers, opened, ticket));
        }
        let upstream = Upstream::new(Session::spawn(opened));
        let route = Reroute::new(move |request: Request<WebSocket>| async move {
            let _ticket = ticket;
            relay(request.into_body(), upstream).await;
            Ok::<_, BoxError>(())
        });
        handshake.reroute(route)
    }

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

/// Takes the client's stream for an upstream that has answered with these headers.
fn spliced(headers: &HeaderMap, upstream: Opened, ticket: Option<Ticket>) -> TakeOver {
    let name = SEC_WEBSOCKET_EXTENSIONS;
    let lines = headers.get_all(&name).iter().cloned();
    let answer = lines.map(|line| (name.clone(), line)).collect();
    let upstream = Spliced {
        transport: upstream.transport,
        read: upstream.read,
        setup: upstream.setup,
    };
    let taker = |((transport, read), place, setup): TakenOver| async move {
        let _ticket = ticket;
        let client = Spliced {
            transport,
            read,
            setup,
        };
        splice(client, upstream, place).await;
    };
    TakeOver::new(taker, answer)
}

fn checked(names: impl IntoIterator<Item = HeaderName>) -> Vec<HeaderName> {
    let names: Vec<_> = names.into_iter().collect();
    for name in &names {
        assert!(!is_hop_by_hop(name), "`{name}` is for one connection only");
    }
    names
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("upstream", &WithoutUser(&self.settings.uri))
            .field("client", &self.settings.client)
            .finish_non_exhaustive()
    }
}

/// A URI, for logs: a password in it is not for them.
struct WithoutUser<'a>(&'a Uri);

impl fmt::Debug for WithoutUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |all| all.as_str());
        let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        write!(f, "{scheme}://{host}{}", self.0.path())
    }
}
