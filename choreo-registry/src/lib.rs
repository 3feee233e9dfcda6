//! Container registries, credentials, image references and pull secrets, exact and safe.
