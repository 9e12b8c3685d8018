//! What scripts and harnesses around the original rely on, one test per demand of dropin.md: its sections on the commands, the
//! environment, files, the bus and timing, with authentication and without.
//!
//! Figures are printed and, where a figure is the demand, asserted; everything else is only waited for.

/// Runs tests of this module that take a mode with authentication and without.
macro_rules! in_both_modes {
    ($($name:ident),* $(,)?) => {
        mod with_authentication {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::site::Mode::Authenticated).await; })*
        }
        mod without_authentication {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::site::Mode::Open).await; })*
        }
    };
}
pub(crate) use in_both_modes;

mod bus;
mod commands;
mod environment;
mod files;
mod site;
mod timing;
