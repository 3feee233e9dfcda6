//! The examples are the files beside `Cargo.toml`; the README has a table of them. This library
//! holds what several of them share, and runs the README's own example as a documentation test.

pub mod command_line;
pub mod registry_flags;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
