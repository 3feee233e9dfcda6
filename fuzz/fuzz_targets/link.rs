//! The `Link` header: the address of a next page is a part of a header, between angle brackets.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::link(input));
