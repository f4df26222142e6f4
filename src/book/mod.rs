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

/// Shows a file of the tutorial behind the name that it has in the reader's folder.
///
/// It is of a program in several files, and so no block that rustdoc could compile: `.ci/tutorial` does.
macro_rules! step {
    ($name:literal, $language:literal, $path:literal) => {
        concat!(
            "\n\n**`",
            $name,
            "`**\n\n```",
            $language,
            "\n",
            include_str!(concat!("../../examples/tutorial/", $path)),
            "```\n"
        )
    };
}

#[doc = include_str!("authentication.md")]
pub mod authentication {}
#[doc = include_str!("comparison.md")]
pub mod comparison {}
#[doc = include_str!("cookbook/messages.md")]
#[doc = program!("cookbook/requests.rs")]
#[doc = include_str!("cookbook/acknowledgements.md")]
#[doc = program!("cookbook/resend.rs")]
#[doc = include_str!("cookbook/presence.md")]
#[doc = file!("js", "cookbook/typing.js")]
#[doc = include_str!("cookbook/sessions.md")]
#[doc = include_str!("cookbook/uploads.md")]
#[doc = program!("cookbook/upload.rs")]
#[doc = include_str!("cookbook/uploads_page.md")]
#[doc = file!("js", "cookbook/upload.js")]
#[doc = include_str!("cookbook/rates.md")]
#[doc = include_str!("cookbook/browser.md")]
#[doc = file!("js", "cookbook/reconnecting.js")]
#[doc = include_str!("cookbook/services.md")]
#[doc = program!("cookbook/mqtt.rs")]
pub mod cookbook {}
#[doc = include_str!("deployment.md")]
pub mod deployment {}
#[doc = include_str!("migration.md")]
#[doc = include_str!("migration/tungstenite.md")]
#[doc = include_str!("migration/rust.md")]
#[doc = include_str!("migration/node.md")]
#[doc = include_str!("migration/others.md")]
#[doc = program!("migration/phoenix.rs")]
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
#[doc = include_str!("tutorial/1_start.md")]
#[doc = step!("src/main.rs", "rust,ignore", "1_echo.rs")]
#[doc = include_str!("tutorial/1_what.md")]
#[doc = step!("src/echo.html", "html", "echo.html")]
#[doc = include_str!("tutorial/2_start.md")]
#[doc = step!("src/main.rs", "rust,ignore", "2_rooms.rs")]
#[doc = include_str!("tutorial/2_page.md")]
#[doc = step!("src/rooms.html", "html", "rooms.html")]
#[doc = include_str!("tutorial/3_start.md")]
#[doc = step!("src/sessions.rs", "rust,ignore", "sessions.rs")]
#[doc = include_str!("tutorial/3_login.md")]
#[doc = step!("src/login.rs", "rust,ignore", "login.rs")]
#[doc = include_str!("tutorial/3_main.md")]
#[doc = step!("src/main.rs", "rust,ignore", "3_login.rs")]
#[doc = include_str!("tutorial/3_page.md")]
#[doc = step!("src/login.html", "html", "login.html")]
#[doc = include_str!("tutorial/4_start.md")]
#[doc = step!("src/main.rs", "rust,ignore", "4_tests.rs")]
#[doc = include_str!("tutorial/4_tests.md")]
#[doc = step!("src/tests.rs", "rust,ignore", "tests.rs")]
#[doc = include_str!("tutorial/5_start.md")]
#[doc = step!("src/stop.rs", "rust,ignore", "stop.rs")]
#[doc = include_str!("tutorial/5_main.md")]
#[doc = step!("src/main.rs", "rust,ignore", "5_stop.rs")]
#[doc = include_str!("tutorial/5_page.md")]
#[doc = step!("src/chat.html", "html", "chat.html")]
#[doc = include_str!("tutorial/6_start.md")]
#[doc = step!("src/shared.rs", "rust,ignore", "shared.rs")]
#[doc = include_str!("tutorial/6_main.md")]
#[doc = step!("src/main.rs", "rust,ignore", "6_nodes.rs")]
#[doc = include_str!("tutorial/6_tests.md")]
#[doc = step!("src/two_nodes.rs", "rust,ignore", "two_nodes.rs")]
#[doc = include_str!("tutorial/6_end.md")]
pub mod tutorial {}
