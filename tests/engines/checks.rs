//! The harness checked itself, before anything is believed that it says.

mod counting;
mod engines;
mod lines;
mod planted;

use super::wants;

/// Runs all of it; what is returned is wrong.
pub(crate) async fn run() -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(counting::check());
    wrong.extend(lines::check().await);
    wrong.extend(planted::check().await);
    if wants("all") {
        wrong.extend(engines::check().await);
    }
    wrong
}
