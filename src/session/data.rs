//! What an application keeps with a connection.

use std::{any::Any, fmt, mem, sync::Arc};

/// The application's own values, one of each type.
#[derive(Clone)]
pub(crate) struct Data {
    /// `None` once nothing is kept any more.
    values: Option<Vec<Value>>,
}

type Value = Arc<dyn Any + Send + Sync>;

impl Data {
    /// Adds a value; gives the one of the same type that it replaces.
    ///
    /// # Errors
    ///
    /// Gives the value back where nothing is kept any more.
    pub(crate) fn insert<T>(&mut self, value: Arc<T>) -> Result<Option<Arc<T>>, Arc<T>>
    where
        T: Send + Sync + 'static,
    {
        let Some(values) = &mut self.values else {
            return Err(value);
        };
        for known in &mut *values {
            if known.as_ref().is::<T>() {
                let before = mem::replace(known, value);
                return Ok(before.downcast().ok());
            }
        }
        // Few connections have several, and many may have one.
        values.reserve_exact(1);
        values.push(value);
        Ok(None)
    }

    /// Returns the value of a type.
    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut values = self.values.as_ref()?.iter();
        let value = values.find(|value| value.as_ref().is::<T>())?;
        value.clone().downcast().ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.as_ref().is_none_or(Vec::is_empty)
    }

    /// Keeps nothing from now on; gives what was kept, to be dropped outside all locks.
    pub(super) fn close(&mut self) -> Self {
        Self {
            values: self.values.take(),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self {
            values: Some(Vec::new()),
        }
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data")
            .field("values", &self.values.as_ref().map_or(0, Vec::len))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_replaces_that_of_its_own_type_alone() {
        let mut data = Data::default();
        assert!(data.is_empty());
        assert_eq!(data.insert(Arc::new(1_u8)), Ok(None));
        assert_eq!(data.insert(Arc::new("a")), Ok(None));
        assert_eq!(data.insert(Arc::new(2_u8)), Ok(Some(Arc::new(1))));
        assert_eq!(data.get::<u8>().as_deref(), Some(&2));
        assert_eq!(data.get::<&str>().as_deref(), Some(&"a"));
        assert_eq!(data.get::<u16>(), None);
        assert!(!data.is_empty());
    }

    #[test]
    fn nothing_is_kept_once_it_is_closed() {
        let value = Arc::new(7_u8);
        let mut data = Data::default();
        assert_eq!(data.insert(value.clone()), Ok(None));
        let copy = data.clone();
        drop(data.close());
        assert_eq!(Arc::strong_count(&value), 2, "the copy has it");
        assert_eq!(data.get::<u8>(), None);
        assert_eq!(data.insert(value.clone()), Err(value));
        assert_eq!(copy.get::<u8>().as_deref(), Some(&7));
    }
}
