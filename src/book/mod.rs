//! The pages of the documentation: text, and programs of `examples`.

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
pub mod authentication {
    use crate::*;
}
#[doc = include_str!("comparison.md")]
pub mod comparison {
    use crate::*;
}
#[doc = include_str!("cookbook/messages.md")]
#[doc = include_str!("cookbook/services.md")]
pub mod cookbook {
    use crate::*;
}
#[doc = include_str!("deployment.md")]
pub mod deployment {
    use crate::*;
}
#[doc = include_str!("migration.md")]
pub mod migration {
    use crate::*;
}
#[doc = include_str!("scaling.md")]
pub mod scaling {
    use crate::*;
}
#[doc = include_str!("security.md")]
pub mod security {
    use crate::*;
}
#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {
    use crate::*;
}
#[doc = include_str!("tuning.md")]
#[doc = include_str!("connections.svg")]
#[doc = include_str!("million.md")]
#[doc = include_str!("million.svg")]
pub mod tuning {
    use crate::*;
}
#[doc = include_str!("tutorial.md")]
pub mod tutorial {
    use crate::*;
}
