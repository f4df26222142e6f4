//! What is kept with a connection: what is known of it, and what the application adds.
//!
//! With an info the application's data is in it, and needs nothing of the connection's lock. Without one it
//! lies with what few connections have.

use std::sync::Arc;

use super::Shared;
use crate::session::{data::Data, info::ConnectionInfo, report::Kept};

impl Shared {
    /// Returns what is known of the connection, where it is kept.
    pub(crate) fn info(&self) -> Option<&Arc<ConnectionInfo>> {
        self.agreed.as_ref()?.info.as_ref()
    }

    /// Returns what is known of the connection, for the application, which is told where it forgot to ask
    /// that it be kept.
    pub(crate) fn info_or_warning(&self) -> Option<&ConnectionInfo> {
        let info = self.info();
        if info.is_none() {
            self.setup.warn_of_missing_info();
        }
        info.map(Arc::as_ref)
    }

    /// Returns what the application keeps of this type.
    pub(crate) fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        match self.info() {
            Some(info) => info.data().lock().get(),
            None => self.look().rare_ref()?.data.get(),
        }
    }

    /// Keeps a value; gives the one of its type that it replaces.
    pub(crate) fn set_data<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let value = Arc::new(value);
        let kept = self.change_data(|data| data.insert(value));
        // Where it is too late it is dropped here, outside the lock.
        kept.ok().flatten()
    }

    /// Returns all that is kept, for the report.
    pub(in crate::session) fn all_kept(&self) -> Option<Box<Kept>> {
        let info = self.info().cloned();
        let data = match &info {
            Some(info) => info.data().lock().clone(),
            None => {
                let locked = self.look();
                let data = &locked.rare_ref()?.data;
                if data.is_empty() {
                    return None;
                }
                data.clone()
            }
        };
        Some(Box::new(Kept { info, data }))
    }

    /// Keeps nothing from now on. What was kept may have handles of this connection in it, and none of both
    /// would ever be freed.
    pub(crate) fn drop_data(&self) {
        let data = self.change_data(Data::close);
        drop(data);
    }

    /// Changes what is kept. What is given comes out of the lock.
    fn change_data<T>(&self, change: impl FnOnce(&mut Data) -> T) -> T {
        match self.info() {
            Some(info) => change(&mut info.data().lock()),
            None => change(&mut self.lock().rare().data),
        }
    }
}
