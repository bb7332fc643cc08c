//! What the `OTEL_*` variables say (the OpenTelemetry specification's names and meanings). Pure: the environment is an
//! argument.

use std::time::Duration;

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) collector: Collector,
    pub(super) sampler: Sampler,
    /// Of the resource: `service.name` first.
    pub(super) resource: Vec<(String, String)>,
    /// How long a span may wait for company.
    pub(super) delay: Duration,
    /// The most spans that wait.
    pub(super) room: usize,
}

/// Who takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collector {
    /// As it stands in Host.
    pub(super) authority: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    /// For one batch, from the connection to the answer.
    pub(super) timeout: Duration,
}

/// Which requests leave spans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sampler {
    /// Those whose caller says so; of those without a caller, this share.
    Parent(f64),
    /// This share, whatever the caller says.
    Ratio(f64),
}

impl Sampler {
    /// `caller`: what the flag of the traceparent says. A share is chosen by the trace id, so that all who see it
    /// agree.
    pub(super) fn samples(self, trace: u128, caller: Option<bool>) -> bool {
        match (self, caller) {
            (Self::Parent(_), Some(sampled)) => sampled,
            (Self::Parent(share) | Self::Ratio(share), _) => {
                share >= 1.0 || ((trace as u64 >> 1) as f64) < share * (1_u64 << 63) as f64
            }
        }
    }
}

impl Settings {
    /// From the environment. `None`: nobody asked for traces. `service`: the proxy's own name.
    ///
    /// # Errors
    /// A sentence: somebody did, in words that cannot be followed.
    pub(super) fn of(env: impl Fn(&str) -> Option<String>, service: &str) -> Result<Option<Self>, String> {
        let said = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let either = |end: &str| {
            let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{end}"), format!("OTEL_EXPORTER_OTLP_{end}")];
            names.into_iter().find_map(|name| said(&name).map(|value| (name, value)))
        };
        let is = |name: &str, wanted: &str| said(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let Some((name, url)) = either("ENDPOINT") else { return Ok(None) };
        // The one for traces is taken as it is, the one for all signals gets their path (OTLP exporter, "Endpoint
        // URLs").
        let path = if name.contains("TRACES") { "" } else { "/v1/traces" };
        if let Some((name, protocol)) = either("PROTOCOL")
            && protocol != "http/protobuf"
        {
            return Err(format!("{name} is {protocol}, and causeway speaks http/protobuf only (port 4318, as a rule)"));
        }
        if let Some((name, coding)) = either("COMPRESSION")
            && coding != "none"
        {
            return Err(format!("{name} is {coding}, and causeway sends spans uncompressed: set it to none"));
        }
        let mut collector = endpoint(&url, path).map_err(|why| format!("{name} is {url:?}: {why}"))?;
        collector.headers = either("HEADERS").map(|(_, list)| pairs(&list)).unwrap_or_default();
        if let Some((name, _)) = collector.headers.iter().find(|(name, value)| !fits(name, value)) {
            return Err(format!("OTEL_EXPORTER_OTLP_HEADERS: {name:?} is no field, or its value is none"));
        }
        collector.timeout = millis(either("TIMEOUT"), 10_000)?;
        let named = |name: &str| said(name).map(|value| (name.to_owned(), value));
        let share = match said("OTEL_TRACES_SAMPLER_ARG").map(|said| (said.parse::<f64>(), said)) {
            None => 1.0,
            Some((Ok(share), _)) if (0.0..=1.0).contains(&share) => share,
            Some((_, said)) => {
                return Err(format!("OTEL_TRACES_SAMPLER_ARG is {said:?}: a share from 0 to 1 is wanted"));
            }
        };
        let sampler = match said("OTEL_TRACES_SAMPLER").as_deref() {
            None | Some("parentbased_always_on") => Sampler::Parent(1.0),
            Some("parentbased_always_off") => Sampler::Parent(0.0),
            Some("parentbased_traceidratio") => Sampler::Parent(share),
            Some("always_on") => Sampler::Ratio(1.0),
            Some("always_off") => Sampler::Ratio(0.0),
            Some("traceidratio") => Sampler::Ratio(share),
            Some(other) => return Err(format!("OTEL_TRACES_SAMPLER is {other:?}, which causeway does not know")),
        };
        let mut resource = said("OTEL_RESOURCE_ATTRIBUTES").map(|list| pairs(&list)).unwrap_or_default();
        let listed = resource.iter().position(|(name, _)| name == "service.name").map(|at| resource.remove(at).1);
        let service = said("OTEL_SERVICE_NAME").or(listed).unwrap_or_else(|| service.to_owned());
        resource.insert(0, ("service.name".to_owned(), service));
        let room = named("OTEL_BSP_MAX_QUEUE_SIZE").map_or(Ok(2048), |(name, value)| whole(&name, &value))?;
        Ok(Some(Self {
            collector,
            sampler,
            resource,
            delay: millis(named("OTEL_BSP_SCHEDULE_DELAY"), 5_000)?,
            room: usize::try_from(room).unwrap_or(usize::MAX).clamp(1, 1 << 16),
        }))
    }
}

/// `http://HOST[:PORT][/PATH]`, with `more` behind the path.
fn endpoint(url: &str, more: &str) -> Result<Collector, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("no URL: {error}"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err("causeway sends spans over plain http only, to a collector next to it".to_owned()),
        _ => return Err("it has to begin with http://".to_owned()),
    }
    let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
        return Err("it names no host".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("a name and password belong in OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    let path = format!("{}{more}", uri.path().trim_end_matches('/'));
    Ok(Collector {
        authority: authority.to_string(),
        host: host.trim_matches(['[', ']']).to_owned(),
        port: uri.port_u16().unwrap_or(80),
        path: if path.is_empty() { "/".to_owned() } else { path },
        headers: Vec::new(),
        timeout: Duration::ZERO,
    })
}

fn millis(said: Option<(String, String)>, unsaid: u64) -> Result<Duration, String> {
    let millis = said.map_or(Ok(unsaid), |(name, value)| whole(&name, &value))?;
    Ok(Duration::from_millis(millis.clamp(1, 60_000)))
}

fn whole(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} is {value:?}: a whole number is wanted"))
}

/// May this go out as a field?
fn fits(name: &str, value: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok() && http::HeaderValue::from_str(value).is_ok()
}

/// `a=b,c=d`, with escapes in the values (W3C Baggage).
fn pairs(list: &str) -> Vec<(String, String)> {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), unescaped(value.trim()))).collect()
}

fn unescaped(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let byte = more.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &more[2..];
            }
            None => {
                out.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(env: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let said = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Settings::of(said, "causeway")
    }

    const HERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    #[test]
    fn without_a_collector_or_where_it_is_switched_off_there_are_no_traces() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[HERE, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(of(&[HERE, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
    }

    #[test]
    fn the_defaults_are_those_of_the_specification() {
        let settings = of(&[HERE]).unwrap().unwrap();
        let Collector { authority, path, timeout, .. } = &settings.collector;
        assert_eq!((&**authority, &**path, *timeout), ("localhost:4318", "/v1/traces", Duration::from_secs(10)));
        assert_eq!(settings.sampler, Sampler::Parent(1.0));
        assert_eq!(settings.resource, [("service.name".to_owned(), "causeway".to_owned())]);
        assert_eq!((settings.delay, settings.room), (Duration::from_secs(5), 2048));
    }

    #[test]
    fn all_that_can_be_said() {
        let settings = of(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]/otlp"),
            HERE,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x=y"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=edge,deployment.environment=test"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ])
        .unwrap()
        .unwrap();
        let Collector { host, port, path, headers, timeout, .. } = &settings.collector;
        assert_eq!((&**host, *port, &**path, *timeout), ("::1", 80, "/otlp", Duration::from_millis(250)));
        assert_eq!(*headers, [("api-key".to_owned(), "a b".to_owned()), ("x".to_owned(), "y".to_owned())]);
        assert_eq!(settings.sampler, Sampler::Ratio(0.25));
        assert_eq!(settings.resource[0].1, "edge");
        assert_eq!(settings.resource.len(), 2);
    }

    #[test]
    fn what_cannot_be_followed_is_told_by_name() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0ac"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ] {
            let said = of(&[(name, value), HERE]).unwrap_err();
            assert!(said.contains(name), "{said}");
        }
    }

    #[test]
    fn a_share_is_a_share() {
        let sampled = (0..10_000).filter(|_| Sampler::Ratio(0.25).samples(fastrand::u128(..), Some(true))).count();
        assert!((2_000..3_000).contains(&sampled), "{sampled}");
        assert!(!Sampler::Ratio(0.0).samples(1, None));
        assert!(Sampler::Ratio(1.0).samples(u128::MAX, None));
    }
}
