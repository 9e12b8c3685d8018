//! The VOLTTRON platform process and its tools.
//!
//! Owns: the message bus's socket side ([`front`], [`bridge`]), authentication ([`auth`]), the core services, the supervisor of
//! agents, the verbs behind `vctl`, and the set-up program `vcfg`. Must never route by itself: that is `volttron-router`'s, driven by [`front`].
//! Start reading at [`platform`] (one life of the process) and [`options`] (what the operator wants).

pub mod auth;
mod background;
mod blocking;
pub mod bridge;
pub mod cfg;
pub mod check;
pub mod codes;
pub mod ctl;
mod files;
pub mod front;
pub mod install;
pub mod isolation;
pub mod lock;
pub mod logging;
pub mod metrics;
mod nearest;
pub mod ops;
pub mod options;
pub mod platform;
mod processes;
pub mod scripts;
pub mod services;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod supervisor;
pub mod up;
