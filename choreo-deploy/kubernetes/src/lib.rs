//! The Kubernetes backend of choreo-deploy.
