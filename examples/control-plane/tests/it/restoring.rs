//! `restore`: the preparation of a store from a backup.

use crate::control_plane::{Site, in_memory};

#[test]
fn a_restored_store_goes_on_with_a_new_epoch() {
    let site = Site::new(&in_memory("registry.example.com"), "password");
    let serve = site.serve();
    let refused = site.run(&["restore"]).expect(7);
    assert!(
        refused.stderr.contains("is open elsewhere"),
        "the server has to be stopped before: {}",
        refused.stderr
    );
    drop(serve);
    let restored = site.run(&["restore", "--json"]).expect(0);
    assert!(restored.stderr.contains("tokens that were revoked"));
    let epoch = |value: serde_json::Value| value["epoch"].as_u64().expect("a number");
    let first = epoch(restored.json());
    assert!(epoch(site.json(&["restore"])) > first, "each is another");
    drop(site.serve());
}
