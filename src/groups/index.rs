//! The groups there are, found by their keys.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use super::group::Group;

/// Groups by the hash of their keys, which is made once for each and outside the lock.
///
/// Of the application's code only `Eq` runs here, and only to find a group: whatever it does, even if
/// it panics, an index that is changed is changed as a whole. No hash table: that is made anew as a whole
/// when it grows.
pub(super) struct Index<K> {
    by_hash: BTreeMap<u64, Same<K>>,
    len: usize,
}

/// Groups whose keys have the same hash: one, unless the keys are hashed badly.
enum Same<K> {
    One(Arc<Group<K>>),
    More(Vec<Arc<Group<K>>>),
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self {
            by_hash: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<K> Index<K> {
    /// Returns the group of a key.
    pub(super) fn get<Q>(&self, hash: u64, key: &Q) -> Option<Arc<Group<K>>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let groups = self.by_hash.get(&hash)?.all();
        let mut groups = groups.iter();
        groups.find(|group| group.key.borrow() == key).cloned()
    }

    /// Adds a group, which must not be there.
    pub(super) fn insert(&mut self, group: &Arc<Group<K>>) {
        self.len += 1;
        match self.by_hash.get_mut(&group.hash) {
            None => {
                let one = Same::One(group.clone());
                self.by_hash.insert(group.hash, one);
            }
            Some(Same::More(groups)) => groups.push(group.clone()),
            Some(same) => {
                let more = vec![same.all()[0].clone(), group.clone()];
                *same = Same::More(more);
            }
        }
    }

    /// Takes a group out. The caller has it, so that it is not dropped here.
    pub(super) fn remove(&mut self, group: &Arc<Group<K>>) {
        let Some(same) = self.by_hash.get_mut(&group.hash) else {
            return;
        };
        let groups = same.all();
        let Some(index) = groups.iter().position(|other| Arc::ptr_eq(other, group)) else {
            return;
        };
        self.len -= 1;
        match same {
            Same::More(groups) if groups.len() > 1 => {
                groups.swap_remove(index);
            }
            _ => {
                self.by_hash.remove(&group.hash);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Group<K>>> {
        let groups = self.by_hash.values().flat_map(Same::all);
        groups.cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<K> Same<K> {
    fn all(&self) -> &[Arc<Group<K>>] {
        match self {
            Self::One(group) => std::slice::from_ref(group),
            Self::More(groups) => groups,
        }
    }
}
