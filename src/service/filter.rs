//! Which requests a layer looks at.

use std::{fmt, sync::Arc};

use http::request::Parts;
use matchit::Router;
use percent_encoding::percent_decode_str;

use crate::session::params::PathParams;

type Predicate = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Which requests a layer looks at: all, or those of some paths, or those a predicate takes.
#[derive(Clone, Default)]
pub(super) struct Filter {
    paths: Option<Router<()>>,
    predicate: Option<Predicate>,
}

impl Filter {
    pub(super) fn path(&mut self, path: &str) {
        let paths = self.paths.get_or_insert_with(Router::new);
        if let Err(error) = paths.insert(path, ()) {
            panic!("path {path:?} cannot be mounted: {error}");
        }
    }

    pub(super) fn when(&mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) {
        let before = self.predicate.take();
        self.predicate = Some(match before {
            None => Arc::new(predicate),
            Some(before) => Arc::new(move |head| before(head) && predicate(head)),
        });
    }

    /// Reports whether the layer looks at the request, and puts the parameters of its path among its
    /// extensions.
    pub(super) fn admits(&self, head: &mut Parts) -> bool {
        if self
            .predicate
            .as_ref()
            .is_some_and(|predicate| !predicate(head))
        {
            return false;
        }
        let Some(paths) = &self.paths else {
            return true;
        };
        let Some(params) = matched(paths, head.uri.path()) else {
            return false;
        };
        head.extensions.insert(params);
        true
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").finish_non_exhaustive()
    }
}

/// Returns the parameters of a path that one of `paths` matches, unless a value is not UTF-8.
fn matched(paths: &Router<()>, path: &str) -> Option<PathParams> {
    let params = paths.at(path).ok()?.params;
    let decode = |(key, value): (&str, &str)| {
        let value = percent_decode_str(value).decode_utf8().ok()?;
        Some((key.into(), value.into()))
    };
    params.iter().map(decode).collect()
}
