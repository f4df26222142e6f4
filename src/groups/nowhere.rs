//! The members that other nodes have: without the feature `cluster` there are none.

use std::{convert::Infallible, marker::PhantomData, sync::Arc};

use super::{content::Content, delivery::Delivery, error::JoinError, key::Names};

/// How groups reach other nodes: they do not.
pub(super) struct Reach<K> {
    never: Infallible,
    _keys: PhantomData<fn(&K)>,
}

impl<K> Reach<K> {
    pub(super) fn elsewhere<Q: Names<K> + ?Sized>(&self, _: &Q) -> Result<Elsewhere, JoinError> {
        match self.never {}
    }

    pub(super) fn register<T>(&self, _: &Arc<T>) {
        match self.never {}
    }
}

/// A group on other nodes: there is none.
#[derive(Clone)]
pub(super) enum Elsewhere {}

impl Elsewhere {
    pub(super) fn is_taken(&self) -> bool {
        match *self {}
    }

    pub(super) fn want<T>(&self, _: &Arc<T>) -> Wanting {
        match *self {}
    }

    pub(super) fn stop(&self) -> Wanting {
        match *self {}
    }

    pub(super) fn tell(&self, _: &Content, _: &mut Delivery) {
        match *self {}
    }
}

/// What follows where no lock is held: nothing.
pub(super) enum Wanting {}

impl Wanting {
    pub(super) fn wake(self) {
        match self {}
    }
}
