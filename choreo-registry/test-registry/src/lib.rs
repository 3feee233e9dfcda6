//! A faithful OCI registry in process, for tests and examples.
