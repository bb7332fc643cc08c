//! The header of the PROXY protocol, version 1 or 2, that a proxy in front puts before everything else on a connection:
//! who the client is. Reads it from its bytes, however they come; pure. It never judges who may send one.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, sections 2.1 and 2.2. What stands behind the
//! addresses (TLVs) is stepped over.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 2 that is read, with all that it carries.
pub const LONGEST: usize = 4096;
/// The longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// Signature, version and command, family, and length.
const FIXED: usize = 16;

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every byte so far is one of the header's, and more of it is to come.
    More,
    /// It is whole.
    Whole {
        /// So many bytes are the header; what follows is the client's.
        length: usize,
        /// What it says.
        said: Said,
    },
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The addresses are those of the socket: LOCAL (a check by the proxy itself), UNKNOWN, or a family that HTTP does
    /// not come by.
    Socket,
    /// Both ends of the client's connection; IPv4-mapped addresses are IPv4 here already.
    Client {
        /// Who connected.
        from: SocketAddr,
        /// Where to.
        to: SocketAddr,
    },
}

/// Why these bytes are no header: the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// What came in place of a header.
pub const MISSING: Broken = Broken("what came first is no PROXY header");

/// Reads a header from the first bytes of a connection: all that have come, from the first one on. Never asks for more
/// than [`LONGEST`] bytes.
///
/// # Errors
/// They are no header, and cannot become one.
pub fn read(bytes: &[u8]) -> Result<Progress, Broken> {
    if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else if begins(bytes, WORD) {
        line(bytes)
    } else {
        Err(MISSING)
    }
}

/// Are these the first bytes of a connection that begins with a header? Empty lines in front may be gone: the parser
/// steps over them, and version 2 begins with two.
#[must_use]
pub fn is_header(bytes: &[u8]) -> bool {
    let behind = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    bytes[behind..].starts_with(&SIGNATURE[4..])
        || [&b"PROXY TCP"[..], b"PROXY UNKNOWN"].iter().any(|first| bytes.starts_with(first))
}

/// As far as both go, are they the same?
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let both = bytes.len().min(with.len());
    bytes[..both] == with[..both]
}

/// Version 1: one line.
fn line(bytes: &[u8]) -> Result<Progress, Broken> {
    let room = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = room.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() < LONGEST_LINE {
            Ok(Progress::More)
        } else {
            Err(Broken("its line is longer than 107 bytes"))
        };
    };
    let text = room[..end].strip_suffix(b"\r").ok_or(Broken("its line ends without a carriage return"))?;
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii()).ok_or(Broken("its line is not ASCII"))?;
    let mut words = text.split(' ').skip(1);
    let said = match words.next() {
        Some("UNKNOWN") => Said::Socket,
        Some("TCP4") => ends::<Ipv4Addr>(&mut words)?,
        Some("TCP6") => ends::<Ipv6Addr>(&mut words)?,
        _ => return Err(Broken("it names no family: TCP4, TCP6 or UNKNOWN")),
    };
    Ok(Progress::Whole { length: end + 1, said })
}

/// Two addresses of one family, two ports, and nothing behind them.
fn ends<'a, A: std::str::FromStr + Into<std::net::IpAddr>>(
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<Said, Broken> {
    let mut ip = || words.next()?.parse::<A>().ok().map(Into::into);
    let ips = (ip(), ip());
    let mut port = || words.next().and_then(port);
    let ports = (port(), port());
    match (ips, ports, words.next()) {
        ((Some(from), Some(to)), (Some(from_port), Some(to_port)), None) => {
            Ok(client((from, from_port), (to, to_port)))
        }
        ((Some(_), Some(_)), ..) => Err(Broken("its ports are not two numbers up to 65535, with nothing behind them")),
        _ => Err(Broken("its addresses are not two of the family that it names")),
    }
}

/// Digits, without zeros in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Progress, Broken> {
    let command = match bytes.get(12) {
        None => return Ok(Progress::More),
        Some(byte @ (0x20 | 0x21)) => byte & 0x0f,
        Some(byte) if byte >> 4 == 2 => return Err(Broken("its command is neither LOCAL nor PROXY")),
        Some(_) => return Err(Broken("its version is not 2")),
    };
    let Some(&family) = bytes.get(13) else { return Ok(Progress::More) };
    if family >> 4 > 3 || family & 0x0f > 2 {
        return Err(Broken("it names a family or a transport that there is not"));
    }
    let Some(&[high, low]) = bytes.get(14..FIXED) else { return Ok(Progress::More) };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(Broken("it is longer than 4096 bytes"));
    }
    let Some(rest) = bytes.get(FIXED..length) else { return Ok(Progress::More) };
    let short = Broken("it is too short for its addresses");
    let said = match (command, family) {
        (1, 0x11) => {
            let (ends, _) = rest.split_first_chunk::<12>().ok_or(short)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *ends;
            between([a, b, c, d], [e, f, g, h], ports)
        }
        (1, 0x21) => {
            let (ends, _) = rest.split_first_chunk::<36>().ok_or(short)?;
            let (from, behind) = ends.split_first_chunk::<16>().ok_or(short)?;
            let (to, ports) = behind.split_first_chunk::<16>().ok_or(short)?;
            let (ports, _) = ports.split_first_chunk::<4>().ok_or(short)?;
            between(*from, *to, *ports)
        }
        _ => Said::Socket,
    };
    Ok(Progress::Whole { length, said })
}

fn between<A: Into<std::net::IpAddr>>(from: A, to: A, [a, b, c, d]: [u8; 4]) -> Said {
    client((from.into(), u16::from_be_bytes([a, b])), (to.into(), u16::from_be_bytes([c, d])))
}

fn client(from: (std::net::IpAddr, u16), to: (std::net::IpAddr, u16)) -> Said {
    let address = |(ip, port): (std::net::IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
    Said::Client { from: address(from), to: address(to) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(bytes: &[u8]) -> Result<Said, Broken> {
        match read(bytes)? {
            Progress::Whole { length, said } => {
                assert_eq!(length, bytes.len());
                Ok(said)
            }
            Progress::More => panic!("more of {}", bytes.escape_ascii()),
        }
    }

    fn of(from: &str, to: &str) -> Said {
        Said::Client { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    /// A header of version 2.
    fn two(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, rest].concat()
    }

    #[test]
    fn headers_of_both_versions() {
        let four = of("192.0.2.7:50000", "10.0.0.1:443");
        for (bytes, said) in [
            (&b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n"[..], four),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 50000 443\r\n", four),
            (b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", of("[2001:db8::7]:1", "[::1]:65535")),
            (b"PROXY UNKNOWN\r\n", Said::Socket),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Said::Socket),
            (&two(1, 0x11, b"\xc0\0\x02\x07\x0a\0\0\x01\xc3\x50\x01\xbb"), four),
            (&two(1, 0x11, b"\xc0\0\x02\x07\x0a\0\0\x01\xc3\x50\x01\xbb\x01\0\x02h2"), four),
            (&two(0, 0x00, b""), Said::Socket),
            (&two(0, 0x11, b"\xc0\0"), Said::Socket),
            (&two(1, 0x00, b"what is not known"), Said::Socket),
            (&two(1, 0x31, &[b'/'; 216]), Said::Socket),
            (&two(1, 0x12, &[1; 12]), Said::Socket),
        ] {
            assert_eq!(whole(bytes), Ok(said), "{}", bytes.escape_ascii());
        }
        let six = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 15], &[1], &[0, 1, 0xff, 0xff]].concat();
        assert_eq!(whole(&two(1, 0x21, &six)), Ok(of("[2001:db8::7]:1", "[::1]:65535")));
    }

    #[test]
    fn what_is_no_header_says_why() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(93));
        for (bytes, why) in [
            (&b"GET / HTTP/1.1\r\n"[..], "no PROXY header"),
            (b"\x16\x03\x01", "no PROXY header"),
            (b"PRI * HTTP/2.0\r\n", "no PROXY header"),
            (b"proxy TCP4 ", "no PROXY header"),
            (b"\r\n\r\n\r\n", "no PROXY header"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "carriage return"),
            (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "no family"),
            (b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no family"),
            (b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n", "its addresses"),
            (b"PROXY TCP4 1.2.3.4\r\n", "its addresses"),
            (b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "its addresses"),
            (b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", "its addresses"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "its ports"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "its ports"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "its ports"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "its ports"),
            (b"PROXY UNKNOWN \xff\r\n", "ASCII"),
            (long.as_bytes(), "107"),
            (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", "version"),
            (b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c", "command"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x41\0\x0c", "family"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x13\0\x0c", "family"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf1", "4096"),
            (&two(1, 0x11, &[0; 11]), "too short"),
            (&two(1, 0x21, &[0; 35]), "too short"),
        ] {
            let error = read(bytes).expect_err(&bytes.escape_ascii().to_string());
            assert!(error.0.contains(why), "{}: {}", bytes.escape_ascii(), error.0);
        }
    }

    #[test]
    fn the_longest_are_read() {
        assert_eq!(whole(&two(0, 0, &vec![7; LONGEST - FIXED])), Ok(Said::Socket));
        let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 16));
        assert_eq!((line.len(), whole(line.as_bytes())), (LONGEST_LINE, Ok(Said::Socket)));
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let four = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
        let six = any::<([u8; 16], u16)>().prop_map(SocketAddr::from);
        prop_oneof![four, six].prop_map(|one| SocketAddr::new(one.ip().to_canonical(), one.port()))
    }

    fn six(address: SocketAddr) -> Ipv6Addr {
        match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            std::net::IpAddr::V6(ip) => ip,
        }
    }

    proptest! {
        /// However it comes, it is read when its last byte is there and not before, and what follows is left alone.
        #[test]
        fn every_header_is_read_back(from in address(), to in address(), tlvs in 0..40_usize, behind in any::<Vec<u8>>()) {
            let said = Said::Client { from, to };
            let four = from.is_ipv4() && to.is_ipv4();
            let line = if four {
                format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port())
            } else {
                format!("PROXY TCP6 {} {} {} {}\r\n", six(from), six(to), from.port(), to.port())
            };
            let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
            let ends = [&six(from).octets()[..], &six(to).octets(), &ports, &vec![0; tlvs]].concat();
            for header in [line.into_bytes(), two(1, 0x21, &ends)] {
                for short in 0..header.len() {
                    prop_assert_eq!(read(&header[..short]), Ok(Progress::More));
                }
                let all = [&header[..], &behind].concat();
                prop_assert_eq!(read(&all), Ok(Progress::Whole { length: header.len(), said }));
                prop_assert!(is_header(&all));
            }
        }

        /// Any bytes: no panic, never more than the bound, and what is wrong stays wrong.
        #[test]
        fn any_bytes(mut bytes in any::<Vec<u8>>(), kind in 0..3, more in any::<Vec<u8>>()) {
            let start: &[u8] = match kind { 0 => b"", 1 => b"PROXY TCP4 ", _ => b"\r\n\r\n\0\r\nQUIT\n\x21" };
            bytes.splice(0..0, start.iter().copied());
            let first = read(&bytes);
            bytes.extend_from_slice(&more);
            match first {
                Ok(Progress::More) => {}
                same => prop_assert_eq!(read(&bytes), same),
            }
        }
    }
}
