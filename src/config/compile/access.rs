//! Lists of networks: CIDRs, single addresses, and the words "private" and "loopback".

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::super::model::Networks;
use super::super::problem::{Place, Wrong};
use super::super::read::Section;
use super::super::tree::{Node, Value};

/// RFC 1918 and RFC 4193.
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// The networks of a key.
pub(super) fn networks(section: &Section<'_>, key: &'static str) -> Networks {
    let lists = section.texts(key, "10.0.0.0/8", |text| match text {
        "private" => PRIVATE.iter().map(|net| network(net)).collect(),
        "loopback" => LOOPBACK.iter().map(|net| network(net)).collect(),
        text => network(text).map(|net| vec![net]),
    });
    Networks(lists.into_iter().flatten().collect())
}

/// Where a key names every address there is, of one family.
pub(super) fn everybody<'a>(section: &Section<'a>, key: &'static str) -> Option<&'a Place> {
    let all = |node: &&Node| node.text().is_some_and(|text| network(text).is_ok_and(|net| net.prefix_len() == 0));
    match &section.node(key)?.value {
        Value::Array(items) => items.iter().find(all).map(|node| &node.place),
        Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::Table(_) | Value::Other(_) => None,
    }
}

/// One network in its canonical form: IPv4-mapped ones are IPv4, as peers are before they are matched.
fn network(text: &str) -> Result<IpNet, Wrong> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(net) = parsed else {
        let hint = "write it like \"10.0.0.0/8\", or \"private\" or \"loopback\"";
        return Err(Wrong::new(format!("\"{text}\" is not a network"), hint));
    };
    if net.addr() != net.network() {
        return Err(Wrong::new(
            format!("\"{text}\" has bits set behind its mask"),
            format!("write \"{}\"", net.trunc()),
        ));
    }
    Ok(unmapped(net).map_or(net, IpNet::V4))
}

fn unmapped(net: IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(net): IpNet = net else { return None };
    let net: Ipv6Net = net;
    Ipv4Net::new(net.addr().to_ipv4_mapped()?, net.prefix_len().checked_sub(96)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_canonical() {
        assert_eq!(network("::ffff:10.0.0.0/104").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert!(network("10.0.0.1/8").unwrap_err().hint.contains("10.0.0.0/8"));
        assert!(network("privat").is_err());
        assert!(PRIVATE.iter().chain(&LOOPBACK).all(|net| network(net).is_ok()));
    }
}
