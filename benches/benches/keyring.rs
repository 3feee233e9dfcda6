//! The lookup of the registry of an image among few and many registries.
//!
//! The kubelet's own keyring, in Go, is in `go/keyring`.

use std::hint::black_box;
use std::time::Instant;

use choreo_registry::ImageReference;
use choreo_registry::keyring::Keyring;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const COUNTS: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

/// The name of a shape, its keys and its images. Each shape has a different worst case.
type Shape = (&'static str, fn(usize) -> String, fn(usize) -> String);

const SHAPES: [Shape; 4] = [
    ("mix", mix, image_of_mix),
    ("paths of one host", path, image_of_path),
    ("nested paths of one host", nested, image_of_path),
    ("globs", glob, image_of_glob),
];

/// Of ten registries, seven are whole hosts, two are namespaces, and one has a port.
fn mix(number: usize) -> String {
    match number % 10 {
        0 => format!("registry{number}.example.com:5000"),
        1 | 2 => format!("ghcr.io/team-{number}"),
        3 => format!("https://registry{number}.example.com/v2/"),
        _ => format!("{number}.dkr.ecr.eu-west-1.amazonaws.com"),
    }
}

fn image_of_mix(number: usize) -> String {
    let key = mix(number);
    let host = key.strip_prefix("https://").unwrap_or(&key);
    format!(
        "{}/shop/orders-{number}:1.4",
        host.strip_suffix("/v2/").unwrap_or(host)
    )
}

fn path(number: usize) -> String {
    format!("registry.example.com/team-{number}/app")
}

fn image_of_path(number: usize) -> String {
    format!("registry.example.com/team-{number}/app/orders:1.4")
}

/// Paths of 1 to 200 characters, each a prefix of others.
fn nested(number: usize) -> String {
    let tail = "x".repeat(number % 200);
    format!("registry.example.com/team-{}{tail}", number / 200)
}

fn glob(number: usize) -> String {
    format!("*.team-{number}.example.com")
}

fn image_of_glob(number: usize) -> String {
    format!("registry.team-{number}.example.com/shop/orders:1.4")
}

fn keyring(c: &mut Criterion) {
    for (name, key, image) in SHAPES {
        let mut group = c.benchmark_group(format!("keyring: {name}"));
        for count in COUNTS {
            let keyring = Keyring::from_keys((0..count).map(key));
            // The images are spread over all keys, so that the keys are not in a cache.
            let images: Vec<ImageReference> = (0..1_000)
                .map(|at| image(at * 7_919 % count).parse().expect("an image"))
                .collect();
            println!(
                "best for {name}, {count}: {:.0} ns",
                best(&keyring, &images)
            );
            group.throughput(Throughput::Elements(images.len() as u64));
            group.bench_function(BenchmarkId::from_parameter(count), |b| {
                b.iter(|| {
                    for image in &images {
                        black_box(keyring.lookup(black_box(image)).next().is_some());
                    }
                });
            });
        }
        group.finish();
    }
}

/// Returns the nanoseconds of a lookup in the fastest of many rounds over all images. It is the
/// value that other load of the machine distorts least.
fn best(keyring: &Keyring, images: &[ImageReference]) -> f64 {
    let round = || {
        let started = Instant::now();
        for image in images {
            black_box(keyring.lookup(black_box(image)).next().is_some());
        }
        started.elapsed().as_nanos() as f64 / images.len() as f64
    };
    (0..2_000).map(|_| round()).fold(f64::INFINITY, f64::min)
}

criterion_group!(benches, keyring);
criterion_main!(benches);
