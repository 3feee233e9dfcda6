//! The examples are the files beside `Cargo.toml`; the README lists them. This library contains their
//! shared code, and compiles the README's Rust code as a documentation test.

pub mod command_line;
pub mod registry_flags;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
