//! Deploy container images to private data planes: model, orchestration, backend and store traits.
