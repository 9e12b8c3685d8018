//! The VOLTTRON platform process and its tools.
//!
//! Owns: the message bus's socket side ([`front`]), authentication, the core services, the supervisor of
//! agents, and the verbs behind `vctl`. Must never route by itself: that is `volttron-router`'s, driven by [`front`].

pub mod front;
