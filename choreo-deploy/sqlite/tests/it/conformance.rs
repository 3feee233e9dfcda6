//! The promises of the store traits, kept in a file.

choreo_deploy::store_conformance!(crate::common::fresh());
