//! What a server lets its clients take.

use std::net::IpAddr;
use std::time::Duration;

/// What a [`Server`](super::Server) lets its clients take.
///
/// ```
/// use std::time::Duration;
/// use choreo_webhook::server::ServerLimits;
///
/// let mut limits = ServerLimits::default();
/// assert_eq!(limits.connections, 4096);
/// // Behind a proxy, all connections come from its address.
/// limits.connections_per_address = limits.connections;
/// limits.keep_alive = Duration::from_secs(120);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Connections at once. 4,096 by default, and on Linux at most three quarters of the file
    /// descriptors that the process may have: the rest is for stores and for connections of its own.
    ///
    /// A connection beyond the limit takes the place of the oldest on which no request is being
    /// answered. Only when requests on all are being answered, it is closed at once.
    pub connections: usize,
    /// Connections at once from one address, or from one IPv6 prefix. 1,024 by default. One more
    /// takes the place of an older one of the same address. Behind a proxy, set it to
    /// [`connections`](Self::connections), and let the proxy limit by address.
    pub connections_per_address: usize,
    /// How many bits of an IPv6 address count as the address. 64 by default: one subscriber has at
    /// least so many addresses.
    pub ipv6_prefix: u8,
    /// How long a client may take from the connection, or from the first byte of a request, to the
    /// end of the request's head. 5 seconds by default.
    pub head: Duration,
    /// The longest head, in bytes, and the most that a connection buffers in each direction. 16 KiB
    /// by default; 8 KiB at least.
    pub head_bytes: usize,
    /// How long a connection may be idle between requests. 75 seconds by default: longer than the
    /// 60 seconds of common proxies, which would send a request just when the connection is closed.
    /// While more than three quarters of the connections are taken, each is closed after one answer.
    pub keep_alive: Duration,
    /// Requests on one connection. 1,000 by default.
    pub requests: u32,
    /// How long a client may take to send a body. 30 seconds by default.
    pub body: Duration,
    /// How long a client may leave what is sent to it, before the time that
    /// [`write_rate`](Self::write_rate) grants. 10 seconds by default.
    pub write: Duration,
    /// The bytes a second that a client must take on average once it does not take all at once.
    /// 1,024 by default.
    pub write_rate: u32,
    /// How long requests under way may take once the server is told to stop. 25 seconds by default.
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
    /// The address by which a connection is counted.
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

    /// How long a client may have taken for so many bytes.
    pub(super) fn write_time(&self, taken: u64) -> Duration {
        let rate = u64::from(self.write_rate.max(1));
        self.write
            .saturating_add(Duration::from_millis(taken.saturating_mul(1000) / rate))
    }

    /// [`connections`](Self::connections), or less where the process may not have so many files.
    pub(super) fn affordable(&self) -> usize {
        let files = std::fs::read_to_string("/proc/self/limits").ok();
        let files = files.as_deref().and_then(open_files);
        let most = files.map_or(usize::MAX, |files| files / 4 * 3);
        if most < self.connections {
            tracing::warn!(
                wanted = self.connections,
                most,
                "fewer connections than wanted: raise the limit of open files"
            );
        }
        self.connections.min(most)
    }
}

/// The soft limit of open files
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
    fn what_is_taken_grants_time() {
        let limits = ServerLimits::default();
        assert_eq!(limits.write_time(0), Duration::from_secs(10));
        assert_eq!(limits.write_time(4096), Duration::from_secs(14));
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
