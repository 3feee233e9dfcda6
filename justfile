# For convenience; nothing needs it. `just` lists the recipes.

_default:
    @just --list

# Everything that a change must pass (a long list: see .ci/run)
ci:
    bash .ci/run

# Types and borrows, quickly
check:
    cargo check --workspace --all-targets --all-features

# Every test that needs no cluster
test *ARGS:
    cargo test --workspace {{ARGS}}

# Format, lints and the house style
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    .ci/style
    .ci/examples

# What stands in the dependency trees
tree:
    .ci/tree
    cargo deny --offline check bans licenses sources

# The documentation, as users will read it
doc *ARGS:
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --all-features {{ARGS}}

# The tour
quickstart:
    cargo run --example quickstart

# The tests against a live Kubernetes: just live ~/.kube/config
live KUBECONFIG:
    CHOREO_TEST_KUBECONFIG={{absolute_path(KUBECONFIG)}} cargo test -p choreo-deploy-kubernetes -p choreo-control-plane
