//! `vctl` as people and scripts meet it: the script of a site on our platform and on the Python one, what every command
//! says, its JSON, and what becomes of bad input.

mod bad_input;
mod json;
mod mask;
mod said;
mod script;
mod usage;
