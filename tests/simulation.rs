//! A seeded simulation: thousands of histories of checks, requests, operators, name changes and reloads over one pool,
//! held against a model that is too simple to be wrong, and against the invariants of the house.
//!
//! A failure prints its seed; `CAUSEWAY_SEED=n cargo test simulation` runs that history alone.

mod choices;
mod history;
mod model;
mod outcomes;
mod reloads;

use history::History;

const HISTORIES: u64 = 10_000;

#[test]
fn every_history_keeps_the_invariants() {
    let named = std::env::var("CAUSEWAY_SEED").ok().map(|seed| seed.parse().expect("CAUSEWAY_SEED is a number"));
    let seeds = named.map_or(0..HISTORIES, |seed: u64| seed..seed + 1);
    let mut seen = Seen::default();
    for seed in seeds {
        let told = TellsSeed(seed);
        History::new(seed).run(&mut seen);
        std::mem::forget(told);
    }
    if named.is_none() {
        for (what, count) in seen.all() {
            println!("{count:>8} {what}");
        }
        for (what, count) in seen.all() {
            assert!(count > 300, "the histories hardly ever had {what}: {count}");
        }
    }
}

/// Prints the seed if it is dropped by a panic.
struct TellsSeed(u64);

impl Drop for TellsSeed {
    fn drop(&mut self) {
        eprintln!("this history again: CAUSEWAY_SEED={} cargo test simulation", self.0);
    }
}

macro_rules! seen {
    ($($name:ident: $what:literal,)*) => {
        /// How often something happened over all histories: a simulation that never gets anywhere proves nothing.
        #[derive(Default)]
        struct Seen { $($name: usize,)* }

        impl Seen {
            fn all(&self) -> impl Iterator<Item = (&'static str, usize)> {
                [$(($what, self.$name),)*].into_iter()
            }
        }
    };
}

seen! {
    ready: "picks of ready ones",
    backups: "picks of backups",
    unknown: "picks of unknown ones",
    last_resorts: "last resorts",
    probations: "probations",
    late_probations: "probations of requests that cannot be sent again",
    probations_passed: "probations passed",
    probations_failed: "probations failed",
    probations_unheard: "probations without an outcome",
    waits: "waits",
    busy: "requests that found all at their limit",
    none: "requests that tried all",
    evictions: "evictions by checks",
    returns: "returns by checks",
    by_connect: "evictions by failed connections",
    by_gateway: "evictions by gateway failures",
    longest: "evictions as long as can be",
    refused: "evictions that max_evicted forbade",
    last_ones: "evictions of the last one, which were forbidden",
    proofs: "evictions by traffic that a check ended",
    no_proofs: "checks that passed and proved too little",
    both: "evictions by checks on top of one by traffic",
    drained: "evicted ones that were drained",
    switches: "words of the operator that changed something",
    later: "upstreams that came under a word said before",
    full: "picks of a last slot",
    left: "outcomes for upstreams that had left",
    renewals: "renewals after a wait",
    reloads: "new files",
    renamed: "upstreams that stayed under another id",
    removed: "upstreams that a new file did not have",
    spoken_otherwise: "upstreams that stayed and were spoken to otherwise",
}
