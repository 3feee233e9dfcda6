//! Limits of a server's clients.

use std::net::IpAddr;
use std::time::Duration;

/// The limits that a [`Server`](super::Server) sets its clients.
///
/// ```
/// use std::time::Duration;
/// use choreo_webhook::server::ServerLimits;
///
/// let mut limits = ServerLimits::default();
/// assert_eq!(limits.connections, 4096);
/// // Behind a proxy, all connections come from the proxy's address.
/// limits.connections_per_address = limits.connections;
/// limits.keep_alive = Duration::from_secs(120);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// The maximum number of connections. 4,096 by default. On Linux it is at most three quarters of
    /// the file descriptors that the process may open; the rest is for stores and outgoing connections.
    ///
    /// At the limit, a new connection replaces the oldest one without a request in progress, or whose
    /// client has not read everything that the server has written; a slow reader counts. If there is
    /// none, the new connection is closed at once.
    pub connections: usize,
    /// The maximum number of connections from one address, or from one IPv6 prefix. 1,024 by default.
    /// At this limit, a new connection replaces an older one from the same address. Behind a proxy, set
    /// it to [`connections`](Self::connections), and limit by address in the proxy.
    pub connections_per_address: usize,
    /// The number of leading bits that identify an IPv6 client. 64 by default, because one subscriber
    /// usually has at least a /64 prefix.
    pub ipv6_prefix: u8,
    /// The time in which a client must send the head of a request. It starts with the connection for
    /// the first request, and with the first byte for later requests. 5 seconds by default.
    pub head: Duration,
    /// The maximum size of a head, in bytes, and of a connection's buffers in each direction. 16 KiB
    /// by default; a value below 8 KiB counts as 8 KiB.
    pub head_bytes: usize,
    /// The time for which a connection may be idle between requests. 75 seconds by default, which is
    /// longer than the 60 seconds of common proxies: a proxy must not send a request just as the
    /// server closes the connection. While more than three quarters of the connections are taken, each
    /// is closed after its next response.
    pub keep_alive: Duration,
    /// The maximum number of requests on one connection. 1,000 by default.
    pub requests: u32,
    /// The time in which a client must send a body. 30 seconds by default.
    pub body: Duration,
    /// The time for which a client may delay a response without reading it, in addition to the time
    /// that [`write_rate`](Self::write_rate) grants. 10 seconds by default.
    pub write: Duration,
    /// The minimum average rate, in bytes per second, at which a client must read a response that
    /// does not fit into the buffers. 1,024 by default.
    pub write_rate: u32,
    /// The time that requests in progress have after the server is told to stop. 25 seconds by default.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 1024,
            ipv6_prefix: 64,
            head: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            keep_alive: Duration::from_secs(75),
            requests: 1000,
            body: Duration::from_secs(30),
            write: Duration::from_secs(10),
            write_rate: 1024,
            drain: Duration::from_secs(25),
        }
    }
}

impl ServerLimits {
    /// Returns the address or prefix by which a connection is counted.
    pub(super) fn counted(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let bits = u32::from(self.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        }
    }

    /// Returns the time in which a client must have read this number of bytes.
    pub(super) fn write_time(&self, taken: u64) -> Duration {
        let rate = u64::from(self.write_rate.max(1));
        self.write
            .saturating_add(Duration::from_millis(taken.saturating_mul(1000) / rate))
    }

    /// Returns [`connections`](Self::connections), or fewer if the process may not open enough files.
    pub(super) fn affordable(&self) -> usize {
        let files = std::fs::read_to_string("/proc/self/limits").ok();
        let affordable = self.affordable_with(files.as_deref().and_then(open_files));
        if affordable < self.connections {
            tracing::warn!(
                wanted = self.connections,
                affordable,
                "connections are limited by the number of open files: raise that limit"
            );
        }
        affordable
    }

    fn affordable_with(&self, files: Option<usize>) -> usize {
        let most = files.map_or(usize::MAX, |files| files / 4 * 3);
        self.connections.min(most)
    }
}

/// Returns the soft limit of open files
/// (<https://man7.org/linux/man-pages/man5/proc_pid_limits.5.html>).
fn open_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_by_prefix() {
        let limits = ServerLimits::default();
        for (address, counted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            let [address, counted] = [address, counted].map(|text| text.parse().unwrap());
            assert_eq!(limits.counted(address), counted);
        }
        for (ipv6_prefix, counted) in [(0, "::"), (48, "2001:db8:1::"), (128, "2001:db8:1::1")] {
            let limits = ServerLimits {
                ipv6_prefix,
                ..limits
            };
            let address = "2001:db8:1::1".parse().unwrap();
            assert_eq!(limits.counted(address), counted.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn bytes_read_grant_time() {
        let limits = ServerLimits::default();
        assert_eq!(limits.write_time(0), Duration::from_secs(10));
        assert_eq!(limits.write_time(4096), Duration::from_secs(14));
    }

    #[test]
    fn a_quarter_of_the_open_files_is_left() {
        let limits = ServerLimits::default();
        for (files, connections) in [
            (None, 4096),
            (Some(1 << 20), 4096),
            (Some(4096), 3072),
            (Some(1024), 768),
        ] {
            assert_eq!(limits.affordable_with(files), connections, "{files:?}");
        }
    }

    #[test]
    fn reads_the_limit_of_open_files() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             7                    7                    processes\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files(&limits.replace("1024  ", "unlimited")), None);
        assert_eq!(open_files(""), None);
    }
}
