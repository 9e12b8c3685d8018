//! Installing unmodified Python agents, and their life under our platform.

mod bad_input;
mod commands;
mod foreground;
mod newer;
mod older;
mod pack;
mod remote;
mod side_by_side;
mod site;
