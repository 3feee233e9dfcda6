//! The examples are the files beside `Cargo.toml`; the README has a table of them. This library
//! only runs the README's own example as a documentation test.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
