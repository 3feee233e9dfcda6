//! Runnable examples of the choreo crates; see `examples/*.rs`.
