//! A report for people: ASCII, 80 columns. Pure.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

pub(super) use crate::cause::spoken;

use super::report::{Report, Step};

const WIDTH: usize = 80;
/// Where what is said of a phase begins.
const SAID: usize = 21;
/// Up to so many are shown with all their steps; of more, only those that have something to say.
const FEW: usize = 4;
/// Up to so many usable ones get a line each.
const LINES: usize = 20;

/// All of them. `grouped`: under the names of their pools. `took`: for all, side by side.
pub(super) fn render(reports: &[Report], grouped: bool, took: Duration) -> String {
    let mut out = String::new();
    let mut pool: Option<&Arc<str>> = None;
    let mut lines = 0;
    for report in reports {
        if grouped && pool != report.pool.as_ref() {
            pool = report.pool.as_ref();
            let of = || reports.iter().filter(|other| other.pool.as_ref() == pool);
            let usable = of().filter(|other| other.usable()).count();
            let name = pool.map_or("", |name| name);
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}pool {name}   {usable} of {} usable", of().count());
        }
        let short = reports.len() > FEW && report.usable() && report.notes.is_empty();
        if short {
            lines += 1;
        }
        if !short || lines <= LINES {
            block(&mut out, report, short, grouped);
        }
    }
    if lines > LINES {
        let _ = writeln!(out, "{} more are usable.", lines - LINES);
    }
    last(&mut out, reports, took);
    out
}

fn block(out: &mut String, report: &Report, short: bool, grouped: bool) {
    let usable = if report.usable() { "usable" } else { "not usable" };
    let like = match &report.pool {
        Some(pool) if !grouped => format!("   (as in pool {pool})"),
        _ => String::new(),
    };
    if short {
        let head = report.steps.iter().rev().find(|step| step.phase == "head");
        let status = head.and_then(|step| step.said.split([',', ' ']).next()).unwrap_or_default();
        let _ = writeln!(out, "{}   {usable}   {status} in {}{like}", report.name, spoken(report.elapsed));
        return;
    }
    let _ = writeln!(out, "{}   {usable}{like}", report.name);
    // An app that has no WebSocket is nothing to tell, but for those who ask for all.
    let deep = report.steps.iter().any(|step| step.phase == "again");
    let told = |step: &&Step| step.phase != "upgrade" || deep || !step.ok || step.said.starts_with("101");
    for step in report.steps.iter().filter(told) {
        let lead = format!("  {:<7}{:>10}  ", step.phase, spoken(step.elapsed));
        wrap(out, &lead, SAID, &step.said);
    }
    for note in &report.notes {
        wrap(out, "  ", 2, note);
    }
    let Some(trouble) = &report.trouble else { return };
    if !trouble.advice.is_empty() {
        wrap(out, "  ", 2, &trouble.advice);
    }
    let Some(finding) = &trouble.finding else { return };
    for line in finding.write.iter().flat_map(|write| write.lines()) {
        let _ = writeln!(out, "    {line}");
    }
    // Who knows what to write need not look again.
    if let (Some(command), None) = (&finding.command, &finding.write) {
        let _ = writeln!(out, "  Next: {command}");
    }
}

fn last(out: &mut String, reports: &[Report], took: Duration) {
    let usable = reports.iter().filter(|report| report.usable()).count();
    let trouble = reports.iter().find_map(|report| report.trouble.as_ref());
    let took = if let [only] = reports { only.elapsed } else { took };
    let _ = match trouble {
        Some(trouble) => {
            writeln!(out, "{usable} of {} usable. Next: causeway explain {}", reports.len(), trouble.cause)
        }
        None => writeln!(out, "{usable} of {} usable, {}.", reports.len(), spoken(took)),
    };
}

/// Breaks at spaces; a word longer than a line stays whole.
fn wrap(out: &mut String, lead: &str, indent: usize, text: &str) {
    out.push_str(lead);
    let mut column = lead.len();
    let mut first = true;
    for word in text.split(' ') {
        if !first && column + 1 + word.len() > WIDTH {
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        } else if !first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
        first = false;
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
}

/// A number of bytes as it is read best: `180 bytes`, `1.2 KiB`.
pub(super) fn approximate(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, size)| bytes >= *size) {
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
        Some((unit, size)) => {
            // Rounded down: what is near a limit does not look like it.
            let tenths = bytes / size * 10 + bytes % size * 10 / size;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::{Cause, Failure, Finding};
    use crate::cli::probe::report::{Trouble, matter};
    use crate::cli::probe::steps::exchange;
    use crate::probe::{BodySeen, HeadSeen, Seen};

    fn ms(tenths: u64) -> Duration {
        Duration::from_micros(tenths * 100)
    }

    fn blank(name: &str) -> Report {
        Report { name: name.to_owned(), address: name.to_owned(), ..Report::default() }
    }

    fn refused(name: &str, finding: Option<Finding>) -> Report {
        let failure = Failure::new(Cause::ConnectionRefused);
        let step = Step::new("connect", ms(2), matter(&failure, "limit: timeouts.connect")).because(failure.cause);
        let trouble = Trouble::of(&failure, name, "limit: timeouts.connect", finding);
        Report { steps: vec![step], trouble: Some(trouble), ..blank(name) }
    }

    fn good(name: &str) -> Report {
        let mut report = Report { elapsed: ms(18), ..blank(name) };
        report.steps.push(Step::new("resolve", ms(18), "10.0.4.17"));
        report.steps.push(Step::new("connect", ms(0), "10.0.4.17:8080"));
        let seen = Seen {
            tls: None,
            connect: Some(ms(6)),
            request: Some(ms(1)),
            head: Some(HeadSeen {
                took: ms(119),
                status: 200,
                fields: 14,
                bytes: 1270,
                location: None,
                upgrade: None,
                proxys_own: false,
            }),
            body: Some(BodySeen { took: ms(4), bytes: 5120, complete: true }),
        };
        exchange(
            &mut report,
            "GET /, Host: api.internal:8080",
            &seen,
            ms(130),
            None,
            ("limit: health.timeout", 64 << 10),
        );
        report
    }

    #[test]
    fn nobody_listens_but_next_to_it() {
        let found = "But 127.0.0.1:3000 answers HTTP (200, 1.8 ms). Did you mean 3000?";
        let finding = Finding::new(Cause::ConnectionRefused, found)
            .write("upstreams = [\"127.0.0.1:3000\"]")
            .command("causeway probe 127.0.0.1:3000");
        let wanted = "\
127.0.0.1:3001   not usable
  connect    0.2 ms  connection_refused: nothing listens on this port
  But 127.0.0.1:3000 answers HTTP (200, 1.8 ms). Did you mean 3000?
    upstreams = [\"127.0.0.1:3000\"]
0 of 1 usable. Next: causeway explain connection_refused
";
        assert_eq!(render(&[refused("127.0.0.1:3001", Some(finding))], false, ms(2)), wanted);
    }

    #[test]
    fn all_is_well() {
        let wanted = "\
http://api.internal:8080   usable
  resolve    1.8 ms  10.0.4.17
  connect    0.6 ms  10.0.4.17:8080
  request    0.1 ms  GET /, Host: api.internal:8080
  head      11.9 ms  200, 14 fields, 1.2 KiB (limit 64 KiB)
  body       0.4 ms  5.0 KiB, complete
1 of 1 usable, 14.8 ms.
";
        assert_eq!(render(&[good("http://api.internal:8080")], false, ms(999)), wanted);
    }

    #[test]
    fn of_many_the_good_ones_are_short() {
        let mut reports: Vec<_> = (0..1000).map(|n| good(&format!("10.0.4.17:{n}"))).collect();
        reports[500] = refused("10.0.4.17:500", None);
        reports.iter_mut().for_each(|report| report.pool = Some("app".into()));
        let said = render(&reports, true, ms(50_000));
        assert!(said.starts_with("pool app   999 of 1000 usable\n10.0.4.17:0   usable   200 in 14.8 ms\n"), "{said}");
        assert!(said.contains("10.0.4.17:500   not usable\n  connect"), "{said}");
        let end = "979 more are usable.\n999 of 1000 usable. Next: causeway explain connection_refused\n";
        assert!(said.ends_with(end) && said.lines().count() < 30, "{said}");
    }

    #[test]
    fn a_long_word_is_wrapped_at_80_columns() {
        let mut report = blank("a");
        let ends = "word ".repeat(40);
        report.steps.push(Step::new("head", ms(1), ends.trim()));
        report.notes.push(ends);
        let said = render(&[report], false, ms(1));
        assert!(said.lines().all(|line| line.len() <= 80 && line.trim_end() == line), "{said}");
        assert!(said.lines().nth(2).unwrap().starts_with(&format!("{:21}word", "")), "{said}");
    }

    #[test]
    fn sizes_are_rounded_down() {
        let said = [0, 1, 174, 1270, 5120, 65_535, 65_536, 3 << 20].map(approximate);
        assert_eq!(said, ["0 bytes", "1 byte", "174 bytes", "1.2 KiB", "5.0 KiB", "63.9 KiB", "64.0 KiB", "3.0 MiB"]);
    }
}
