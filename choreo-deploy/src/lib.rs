//! Deploy container images to private data planes: model, orchestration, backend and store traits.

pub mod backend;
pub mod catalog;
pub mod clock;
pub mod conformance;
pub mod deployer;
pub mod deployment;
pub mod id;
pub mod intake;
pub mod memory;
pub mod reason;
pub mod release;
pub mod resolver;
pub mod rollout;
pub mod run;
pub mod sealer;
pub mod settings;
pub mod store;
pub mod target;
pub mod token;
pub mod workload;

pub use self::backend::{DeploymentBackend, DeploymentBackendExt};
pub use self::deployer::Deployer;
pub use self::intake::Intake;
pub use self::memory::InMemoryBackend;
pub use self::target::Target;
pub use self::workload::Workload;
