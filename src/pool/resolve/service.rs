//! What the SRV records of a service come to (RFC 2782): who gets requests, who is a backup, and which share each one
//! has. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::Place;

/// One record, with the addresses of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) ips: Vec<IpAddr>,
}

/// Their places, sorted. Who has the lowest priority number gets the requests, all others are backups. Weights up to
/// 100 are taken as they are; where a larger one is among those of the same rank, all of these are made smaller in
/// proportion. 0 is 1: it is a very small chance, and not none.
pub(super) fn places(records: &[Served]) -> Vec<Place> {
    let first = records.iter().filter(|record| !record.ips.is_empty()).map(|record| record.priority).min();
    let backup = |record: &Served| Some(record.priority) != first;
    let largest = |rank: bool| records.iter().filter(|r| backup(r) == rank).map(|r| r.weight).max().unwrap_or(0);
    let (most, most_of_backups) = (largest(false), largest(true));
    let mut places: BTreeMap<SocketAddr, Place> = BTreeMap::new();
    for record in records {
        let backup = backup(record);
        let weight = Some(share(record.weight, if backup { most_of_backups } else { most }));
        for ip in &record.ips {
            let place = Place { at: SocketAddr::new(*ip, record.port), weight, backup };
            // Said twice, the better word holds.
            let better =
                |old: &Place| (old.backup, std::cmp::Reverse(old.weight)) <= (backup, std::cmp::Reverse(weight));
            if !places.get(&place.at).is_some_and(better) {
                places.insert(place.at, place);
            }
        }
    }
    places.into_values().collect()
}

fn share(weight: u16, largest: u16) -> u8 {
    let scaled = match largest {
        0..=100 => u32::from(weight),
        _ => (u32::from(weight) * 100 + u32::from(largest) / 2) / u32::from(largest),
    };
    u8::try_from(scaled.clamp(1, 100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, port: u16, lasts: &[u8]) -> Served {
        Served { priority, weight, port, ips: lasts.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect() }
    }

    fn said(records: &[Served]) -> Vec<(String, u8, bool)> {
        places(records).into_iter().map(|p| (p.at.to_string(), p.weight.unwrap(), p.backup)).collect()
    }

    fn one(at: &str, weight: u8, backup: bool) -> (String, u8, bool) {
        (format!("10.0.0.{at}"), weight, backup)
    }

    #[test]
    fn the_lowest_number_is_first_and_all_others_are_backups() {
        let records = [record(20, 5, 80, &[1]), record(10, 0, 80, &[2]), record(30, 7, 80, &[3])];
        assert_eq!(said(&records), [one("1:80", 5, true), one("2:80", 1, false), one("3:80", 7, true)]);
        // Who has no address leads nobody.
        let records = [record(20, 5, 80, &[1]), record(10, 9, 80, &[])];
        assert_eq!(said(&records), [one("1:80", 5, false)]);
    }

    #[test]
    fn weights_keep_their_proportion() {
        let records = [record(1, 60_000, 80, &[1]), record(1, 30_000, 80, &[2]), record(1, 1, 80, &[3])];
        assert_eq!(said(&records), [one("1:80", 100, false), one("2:80", 50, false), one("3:80", 1, false)]);
        let records = [record(1, 100, 80, &[1]), record(1, 33, 80, &[2]), record(2, 300, 80, &[3])];
        assert_eq!(said(&records), [one("1:80", 100, false), one("2:80", 33, false), one("3:80", 100, true)]);
    }

    #[test]
    fn each_address_and_port_is_one_place() {
        let records =
            [record(1, 3, 80, &[1, 2]), record(1, 5, 81, &[1]), record(2, 9, 80, &[1]), record(1, 4, 80, &[2])];
        assert_eq!(said(&records), [one("1:80", 3, false), one("1:81", 5, false), one("2:80", 4, false)]);
    }
}
