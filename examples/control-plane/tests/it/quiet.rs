//! A data plane that fails: people see the outcome, and no logs of a library.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use crate::control_plane::{Site, in_memory};

/// Starts an API server that fails every request until the process ends.
fn failing_api_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a client comes");
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(
                b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            );
        }
    });
    address
}

/// Guards that outcomes are not mixed with `ERROR kube_client::client::builder: failed with status 500`,
/// also for deployments of other components.
#[test]
fn a_data_plane_that_fails_is_said_once() {
    let site = Site::new("", "password").logging("");
    let kubeconfig = site.directory().join("kubeconfig");
    let cluster = format!(
        "clusters: [{{ name: c, cluster: {{ server: \"http://{}\" }} }}]
contexts: [{{ name: c, context: {{ cluster: c, user: u }} }}]
users: [{{ name: u, user: {{ token: t }} }}]
current-context: c
",
        failing_api_server()
    );
    std::fs::write(&kubeconfig, cluster).expect("it is written");
    let memory = "backend = \"memory\"";
    let kubernetes = format!("backend = \"kubernetes\"\nkubeconfig = {kubeconfig:?}");
    let configuration = in_memory("registry.example.com");
    assert!(configuration.contains(memory));
    site.configure(&configuration.replace(memory, &kubernetes));
    let failed = site.run(&["logs", "orders"]).expect(7);
    assert!(failed.stderr.contains("local"), "{}", failed.stderr);
    for word in ["kube", "ERROR", "WARN"] {
        assert!(!failed.stderr.contains(word), "{}", failed.stderr);
    }
}
