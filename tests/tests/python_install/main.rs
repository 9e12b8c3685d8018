//! Installing unmodified Python agents, and their life under our platform.

mod bad_input;
mod commands;
mod older;
mod remote;
mod side_by_side;
mod site;
