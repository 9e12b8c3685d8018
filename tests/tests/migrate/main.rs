//! `vctl migrate` with the real programs: homes of 9.x and 10.x become homes of ours, and go again; the old ones stay as they
//! are, whatever happens.
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod in_place;
mod kill;
mod nine;
mod old;
mod ten;
