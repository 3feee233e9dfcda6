//! Parsing and normalization of image references, compared with other parsers, and the number of
//! allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use choreo_benches::{LONG_DIGESTS, REFERENCES};
use choreo_registry::ImageReference;
use choreo_registry::reference::ImageReferenceRef;
use container_image_dist_ref::ImgRef;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oci_spec::distribution::Reference;

fn references(c: &mut Criterion) {
    assert_allocations();
    for (name, inputs) in [
        ("references", &REFERENCES[..]),
        ("long digests", &LONG_DIGESTS),
    ] {
        print_best(name, inputs);
    }
    for (name, inputs) in [
        ("references", &REFERENCES[..]),
        ("long digests", &LONG_DIGESTS),
    ] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(inputs.len() as u64));
        let mut bench = |name: &str, parse: &mut dyn FnMut(&str)| {
            group.bench_function(name, |b| {
                b.iter(|| {
                    for input in inputs {
                        parse(black_box(input));
                    }
                });
            });
        };
        bench("choreo borrowed", &mut |input| {
            black_box(ImageReferenceRef::parse(input).is_ok());
        });
        let mut text = String::with_capacity(1024);
        bench("choreo borrowed, normalised form written", &mut |input| {
            text.clear();
            write!(text, "{}", ImageReferenceRef::parse(input).unwrap()).unwrap();
            black_box(&text);
        });
        bench("choreo owned", &mut |input| {
            black_box(input.parse::<ImageReference>().is_ok());
        });
        bench("container_image_dist_ref", &mut |input| {
            black_box(ImgRef::new(input).is_ok());
        });
        bench("oci-spec", &mut |input| {
            black_box(input.parse::<Reference>().is_ok());
        });
        group.finish();
    }
}

/// Prints the fastest of many short rounds with alternating parsers. It is the value that other
/// load of the machine distorts least.
fn print_best(name: &str, inputs: &[&str]) {
    type Parser = fn(&str) -> bool;
    let parsers: [(&str, Parser); 4] = [
        ("choreo borrowed", |input| {
            ImageReferenceRef::parse(input).is_ok()
        }),
        ("choreo owned", |input| {
            input.parse::<ImageReference>().is_ok()
        }),
        ("container_image_dist_ref", |input| {
            ImgRef::new(input).is_ok()
        }),
        ("oci-spec", |input| input.parse::<Reference>().is_ok()),
    ];
    let mut best = [f64::INFINITY; 4];
    for _ in 0..2_000 {
        for ((_, parse), best) in parsers.iter().zip(&mut best) {
            let start = Instant::now();
            for _ in 0..8 {
                for input in inputs {
                    black_box(parse(black_box(input)));
                }
            }
            let took = start.elapsed().as_secs_f64() * 1e9 / 8.0 / inputs.len() as f64;
            *best = best.min(took);
        }
    }
    for ((parser, _), took) in parsers.iter().zip(best) {
        println!(
            "{name}: {parser}: {took:.1} ns, {:.2} of borrowed",
            took / best[0]
        );
    }
}

/// Asserts that a borrowed reference allocates nothing, and an owned one only its text.
fn assert_allocations() {
    for input in REFERENCES.iter().chain(&LONG_DIGESTS) {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let image = black_box(ImageReferenceRef::parse(input).unwrap());
        black_box((
            image.domain(),
            image.tag(),
            image.digest(),
            image.familiar(),
        ));
        let borrowed = ALLOCATIONS.load(Ordering::Relaxed);
        assert_eq!(borrowed, before, "{input} borrowed");
        black_box(input.parse::<ImageReference>().unwrap());
        let owned = ALLOCATIONS.load(Ordering::Relaxed);
        assert_eq!(owned, borrowed + 1, "{input} owned");
    }
}

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: The system allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

criterion_group!(benches, references);
criterion_main!(benches);
