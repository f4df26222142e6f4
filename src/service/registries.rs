//! How a server finds the WebSockets of its application.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::request::Parts;

use crate::{Connections, handshake::Rejection};

/// The registries whose connections a server closes before it stops.
///
/// `serve` puts it among the extensions of its requests. A layer without a registry takes the
/// server's; one that has its own makes it known here with its first handshake.
#[derive(Clone)]
pub(crate) struct Registries {
    shared: Arc<Shared>,
}

struct Shared {
    own: Connections,
    /// Those of the layers; `None` since the server stops.
    layers: Mutex<Option<Vec<Connections>>>,
}

impl Registries {
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "`serve` does"))]
    pub(crate) fn new(own: Connections) -> Self {
        let layers = Mutex::new(Some(Vec::new()));
        Self {
            shared: Arc::new(Shared { own, layers }),
        }
    }

    /// All of them, for the server to stop: from now on none becomes known.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "`serve` does"))]
    pub(crate) fn take(&self) -> Vec<Connections> {
        let layers = self.shared.layers.lock();
        let layers = layers.unwrap_or_else(PoisonError::into_inner).take();
        let mut all = layers.unwrap_or_default();
        all.retain(|layer| !layer.is_same(&self.shared.own));
        all.push(self.shared.own.clone());
        all
    }

    /// Sees to it that `layer` is among them; `false` where it is too late.
    fn contain(&self, layer: &Connections) -> bool {
        let layers = self.shared.layers.lock();
        let mut layers = layers.unwrap_or_else(PoisonError::into_inner);
        let Some(layers) = &mut *layers else {
            return false;
        };
        if !layers.iter().any(|known| known.is_same(layer)) {
            layers.push(layer.clone());
        }
        true
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registries")
    }
}

/// Where a connection is registered: with its layer, or else with the server.
///
/// # Errors
///
/// The server stops, and would not see it.
pub(super) fn registry(
    head: &mut Parts,
    layer: Option<&Connections>,
) -> Result<Option<Connections>, Rejection> {
    let registry = match (head.extensions.remove::<Registries>(), layer) {
        (Some(server), Some(layer)) if !server.contain(layer) => return Err(Rejection::Draining),
        (_, Some(layer)) => Some(layer.clone()),
        (server, None) => server.map(|server| server.shared.own.clone()),
    };
    if registry.as_ref().is_some_and(Connections::is_draining) {
        return Err(Rejection::Draining);
    }
    Ok(registry)
}
