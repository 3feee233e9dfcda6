//! A complete small control plane built on the choreo crates.

fn main() {}
