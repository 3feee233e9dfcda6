//! A cache of the images that a client has read and hashed. Resolving a name again needs its digest only.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use choreo_registry::{Digest, ImageReference, image::ResolvedImage};

/// The images of the latest names. The client has hashed them, so a registry can only report which
/// digest a name has now, and not change the content of a digest.
#[derive(Debug, Default)]
pub(super) struct ResolveCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    images: HashMap<String, ResolvedImage>,
    /// The names, the oldest first.
    names: VecDeque<String>,
}

impl ResolveCache {
    /// Returns `true` if the cache contains an image with this name.
    pub(super) fn has(&self, name: &ImageReference) -> bool {
        self.lock().images.contains_key(name.as_str())
    }

    /// Returns the image with this name, if it has this digest.
    pub(super) fn get(&self, name: &ImageReference, digest: &Digest) -> Option<ResolvedImage> {
        let kept = self.lock();
        let image = kept.images.get(name.as_str())?;
        (image.digest() == *digest).then(|| image.clone())
    }

    pub(super) fn keep(&self, name: &ImageReference, image: &ResolvedImage) {
        // An index of 4 MiB may have 30,000 platforms. Such an index is read each time.
        if image.platforms().len() > MAX_PLATFORMS {
            return;
        }
        let mut kept = self.lock();
        let name = name.as_str();
        if kept.images.insert(name.to_owned(), image.clone()).is_none() {
            kept.names.push_back(name.to_owned());
        }
        if kept.names.len() > LIMIT
            && let Some(oldest) = kept.names.pop_front()
        {
            kept.images.remove(&oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limit of platforms of an image in the cache. Real images have about ten.
const MAX_PLATFORMS: usize = 64;

/// The limit of names in the cache.
const LIMIT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use choreo_registry::image::MediaType;

    fn image(bytes: &[u8]) -> ResolvedImage {
        ResolvedImage::new(Digest::sha256_of(bytes), MediaType::OciManifest)
    }

    #[test]
    fn an_image_for_too_many_platforms_is_not_kept() {
        let name: ImageReference = "registry.example.com/app:1".parse().unwrap();
        let platform: choreo_registry::image::Platform = "linux/amd64".parse().unwrap();
        for (count, is_kept) in [(MAX_PLATFORMS, true), (MAX_PLATFORMS + 1, false)] {
            let known = ResolveCache::default();
            let platforms = vec![platform.clone(); count];
            known.keep(&name, &image(b"index").with_platforms(platforms));
            assert_eq!(known.has(&name), is_kept);
        }
    }

    #[test]
    fn a_name_is_known_by_its_latest_digest_alone() {
        let known = ResolveCache::default();
        let name: ImageReference = "registry.example.com/app:1".parse().unwrap();
        assert!(!known.has(&name));
        known.keep(&name, &image(b"old"));
        known.keep(&name, &image(b"new"));
        assert!(known.has(&name));
        assert_eq!(known.get(&name, &Digest::sha256_of(b"old")), None);
        assert_eq!(
            known.get(&name, &Digest::sha256_of(b"new")),
            Some(image(b"new"))
        );
    }

    #[test]
    fn the_oldest_name_makes_room() {
        let known = ResolveCache::default();
        let name = |number: usize| -> ImageReference {
            format!("registry.example.com/app:{number}")
                .parse()
                .unwrap()
        };
        for number in 0..=LIMIT {
            known.keep(&name(number), &image(b"image"));
            // Again: a name counts once.
            known.keep(&name(number), &image(b"image"));
        }
        assert!(!known.has(&name(0)));
        assert!((1..=LIMIT).all(|number| known.has(&name(number))));
        assert_eq!(known.lock().images.len(), LIMIT);
    }
}
