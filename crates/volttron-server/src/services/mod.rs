//! The platform's own services: agents without a socket, connected to the router inside the process.

pub mod auth;
