//! Parsing and normalising image references, beside other parsers.

use std::hint::black_box;

use choreo_benches::REFERENCES;
use choreo_registry::ImageReference;
use choreo_registry::reference::ImageReferenceRef;
use criterion::{Criterion, criterion_group, criterion_main};

fn references(c: &mut Criterion) {
    let mut group = c.benchmark_group("references");
    group.throughput(criterion::Throughput::Elements(REFERENCES.len() as u64));
    group.bench_function("choreo borrowed", |b| {
        b.iter(|| {
            for input in REFERENCES {
                black_box(ImageReferenceRef::parse(black_box(input)).is_ok());
            }
        });
    });
    group.bench_function("choreo", |b| {
        b.iter(|| {
            for input in REFERENCES {
                black_box(black_box(input).parse::<ImageReference>().is_ok());
            }
        });
    });
    group.bench_function("container_image_dist_ref", |b| {
        b.iter(|| {
            for input in REFERENCES {
                black_box(container_image_dist_ref::ImgRef::new(black_box(input)).is_ok());
            }
        });
    });
    group.bench_function("oci-spec", |b| {
        b.iter(|| {
            for input in REFERENCES {
                black_box(black_box(input).parse::<oci_spec::distribution::Reference>().is_ok());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, references);
criterion_main!(benches);
