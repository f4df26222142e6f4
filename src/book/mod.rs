//! The pages of the documentation: text, and programs of `examples`.

// What links on the pages are looked up in: the docs of a module belong to the one around it.
use crate::*;

/// Shows a program of `examples`, whole, as a block that is compiled and not run.
macro_rules! program {
    ($path:literal) => {
        concat!(
            "```no_run\n",
            include_str!(concat!("../../examples/", $path)),
            "```\n"
        )
    };
}

/// Shows a file of `examples` that is no program of Rust.
macro_rules! file {
    ($language:literal, $path:literal) => {
        concat!(
            "```",
            $language,
            "\n",
            include_str!(concat!("../../examples/", $path)),
            "```\n"
        )
    };
}

#[doc = include_str!("authentication.md")]
pub mod authentication {}
#[doc = include_str!("comparison.md")]
pub mod comparison {}
#[doc = include_str!("cookbook/messages.md")]
#[doc = include_str!("cookbook/services.md")]
#[doc = program!("cookbook/mqtt.rs")]
pub mod cookbook {}
#[doc = include_str!("deployment.md")]
pub mod deployment {}
#[doc = include_str!("migration.md")]
pub mod migration {}
#[doc = include_str!("scaling.md")]
pub mod scaling {}
#[doc = include_str!("security.md")]
pub mod security {}
#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}
#[doc = include_str!("tuning.md")]
#[doc = ""] // A file's own blank lines at its ends are not there.
#[doc = include_str!("connections.svg")]
#[doc = ""]
#[doc = include_str!("million.md")]
#[doc = ""]
#[doc = include_str!("million.svg")]
pub mod tuning {}
#[doc = include_str!("tutorial.md")]
pub mod tutorial {}
