//! How a server finds the WebSockets of its application.

use std::{fmt, sync::Arc};

use http::request::Parts;

use crate::{
    handshake::{RETRY_AFTER_REFUSAL, Rejection},
    lock::Lock,
    session::Connections,
};

/// The registries whose connections a server closes before it stops.
///
/// `serve` puts it among the extensions of its requests. A layer without a registry takes the
/// server's; one that has its own makes it known here with its first handshake.
#[derive(Clone)]
pub(crate) struct Registries {
    known: Arc<Known>,
}

struct Known {
    own: Connections,
    /// The registries of layers; `None` once the server stops.
    layers: Lock<Option<Vec<Connections>>>,
}

impl Registries {
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "`serve` does"))]
    pub(crate) fn new(own: Connections) -> Self {
        let layers = Lock::new(Some(Vec::new()));
        Self {
            known: Arc::new(Known { own, layers }),
        }
    }

    /// Takes all of them, for the server to stop. From now on no layer becomes known.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "`serve` does"))]
    pub(crate) fn take(&self) -> Vec<Connections> {
        let layers = self.known.layers.lock().take();
        let mut all = layers.unwrap_or_default();
        all.retain(|layer| !layer.is_same(&self.known.own));
        all.push(self.known.own.clone());
        all
    }

    /// Adds `layer` unless it is known; `false` if it is too late.
    fn contain(&self, layer: &Connections) -> bool {
        let mut layers = self.known.layers.lock();
        let Some(layers) = &mut *layers else {
            return false;
        };
        if !layers.iter().any(|known| known.is_same(layer)) {
            layers.push(layer.clone());
        }
        true
    }
}

impl Registries {
    /// How a layer is refused that is too late.
    fn refusal(&self, layer: &Connections) -> Rejection {
        let known = [&self.known.own, layer]
            .into_iter()
            .find_map(Connections::refusal);
        // They are about to be drained.
        known.unwrap_or(Rejection::Draining {
            retry_after: RETRY_AFTER_REFUSAL,
        })
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registries")
    }
}

/// Finds where a connection is registered: with its layer, or else with the server.
///
/// # Errors
///
/// The server stops, and would not see it.
pub(crate) fn registry(
    head: &mut Parts,
    layer: Option<&Connections>,
) -> Result<Option<Connections>, Rejection> {
    let registry = match (head.extensions.remove::<Registries>(), layer) {
        (Some(server), Some(layer)) if !server.contain(layer) => return Err(server.refusal(layer)),
        (_, Some(layer)) => Some(layer.clone()),
        (server, None) => server.map(|server| server.known.own.clone()),
    };
    match registry.as_ref().and_then(Connections::refusal) {
        Some(rejection) => Err(rejection),
        None => Ok(registry),
    }
}

#[cfg(all(test, feature = "serve"))]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use http::Request;

    use super::*;

    fn place(
        server: &Registries,
        layer: Option<&Connections>,
    ) -> Result<Option<Connections>, Rejection> {
        let (mut head, ()) = Request::new(()).into_parts();
        head.extensions.insert(server.clone());
        let registry = registry(&mut head, layer);
        assert!(head.extensions.is_empty(), "no connection keeps it");
        registry
    }

    #[test]
    fn layers_are_known_once_and_the_server_has_the_rest() {
        let (own, layers) = (Connections::new(), [Connections::new(), Connections::new()]);
        let server = Registries::new(own.clone());
        for _ in 0..3 {
            for layer in layers.iter().chain([&own]) {
                let registry = place(&server, Some(layer)).unwrap().unwrap();
                assert!(registry.is_same(layer));
            }
            assert!(place(&server, None).unwrap().unwrap().is_same(&own));
        }
        let all = server.take();
        assert_eq!(all.len(), 3);
        for known in layers.iter().chain([&own]) {
            assert!(all.iter().any(|registry| registry.is_same(known)));
        }
    }

    #[test]
    fn layer_that_comes_after_the_servers_stop_is_refused() {
        let (known, late) = (Connections::new(), Connections::new());
        let server = Registries::new(Connections::new());
        place(&server, Some(&known)).unwrap();
        server.take();
        for layer in [&known, &late] {
            let rejection = place(&server, Some(layer)).unwrap_err();
            assert_eq!(rejection.name(), "Draining");
        }
    }
}
