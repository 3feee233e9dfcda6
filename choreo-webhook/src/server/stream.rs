//! A socket that records the pace of its peer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::pace::Pace;

#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    pace: Arc<Pace>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, pace: Arc<Pace>) -> Self {
        Self { socket, pace }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.has_read();
        }
        result
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes after it has written all of its data.
        let result = Pin::new(&mut self.socket).poll_flush(context);
        if result.is_ready() {
            self.pace.has_flushed();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(context, bytes);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

impl Stream {
    fn note(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending => self.pace.is_stuck(),
            Poll::Ready(Ok(bytes)) => self.pace.has_written(*bytes),
            Poll::Ready(Err(_)) => {}
        }
        result
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Otherwise the kernel would keep the unread data and retry for minutes.
        if self.pace.is_stalled() {
            let _ = self.socket.set_zero_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::ServerLimits;
    use super::super::crowd::Crowd;
    use super::*;

    /// A stream, its peer, and the pace that the stream records.
    async fn pair() -> (Stream, TcpStream, Arc<Pace>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "a test dials the listener that it started"
        )]
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let guest = Arc::new(Crowd::new(1, 1)).admit(address.ip()).unwrap();
        let pace = Arc::new(Pace::new(Arc::new(ServerLimits::default()), guest));
        let stream = Stream::new(accepted.unwrap().0, Arc::clone(&pace));
        (stream, peer.unwrap(), pace)
    }

    /// hyper writes vectored, but may write plainly.
    #[tokio::test]
    async fn a_peer_that_does_not_read_is_noticed() {
        let (mut stream, mut peer, pace) = pair().await;
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        let mut read = [0; 5];
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!((&read, pace.is_stalled()), (b"hello", false));

        let long = vec![b'x'; 64 << 20];
        let all = stream.write_all(&long);
        assert!(
            tokio::time::timeout(Duration::from_secs(2), all)
                .await
                .is_err()
        );
        assert!(pace.is_stalled());
    }

    #[tokio::test]
    async fn a_shutdown_reaches_the_peer() {
        let (mut stream, mut peer, _) = pair().await;
        stream.shutdown().await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(10), peer.read_u8()).await;
        assert!(end.expect("the peer sees the end").is_err());
    }
}
