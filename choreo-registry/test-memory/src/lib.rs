//! An allocator that checks whether freed memory still contains a secret.
//!
//! Types that contain secrets overwrite them. Other tests cannot see whether they do, or whether a
//! buffer that grew, or one of a library, has kept a copy.
//!
//! ```
//! use choreo_test_memory::{Watched, blocks_with};
//!
//! #[global_allocator]
//! static ALLOCATOR: Watched = Watched;
//!
//! let left = blocks_with(&["hunter2-hunter2"], || drop(String::from("x hunter2-hunter2")));
//! assert_eq!(left, 1);
//! ```
//!
//! # What it does not do
//!
//! The allocator checks neither the stack and registers nor memory that other threads free.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system allocator, which also checks each block that is freed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watched;

/// Returns the number of blocks that the thread frees in `work`, including its return value, and
/// that contain eight bytes of one of the secrets.
///
/// A secret shorter than eight bytes is never found.
pub fn blocks_with<T>(secrets: &[&str], work: impl FnOnce() -> T) -> usize {
    // The secrets are leaked, because the allocator must not allocate.
    let parts: Vec<[u8; PART]> = secrets
        .iter()
        .flat_map(|secret| secret.as_bytes().windows(PART))
        .map(|part| part.try_into().expect("a window is as long"))
        .collect();
    PARTS.set(parts.leak());
    FOUND.set(0);
    drop(work());
    PARTS.set(&[]);
    FOUND.get()
}

const PART: usize = 8;

thread_local! {
    static PARTS: Cell<&'static [[u8; PART]]> = const { Cell::new(&[]) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
}

fn look_at(block: &[u8]) {
    let parts = PARTS.get();
    let is_part = |window: &[u8]| parts.iter().any(|part| part == window);
    if !parts.is_empty() && block.windows(PART).any(is_part) {
        FOUND.set(FOUND.get() + 1);
    }
}

// SAFETY: The system allocator does all the work. `realloc` is the provided method of the trait,
// which copies into a new block and frees the old one through `dealloc`.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeros, so that a block contains only bytes of its owner and is fully initialized.
        // SAFETY: The caller upholds the contract of `alloc`, which is that of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: The block comes from this allocator and has this length, `alloc` has initialized
        // all of it, and no reference to it exists any longer.
        look_at(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: The caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}
