//! What follows from what the core says: who is told and woken.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Weak,
};

use tracing::{error, info};

use super::{Hub, HubState, Told, Wakes};
use crate::cluster::{
    backplane::BackplaneError, events::CoreEvent, listeners::ClusterEvent,
    publish_error::PublishError,
};

impl Hub {
    pub(super) fn wake_tasks(&self, wakes: Wakes) {
        if wakes.commands {
            self.commands.notify_one();
        }
        if wakes.clock {
            self.clock.notify_one();
        }
        if wakes.deliveries {
            self.deliveries.notify_one();
        }
    }

    pub(crate) fn wake(&self, told: Told) {
        self.wake_tasks(told.wakes);
        // Here code of the application runs: what it wakes, and what it drops. It harms no task of the node.
        if catch_unwind(AssertUnwindSafe(|| self.tell(told))).is_err() {
            error!("something that was told of a cluster, or dropped, panicked");
        }
    }

    fn tell(&self, told: Told) {
        if told.progress {
            self.progress.notify_waiters();
        }
        if told.connected {
            info!("connected to the engine");
        }
        for waiting in told.subscribed {
            // Who waited may have given up.
            let _ = waiting.send(());
        }
        for (waiting, result) in told.confirmed {
            let _ = waiting.send(result);
        }
        if let Some((after, spans)) = told.reconnected {
            for span in spans.iter().filter_map(Weak::upgrade) {
                span.reconnected(after);
            }
        }
        told.heard.wake();
        drop(told.waste);
    }
}

impl HubState {
    /// Takes what the core has to say.
    pub(super) fn tell(&mut self) -> Told {
        let mut told = Told {
            waste: self.core.take_waste(),
            ..Told::default()
        };
        while let Some(event) = self.core.poll_event() {
            self.tell_event(event, &mut told);
        }
        if let Some(event) = self.news.take() {
            self.tell_listeners(event, &mut told);
        }
        told.wakes = self.wakes();
        told
    }

    /// Finds out which tasks have something to do that wait for it.
    pub(super) fn wakes(&mut self) -> Wakes {
        let mut wakes = Wakes::default();
        if self.line_waits && self.core.has_command() {
            self.line_waits = false;
            wakes.commands = true;
        }
        if self.delivery_waits && (self.over || self.core.has_delivery()) {
            self.delivery_waits = false;
            wakes.deliveries = true;
        }
        if let Some(until) = self.asleep {
            let due = self.core.poll_timeout();
            let is_nearer = due.is_some_and(|due| until.is_none_or(|until| due < until));
            if is_nearer || self.core.is_over() {
                self.asleep = None;
                wakes.clock = true;
            }
        }
        wakes
    }

    #[cold]
    fn tell_event(&mut self, event: CoreEvent, told: &mut Told) {
        let event = match event {
            CoreEvent::Connected { after } => {
                told.connected = true;
                told.progress = true;
                if let Some(after) = after {
                    self.spans.retain(|(_, span)| span.strong_count() > 0);
                    let spans = self.spans.iter().map(|(_, span)| span.clone());
                    told.reconnected = Some((after, spans.collect()));
                }
                ClusterEvent::Connected { after }
            }
            CoreEvent::Disconnected => ClusterEvent::Disconnected(
                // It is set before the core is told.
                self.ended.clone().unwrap_or_else(BackplaneError::ended),
            ),
            CoreEvent::NodeJoined(node) => ClusterEvent::NodeJoined(node),
            CoreEvent::NodeLeft(node) => ClusterEvent::NodeLeft(node),
            CoreEvent::Denied(topics) => ClusterEvent::Denied(topics),
            CoreEvent::Subscribed(topic) => {
                let waiting = self.subscribed.remove(&topic);
                told.subscribed.extend(waiting.into_iter().flatten());
                return;
            }
            CoreEvent::Published(ticket, result) => {
                if let Some(waiting) = self.confirmed.remove(&ticket) {
                    told.confirmed
                        .push((waiting, result.map_err(PublishError::from)));
                }
                return;
            }
        };
        self.tell_listeners(event, told);
    }

    fn tell_listeners(&mut self, event: ClusterEvent, told: &mut Told) {
        self.listeners.push(&event, &mut told.heard);
        told.events.push(event);
    }
}
