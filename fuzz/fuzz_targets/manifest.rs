//! Manifests, indexes and configurations: a document has one interpretation, and every parsed value
//! is in it.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::manifest(input));
