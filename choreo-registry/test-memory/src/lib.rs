//! An allocator that looks at memory when it is given back: is a secret still in it?
//!
//! Types that hold secrets overwrite them. Nothing else can tell whether they do, and whether a
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
//! It sees neither the stack nor registers, nor what other threads give back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a look at each block that is given back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watched;

/// How many blocks the thread gives back in `work`, its value included, that hold eight bytes of
/// one of the secrets.
///
/// A secret shorter than eight bytes is never found.
pub fn blocks_with<T>(secrets: &[&str], work: impl FnOnce() -> T) -> usize {
    // The allocator must not allocate, so that what it looks for lives for ever.
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

// SAFETY: the system's allocator does all the work. `realloc` is the trait's own, which copies into a
// new block and gives the old one back through `dealloc`.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeros, so that a block holds what its owner wrote and can be read whole.
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is of this allocator and this long, all of it was written in `alloc`, and
        // nobody else may use it any more.
        look_at(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}
