//! Which addresses may be connected to, whoever named them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// A name led to no public address.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a public address")]
pub(super) struct NotPublic;

/// What was asked for with TLS would be given without.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no TLS")]
pub(super) struct Bared;

/// Whether a redirect leads from where there is TLS to where there is none, which proves nothing of the first. Only an admin
/// names places without.
pub(super) fn is_bared(before: &Url, url: &Url) -> bool {
    before.scheme() == "https" && url.scheme() == "http"
}

/// The rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    pub(super) private_addresses: bool,
}

impl Guard {
    /// Whether a URL may be asked at all. Its name is looked up later, by [`Resolver`]: what is connected to is what was
    /// looked at.
    pub(super) fn allows(self, url: &Url) -> bool {
        let encrypted = url.scheme() == "https" || self.private_addresses && url.scheme() == "http";
        encrypted
            && match url.host() {
                Some(Host::Ipv4(address)) => self.allows_address(address.into()),
                Some(Host::Ipv6(address)) => self.allows_address(address.into()),
                Some(Host::Domain(_)) => true,
                None => false,
            }
    }

    fn allows_address(self, address: IpAddr) -> bool {
        self.private_addresses || is_public(address)
    }
}

/// Looks names up and hands on the addresses that may be connected to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver(pub(super) Guard);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|address| guard.allows_address(address.ip()))
                .collect();
            if found.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public Internet (IANA's special-purpose registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a, b & 0xc0) == (100, 64)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a, b & 0xfe) == (198, 18))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    // What carries an IPv4 address leads to it: mapped, NAT64, 6to4.
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let octets = address.octets();
    let four =
        |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    if address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(four(12));
    }
    if a == 0x2002 {
        return is_public_v4(four(2));
    }
    // Only 2000::/3 is given out; within it, 2001::/23 is for protocols, and 2001:db8::/32 and 3fff::/20 for documents.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && b < 0x200)
        && !(a == 0x2001 && b == 0xdb8)
        && !(a == 0x3fff && b < 0x1000)
        && !(a == 0x2620 && b == 0x4f && c == 0x8000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a01:4f8::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn urls_of_strangers() {
        let strict = Guard {
            private_addresses: false,
        };
        let open = Guard {
            private_addresses: true,
        };
        let allows = |guard: Guard, url: &str| guard.allows(&Url::parse(url).expect("a URL"));
        for url in [
            "http://b.example/",
            "https://127.0.0.1/",
            "https://[::1]:8448/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://127.1/",
            "ftp://b.example/",
            "file:///etc/passwd",
        ] {
            assert!(!allows(strict, url), "{url}");
        }
        assert!(allows(strict, "https://b.example:8448/"));
        assert!(allows(open, "http://127.0.0.1:1/") && allows(open, "https://10.0.0.1/"));
        assert!(!allows(open, "file:///etc/passwd"));
        let bared = |before: &str, url: &str| {
            is_bared(
                &Url::parse(before).expect("a URL"),
                &Url::parse(url).expect("a URL"),
            )
        };
        let (plain, tls) = ("http://b.example/", "https://b.example/");
        assert!(
            bared(tls, plain) && !bared(plain, plain) && !bared(plain, tls) && !bared(tls, tls)
        );
    }
}
