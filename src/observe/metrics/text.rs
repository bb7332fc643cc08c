//! A page of metrics as text: the Prometheus format 0.0.4, or OpenMetrics 1.0 for those who ask for it.

use std::fmt::{Display, Write};

use super::duration::{Durations, LABELS};

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations.
    Histogram,
}

/// A page that is being written: one family after the other, each with all its samples.
#[derive(Debug)]
pub struct Page {
    out: String,
    open: bool,
    /// The family that is being written.
    name: &'static str,
}

impl Page {
    /// An empty one. `open`: as OpenMetrics.
    #[must_use]
    pub const fn new(open: bool) -> Self {
        Self { out: String::new(), open, name: "" }
    }

    /// What goes into Content-Type.
    #[must_use]
    pub const fn content_type(open: bool) -> &'static str {
        if open {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            "text/plain; version=0.0.4; charset=utf-8"
        }
    }

    /// A family begins. `name`: with its prefix and unit, a counter's with `_total`.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        let (kind, name) = match kind {
            Kind::Counter if self.open => ("counter", name.trim_end_matches("_total")),
            Kind::Counter => ("counter", name),
            Kind::Gauge => ("gauge", name),
            Kind::Histogram => ("histogram", name),
        };
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// A histogram of the family.
    pub fn durations(&mut self, labels: &[(&str, &str)], durations: &Durations) {
        let mut below = 0;
        for (count, bound) in durations.buckets.iter().zip(LABELS.into_iter().chain(["+Inf"])) {
            below += count;
            let mut labels = labels.to_vec();
            labels.push(("le", bound));
            self.line("_bucket", &labels, below);
        }
        self.line("_sum", labels, durations.total.as_secs_f64());
        self.line("_count", labels, below);
    }

    /// The page, ended.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.open {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.out, "{name}=\"");
            value.chars().for_each(|c| match c {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            });
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::duration::Histogram;
    use super::*;
    use std::time::Duration;

    fn page(open: bool) -> String {
        let mut page = Page::new(open);
        page.family("causeway_errors_total", Kind::Counter, "Errors.");
        page.sample(&[("pool", "a\"b\\c\nd"), ("code", "502")], 3);
        page.family("causeway_queue_length", Kind::Gauge, "Waiting.");
        page.sample(&[], 0);
        page.finish()
    }

    #[test]
    fn prometheus_text() {
        let wanted = "\
# HELP causeway_errors_total Errors.
# TYPE causeway_errors_total counter
causeway_errors_total{pool=\"a\\\"b\\\\c\\nd\",code=\"502\"} 3
# HELP causeway_queue_length Waiting.
# TYPE causeway_queue_length gauge
causeway_queue_length 0
";
        assert_eq!(page(false), wanted);
    }

    #[test]
    fn open_metrics_names_a_counter_without_its_end_and_ends_the_page() {
        let page = page(true);
        assert!(page.contains("# TYPE causeway_errors counter\ncauseway_errors_total{"), "{page}");
        assert!(page.ends_with("\n# EOF\n"));
    }

    #[test]
    fn buckets_add_up() {
        let (histogram, mut sum) = (Histogram::default(), Durations::default());
        [1, 3, 20_000].into_iter().for_each(|millis| histogram.observe(Duration::from_millis(millis)));
        histogram.add_to(&mut sum);
        let mut page = Page::new(false);
        page.family("causeway_request_duration_seconds", Kind::Histogram, "How long.");
        page.durations(&[("route", "r")], &sum);
        let page = page.finish();
        for line in [
            "_bucket{route=\"r\",le=\"0.001\"} 1\n",
            "le=\"10.0\"} 2\n",
            "le=\"+Inf\"} 3\n",
            "_sum{route=\"r\"} 20.004\n",
        ] {
            assert!(page.contains(line), "{line:?} in\n{page}");
        }
        assert!(page.ends_with("_count{route=\"r\"} 3\n"));
    }
}
