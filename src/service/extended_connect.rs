//! The `:protocol` of an Extended CONNECT (RFC 8441 §4), as hyper or `h2` hands it over.

pub(crate) use imp::protocol;

#[cfg(feature = "testing")]
pub(crate) use imp::insert_websocket;

#[cfg(feature = "http2")]
mod imp {
    use http::request::Parts;
    use hyper::ext::Protocol;

    pub(crate) fn protocol(head: &Parts) -> Option<&str> {
        let extensions = &head.extensions;
        if let Some(protocol) = extensions.get::<Protocol>() {
            return Some(protocol.as_str());
        }
        let protocol = extensions.get::<h2::ext::Protocol>()?;
        Some(protocol.as_str())
    }

    #[cfg(feature = "testing")]
    pub(crate) fn insert_websocket(extensions: &mut http::Extensions) {
        extensions.insert(Protocol::from_static("websocket"));
    }
}

#[cfg(not(feature = "http2"))]
mod imp {
    use http::request::Parts;

    pub(crate) fn protocol(_: &Parts) -> Option<&str> {
        None
    }

    #[cfg(feature = "testing")]
    pub(crate) fn insert_websocket(_: &mut http::Extensions) {}
}
