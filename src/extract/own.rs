//! What the extractor sets by itself.

use std::mem;

use crate::config::Config;

/// What the extractor's own methods have set, which no configuration changes.
#[derive(Default)]
pub(super) struct Own {
    pub(super) subprotocols: bool,
    pub(super) selected: bool,
    pub(super) max_message_size: bool,
    pub(super) max_frame_size: bool,
    pub(super) compression: bool,
}

impl Own {
    /// Takes over into a new configuration what was set before.
    pub(super) fn keep(&self, before: &mut Config, config: &mut Config) {
        if self.subprotocols {
            config.subprotocols = mem::take(&mut before.subprotocols);
        }
        if self.max_message_size {
            config.max_message_size = before.max_message_size;
        }
        if self.max_frame_size {
            config.max_frame_size = before.max_frame_size;
        }
        if self.compression {
            config.compression = before.compression.take();
        }
    }
}
