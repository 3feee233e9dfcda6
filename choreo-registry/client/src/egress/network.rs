//! A block of addresses in CIDR notation.

use std::{fmt, net::IpAddr, str::FromStr};

/// A block of IP addresses in CIDR notation, such as `10.20.0.0/16` or `fd12::/48`; an address
/// alone is a block of one.
///
/// Bits after the prefix must be zero ([RFC 4632, section
/// 3.1](https://www.rfc-editor.org/rfc/rfc4632#section-3.1)): `10.20.0.1/16` is rejected, because
/// either the address or the prefix is a mistake.
///
/// # Example
///
/// ```
/// use choreo_registry_client::egress::IpNetwork;
///
/// let network: IpNetwork = "10.20.0.0/16".parse()?;
/// assert!(network.contains("10.20.7.1".parse()?));
/// assert!(!network.contains("10.21.0.1".parse()?));
///
/// let error = "10.20.0.1/16".parse::<IpNetwork>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"network "10.20.0.1/16" has bits set behind its prefix: write 10.20.0.0/16"#,
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u8,
}

impl IpNetwork {
    /// Returns whether the address is in this block. An IPv4 block contains no IPv6 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// Creates a block for constant tables. The caller must set the bits after the prefix to zero,
    /// which a test checks.
    pub(super) const fn constant(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for IpNetwork {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| ParseNetworkError {
            input: text.chars().take(MAX_ECHO).collect(),
            reason,
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error(Reason::Address))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits)
                if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                digits
                    .parse()
                    .ok()
                    .filter(|prefix| *prefix <= bits)
                    .ok_or_else(|| error(Reason::Prefix(bits)))?
            }
            Some(_) => return Err(error(Reason::Prefix(bits))),
        };
        let network = Self {
            address: masked(address, prefix),
            prefix,
        };
        if network.address == address {
            Ok(network)
        } else {
            Err(error(Reason::HostBits(network)))
        }
    }
}

const MAX_ECHO: usize = 64;

/// The reason why a text is not an [`IpNetwork`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseNetworkError {
    input: String,
    reason: Reason,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Reason {
    Address,
    HostBits(IpNetwork),
    Prefix(u8),
}

impl fmt::Display for ParseNetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network {:?} ", self.input)?;
        match &self.reason {
            Reason::Address => {
                f.write_str("does not begin with an IP address: write a block such as 10.20.0.0/16")
            }
            Reason::HostBits(network) => {
                write!(f, "has bits set behind its prefix: write {network}")
            }
            Reason::Prefix(bits) => write!(f, "needs a prefix length of 0 to {bits} after the '/'"),
        }
    }
}

impl std::error::Error for ParseNetworkError {}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.min(32)))
                .unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_parse_and_hold_their_first_and_last_address() {
        let table = [
            ("127.0.0.0/8", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.7", "10.0.0.8"),
            (
                "172.16.0.0/12",
                "172.16.0.0",
                "172.31.255.255",
                "172.32.0.0",
            ),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255", "::"),
            (
                "fd12::/48",
                "fd12::",
                "fd12:0:0:ffff:ffff:ffff:ffff:ffff",
                "fd12:0:1::",
            ),
            (
                "::/0",
                "::",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "0.0.0.0",
            ),
            ("::1", "::1", "::1", "::2"),
        ];
        for (text, first, last, outside) in table {
            let network: IpNetwork = text.parse().unwrap();
            assert!(network.contains(first.parse().unwrap()), "{text}");
            assert!(network.contains(last.parse().unwrap()), "{text}");
            assert!(!network.contains(outside.parse().unwrap()), "{text}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn wrong_blocks_say_what_to_write() {
        let table = [
            (
                "",
                r#"network "" does not begin with an IP address: write a block such as 10.20.0.0/16"#,
            ),
            (
                "localhost/8",
                r#"network "localhost/8" does not begin with an IP address: write a block such as 10.20.0.0/16"#,
            ),
            (
                "10.0.0.0/33",
                r#"network "10.0.0.0/33" needs a prefix length of 0 to 32 after the '/'"#,
            ),
            (
                "10.0.0.0/",
                r#"network "10.0.0.0/" needs a prefix length of 0 to 32 after the '/'"#,
            ),
            (
                "10.0.0.0/+8",
                r#"network "10.0.0.0/+8" needs a prefix length of 0 to 32 after the '/'"#,
            ),
            (
                "::/129",
                r#"network "::/129" needs a prefix length of 0 to 128 after the '/'"#,
            ),
            (
                "10.1.0.0/8",
                r#"network "10.1.0.0/8" has bits set behind its prefix: write 10.0.0.0/8"#,
            ),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<IpNetwork>().unwrap_err().to_string(), expected);
        }
    }
}
