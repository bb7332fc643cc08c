//! Traces over OTLP (the feature `otlp`): the real binary and a collector that reads them with the official types.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use rustix::process::Signal;

use crate::support::origin::{Behaviour, Origin};
use crate::support::process::{Causeway, PATIENCE};
use crate::support::raw::Raw;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// What a collector got: the head of the POST, and the message in it.
type Got = (String, ExportTraceServiceRequest);

/// A collector that answers every POST with this status and message.
fn collector(status: u16, answer: ExportTraceServiceResponse) -> (SocketAddr, Receiver<Got>) {
    collector_of(&[status], answer)
}

/// One that answers with these statuses, one after the other, and then with the last.
fn collector_of(statuses: &[u16], answer: ExportTraceServiceResponse) -> (SocketAddr, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, got) = channel();
    let (last, statuses) = (*statuses.last().unwrap(), statuses.to_vec());
    let mut statuses = statuses.into_iter();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let status = statuses.next().unwrap_or(last);
            let mut stream = stream.unwrap();
            let said = read(&mut stream);
            let body = answer.encode_to_vec();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            if send.send(said).is_err() {
                return;
            }
        }
    });
    (address, got)
}

fn read(stream: &mut TcpStream) -> Got {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut came, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "cut short");
        came.extend_from_slice(&piece[..count]);
        let Some(end) = came.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(came[..end].to_vec()).unwrap();
        let length: usize =
            head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
        if came.len() == end + 4 + length {
            return (head, ExportTraceServiceRequest::decode(&came[end + 4..]).unwrap());
        }
    }
}

/// Spans of what came, until there are so many.
fn spans(got: &Receiver<Got>, count: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    while spans.len() < count {
        let (_, request) = got.recv_timeout(PATIENCE).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        spans.extend(scopes.flat_map(|scope| scope.spans));
    }
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

fn fields(pairs: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    pairs.iter().map(|pair| (&*pair.key, text(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn start(collector: SocketAddr, more: &[(&str, &str)], upstreams: &[SocketAddr]) -> (Causeway, SocketAddr) {
    let list: Vec<String> = upstreams.iter().map(|address| format!("\"{address}\"")).collect();
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin.address = \"off\"\nworkers = 1\n[pool.app]\nupstreams = [{}]\n\
         balance = \"round_robin\"\nhealth.type = \"off\"\n",
        list.join(", ")
    );
    let url = format!("http://{collector}");
    let mut env = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    env.extend(more);
    Causeway::run_with_env(&env, &config)
}

async fn get(address: SocketAddr, more: &str) -> u16 {
    let mut client = Raw::connect(address).await;
    client.send(format!("GET /orders?token=secret HTTP/1.1\r\nHost: shop.example\r\n{more}\r\n")).await;
    client.response().await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescued_request_is_one_trace_from_the_caller_to_the_upstream() {
    let (collector, got) = collector(200, ExportTraceServiceResponse::default());
    let (good, nobody) = (Origin::start(Behaviour::Ok("fine".into())).await, Origin::nobody());
    let env = [
        ("OTEL_SERVICE_NAME", "edge"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20key"),
    ];
    let (_causeway, address) = start(collector, &env, &[nobody, good.address()]);
    let came = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\ntracestate: vendor=1\r\n");
    assert_eq!(get(address, &came).await, 200);

    let (head, request) = got.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    for field in ["Content-Type: application/x-protobuf", "api-key: a key", &format!("Host: {collector}")] {
        assert!(head.contains(field), "{head}");
    }
    let resource = &request.resource_spans[0];
    let about = fields(&resource.resource.as_ref().unwrap().attributes);
    assert_eq!((&*about["service.name"], &*about["deployment.environment.name"]), ("edge", "test"));
    assert_eq!(about["service.version"], env!("CARGO_PKG_VERSION"));
    let spans = &resource.scope_spans[0].spans;
    let [root, failed, answered] = &spans[..] else { panic!("{spans:#?}") };

    // One trace; the request under its caller, the attempts under the request.
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.trace_state == "vendor=1"));
    assert_eq!(hex(&root.parent_span_id), CALLER);
    assert!([failed, answered].iter().all(|span| span.parent_span_id == root.span_id));
    let mut ids: Vec<_> = spans.iter().map(|span| &span.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!((root.kind(), failed.kind()), (SpanKind::Server, SpanKind::Client));
    assert_eq!((root.flags, failed.flags), (0x301, 0x101), "sampled; the caller is elsewhere, the request is here");
    for span in spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.start_time_unix_nano >= root.start_time_unix_nano, "{spans:#?}");
    }

    // What the upstream heard: this trace, the attempt as its parent.
    let heard = good.requests(1).await.remove(0).head.to_lowercase();
    let parent = format!("traceparent: 00-{TRACE}-{}-01\r\n", hex(&answered.span_id));
    assert!(heard.contains(&parent) && heard.contains("tracestate: vendor=1\r\n"), "{parent} in {heard}");
    assert_eq!(heard.matches("traceparent").count(), 1);

    let (of_root, of_failed, of_answered) =
        (fields(&root.attributes), fields(&failed.attributes), fields(&answered.attributes));
    let (nobody, good) = (nobody.to_string(), good.address().to_string());
    for (fields, key, value) in [
        (&of_root, "http.request.method", "GET"),
        (&of_root, "http.response.status_code", "200"),
        (&of_root, "url.path", "/orders"),
        (&of_root, "server.address", "shop.example"),
        (&of_root, "client.address", "127.0.0.1"),
        (&of_root, "http.response.body.size", "4"),
        (&of_root, "causeway.pool", "app"),
        (&of_root, "causeway.rescued", "true"),
        (&of_failed, "error.type", "connection_refused"),
        (&of_failed, "causeway.phase", "connect"),
        (&of_failed, "causeway.sent", "false"),
        (&of_failed, "causeway.upstream", &nobody),
        (&of_answered, "http.response.status_code", "200"),
        (&of_answered, "http.request.resend_count", "1"),
        (&of_answered, "causeway.reused", "false"),
        (&of_answered, "causeway.upstream", &good),
        (&of_answered, "server.address", "127.0.0.1"),
    ] {
        assert_eq!(fields.get(key).map(String::as_str), Some(value), "{key}: {fields:#?}");
    }
    assert!(root.status.is_none() && answered.status.is_none());
    assert_eq!(failed.status.as_ref().unwrap().code(), StatusCode::Error);
    let all = format!("{spans:?}");
    assert!(!all.contains("secret"), "no query leaves: {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_begins_here_is_made_and_its_502_is_an_error() {
    let (collector, got) = collector(200, ExportTraceServiceResponse::default());
    let (cut, nobody) = (Origin::start(Behaviour::CloseBeforeHead).await, Origin::nobody());
    let (_causeway, address) = start(collector, &[], &[cut.address(), nobody]);
    assert_eq!(get(address, "tracestate: nobodys=1\r\n").await, 502);
    let spans = spans(&got, 3);
    let root = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    assert!(root.parent_span_id.is_empty() && root.trace_id.len() == 16 && root.span_id.len() == 8);
    let status = root.status.as_ref().unwrap();
    assert_eq!(status.code(), StatusCode::Error);
    let about = fields(&root.attributes);
    assert_eq!((&*about["http.response.status_code"], &*about["causeway.ended_by"]), ("502", "proxy"));
    assert_eq!(about["error.type"], about["causeway.cause"]);
    let heard = cut.requests(1).await.remove(0).head.to_lowercase();
    assert!(heard.contains(&format!("traceparent: 00-{}-", hex(&root.trace_id))), "{heard}");
    assert!(!heard.contains("tracestate"), "it belonged to no trace: {heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_passes_as_it_came_and_leaves_no_span() {
    let (collector, got) = collector(200, ExportTraceServiceResponse::default());
    let good = Origin::start(Behaviour::Ok("fine".into())).await;
    let (causeway, address) = start(collector, &[], &[good.address()]);
    let came = format!("traceparent: 00-{TRACE}-{CALLER}-00\r\n");
    assert_eq!(get(address, &came).await, 200);
    assert_eq!(get(address, "").await, 200);
    let heard = good.requests(2).await;
    assert!(heard[0].head.contains(&came), "{}", heard[0].head);
    assert!(heard[1].head.contains("-01\r\n"), "{}", heard[1].head);
    // The end of the process flushes: what came by then is all there is.
    causeway.signal(Signal::TERM);
    assert!(causeway.end().0.success());
    assert_eq!(spans(&got, 2).iter().filter(|span| hex(&span.trace_id) == TRACE).count(), 0);
    assert!(got.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_go_out_at_the_end_of_the_process() {
    let (collector, got) = collector(200, ExportTraceServiceResponse::default());
    let good = Origin::start(Behaviour::Ok("fine".into())).await;
    let (causeway, address) = start(collector, &[("OTEL_BSP_SCHEDULE_DELAY", "60000")], &[good.address()]);
    assert_eq!(get(address, "").await, 200);
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert!(status.success() && !said.contains("spans_lost"), "{said}");
    assert_eq!(spans(&got, 2).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_nobody_takes_are_counted_and_traffic_goes_on() {
    let good = Origin::start(Behaviour::Ok("fine".into())).await;
    let refuses = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: "full".into() }),
    };
    for (collector, count, why) in [
        (Origin::nobody(), 2, "refused"),
        (collector(400, ExportTraceServiceResponse::default()).0, 2, "status 400"),
        (collector(200, refuses).0, 1, "refused some"),
        (Origin::start(Behaviour::Garbage).await.address(), 2, "not HTTP/1.1"),
    ] {
        let (mut causeway, address) = start(collector, &[], &[good.address()]);
        assert_eq!(get(address, "").await, 200);
        let said = causeway.event("spans_lost");
        assert!(said.contains(&format!("\"spans\":{count}")) && said.contains(why), "{why}: {said}");
        assert_eq!(get(address, "").await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_busy_is_asked_once_more() {
    let (collector, got) = collector_of(&[503, 200], ExportTraceServiceResponse::default());
    let good = Origin::start(Behaviour::Ok("fine".into())).await;
    let (causeway, address) = start(collector, &[], &[good.address()]);
    assert_eq!(get(address, "").await, 200);
    assert_eq!(spans(&got, 2), spans(&got, 2), "the same batch again");
    causeway.signal(Signal::TERM);
    let (_, said) = causeway.end();
    assert!(!said.contains("spans_lost"), "{said}");
}

/// A collector that takes the bytes and never answers holds up neither traffic nor the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_drops_and_the_end_does_not_wait() {
    let silent = Origin::start(Behaviour::Silent).await;
    let good = Origin::start(Behaviour::Ok("fine".into())).await;
    let (causeway, address) = start(silent.address(), &[("OTEL_BSP_MAX_QUEUE_SIZE", "4")], &[good.address()]);
    assert_eq!(get(address, "").await, 200);
    silent.requests(1).await;
    let began = std::time::Instant::now();
    for _ in 0..8 {
        assert_eq!(get(address, "").await, 200);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
    let began = std::time::Instant::now();
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert!(status.success() && said.contains("spans_lost"), "{said}");
    assert!(began.elapsed() < std::time::Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_cannot_be_followed_are_told_and_traffic_goes_on() {
    let good = Origin::start(Behaviour::Ok("fine".into())).await;
    let env = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let (causeway, address) = start(Origin::nobody(), &env, &[good.address()]);
    let came = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n");
    assert_eq!(get(address, &came).await, 200);
    assert!(good.requests(1).await[0].head.contains(&came));
    causeway.signal(Signal::TERM);
    let (_, said) = causeway.end();
    assert!(said.contains("traces_off") && said.contains("http/protobuf"), "{said}");
}
