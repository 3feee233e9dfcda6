//! The inputs that the benches share.

/// References as in manifests and pipelines: short and long, with and without a host or a digest.
pub const REFERENCES: [&str; 12] = [
    "nginx",
    "nginx:1.27",
    "acme/web:2026-11-23",
    "docker.io/library/postgres:17-alpine",
    "ghcr.io/acme/orders/api:v1.42.0",
    "quay.io/prometheus/prometheus:v3.5.0",
    "registry.example.com:5000/team/service:sha-0a1b2c3",
    "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/cart:7f9c2ba",
    "europe-west1-docker.pkg.dev/acme-prod/images/checkout:2026.11.4",
    "acme.azurecr.io/payments/worker:20261123.3",
    "ghcr.io/acme/orders/api@sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912",
    "registry.example.com/acme/app:1.0@sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912",
];

/// References with a digest, which is most of the text.
pub const LONG_DIGESTS: [&str; 3] = [
    "ghcr.io/acme/orders/api@sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912",
    "ghcr.io/acme/orders/api@sha384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
    "ghcr.io/acme/orders/api@sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
];
