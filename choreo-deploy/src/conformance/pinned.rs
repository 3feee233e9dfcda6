//! The clause about the order of a tag and its digest within one generation.

use super::BackendClause;
use super::fixture::{BackendFixture, assert_stale, generation};
use crate::backend::Intent;

impl BackendClause {
    /// Within one generation a release by digest comes after a release by tag.
    ///
    /// A worker that has lost its claim may apply the tag after another worker has applied the digest.
    pub async fn digest_comes_after_tag(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let target = fixture.target("pinned");
        let (by_tag, release) = (fixture.release_by_tag(), fixture.release(1));
        let apply = async |number, release| {
            let intent = Intent::new(&target, generation(number), release);
            backend.apply(&intent).await
        };
        for _ in 0..2 {
            apply(1, &by_tag).await.expect("applies the tag, and again");
        }
        fixture.deploy(&target, generation(1), &release).await;
        assert_stale(apply(1, &by_tag).await);
        fixture.assert_runs(&target, generation(1), &release).await;
        apply(2, &by_tag)
            .await
            .expect("applies the tag at a newer generation");
    }
}
