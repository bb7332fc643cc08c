//! Values as people type them after a flag: addresses to listen on, durations, sizes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// `"127.0.0.1:3000"`, `"[::1]:3000"`, `"localhost:3000"`, `"3000"` (loopback), `":3000"` (every IPv4 address).
///
/// # Errors
/// A sentence with the forms that are understood.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let on = |ip: Ipv4Addr, port: &str| port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(ip), port));
    let address = match text.rsplit_once(':') {
        None => on(Ipv4Addr::LOCALHOST, text),
        Some(("localhost", port)) => on(Ipv4Addr::LOCALHOST, port),
        Some(("", port)) => on(Ipv4Addr::UNSPECIFIED, port),
        Some(_) => text.parse().ok(),
    };
    address.ok_or_else(|| "write 127.0.0.1:3000, [::1]:3000, 3000 (loopback only) or :3000".to_owned())
}

/// `"200ms"`, `"5s"`, `"2m"`, `"1h"`.
///
/// # Errors
/// A sentence with the units.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let value = number.parse::<f64>().map_or(f64::NAN, |number| number * seconds);
    Duration::try_from_secs_f64(value).map_err(|_| "write a number and a unit: ms, s, m or h".to_owned())
}

/// `"0"`, `"512B"`, `"1KiB"`, `"10MiB"`, `"1GiB"`; in bytes.
///
/// # Errors
/// A sentence with the units.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let shift = match unit {
        "" | "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    let value = shift.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
    value.ok_or_else(|| "write a whole number and a unit: B, KiB, MiB or GiB".to_owned())
}

fn split(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_durations_and_sizes() {
        assert_eq!(listen("3000"), Ok("127.0.0.1:3000".parse().unwrap()));
        assert_eq!(listen(":80"), Ok("0.0.0.0:80".parse().unwrap()));
        assert_eq!(listen("[::1]:80"), Ok("[::1]:80".parse().unwrap()));
        assert!(listen("app:80").is_err() && listen("99999").is_err() && listen("").is_err());
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(duration("3 sec").is_err() && duration("5").is_err() && duration("s").is_err());
        assert_eq!(size("1KiB"), Ok(1024));
        assert_eq!(size("7"), Ok(7));
        assert!(size("1kb").is_err() && size("-1").is_err() && size("99999999999GiB").is_err());
    }
}
