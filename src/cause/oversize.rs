//! A head that was too large: how large, and what takes the most of it. The sentence about it is made here.

use super::sized;

/// A head that was too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversize {
    /// Bytes of it, as far as it was read.
    pub size: u64,
    /// It was read to its end: `size` is its size.
    pub whole: bool,
    /// Its largest field: the name, printable ASCII, and the bytes that this field and others of its name take
    /// together.
    pub largest: Option<(String, u64)>,
}

/// `Its response head is at least 70 KiB (limit: buffers.response_head, 64 KiB); Set-Cookie alone takes 61 KiB. Raise it, or …`
pub(super) fn hint(over: &Oversize, limit: &str) -> String {
    let size = about(over.size);
    let is = match over.whole {
        // Read up to the limit, or so little beyond it that it would read the same.
        _ if size == limit => format!("larger than {limit} (limit: buffers.response_head)"),
        true => format!("{size} (limit: buffers.response_head, {limit})"),
        false => format!("at least {size} (limit: buffers.response_head, {limit})"),
    };
    match &over.largest {
        Some((name, bytes)) => format!(
            "Its response head is {is}; {name} alone takes {}. Raise it, or let the app send less in {name}.",
            about(*bytes)
        ),
        None => format!("Its response head is {is}. Raise it, or find what grows: usually Set-Cookie."),
    }
}

/// A number of bytes for people, rounded down: `512 bytes`, `8.2 KiB`, `61 KiB`, `1.5 MiB`.
fn about(bytes: u64) -> String {
    let in_units = |unit: u32, name: &str| {
        let tenths = (u128::from(bytes) * 10) >> unit;
        match tenths {
            100.. => format!("{} {name}", tenths / 10),
            _ if tenths.is_multiple_of(10) => format!("{} {name}", tenths / 10),
            _ => format!("{}.{} {name}", tenths / 10, tenths % 10),
        }
    };
    match bytes {
        0..1024 => sized(bytes),
        0x400..0x10_0000 => in_units(10, "KiB"),
        0x10_0000..0x4000_0000 => in_units(20, "MiB"),
        _ => in_units(30, "GiB"),
    }
}

/// How many bytes [`sized`] has said.
pub(super) fn bytes(said: &str) -> Option<u64> {
    let (number, unit) = said.split_once(' ')?;
    let unit = match unit {
        "bytes" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Cause, Failure};
    use super::*;

    proptest! {
        #[test]
        fn what_sized_says_is_understood(number: u64, unit in 0..31) {
            prop_assert_eq!(bytes(&sized(number)), Some(number));
            prop_assert_eq!(bytes(&sized(number >> unit << unit)), Some(number >> unit << unit));
        }
    }

    #[test]
    fn what_is_no_size_is_none() {
        assert_eq!(["256 fields", "5.0 s", "", "-1 KiB", "99999999999 GiB"].map(bytes), [None; 5]);
    }

    #[test]
    fn sizes_are_for_people_and_never_too_large() {
        let said = [0, 1023, 1024, 8500, 10_239, 71_700, (3 << 20) / 2, 1 << 30, u64::MAX].map(about);
        let wanted =
            ["0 bytes", "1023 bytes", "1 KiB", "8.3 KiB", "9.9 KiB", "70 KiB", "1.5 MiB", "1 GiB", "17179869183 GiB"];
        assert_eq!(said, wanted);
    }

    fn failure(size: u64, whole: bool, largest: Option<u64>) -> Failure {
        let largest = largest.map(|bytes| ("Set-Cookie".to_owned(), bytes));
        Failure::new(Cause::ResponseHeadTooLarge).limit("64 KiB").oversize(Oversize { size, whole, largest })
    }

    #[test]
    fn it_says_how_large_and_what_is_largest() {
        let hint = |size, whole, largest| failure(size, whole, largest).hint("app:1");
        assert_eq!(
            hint(70 << 10, false, Some(61 << 10)),
            "Its response head is at least 70 KiB (limit: buffers.response_head, 64 KiB); Set-Cookie alone takes 61 KiB. \
             Raise it, or let the app send less in Set-Cookie."
        );
        assert!(
            hint(70 << 10, true, None)
                .starts_with("Its response head is 70 KiB (limit: buffers.response_head, 64 KiB). ")
        );
        assert!(hint(64 << 10, false, None).starts_with("Its response head is larger than 64 KiB (limit: "));
        assert!(hint((64 << 10) + 7, true, None).starts_with("Its response head is larger than 64 KiB (limit: "));
        assert_eq!(failure(1, true, Some(1)).remedy("a"), "Raise it, or let the app send less in Set-Cookie.");
    }

    #[test]
    fn a_field_is_too_large_where_it_is_over_the_limit_alone() {
        assert_eq!(failure(70 << 10, false, Some(64 << 10)).field_too_large(), None);
        let more = (64 << 10) + 1;
        assert_eq!(failure(70 << 10, false, Some(more)).field_too_large(), Some(("Set-Cookie", more)));
        assert_eq!(failure(70 << 10, false, None).field_too_large(), None);
    }
}
