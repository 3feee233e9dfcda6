//! Images that a client has read and hashed: asked again, a name needs no more than its digest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use choreo_registry::{Digest, ImageReference, image::ResolvedImage};

/// The images of the latest names, by name. What is kept was hashed, so a registry cannot change
/// what a digest means here: it can only say which of them a name has now.
#[derive(Debug, Default)]
pub(super) struct ResolveCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    images: HashMap<String, ResolvedImage>,
    /// The names in the order in which they came.
    names: VecDeque<String>,
}

impl ResolveCache {
    /// Whether there is an image of this name, so that asking for its digest alone is worth it.
    pub(super) fn has(&self, name: &ImageReference) -> bool {
        self.lock().images.contains_key(name.as_str())
    }

    /// The image of this name, if it has this digest.
    pub(super) fn get(&self, name: &ImageReference, digest: &Digest) -> Option<ResolvedImage> {
        let kept = self.lock();
        let image = kept.images.get(name.as_str())?;
        (image.digest() == *digest).then(|| image.clone())
    }

    pub(super) fn keep(&self, name: &ImageReference, image: &ResolvedImage) {
        // An index of 4 MiB may have 30,000: it is read anew each time rather than kept.
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

/// The most platforms that an image has which is kept. Real ones have some ten.
const MAX_PLATFORMS: usize = 64;

/// The most names that one client keeps.
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
