//! Where a client's URL may lead: to public addresses alone, as the names resolve when they are connected to.
//!
//! Checking a name before connecting would not do, since it may resolve to something else the next time. Here the
//! connection's own resolver leaves out what is not public. A URL that holds an address is checked by itself: no resolver
//! is asked for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Reads a URL to send to: of http or https, with a host, without a user, and unless `allow_private`, with no address in it
/// that is not public.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("a URL such as https://example.org/hook is expected ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("a URL of http or https is expected".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL without a user and password is expected; use a secret to prove who sends".into());
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err("a URL with a host is expected".into()),
    };
    match address {
        Some(address) if !allow_private && !is_public(address) => Err(not_public(address)),
        _ => Ok(url),
    }
}

fn not_public(address: IpAddr) -> String {
    format!("{address} is not a public address; only a server started with --webhook-allow-private sends there")
}

/// Whether an address is one of the public Internet: not of this machine, its network or its provider's own services.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

/// The special-purpose registry of IANA (RFC 6890 and its successors), and one provider's service at a public address.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(matches!(
        (a, b, c),
        // This network, private use, loopback, link-local (with the providers' metadata), shared by a carrier.
        (0 | 10 | 127, ..) | (172, 16..=31, _) | (192, 168, _) | (169, 254, _) | (100, 64..=127, _)
            // Protocol assignments, documentation, relays, benchmarks.
            | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113)
            // Multicast, reserved, broadcast.
            | (224..=255, ..)
    ) || address == Ipv4Addr::new(168, 63, 129, 16))
}

/// Global unicast (2000::/3), less what stands for an IPv4 address or leads nowhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    (0x2000..=0x3fff).contains(&a)
        && !matches!(
            (a, b),
            // Protocol assignments with Teredo's tunnels, documentation, 6to4's tunnels.
            (0x2001, 0..=0x01ff | 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff)
        )
}

/// Resolves names as the system does, and leaves out what is not public.
#[derive(Debug)]
pub(super) struct PublicAddresses;

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is put in by the connection.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found.iter().copied().filter(|address| is_public(address.ip())).collect();
            match found.first() {
                Some(_) if !public.is_empty() => Ok(Box::new(public.into_iter()) as Addrs),
                Some(first) => Err(io::Error::new(io::ErrorKind::PermissionDenied, not_public(first.ip())).into()),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_pass() {
        let refused = [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in refused {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
        let passed =
            ["1.1.1.1", "100.63.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "::ffff:8.8.8.8", "2606:4700::1"];
        for address in passed {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn urls_are_refused_for_what_is_wrong_with_them() {
        let wrong = |url: &str, why: &str| {
            let error = check_url(url, false).expect_err(url);
            assert!(error.contains(why), "{url}: {error}");
        };
        wrong("example.org/hook", "a URL such as");
        wrong("ftp://example.org/", "http or https");
        wrong("file:///etc/passwd", "http or https");
        wrong("https://user@example.org/", "without a user");
        wrong("https://:secret@example.org/", "without a user");
        wrong("http://", "a URL such as");
        // However the address is written.
        for address in
            ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]", "１２７.0.0.1"]
        {
            wrong(&format!("http://{address}:8080/"), "not a public address");
            assert!(check_url(&format!("http://{address}:8080/"), true).is_ok(), "{address}");
        }
        assert!(check_url("https://example.org:8443/hook?key=1", false).is_ok());
        assert!(check_url("http://[2606:4700::1]/", false).is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_resolves_to_nothing() {
        let Err(error) = PublicAddresses.resolve("localhost".parse().expect("a name")).await else {
            panic!("localhost is no public address");
        };
        assert!(error.to_string().contains("not a public address"), "{error}");
    }
}
