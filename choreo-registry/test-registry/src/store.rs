//! The content of the registry, in memory.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::image::Manifest;
use crate::name::{Digest, Reference, RepositoryName, Tag};

/// All repositories and unfinished uploads.
#[derive(Debug, Default)]
pub(crate) struct Store {
    repositories: BTreeMap<RepositoryName, Repository>,
    uploads: HashMap<String, Upload>,
    started: u64,
}

/// One repository.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) blobs: HashMap<Digest, Bytes>,
    pub(crate) manifests: BTreeMap<Digest, Manifest>,
    pub(crate) tags: BTreeMap<Tag, Digest>,
}

/// An unfinished upload of a blob.
#[derive(Debug)]
struct Upload {
    repository: RepositoryName,
    received: Vec<u8>,
}

impl Store {
    /// Returns all repositories with any content.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = (&RepositoryName, &Repository)> {
        self.repositories.iter()
    }

    /// Returns the repository if it has any content.
    pub(crate) fn repository(&self, name: &RepositoryName) -> Option<&Repository> {
        self.repositories.get(name)
    }

    /// Returns the repository for a change if it has any content.
    pub(crate) fn known_mut(&mut self, name: &RepositoryName) -> Option<&mut Repository> {
        self.repositories.get_mut(name)
    }

    /// Returns the repository for a push.
    pub(crate) fn repository_mut(&mut self, name: &RepositoryName) -> &mut Repository {
        self.repositories.entry(name.clone()).or_default()
    }

    /// Starts an upload and returns its identifier.
    pub(crate) fn start_upload(&mut self, name: &RepositoryName) -> String {
        self.started += 1;
        let id = format!("upload-{}", self.started);
        let upload = Upload {
            repository: name.clone(),
            received: Vec::new(),
        };
        self.uploads.insert(id.clone(), upload);
        id
    }

    /// Returns the received bytes of an upload. It belongs to one repository.
    pub(crate) fn upload(&mut self, name: &RepositoryName, id: &str) -> Option<&mut Vec<u8>> {
        let upload = self.uploads.get_mut(id)?;
        (upload.repository == *name).then_some(&mut upload.received)
    }

    pub(crate) fn end_upload(&mut self, id: &str) {
        self.uploads.remove(id);
    }
}

impl Repository {
    /// Returns the manifest of a tag or a digest, with its digest.
    pub(crate) fn manifest(&self, reference: &Reference) -> Option<(&Digest, &Manifest)> {
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => self.tags.get(tag)?,
        };
        self.manifests.get_key_value(digest)
    }

    /// Stores a manifest under the digest or the tag, and returns the digest.
    pub(crate) fn put_manifest(&mut self, reference: &Reference, manifest: Manifest) -> Digest {
        match reference {
            Reference::Digest(digest) => {
                self.manifests.insert(digest.clone(), manifest);
                digest.clone()
            }
            Reference::Tag(tag) => {
                let digest = self.add_manifest(manifest);
                self.tags.insert(tag.clone(), digest.clone());
                digest
            }
        }
    }

    /// Stores a manifest under the digest of its bytes.
    pub(crate) fn add_manifest(&mut self, manifest: Manifest) -> Digest {
        let digest = Digest::of(manifest.bytes());
        self.manifests.insert(digest.clone(), manifest);
        digest
    }

    /// Deletes a tag, or a manifest with all its tags. Returns `false` if it does not exist.
    pub(crate) fn delete_manifest(&mut self, reference: &Reference) -> bool {
        match reference {
            Reference::Tag(tag) => self.tags.remove(tag).is_some(),
            Reference::Digest(digest) => {
                self.tags.retain(|_, named| named != digest);
                self.manifests.remove(digest).is_some()
            }
        }
    }

    /// Stores a blob under the digest of its content.
    pub(crate) fn put_blob(&mut self, content: Bytes) -> Digest {
        let digest = Digest::of(&content);
        self.blobs.insert(digest.clone(), content);
        digest
    }
}
