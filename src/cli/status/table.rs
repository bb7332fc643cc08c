//! The table of `causeway status`, from the document alone: pure, ASCII, as wide as it may be. Colour only adds.

use std::time::Duration;

use crate::cause::columns::{WIDTH, wrap_to};
use crate::config::problem::ascii;
use crate::observe::told::waited;

use super::document::{Errors, Failure, Pool, Status, Upstream};

/// Pool names are cut to this in the heading,
const POOL: usize = 24;
/// and what follows them stands in a column as far as they are no longer than this.
const LEAD: usize = 12;
/// A name is never cut to less.
const NAME: usize = 12;
/// Kinds of errors that a pool's line names.
const KINDS: usize = 4;

const HEADS: [&str; 7] = ["UPSTREAM", "STATE", "FOR", "IN FLIGHT", "REQ/S", "P50", "P99"];
/// No column is narrower, so that it does not jump with what is in it.
const LEAST: [usize; 7] = [8, 7, 7, 9, 5, 5, 5];

/// What it is written on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paper {
    /// Columns of the terminal; `None`: that is none, so names stay whole.
    pub(super) width: Option<usize>,
    /// By state.
    pub(super) colour: bool,
    /// Upstreams that are ready are counted, not shown.
    pub(super) short: bool,
}

/// The whole table, lines with their ends.
pub(super) fn render(status: &Status, paper: Paper) -> String {
    let mut out = String::new();
    let width = paper.width.unwrap_or(WIDTH);
    wrap_to(&mut out, "", 2, &headline(status), width);
    if let Some(failure) = &status.reload.failure {
        painted(&mut out, "", &not_reloaded(failure), width, (paper, "evicted"));
    }
    if let Some(short) = &status.memory {
        painted(&mut out, "", &ascii(&no_memory(short)), width, (paper, "evicted"));
    }
    let lead = status.pools.iter().map(|pool| ascii(&pool.name).len().min(LEAD)).max().unwrap_or(0);
    let rows: Vec<Vec<[String; 7]>> = status
        .pools
        .iter()
        .map(|pool| pool.upstreams.iter().filter(|one| paper.shows(one)).map(cells).collect())
        .collect();
    let widths = widths(rows.iter().flatten(), paper);
    for (pool, rows) in status.pools.iter().zip(&rows) {
        let name = cut(&ascii(&pool.name), POOL);
        wrap_to(&mut out, &format!("{name:<lead$}   "), 4, &summary(pool), width);
        errors(&mut out, status.last.errors.iter().filter(|errors| errors.pool.as_ref() == Some(&pool.name)), width);
        stale(&mut out, pool, width, paper);
        table(&mut out, pool, rows, &widths, paper);
    }
    let elsewhere: Vec<&Errors> = status.last.errors.iter().filter(|errors| errors.pool.is_none()).collect();
    if !elsewhere.is_empty() {
        out.push_str("Without a pool\n");
        errors(&mut out, elsewhere.into_iter(), width);
    }
    if let Some(most) = status.last.errors.first() {
        out.push_str(&format!("Next: causeway explain {}\n", ascii(&most.cause)));
    }
    out
}

impl Paper {
    fn shows(&self, one: &Upstream) -> bool {
        !self.short || one.state != "ready"
    }

    fn paint(&self, text: &str, colour: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `causeway 0.1.0, up 3h 12m, serving, config causeway.toml`
fn headline(status: &Status) -> String {
    let Status { name, version, state, .. } = status;
    let called = if name == "causeway" { String::new() } else { format!(" ({name})") };
    let config = status.config.as_ref().map_or_else(|| "no config file".to_owned(), |file| format!("config {file}"));
    let since = match status.reload.succeeded {
        0 => String::new(),
        _ => format!(", reloaded {} ago", held(status.reload.loaded_ago_ms)),
    };
    ascii(&format!("causeway {version}{called}, up {}, {state}, {config}{since}", held(status.uptime_ms)))
}

/// Lines in the colour of a state.
fn painted(out: &mut String, indent: &str, text: &str, width: usize, (paper, state): (Paper, &str)) {
    let mut said = String::new();
    wrap_to(&mut said, indent, indent.len() + 2, text, width);
    said.lines().for_each(|line| out.push_str(&(paper.paint(line, colour(state)) + "\n")));
}

/// What happened, in one line, and where the rest of it stands.
fn not_reloaded(failure: &Failure) -> String {
    let why = failure.why.as_deref().map(|why| format!(": {}", why.trim_end_matches('.')));
    let why = ascii(&why.unwrap_or_default());
    let next = failure.next.as_deref().map(|next| format!(" Next: {}", ascii(next))).unwrap_or_default();
    format!("The last reload failed {} ago, the old configuration stays in force{why}.{next}", held(failure.ago_ms))
}

/// What is the matter, and what becomes of clients.
fn no_memory(short: &str) -> String {
    format!("No connections are taken and requests get a 503: {short}.")
}

/// `2 of 3 usable, 412 req/s, last 5 min: 31 rescued, 0 failed`
fn summary(pool: &Pool) -> String {
    let waiting = if pool.queue > 0 { format!(", {} waiting for a slot", pool.queue) } else { String::new() };
    let Pool { usable, total, last, .. } = pool;
    let rate = rate(pool.per_second);
    format!(
        "{usable} of {total} usable, {rate} req/s{waiting}, last 5 min: {} rescued, {} failed",
        last.rescued, last.failed
    )
}

fn errors<'a>(out: &mut String, errors: impl Iterator<Item = &'a Errors>, width: usize) {
    let kinds: Vec<String> =
        errors.map(|Errors { code, cause, count, .. }| format!("{count} x {code} {}", ascii(cause))).collect();
    let more = if kinds.len() > KINDS { format!(" and {} kinds more", kinds.len() - KINDS) } else { String::new() };
    if !kinds.is_empty() {
        let kinds = kinds[..kinds.len().min(KINDS)].join(", ");
        wrap_to(out, "  failed: ", 4, &format!("{kinds}{more}"), width);
    }
}

/// Names and lists that cannot be had, while what was known of them stays in use.
fn stale(out: &mut String, pool: &Pool, width: usize, paper: Paper) {
    for one in &pool.stale {
        let text = format!("{}, for {}: {}. {}", one.source, held(one.held_ms), one.cause, one.message);
        painted(out, "  ", &ascii(&text), width, (paper, "unknown"));
    }
}

fn table(out: &mut String, pool: &Pool, rows: &[[String; 7]], widths: &[usize; 7], paper: Paper) {
    let width = paper.width.unwrap_or(WIDTH);
    if !rows.is_empty() {
        line(out, &HEADS.map(str::to_owned), widths, paper, None);
    }
    let shown = pool.upstreams.iter().filter(|one| paper.shows(one));
    for (one, cells) in shown.zip(rows) {
        line(out, cells, widths, paper, Some(&one.state));
        if let Some(why) = why(one) {
            wrap_to(out, "    ", 4, &why, width);
        }
    }
    let hidden = pool.upstreams.len() - rows.len();
    if hidden > 0 {
        out.push_str(&format!("  {hidden} ready, not shown\n"));
    }
}

fn line(out: &mut String, cells: &[String; 7], widths: &[usize; 7], paper: Paper, state: Option<&str>) {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate().take(columns(widths, paper)) {
        let cell = cut(cell, (*width).max(LEAST[column]));
        let padded = match column {
            0 => format!("  {cell:<width$} "),
            1 | 2 => format!("  {cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        };
        line.push_str(&match (column, state) {
            (1, Some(state)) => paper.paint(&padded, colour(state)),
            _ => padded,
        });
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

fn colour(state: &str) -> &'static str {
    match state {
        "ready" => "32",
        "evicted" => "31",
        _ => "33",
    }
}

fn cells(one: &Upstream) -> [String; 7] {
    let backup = if one.backup { " (backup)" } else { "" };
    let in_flight = one.in_flight.to_string();
    [
        ascii(&one.upstream) + backup,
        ascii(&one.state),
        held(one.held_ms),
        one.limit.map_or(in_flight.clone(), |limit| format!("{in_flight}/{limit}")),
        rate(one.per_second),
        one.p50_ms.map_or_else(|| "-".to_owned(), length),
        one.p99_ms.map_or_else(|| "-".to_owned(), length),
    ]
}

/// As wide as what is in them; on a terminal, the names give way.
fn widths<'a>(rows: impl Iterator<Item = &'a [String; 7]>, paper: Paper) -> [usize; 7] {
    let mut widths = LEAST;
    for row in rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.len()));
    }
    if let Some(most) = paper.width {
        // Two columns before each, and one more behind the name.
        let others: usize = widths[1..].iter().map(|width| width + 2).sum();
        widths[0] = widths[0].min(most.saturating_sub(others + 3)).max(NAME.min(widths[0]));
    }
    widths
}

/// How many of the columns there is room for; the first three always.
fn columns(widths: &[usize; 7], paper: Paper) -> usize {
    let needs = |count: usize| widths[0] + 3 + widths[1..count].iter().map(|width| width + 2).sum::<usize>();
    (3..=7).rev().find(|count| paper.width.is_none_or(|most| needs(*count) <= most)).unwrap_or(3)
}

/// Why it is not ready, and when it may be.
fn why(one: &Upstream) -> Option<String> {
    let fact = match (&one.cause, &one.message) {
        (Some(cause), Some(message)) => format!("{}: {}", ascii(cause), ascii(message)),
        (Some(cause), None) => ascii(cause),
        (None, _) => return None,
    };
    let told = one.finding.as_ref().map_or_else(String::new, |finding| format!(" {}", ascii(finding)));
    let soon = |millis: u64| waited(Duration::from_millis(millis));
    let end = one.ends_in_ms.map(|end| format!("tried again in {}", soon(end)));
    let check = one.next_check_ms.map(|check| format!("next check in {}", soon(check)));
    let next: Vec<String> = [end, check].into_iter().flatten().collect();
    let fact = match (fact.ends_with(['.', '?', '!']), told.is_empty()) {
        (false, false) => fact + "." + &told,
        _ => fact + &told,
    };
    Some(match (next.join(", "), fact.ends_with(['.', '?', '!'])) {
        (next, _) if next.is_empty() => fact,
        (next, false) => format!("{fact}; {next}"),
        (next, true) => format!("{fact} {}{}.", next[..1].to_uppercase(), &next[1..]),
    })
}

/// `8s`, `12m`, `3h 12m`, `4d 3h`
pub(super) fn held(millis: u64) -> String {
    let seconds = millis / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 9.95 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// `0.3 ms`, `41 ms`, `1.2 s`
fn length(millis: f64) -> String {
    if millis < 0.95 {
        format!("{millis:.1} ms")
    } else if millis < 999.5 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1000.0)
    }
}

/// Cut in the middle: the end of a name says as much as its beginning.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most || !text.is_ascii() {
        return text.to_owned();
    }
    let kept = most.saturating_sub(2);
    let front = kept.div_ceil(2);
    format!("{}..{}", &text[..front], &text[text.len() - (kept - front)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LOOK, `causeway status`.
    const GOLDEN: &str = "\
causeway 0.1.0, up 3h 12m, serving, config causeway.toml
app   2 of 3 usable, 412 req/s, last 5 min: 31 rescued, 0 failed
  UPSTREAM         STATE    FOR      IN FLIGHT  REQ/S    P50    P99
  127.0.0.1:3000   ready    12m              4    207   3 ms  41 ms
  127.0.0.1:3001   ready    3h 12m           5    205   3 ms  38 ms
  127.0.0.1:3002   evicted  8s               0      0      -      -
    health_status: GET /healthz gives 503, wanted 200-399; next check in 1.2 s
";

    const MINUTE: u64 = 60_000;

    fn sample() -> Status {
        let one = |port: u16, minutes: u64, in_flight: u64, per_second: f64, p99: f64| Upstream {
            upstream: format!("127.0.0.1:{port}"),
            state: "ready".into(),
            held_ms: minutes * MINUTE,
            in_flight,
            per_second,
            p50_ms: Some(3.1),
            p99_ms: Some(p99),
            ..Upstream::default()
        };
        let evicted = Upstream {
            upstream: "127.0.0.1:3002".into(),
            state: "evicted".into(),
            held_ms: 8_400,
            cause: Some("health_status".into()),
            message: Some("GET /healthz gives 503, wanted 200-399".into()),
            next_check_ms: Some(1_200),
            ..Upstream::default()
        };
        Status {
            name: "causeway".into(),
            version: "0.1.0".into(),
            uptime_ms: 192 * MINUTE,
            state: "serving".into(),
            reload: super::super::document::Reload::default(),
            memory: None,
            config: Some("causeway.toml".into()),
            last: super::super::document::Last { rescued: 31, ..Default::default() },
            pools: vec![Pool {
                name: "app".into(),
                usable: 2,
                total: 3,
                per_second: 412.2,
                last: super::super::document::Last { rescued: 31, ..Default::default() },
                upstreams: vec![one(3000, 12, 4, 207.0, 41.4), one(3001, 192, 5, 205.2, 38.0), evicted],
                ..Pool::default()
            }],
        }
    }

    #[test]
    fn the_golden_sample() {
        assert_eq!(render(&sample(), Paper::default()), GOLDEN);
        assert_eq!(render(&sample(), Paper { width: Some(80), ..Paper::default() }), GOLDEN);
    }

    #[test]
    fn short_memory_stands_first() {
        let status = Status { memory: Some("memory is short (9 MiB of 10 MiB in use)".into()), ..sample() };
        let table = render(&status, Paper::default());
        let said = "No connections are taken and requests get a 503: memory is short (9 MiB of 10\n  MiB in use).";
        assert!(table.lines().nth(1) == said.lines().next() && table.contains(said), "{table}");
    }

    #[test]
    fn colour_only_adds() {
        let painted = render(&sample(), Paper { colour: true, width: Some(80), short: false });
        assert!(
            painted.contains("\x1b[31m  evicted\x1b[0m") && painted.contains("\x1b[32m  ready  \x1b[0m"),
            "{painted}"
        );
        let plain: String =
            ["\x1b[31m", "\x1b[32m", "\x1b[0m"].iter().fold(painted, |text, code| text.replace(code, ""));
        assert_eq!(plain, GOLDEN);
    }

    #[test]
    fn names_give_way_to_the_terminal_and_stay_whole_without_one() {
        let mut status = sample();
        let long = "backend-of-the-shop.eu-central.internal.example:3000@10.20.30.40";
        status.pools[0].upstreams[0].upstream = long.into();
        let table = render(&status, Paper { width: Some(80), ..Paper::default() });
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        assert!(table.contains("\n  backend-of-th..@") && table.contains("@10.20.30.40 "), "{table}");
        assert!(render(&status, Paper::default()).contains(long));
        let narrow = render(&status, Paper { width: Some(64), ..Paper::default() });
        assert!(narrow.lines().all(|line| line.len() <= 64) && narrow.contains("P50\n"), "{narrow}");
        let narrow = render(&status, Paper { width: Some(40), ..Paper::default() });
        assert!(narrow.lines().all(|line| line.len() <= 40) && narrow.contains("FOR\n"), "{narrow}");
    }

    #[test]
    fn what_failed_is_named_with_the_next_command() {
        let mut status = sample();
        let error = |pool: Option<&str>, code, cause: &str, count| Errors {
            pool: pool.map(Into::into),
            code,
            cause: cause.into(),
            count,
        };
        status.last.errors = vec![
            error(Some("app"), 502, "connection_refused", 12),
            error(Some("app"), 504, "read_timeout", 3),
            error(None, 500, "bug", 1),
        ];
        let table = render(&status, Paper::default());
        assert!(
            table.contains("0 failed\n  failed: 12 x 502 connection_refused, 3 x 504 read_timeout\n  UPSTREAM"),
            "{table}"
        );
        assert!(
            table.ends_with("Without a pool\n  failed: 1 x 500 bug\nNext: causeway explain connection_refused\n"),
            "{table}"
        );
    }

    #[test]
    fn sentences_end_once() {
        let one = |message: &str, finding: Option<&str>, check, end| {
            why(&Upstream {
                cause: Some("connection_refused".into()),
                message: Some(message.into()),
                finding: finding.map(Into::into),
                next_check_ms: check,
                ends_in_ms: end,
                ..Upstream::default()
            })
            .unwrap()
        };
        let asks = "Nothing listens there. Is the app running?";
        assert_eq!(one(asks, None, Some(2000), None), format!("connection_refused: {asks} Next check in 2.0 s."));
        assert_eq!(one("it refused", None, None, None), "connection_refused: it refused");
        let both = one("it refused", Some("But port 3000 answers."), Some(2000), Some(4000));
        let wanted =
            "connection_refused: it refused. But port 3000 answers. Tried again in 4.0 s, next check in 2.0 s.";
        assert_eq!(both, wanted);
    }

    #[test]
    fn nothing_from_outside_speaks_to_the_terminal() {
        let mut status = sample();
        status.name = "\x1b[2J".into();
        status.pools[0].name = "\x07".into();
        status.pools[0].upstreams[2].message = Some("\x1b]0;x\x07\u{202e}".into());
        status.pools[0].upstreams[2].state = "\x1b[5m".into();
        status.last.errors = vec![Errors { cause: "\x1b[1m".into(), count: 1, ..Errors::default() }];
        let table = render(&status, Paper::default());
        assert!(table.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{table:?}");
    }

    #[test]
    fn what_cannot_be_had_is_a_line_below_its_pool() {
        let mut status = sample();
        status.pools[0].stale = vec![super::super::document::Stale {
            source: "web.test:3000".into(),
            cause: "dns_timeout".into(),
            message: "No name server answered for web.test:3000 within 2.0 s. Its last address stays in use.".into(),
            held_ms: 34_500,
        }];
        let table = render(&status, Paper::default());
        let wanted = "\n  web.test:3000, for 34s: dns_timeout. No name server answered for web.test:3000\n    \
                      within 2.0 s. Its last address stays in use.\n  UPSTREAM";
        assert!(table.contains(wanted), "{table}");
    }

    #[test]
    fn the_short_form_counts_those_that_are_ready() {
        let table = render(&sample(), Paper { short: true, ..Paper::default() });
        assert!(table.contains("127.0.0.1:3002") && table.ends_with("  2 ready, not shown\n"), "{table}");
        assert!(!table.contains("127.0.0.1:3000"));
    }

    #[test]
    fn lengths_of_time_are_short() {
        for (millis, text) in
            [(0, "0s"), (8_999, "8s"), (59_999, "59s"), (60_000, "1m"), (11_520_000, "3h 12m"), (356_400_000, "4d 3h")]
        {
            assert_eq!(held(millis), text);
        }
        assert_eq!([0.3, 3.1, 999.0, 1234.0].map(length), ["0.3 ms", "3 ms", "999 ms", "1.2 s"]);
        assert_eq!([0.0, 0.42, 9.99, 412.2].map(rate), ["0", "0.4", "10", "412"]);
    }
}
