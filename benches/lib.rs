//! What the benches share: inputs.

/// References as they stand in manifests and pipelines: short and long, with and without a host, pinned.
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
