//! A slow link to the API server.

use std::time::Duration;

use kube::Config;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// A proxy that delays each byte in both directions.
#[derive(Debug)]
pub(crate) struct SlowLink {
    url: http::Uri,
    accepting: JoinHandle<()>,
}

impl SlowLink {
    /// Connects to the API server of a configuration. Its certificate must also be valid for this
    /// machine.
    pub(crate) async fn to(config: &Config, each_way: Duration) -> Self {
        let host = config.cluster_url.host().expect("the server has a host");
        let server = (
            host.to_owned(),
            config.cluster_url.port_u16().unwrap_or(443),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.expect("it listens");
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::join!(
                        delayed(from_client, to_server, each_way),
                        delayed(from_server, to_client, each_way),
                    );
                });
            }
        });
        let url = format!("https://127.0.0.1:{port}");
        Self {
            url: url.parse().expect("a URL"),
            accepting,
        }
    }

    pub(crate) fn url(&self) -> http::Uri {
        self.url.clone()
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Copies data and delays each piece by the same time, with any number of pieces in transit.
async fn delayed(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, by: Duration) {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let reading = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let piece = (Instant::now() + by, buffer[..count].to_vec());
            if send.send(piece).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = receive.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
