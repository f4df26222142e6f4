//! What follows from what the core says: who is told and woken.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Weak,
};

use tracing::{error, info};

use super::{Hub, HubState, Told, ToldMore, Wakes};
use crate::cluster::{
    backplane::BackplaneError,
    event_stream::{ClusterEvent, ClusterEvents},
    events::CoreEvent,
    publish_error::PublishError,
};

impl Hub {
    /// Returns what happens from now on.
    pub(in crate::cluster) fn events(&self) -> ClusterEvents {
        let listener = self.with(|state, _| state.listeners.listen());
        ClusterEvents { listener }
    }

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
        let Some(told) = told.more else {
            return;
        };
        // Here code of the application runs: what it wakes, and what it drops. It harms no task of the node.
        if catch_unwind(AssertUnwindSafe(|| self.tell(*told))).is_err() {
            error!("something that was told of a cluster, or dropped, panicked");
        }
    }

    fn tell(&self, told: ToldMore) {
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
        for (counting, tally) in told.counted {
            let _ = counting.told.send(Some(tally));
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
        let more = self.tell_more();
        Told {
            wakes: self.wakes(),
            more,
        }
    }

    /// As [`tell`](Self::tell), where no deadline has come nearer.
    pub(super) fn tell_quickly(&mut self) -> Told {
        let more = self.tell_more();
        Told {
            wakes: self.wakes_at_once(),
            more,
        }
    }

    fn tell_more(&mut self) -> Option<Box<ToldMore>> {
        if self.news.is_none() && !self.core.has_news() {
            return None;
        }
        let mut told = Box::new(ToldMore {
            waste: self.core.take_waste(),
            ..ToldMore::default()
        });
        while let Some(event) = self.core.poll_event() {
            self.tell_event(event, &mut told);
        }
        if let Some(event) = self.news.take() {
            self.tell_listeners(event, &mut told);
        }
        Some(told)
    }

    /// Finds out which tasks have something to do that wait for it.
    pub(super) fn wakes(&mut self) -> Wakes {
        let mut wakes = self.wakes_at_once();
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

    /// Finds out which tasks have something to do, where no deadline has come nearer.
    pub(super) fn wakes_at_once(&mut self) -> Wakes {
        let mut wakes = Wakes::default();
        if self.line_waits && self.core.has_command() {
            self.line_waits = false;
            wakes.commands = true;
        }
        if self.delivery_waits && (self.over || self.core.has_delivery()) {
            self.delivery_waits = false;
            wakes.deliveries = true;
        }
        wakes
    }

    #[cold]
    fn tell_event(&mut self, event: CoreEvent, told: &mut ToldMore) {
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
            CoreEvent::Counted(question, tally) => {
                let counting = self.counted.remove(&question);
                told.counted
                    .extend(counting.map(|counting| (counting, tally)));
                return;
            }
        };
        self.tell_listeners(event, told);
    }

    fn tell_listeners(&mut self, event: ClusterEvent, told: &mut ToldMore) {
        self.listeners.push(|| event.clone(), &mut told.heard);
        told.events.push(event);
    }
}
