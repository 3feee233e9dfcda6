//! The classification of IP addresses as public or not.
//!
//! The ranges are those of IANA's special-purpose registries for
//! [IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry) and
//! [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry), and the addresses at which
//! clouds serve metadata and credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::IpNetwork;

/// The classification of an address for a client that may only reach the public internet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// A metadata service, which gives cloud credentials to its callers.
    Metadata,
    /// Loopback, private or link-local: inside a network.
    Private,
    /// On the public internet.
    Public,
    /// Multicast, documentation, reserved: never a host.
    Unusable,
}

/// Classifies the address that a connection would actually reach: an IPv4 address inside an IPv6
/// one is unwrapped first.
pub(super) fn standing(address: IpAddr) -> Standing {
    let address = unwrapped(address);
    if METADATA.contains(&address) || leads_to_metadata(address) {
        Standing::Metadata
    } else if PRIVATE.iter().any(|network| network.contains(address)) {
        Standing::Private
    } else if UNUSABLE.iter().any(|network| network.contains(address)) {
        Standing::Unusable
    } else {
        Standing::Public
    }
}

/// Returns whether a non-public address ends with an IPv4 address of [`METADATA`]: a translating
/// network (64:ff9b:1::/48, RFC 8215, or an operator's) would forward to it.
fn leads_to_metadata(address: IpAddr) -> bool {
    let IpAddr::V6(v6) = address else {
        return false;
    };
    let [.., a, b, c, d] = v6.octets();
    let is_public = v6.segments()[0] >> 13 == 1;
    !is_public && METADATA.contains(&v4(a, b, c, d))
}

/// Returns the IPv4 address inside a v4-mapped, NAT64 or 6to4 address; any other address
/// unchanged.
pub(super) fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        // ::ffff:0:0/96, RFC 4291 section 2.5.5.2
        [0, 0, 0, 0, 0, 0xffff, high, low] => v4(high, low),
        // 64:ff9b::/96, RFC 6052
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 2002::/16, RFC 3056
        [0x2002, high, low, _, _, _, _, _] => v4(high, low),
        _ => address,
    }
}

const METADATA: [IpAddr; 13] = [
    // Most clouds.
    v4(169, 254, 169, 254),
    // AWS: container credentials, pod identity.
    v4(169, 254, 170, 2),
    v4(169, 254, 170, 23),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]),
    // Google Cloud and OpenStack over IPv6.
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
    v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
    // Scaleway.
    v4(169, 254, 42, 42),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]),
    // Tencent Cloud.
    v4(169, 254, 0, 23),
    // Azure's host: in a public range, but not on the internet.
    v4(168, 63, 129, 16),
    // Alibaba Cloud.
    v4(100, 100, 100, 200),
    // Oracle Cloud.
    v4(192, 0, 0, 192),
];

const PRIVATE: [IpNetwork; 9] = [
    network(v4(10, 0, 0, 0), 8),
    network(v4(100, 64, 0, 0), 10),
    network(v4(127, 0, 0, 0), 8),
    network(v4(169, 254, 0, 0), 16),
    network(v4(172, 16, 0, 0), 12),
    network(v4(192, 168, 0, 0), 16),
    network(v6([0, 0, 0, 0, 0, 0, 0, 1]), 128),
    network(v6([0xfc00, 0, 0, 0, 0, 0, 0, 0]), 7),
    network(v6([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10),
];

const UNUSABLE: [IpNetwork; 16] = [
    network(v4(0, 0, 0, 0), 8),
    network(v4(192, 0, 0, 0), 24),
    network(v4(192, 0, 2, 0), 24),
    network(v4(192, 88, 99, 0), 24),
    network(v4(198, 18, 0, 0), 15),
    network(v4(198, 51, 100, 0), 24),
    network(v4(203, 0, 113, 0), 24),
    network(v4(224, 0, 0, 0), 4),
    // 240.0.0.0/4 contains 255.255.255.255.
    network(v4(240, 0, 0, 0), 4),
    // Only addresses in 2000::/3 are public, and not all of those. The range below contains more
    // forms of IPv4 addresses than are unwrapped above (the old compatible ones, those of RFC
    // 2765, the local NAT64 of RFC 8215), discard and dummy prefixes, and ::1, which is private
    // and is checked first. The range above contains segment routing, multicast and private
    // addresses.
    network(v6([0, 0, 0, 0, 0, 0, 0, 0]), 3),
    network(v6([0x4000, 0, 0, 0, 0, 0, 0, 0]), 2),
    network(v6([0x8000, 0, 0, 0, 0, 0, 0, 0]), 1),
    // 2001::/23 contains Teredo and other tunnels.
    network(v6([0x2001, 0, 0, 0, 0, 0, 0, 0]), 23),
    network(v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 32),
    // Unwrapped above; other addresses of this block never reach this table.
    network(v6([0x2002, 0, 0, 0, 0, 0, 0, 0]), 16),
    network(v6([0x3fff, 0, 0, 0, 0, 0, 0, 0]), 20),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(segments: [u16; 8]) -> IpAddr {
    let [a, b, c, d, e, f, g, h] = segments;
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}

const fn network(address: IpAddr, prefix: u8) -> IpNetwork {
    IpNetwork::constant(address, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translated_addresses_of_metadata_services_are_theirs() {
        for text in [
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:fffe::100.100.100.200",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "fd12:3456::169.254.170.2",
            "169.254.42.42",
            "fd00:42::42",
        ] {
            let found = standing(text.parse().unwrap());
            assert_eq!(found, Standing::Metadata, "{text}");
        }
        // A public address whose last bytes match by chance.
        let public = "2606:4700::a9fe:a9fe".parse().unwrap();
        assert_eq!(standing(public), Standing::Public);
    }

    #[test]
    fn addresses_stand_where_the_registries_say() {
        let table = [
            (
                Standing::Public,
                "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0",
            ),
            (
                Standing::Public,
                "192.0.1.0 198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.17",
            ),
            (
                Standing::Public,
                "2606:4700::1111 2a00:1450::1 2400:cb00::1 ::ffff:1.1.1.1",
            ),
            (Standing::Public, "64:ff9b::1.1.1.1 2002:101:101::"),
            (
                Standing::Metadata,
                "169.254.169.254 169.254.170.2 169.254.170.23 168.63.129.16",
            ),
            (
                Standing::Metadata,
                "100.100.100.200 192.0.0.192 fd00:ec2::254 fd00:ec2::23",
            ),
            (
                Standing::Metadata,
                "fd20:ce::254 fe80::a9fe:a9fe 169.254.0.23",
            ),
            (
                Standing::Metadata,
                "::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::",
            ),
            (
                Standing::Private,
                "10.0.0.0 10.255.255.255 100.64.0.1 127.0.0.1 127.255.255.255",
            ),
            (
                Standing::Private,
                "169.254.0.1 172.16.0.0 172.31.255.255 192.168.1.1 ::1 fc00::1",
            ),
            (
                Standing::Private,
                "fdff::1 fe80::1 febf::1 ::ffff:127.0.0.1 64:ff9b::7f00:1",
            ),
            (Standing::Private, "2002:7f00:1:: 2002:c0a8:101::1"),
            (
                Standing::Unusable,
                "0.0.0.0 0.255.255.255 192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1",
            ),
            (
                Standing::Unusable,
                "198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1",
            ),
            (
                Standing::Unusable,
                "255.255.255.255 :: ::2 ::127.0.0.1 64:ff9b:1::1 100::1 2001::1",
            ),
            (
                Standing::Unusable,
                "2001:1ff::1 2001:db8::1 3fff::1 5f00::1 fec0::1 ff02::1",
            ),
            (
                Standing::Unusable,
                "::ffff:0:127.0.0.1 64:ff9b:ffff::1 ::1:0:0:1",
            ),
        ];
        for (expected, addresses) in table {
            for address in addresses.split(' ') {
                assert_eq!(standing(address.parse().unwrap()), expected, "{address}");
            }
        }
    }

    /// Every block of IANA's special-purpose registries that is not globally reachable, and of the
    /// multicast registries: its first and last address, and whether the addresses just outside it
    /// are public.
    #[test]
    fn every_special_block_is_closed_from_its_first_to_its_last_address() {
        use Standing::{Private, Unusable};
        let blocks = [
            ("0.0.0.0/8", Unusable, false, true),
            ("10.0.0.0/8", Private, true, true),
            ("100.64.0.0/10", Private, true, true),
            ("127.0.0.0/8", Private, true, true),
            ("169.254.0.0/16", Private, true, true),
            ("172.16.0.0/12", Private, true, true),
            ("192.0.0.0/24", Unusable, true, true),
            ("192.0.2.0/24", Unusable, true, true),
            ("192.88.99.0/24", Unusable, true, true),
            ("192.168.0.0/16", Private, true, true),
            ("198.18.0.0/15", Unusable, true, true),
            ("198.51.100.0/24", Unusable, true, true),
            ("203.0.113.0/24", Unusable, true, true),
            ("224.0.0.0/4", Unusable, true, false),
            ("240.0.0.0/4", Unusable, false, false),
            ("255.255.255.255/32", Unusable, false, false),
            ("::/128", Unusable, false, false),
            ("::1/128", Private, false, false),
            ("64:ff9b:1::/48", Unusable, false, false),
            ("100::/64", Unusable, false, false),
            ("100:0:0:1::/64", Unusable, false, false),
            ("2001::/23", Unusable, true, true),
            ("2001:db8::/32", Unusable, true, true),
            ("3fff::/20", Unusable, true, true),
            ("5f00::/16", Unusable, false, false),
            ("fc00::/7", Private, false, false),
            ("fe80::/10", Private, false, false),
            ("fec0::/10", Unusable, false, false),
            ("ff00::/8", Unusable, false, false),
        ];
        for (block, expected, below, above) in blocks {
            let (first, prefix) = block.split_once('/').unwrap();
            let first: IpAddr = first.parse().unwrap();
            let prefix: u32 = prefix.parse().unwrap();
            let (low, bits) = match first {
                IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
                IpAddr::V6(v6) => (v6.to_bits(), 128),
            };
            let high = low | (u128::MAX.checked_shr(128 - bits + prefix).unwrap_or(0));
            let address = |value: u128| match bits {
                32 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(value).unwrap())),
                _ => IpAddr::V6(Ipv6Addr::from_bits(value)),
            };
            for inside in [low, high, low + (high - low) / 2] {
                assert_eq!(
                    standing(address(inside)),
                    expected,
                    "{block} {}",
                    address(inside)
                );
            }
            let is_public = |value: u128| standing(address(value)) == Standing::Public;
            if low > 0 {
                assert_eq!(is_public(low - 1), below, "below {block}");
            }
            if high < u128::MAX >> (128 - bits) {
                assert_eq!(is_public(high + 1), above, "above {block}");
            }
        }
        // A tunnel has the classification of the IPv4 address in it.
        assert_eq!(standing("2002::1".parse().unwrap()), Unusable);
        assert_eq!(standing("2002:ffff:ffff::".parse().unwrap()), Unusable);
        assert_eq!(standing("64:ff9b::".parse().unwrap()), Unusable);
    }

    /// A table entry with bits behind its prefix would match nothing.
    #[test]
    fn the_tables_hold_well_formed_blocks() {
        for network in PRIVATE.iter().chain(&UNUSABLE) {
            assert_eq!(network.to_string().parse(), Ok(*network));
        }
    }
}
