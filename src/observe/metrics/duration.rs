//! Histograms of durations, with fixed buckets: those of OpenTelemetry for HTTP, and three below for what is next door.

use std::time::Duration;

use super::shard::Counter;

/// Upper bounds, in microseconds.
const BOUNDS: [u64; 17] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
];

/// The upper bounds as labels, in seconds; above the last one is `+Inf`.
pub const LABELS: [&str; BOUNDS.len()] = [
    "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5",
    "5.0", "7.5", "10.0",
];

/// How many durations fell into each bucket, and their sum.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    micros: Counter,
}

/// The sum of histograms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// In each bucket alone; the last is above all bounds.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All together.
    pub total: Duration,
}

impl Histogram {
    /// One more.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // A bound belongs to its bucket ("less or equal").
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)].add();
        self.micros.more(micros);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    /// Adds what it holds.
    pub fn add_to(&self, sum: &mut Durations) {
        for (all, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *all += bucket.get();
        }
        sum.total += Duration::from_micros(self.micros.get());
    }
}

impl Durations {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_labels_are_the_bounds() {
        for (bound, label) in BOUNDS.iter().zip(LABELS) {
            assert_eq!((label.parse::<f64>().unwrap() * 1e6).round() as u64, *bound, "{label}");
        }
    }

    proptest! {
        #[test]
        fn each_falls_into_the_first_bucket_that_holds_it(micros in 0u64..20_000_000) {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(micros));
            let mut sum = Durations::default();
            histogram.add_to(&mut sum);
            prop_assert_eq!((sum.count(), sum.total), (1, Duration::from_micros(micros)));
            let bucket = sum.buckets.iter().position(|count| *count == 1).unwrap();
            prop_assert!(BOUNDS.get(bucket).is_none_or(|bound| micros <= *bound));
            prop_assert!(bucket == 0 || micros > BOUNDS[bucket - 1]);
        }
    }
}
