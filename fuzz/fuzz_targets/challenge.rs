//! `WWW-Authenticate`: a parsed challenge is bounded, and is the same after it is written and
//! parsed again.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::challenge(input));
