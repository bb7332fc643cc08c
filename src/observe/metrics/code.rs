//! Closed sets of labels: status codes and methods. What is in neither is `other`.

use http::Method;

use super::shard::Counter;

/// The codes that have a series of their own: those that are registered (RFC 9110 §16.2.1), and the few that servers
/// are known to make up.
pub const CODES: [u16; 76] = [
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400,
    401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425,
    426, 428, 429, 431, 444, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 509, 510, 511, 520, 521, 522, 523,
    524, 525, 526, 527, 529, 530, 598,
];

/// The methods that have a series of their own.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "other"];

/// Where in [`CODES`] each status stands, by its distance from 100.
static PLACES: [u8; 500] = {
    let mut places = [CODES.len() as u8; 500];
    let mut place = 0;
    while place < CODES.len() {
        places[CODES[place] as usize - 100] = place as u8;
        place += 1;
    }
    places
};

/// A count for each code.
#[derive(Debug)]
pub struct Codes([Counter; CODES.len() + 1]);

impl Default for Codes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl Codes {
    /// One more answer with this status.
    pub fn add(&self, status: u16) {
        let place = status.checked_sub(100).and_then(|distance| PLACES.get(usize::from(distance)));
        self.0[place.map_or(CODES.len(), |place| usize::from(*place))].add();
    }

    /// How many there were of each: the label, and the count.
    pub fn counts(&self) -> [u64; CODES.len() + 1] {
        std::array::from_fn(|place| self.0[place].get())
    }
}

/// The label of a place in [`Codes::counts`].
#[must_use]
pub fn code_label(place: usize) -> String {
    CODES.get(place).map_or_else(|| "other".to_owned(), ToString::to_string)
}

/// A method's place in [`METHODS`].
#[must_use]
pub fn method_place(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::PATCH => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::CONNECT => 8,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_counted_once_under_its_own_label_or_other() {
        for status in 0..1200 {
            let codes = Codes::default();
            codes.add(status);
            let counts = codes.counts();
            let place = counts.iter().position(|count| *count == 1).unwrap();
            assert_eq!(counts.iter().sum::<u64>(), 1);
            let known = CODES.contains(&status);
            assert_eq!(code_label(place), if known { status.to_string() } else { "other".to_owned() });
        }
    }

    #[test]
    fn every_method_has_the_label_that_it_is_called_by() {
        for (place, name) in METHODS.iter().enumerate().take(9) {
            assert_eq!(method_place(&name.parse().unwrap()), place);
        }
        assert_eq!(METHODS[method_place(&"PURGE".parse().unwrap())], "other");
        assert_eq!(METHODS[method_place(&"get".parse().unwrap())], "other");
    }
}
