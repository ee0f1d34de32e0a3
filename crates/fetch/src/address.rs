//! Which addresses strangers may send us to: public ones (RFC 6890; AS-30, A-158).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a guarded request may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses alone.
    #[default]
    Public,
    /// Loopback as well: for a deployment that is on loopback itself, in development.
    PublicAndLoopback,
}

impl Reach {
    /// Whether this address may be dialled.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        is_public(address) || (self == Self::PublicAndLoopback && address.is_loopback())
    }
}

/// An IPv4 range: its first address, and how many bits name it.
const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u32) -> (Ipv4Addr, u32) {
    (Ipv4Addr::new(a, b, c, d), bits)
}

/// What the IANA registry of IPv4 special-purpose addresses lists, multicast, and what is reserved.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    v4(0, 0, 0, 0, 8),       // this network (RFC 791)
    v4(10, 0, 0, 0, 8),      // private (RFC 1918)
    v4(100, 64, 0, 0, 10),   // shared, behind a carrier's NAT (RFC 6598); clouds put their metadata service here
    v4(127, 0, 0, 0, 8),     // loopback
    v4(169, 254, 0, 0, 16),  // link-local (RFC 3927); clouds put their metadata service here
    v4(172, 16, 0, 0, 12),   // private (RFC 1918)
    v4(192, 0, 0, 0, 24),    // protocol assignments (RFC 6890)
    v4(192, 0, 2, 0, 24),    // documentation (RFC 5737)
    v4(192, 31, 196, 0, 24), // AS112 (RFC 7535)
    v4(192, 52, 193, 0, 24), // AMT (RFC 7450)
    v4(192, 88, 99, 0, 24),  // 6to4 relay anycast (RFC 7526)
    v4(192, 168, 0, 0, 16),  // private (RFC 1918)
    v4(192, 175, 48, 0, 24), // AS112 (RFC 7534)
    v4(198, 18, 0, 0, 15),   // benchmarks (RFC 2544)
    v4(198, 51, 100, 0, 24), // documentation (RFC 5737)
    v4(203, 0, 113, 0, 24),  // documentation (RFC 5737)
];
/// From here on: multicast, reserved, broadcast.
const MULTICAST_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 0);
/// The address that clouds give a service of their host, among public ones.
const AZURE_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// An IPv6 range.
const fn v6(a: u16, b: u16, c: u16, bits: u32) -> (Ipv6Addr, u32) {
    (Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), bits)
}

/// All that is allocated for the public Internet. Everything outside is refused: loopback, link-local, unique local, multicast, and the forms
/// that carry an IPv4 address (mapped, compatible, NAT64): what that would be does not rescue them.
const GLOBAL_V6: (Ipv6Addr, u32) = v6(0x2000, 0, 0, 3);
/// What is special within it.
const SPECIAL_V6: [(Ipv6Addr, u32); 5] = [
    v6(0x2001, 0, 0, 23),           // protocol assignments (RFC 2928), with Teredo, benchmarks and ORCHID
    v6(0x2001, 0x0db8, 0, 32),      // documentation (RFC 3849)
    v6(0x2002, 0, 0, 16),           // 6to4 (RFC 3056): the router behind may be anywhere
    v6(0x2620, 0x004f, 0x8000, 48), // AS112 (RFC 7534)
    v6(0x3fff, 0, 0, 20),           // documentation (RFC 9637)
];

/// Whether an address belongs to the public Internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let special = SPECIAL_V4.iter().any(|range| within_v4(address, *range));
            !special && address < MULTICAST_V4 && address != AZURE_HOST
        }
        IpAddr::V6(address) => within_v6(address, GLOBAL_V6) && !SPECIAL_V6.iter().any(|range| within_v6(address, *range)),
    }
}

fn within_v4(address: Ipv4Addr, (first, bits): (Ipv4Addr, u32)) -> bool {
    (address.to_bits() ^ first.to_bits()).leading_zeros() >= bits
}

fn within_v6(address: Ipv6Addr, (first, bits): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ first.to_bits()).leading_zeros() >= bits
}

/// Names that mean nothing outside of a network or a machine: where somebody else resolves names for us, they are refused by what they say
/// (RFC 6761, RFC 6762, RFC 8375).
#[must_use]
pub fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let local = [
        "localhost",
        "local",
        "internal",
        "intranet",
        "lan",
        "home",
        "corp",
        "private",
        "home.arpa",
        "localdomain",
        "svc",
        "consul",
    ];
    !host.contains('.') || local.iter().any(|name| host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    #[test]
    fn a_158_special_addresses_are_not_public() {
        for special in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.192",
            "192.0.2.1",
            "192.31.196.1",
            "192.52.193.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "192.175.48.1",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "1fff:ffff::1",
            "2001::1",
            "2001:0:5ef5:79fb::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "2620:4f:8000::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ffff::1",
        ] {
            assert!(!public(special), "{special}");
        }
    }

    #[test]
    fn the_neighbours_of_special_ranges_are_public() {
        for ordinary in [
            "1.0.0.0",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2a00::1",
            "3ffe:ffff::1",
            "3fff:1000::1",
        ] {
            assert!(public(ordinary), "{ordinary}");
        }
    }

    #[test]
    fn loopback_is_reached_only_where_it_is_allowed() {
        for (address, allowed) in
            [("127.0.0.1", true), ("::1", true), ("10.0.0.1", false), ("::ffff:127.0.0.1", false), ("8.8.8.8", true)]
        {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(Reach::PublicAndLoopback.allows(address), allowed, "{address}");
            assert_eq!(Reach::Public.allows(address), is_public(address), "{address}");
        }
    }

    #[test]
    fn local_names() {
        for local in
            ["localhost", "LOCALHOST.", "printer", "a.local", "vault.internal", "x.corp", "a.localhost", "router.home.arpa"]
        {
            assert!(is_local_name(local), "{local}");
        }
        for global in ["app.test", "local.example.com", "internal.io", "xlocal.com", "a.notlocal"] {
            assert!(!is_local_name(global), "{global}");
        }
    }

    proptest! {
        /// What the standard library knows to be special is not public, whatever our tables say.
        #[test]
        fn what_is_known_to_be_special_is_not_public(four in any::<u32>(), six in any::<u128>(), mask in 0_u32..128) {
            let four = Ipv4Addr::from_bits(four);
            if four.is_private() || four.is_loopback() || four.is_link_local() || four.is_multicast() || four.is_broadcast()
                || four.is_documentation() || four.is_unspecified()
            {
                prop_assert!(!is_public(four.into()));
            }
            let six = Ipv6Addr::from_bits(six >> mask);
            if six.is_loopback() || six.is_multicast() || six.is_unspecified() || six.to_ipv4().is_some() || six.is_unique_local()
                || six.is_unicast_link_local()
            {
                prop_assert!(!is_public(six.into()));
            }
            prop_assert!(!is_public(four.to_ipv6_mapped().into()) && !is_public(four.to_ipv6_compatible().into()));
        }
    }
}
