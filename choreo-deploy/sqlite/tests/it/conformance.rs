//! Runs the conformance suite of the store traits over a file.

choreo_deploy::store_conformance!(crate::common::fresh());
