//! Several commands bring the registries of one new store up to date.

use crate::control_plane::{Site, in_memory};

/// Guards that of commands that register at once none calls the id taken: one is first, and the
/// others go on with what it has stored.
#[test]
fn commands_that_register_at_once_all_go_on() {
    for _ in 0..4 {
        let site = Site::new(&in_memory("registry.example.com"), "password");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                // Registered first and refused at once after that, without asking a registry.
                scope.spawn(|| {
                    site.run(&["deploy", "orders", "ghcr.io/elsewhere/orders:1"])
                        .complains("is not in the component's registry registry.example.com");
                });
            }
        });
    }
}
