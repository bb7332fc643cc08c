//! CAUSES.md and CONTRACT §5, row by row, beside the table in the code; and where each cause is met.

use causeway::cause::{Fault, Retry};
use causeway::health::Blame;
use causeway::pool::report::blame;

use super::table::table;
use super::*;
use crate::support::source;

/// Where the fault of a cause is made.
enum Met {
    /// A row of [`table`], which checks everything; and the checks of `checks.rs` meet the same.
    Table,
    /// A test of its own: file, name.
    Test(&'static str, &'static str),
}

/// Token, RFC 9209 type, status alone, phase, whose fault, another upstream?, a timeout, whom it blames, where it is
/// met.
type Spec = (&'static str, &'static str, u16, Phase, Fault, Retry, bool, Option<Blame>, Met);

#[rustfmt::skip]
fn spec() -> Vec<Spec> {
    use Fault::{Client, Network, Proxy, Upstream};
    use Met::{Table, Test};
    use Phase::{Body, Connect, Head, Queue, Request, Resolve, Tls};
    use Retry::{Any, Idempotent as Idem, Never};
    const CONNECT: Option<Blame> = Some(Blame::Connect);
    const GATEWAY: Option<Blame> = Some(Blame::Gateway);
    let (own, limits, secure) = ("causes/own_network.rs", "causes/limits.rs", "causes/secure.rs");
    vec![
        ("dns_not_found", "dns_error", 502, Resolve, Network, Any, false, None, Test(own, "a_name_server_that_says_no_or_nothing")),
        ("dns_failure", "dns_error", 502, Resolve, Network, Any, false, None, Test(own, "a_name_server_that_says_no_or_nothing")),
        ("dns_timeout", "dns_timeout", 504, Resolve, Network, Any, true, None, Test(own, "a_name_server_that_says_no_or_nothing")),
        ("unreachable", "destination_ip_unroutable", 502, Connect, Network, Any, false, CONNECT, Table),
        ("connection_refused", "connection_refused", 502, Connect, Upstream, Any, false, CONNECT, Table),
        ("connect_timeout", "connection_timeout", 504, Connect, Network, Any, true, CONNECT, Table),
        ("connect_reset", "connection_terminated", 502, Connect, Upstream, Any, false, CONNECT, Test("causes/elsewhere.rs", "a_reset_at_once_is_told_by_whether_anything_was_sent")),
        ("ports_exhausted", "proxy_internal_error", 502, Connect, Proxy, Any, false, None, Test(own, "no_local_port_is_left")),
        ("files_exhausted", "proxy_internal_error", 503, Connect, Proxy, Any, false, None, Test("causes/elsewhere.rs", "out_of_files_is_503_and_says_so")),
        ("upstream_busy", "connection_limit_reached", 503, Queue, Proxy, Any, false, None, Test(limits, "no_slot_at_all")),
        ("queue_timeout", "connection_limit_reached", 503, Queue, Proxy, Any, false, None, Test(limits, "no_slot_in_time")),
        ("socket_missing", "connection_refused", 502, Connect, Upstream, Any, false, CONNECT, Test(secure, "a_socket_that_is_not_there")),
        ("socket_denied", "proxy_configuration_error", 502, Connect, Proxy, Any, false, None, Test(secure, "a_socket_that_may_not_be_opened")),
        ("speaks_plaintext", "tls_protocol_error", 502, Tls, Upstream, Any, false, CONNECT, Test(secure, "who_does_not_speak_tls")),
        ("tls_timeout", "connection_timeout", 504, Tls, Upstream, Any, true, CONNECT, Test(secure, "who_does_not_speak_tls")),
        ("tls_alert", "tls_alert_received", 502, Tls, Upstream, Any, false, CONNECT, Test(secure, "who_does_not_speak_tls")),
        ("tls_cert_expired", "tls_certificate_error", 502, Tls, Upstream, Any, false, CONNECT, Test(secure, "a_certificate_that_is_not_believed")),
        ("tls_cert_name", "tls_certificate_error", 502, Tls, Upstream, Any, false, CONNECT, Test(secure, "a_certificate_that_is_not_believed")),
        ("tls_cert_untrusted", "tls_certificate_error", 502, Tls, Upstream, Any, false, CONNECT, Test(secure, "a_certificate_that_is_not_believed")),
        ("tls_failure", "tls_protocol_error", 502, Tls, Upstream, Any, false, CONNECT, Test(secure, "who_does_not_speak_tls")),
        ("stale_connection", "connection_terminated", 502, Head, Upstream, Idem, false, None, Table),
        ("closed_without_response", "connection_terminated", 502, Head, Upstream, Idem, false, GATEWAY, Table),
        ("reset_before_head", "connection_terminated", 502, Head, Upstream, Idem, false, GATEWAY, Table),
        ("h2_stream_refused", "connection_terminated", 502, Head, Upstream, Any, false, None, Test("probe/grpc.rs", "a_call_that_is_broken_off_says_how")),
        ("h2_protocol_error", "http_protocol_error", 502, Head, Upstream, Idem, false, GATEWAY, Test("probe/grpc.rs", "a_call_that_is_broken_off_says_how")),
        ("truncated_head", "http_response_incomplete", 502, Head, Upstream, Idem, false, GATEWAY, Table),
        ("not_http", "http_protocol_error", 502, Head, Upstream, Idem, false, GATEWAY, Table),
        ("speaks_tls", "http_protocol_error", 502, Head, Upstream, Idem, false, GATEWAY, Table),
        ("speaks_h2", "http_protocol_error", 502, Head, Upstream, Idem, false, GATEWAY, Table),
        ("invalid_head", "http_protocol_error", 502, Head, Upstream, Idem, false, GATEWAY, Table),
        ("response_head_too_large", "http_response_header_section_size", 502, Head, Upstream, Never, false, None, Table),
        ("bad_chunking", "http_response_transfer_coding", 502, Body, Upstream, Idem, false, GATEWAY, Test("causes/elsewhere.rs", "broken_chunks_end_the_answer_visibly_and_stand_in_the_log")),
        ("read_timeout", "connection_read_timeout", 504, Head, Upstream, Idem, true, GATEWAY, Table),
        ("write_timeout", "connection_write_timeout", 504, Request, Upstream, Idem, true, GATEWAY, Table),
        ("request_timeout", "http_response_timeout", 504, Head, Upstream, Never, true, None, Table),
        ("truncated_body", "http_response_incomplete", 502, Body, Upstream, Idem, false, GATEWAY, Table),
        ("body_timeout", "connection_read_timeout", 504, Body, Upstream, Idem, true, GATEWAY, Table),
        ("upgrade_failed", "http_upgrade_failed", 502, Head, Upstream, Never, false, None, Table),
        ("loop_detected", "proxy_loop_detected", 502, Queue, Proxy, Never, false, None, Table),
        ("health_status", "", 0, Head, Upstream, Any, false, GATEWAY, Test("causes/elsewhere.rs", "an_evicted_upstream_is_named_with_what_its_checks_say")),
        ("health_body", "", 0, Body, Upstream, Any, false, GATEWAY, Test("causes/elsewhere.rs", "an_evicted_upstream_is_named_with_what_its_checks_say")),
        ("evicted", "destination_unavailable", 502, Queue, Upstream, Any, false, None, Test(limits, "evicted_while_it_had_the_request")),
        ("draining", "destination_unavailable", 502, Queue, Proxy, Any, false, None, Test(limits, "the_operators_word_is_the_reason")),
        ("disabled", "destination_unavailable", 502, Queue, Proxy, Any, false, None, Test(limits, "the_operators_word_is_the_reason")),
        ("client_closed", "", 499, Request, Client, Never, false, None, Test("causes/elsewhere.rs", "a_client_that_left_is_499_in_the_log")),
        ("client_timeout", "http_request_error", 408, Request, Client, Never, false, None, Table),
        ("client_invalid", "http_request_error", 400, Request, Client, Never, false, None, Table),
        ("client_too_large", "http_request_error", 413, Request, Client, Never, false, None, Table),
        ("no_route", "destination_not_found", 404, Queue, Proxy, Never, false, None, Table),
        ("denied", "http_request_denied", 403, Queue, Client, Never, false, None, Test("causes/kept_out.rs", "an_address_that_may_not_come_in")),
        ("unauthorized", "http_request_denied", 401, Queue, Client, Never, false, None, Test("causes/kept_out.rs", "no_password_and_a_wrong_one")),
        ("rate_limited", "http_request_error", 429, Queue, Client, Never, false, None, Test("causes/kept_out.rs", "more_than_the_rate")),
        ("proxy_busy", "proxy_internal_response", 503, Queue, Proxy, Never, false, None, Test(limits, "no_place_at_the_listener")),
        ("shutting_down", "proxy_internal_response", 503, Queue, Proxy, Never, false, None, Test("causes/elsewhere.rs", "what_comes_in_the_last_second_is_told_to_come_back")),
        ("bug", "proxy_internal_error", 500, Queue, Proxy, Never, false, None, Test("causes/elsewhere.rs", "a_panic_is_a_500_that_asks_to_be_reported")),
    ]
}

#[test]
fn the_table_is_the_one_of_the_contract() {
    let spec = spec();
    for cause in Cause::ALL {
        let rows: Vec<_> = spec.iter().filter(|row| row.0 == cause.token()).collect();
        let [(token, error, status, phase, fault, retry, timeout, blames, _)] = rows[..] else {
            panic!("{cause}: {} rows", rows.len());
        };
        let row = cause.row();
        assert_eq!((row.rfc9209, row.status, row.phase), (*error, *status, *phase), "{token}");
        assert_eq!((row.fault, row.retry, row.timeout), (*fault, *retry, *timeout), "{token}");
        assert_eq!(blame(*cause), *blames, "{token}");
    }
    assert_eq!(spec.len(), Cause::ALL.len());
}

/// No cause without a fault that brings it about, and none that is said to be met where it is not.
#[test]
fn every_cause_is_met_at_one_place() {
    let table = table();
    for (token, .., met) in spec() {
        let cause = Cause::ALL.iter().find(|cause| cause.token() == token).unwrap();
        let rows = table.iter().filter(|row| row.cause == *cause).count();
        match met {
            Met::Table => assert!(rows > 0, "{cause} has no row"),
            Met::Test(file, name) => {
                assert_eq!(rows, 0, "{cause} has a row, and a test of its own");
                let text = source::read(std::path::Path::new(&format!("tests/{file}")));
                let (_, body) =
                    text.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("no {name} in {file}"));
                let body = body.split("\n}\n").next().unwrap_or_default();
                let named = body.contains(&format!("Cause::{cause:?}")) || body.contains(&format!("\"{token}\""));
                assert!(named, "{name} in {file} says nothing of {cause}");
            }
        }
    }
}
