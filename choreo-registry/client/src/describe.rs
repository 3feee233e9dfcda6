//! The platforms and the configuration of an image: from its index if that states them, otherwise
//! from the configurations. A node reads the same documents in the same order.

use std::time::{Duration, Instant};

use choreo_registry::{
    Digest, ImageReference,
    image::{Platform, ResolvedImage},
};

use crate::{
    ClientError, ErrorKind, RegistryClient,
    manifest::{self, Child, Config, Manifest, ManifestError},
    request::Resource,
    session::now,
};

/// The known platforms of an image.
enum Built {
    For(Vec<Platform>),
    Unknown,
}

impl RegistryClient {
    /// Describes an image and reads only the documents that this requires.
    pub(super) async fn describe(
        &self,
        image: &ImageReference,
        (digest, manifest): &(Digest, Manifest),
        deadline: Instant,
    ) -> Result<ResolvedImage, ClientError> {
        let digest = *digest;
        let deadline = deadline.min(now() + PATIENCE);
        match manifest {
            Manifest::Single {
                media_type,
                config,
                size,
            } => {
                let described = ResolvedImage::new(digest, *media_type).with_size(Some(*size));
                // The caller did not request the configuration, and a node may be able to read it,
                // because it checks the same digest. An unreadable one is therefore not an error.
                Ok(match self.read_config(image, config, deadline).await {
                    Ok(config) => configured(described, config),
                    Err(_) => described,
                })
            }
            Manifest::Index {
                media_type,
                children,
            } => {
                let described = ResolvedImage::new(digest, *media_type);
                match self.built_for(image, children, deadline).await {
                    Built::For(platforms) if platforms.is_empty() => {
                        Err(self.unsupported(ManifestError::NoneRuns).about(image))
                    }
                    Built::For(platforms) => {
                        let described = described.with_platforms(platforms);
                        let config = self.config_of_one(image, children, deadline).await;
                        Ok(match config {
                            Some(config) => configured(described, config),
                            None => described,
                        })
                    }
                    Built::Unknown => Ok(described),
                }
            }
        }
    }

    /// Returns the configuration of an index with a single image: builders make an index of one
    /// image and its attestations.
    async fn config_of_one(
        &self,
        image: &ImageReference,
        children: &[Child],
        deadline: Instant,
    ) -> Option<Config> {
        let [_] = children else { return None };
        let (config, _) = self.preferred(image, children, deadline).await.ok()??;
        self.read_config(image, &config, deadline).await.ok()
    }

    /// Returns the result of [`describe`](Self::describe), and for an index also the configuration
    /// of one of its images.
    pub(super) async fn read_all(
        &self,
        image: &ImageReference,
        deadline: Instant,
    ) -> Result<ResolvedImage, ClientError> {
        let read = self.read_manifest(image, deadline).await?;
        let (config, size) = match &read.1 {
            Manifest::Single { config, size, .. } => (*config, *size),
            Manifest::Index { children, .. } => {
                let Some(single) = self.preferred(image, children, deadline).await? else {
                    return self.describe(image, &read, deadline).await;
                };
                single
            }
        };
        let described = match &read.1 {
            Manifest::Single { media_type, .. } => ResolvedImage::new(read.0, *media_type),
            Manifest::Index { .. } => self.describe(image, &read, deadline).await?,
        };
        let config = self.read_config(image, &config, deadline).await?;
        Ok(configured(described, config).with_size(Some(size)))
    }

    /// Returns the platforms of an index and of the indexes in it. They are unknown as a whole if
    /// one of its documents cannot be read, because that may be the document that runs.
    async fn built_for(
        &self,
        image: &ImageReference,
        children: &[Child],
        deadline: Instant,
    ) -> Built {
        let mut platforms = Vec::new();
        // The indexes to read next, each with its depth. They are in a list, because an async
        // function cannot recurse without boxing.
        let mut silent: Vec<(Digest, u8)> = Vec::new();
        take(children, 1, &mut platforms, &mut silent);
        let mut read = 0;
        while let Some((digest, depth)) = silent.pop() {
            read += 1;
            if read > MAX_SILENT || depth > MAX_DEPTH {
                return Built::Unknown;
            }
            let child = image.with_digest(digest);
            match self.read_manifest(&child, deadline).await {
                Ok((_, Manifest::Single { config, .. })) => {
                    match self.read_config(image, &config, deadline).await {
                        Ok(config) => platforms.extend(config.platform),
                        Err(_) => return Built::Unknown,
                    }
                }
                Ok((_, Manifest::Index { children, .. })) => {
                    take(&children, depth + 1, &mut platforms, &mut silent);
                }
                Err(_) => return Built::Unknown,
            }
        }
        Built::For(platforms)
    }

    /// The image of an index whose configuration is shown: that for `linux/amd64`, or the first.
    async fn preferred(
        &self,
        image: &ImageReference,
        children: &[Child],
        deadline: Instant,
    ) -> Result<Option<(Digest, u64)>, ClientError> {
        let mut next = preferred(children).map(|child| child.digest);
        for _ in 0..=MAX_DEPTH {
            let Some(digest) = next else { return Ok(None) };
            let child = image.with_digest(digest);
            match self.read_manifest(&child, deadline).await?.1 {
                Manifest::Single { config, size, .. } => return Ok(Some((config, size))),
                Manifest::Index { children, .. } => {
                    next = preferred(&children).map(|child| child.digest);
                }
            }
        }
        Ok(None)
    }

    async fn read_config(
        &self,
        image: &ImageReference,
        digest: &Digest,
        deadline: Instant,
    ) -> Result<Config, ClientError> {
        let resource = Resource::config(image.repository(), digest);
        let answer = self.fetch(&resource, deadline).await?;
        let body = answer.response.body();
        let config = if digest.matches(body) {
            manifest::read_config(body).map_err(|reason| self.unsupported(reason))
        } else {
            let mismatch = self.session.error(ErrorKind::DigestMismatch);
            Err(self.unless_disguised(&answer, mismatch))
        };
        config.map_err(|error| error.with_host(&answer.host()).about(image))
    }
}

/// The timeout of optional requests. A blob store that does not respond to this client must not
/// prevent a deployment from getting its digest.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most entries of one index that are read because they name no platform.
const MAX_SILENT: usize = 8;

/// The greatest depth of nested indexes.
const MAX_DEPTH: u8 = 3;

fn take(
    children: &[Child],
    depth: u8,
    platforms: &mut Vec<Platform>,
    silent: &mut Vec<(Digest, u8)>,
) {
    for child in children {
        match &child.platform {
            Some(platform) => platforms.push(platform.clone()),
            None => silent.push((child.digest, depth)),
        }
    }
}

fn configured(described: ResolvedImage, config: Config) -> ResolvedImage {
    let platforms = match described.platforms() {
        [] => config.platform.into_iter().collect(),
        known => known.to_vec(),
    };
    described
        .with_platforms(platforms)
        .with_user(config.user)
        .with_exposed_ports(config.exposed_ports)
}

fn preferred(children: &[Child]) -> Option<&Child> {
    let is_usual = |child: &&Child| {
        let platform = child.platform.as_ref().map(Platform::normalized);
        platform.is_some_and(|platform| platform.as_str() == "linux/amd64")
    };
    children.iter().find(is_usual).or_else(|| children.first())
}
