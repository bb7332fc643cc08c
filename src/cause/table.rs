//! The table: every cause with all that is said of it, a row each (CONTRACT §5). Nothing is decided here.

use super::{Fault, Phase, Retry, Row};

macro_rules! causes {
    ($( $variant:ident = $token:literal, $rfc:literal, $status:literal, $phase:ident, $fault:ident, $retry:ident, $timeout:literal,
        $means:literal, $short:literal, $message:literal, $hint:literal, $command:literal; )*) => {
        /// Every way in which a request, an attempt or a check can fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)] // `Row::means` is the documentation, one sentence a row.
        pub enum Cause { $( $variant, )* }

        impl Cause {
            /// All causes, in the order of the table.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// This cause's row.
            #[must_use]
            pub const fn row(self) -> &'static Row {
                match self { $( Self::$variant => &Row {
                    token: $token, rfc9209: $rfc, status: $status, phase: Phase::$phase, fault: Fault::$fault,
                    retry: Retry::$retry, timeout: $timeout, means: $means, short: $short, message: $message,
                    hint: $hint, command: $command,
                }, )* }
            }
        }
    };
}

causes! {
    DnsNotFound = "dns_not_found", "dns_error", 502, Resolve, Network, Any, false,
        "the upstream's name does not exist",
        "its name does not exist", "name does not exist",
        "The name in {address} does not exist. Is it spelled right in upstreams, and are both on the same network? In Docker, it is the name of the service.", "causeway probe {address}";
    DnsFailure = "dns_failure", "dns_error", 502, Resolve, Network, Any, false,
        "the name server answered with an error",
        "the name server gave an error for it", "name server error: {seen}",
        "The name server gave an error for {address}: {seen}. Do name_servers, or else /etc/resolv.conf, name the right one?", "causeway probe {address}";
    DnsTimeout = "dns_timeout", "dns_timeout", 504, Resolve, Network, Any, true,
        "the name server did not answer in time",
        "no name server answered for it within {limit}", "no answer from a name server within {limit}",
        "No name server answered for {address} within {limit} (limit: timeouts.resolve). Is it reachable from here?", "causeway probe {address}";
    Unreachable = "unreachable", "destination_ip_unroutable", 502, Connect, Network, Any, false,
        "there is no way to the upstream's network",
        "the network has no way to it", "no way to this network",
        "The network has no way to {address}. Is that subnet right in upstreams, and is causeway attached to its network?", "causeway probe {address}";
    ConnectionRefused = "connection_refused", "connection_refused", 502, Connect, Upstream, Any, false,
        "nothing listens on the upstream's port",
        "nothing listens there", "connection refused",
        "Nothing listens on {address}. Is the app running, and is the port right?", "causeway probe {address}";
    SocketMissing = "socket_missing", "connection_refused", 502, Connect, Upstream, Any, false,
        "there is no such socket",
        "the socket does not exist", "no such socket",
        "There is no socket {address}. Is the app running, and is the path the one that it listens on? In containers, both need the same volume.", "causeway probe {address}";
    SocketDenied = "socket_denied", "proxy_configuration_error", 502, Connect, Proxy, Any, false,
        "causeway may not open the upstream's socket",
        "causeway may not open its socket", "permission denied",
        "causeway may not open {address}. Let its user or group write to the socket, and enter its folder.", "causeway probe {address}";
    ConnectTimeout = "connect_timeout", "connection_timeout", 504, Connect, Network, Any, true,
        "the upstream did not take the connection in time",
        "it did not take the connection within {limit}", "no connection within {limit}",
        "{address} did not take the connection within {limit} (limit: timeouts.connect). Is its host up, and does a firewall let causeway in?", "causeway probe {address}";
    ConnectReset = "connect_reset", "connection_terminated", 502, Connect, Upstream, Any, false,
        "the upstream broke the connection while it was being opened",
        "it broke the connection while it was being opened", "connection reset while it was being opened",
        "{address} broke the connection while it was being opened. Does that port belong to a proxy with nothing behind it, or is the app overloaded?", "causeway probe {address}";
    PortsExhausted = "ports_exhausted", "proxy_internal_error", 502, Connect, Proxy, Any, false,
        "this machine has no free local port left for the connection",
        "no local port was free for a connection to it", "no free local port",
        "No local port was free for a connection to {address}. Widen net.ipv4.ip_local_port_range, or let more connections be kept (connections.max_idle).", "sysctl net.ipv4.ip_local_port_range";
    FilesExhausted = "files_exhausted", "proxy_internal_error", 503, Connect, Proxy, Any, false,
        "causeway may open no more files or sockets",
        "causeway has reached its limit of open files", "too many open files: {seen}",
        "causeway has reached its limit of open files: {seen}. Raise it (ulimit -n), or lower limits.connections.", "causeway explain files_exhausted";
    UpstreamBusy = "upstream_busy", "connection_limit_reached", 503, Queue, Proxy, Any, false,
        "every upstream that is left has as many requests as it may have",
        "it has as many requests as it may have", "no slot: {seen}",
        "Every upstream that is left has as many requests as it may have (limits.in_flight): {seen}. Add upstreams or raise the limit if the app can take more; limits.queue lets requests wait.", "causeway explain upstream_busy";
    QueueTimeout = "queue_timeout", "connection_limit_reached", 503, Queue, Proxy, Any, false,
        "no slot became free in time",
        "no slot became free within {limit}", "no slot within {limit}",
        "No slot became free within {limit} (limit: limits.queue_timeout). Add upstreams, or raise limits.in_flight if the app can take more.", "causeway explain queue_timeout";
    SpeaksPlaintext = "speaks_plaintext", "tls_protocol_error", 502, Tls, Upstream, Any, false,
        "the upstream does not speak TLS on this port",
        "it does not speak TLS on this port", "no TLS: {seen}",
        "{address} does not speak TLS here: it answered {seen}. Write http:// for it in upstreams, or the port on which it speaks TLS.", "causeway probe http://{authority}/";
    TlsTimeout = "tls_timeout", "connection_timeout", 504, Tls, Upstream, Any, true,
        "the upstream took the connection and did not answer to TLS in time",
        "it took the connection, then did not answer to TLS within {limit}", "no TLS session within {limit}",
        "{address} took the connection, then did not answer to TLS within {limit} (limit: timeouts.tls). Does it speak TLS on this port, or does it wait for plain HTTP (http://)?", "causeway probe {address}";
    TlsAlert = "tls_alert", "tls_alert_received", 502, Tls, Upstream, Any, false,
        "the upstream refused TLS with an alert",
        "it refused TLS: {seen}", "TLS alert {seen}",
        "{address} refused TLS: {seen}. Its own log should say why; tls.server_name is the name that it is asked for.", "causeway probe {address}";
    TlsCertExpired = "tls_cert_expired", "tls_certificate_error", 502, Tls, Upstream, Any, false,
        "the upstream's certificate is not valid at this time",
        "its certificate {seen}", "certificate {seen}",
        "The certificate of {address} {seen}. Renew it and let the app load it; and is the clock of this machine right?", "causeway probe {address}";
    TlsCertName = "tls_cert_name", "tls_certificate_error", 502, Tls, Upstream, Any, false,
        "the upstream's certificate is for another name",
        "its certificate is for another name: {seen}", "certificate for another name: {seen}",
        "The certificate of {address} is for another name: {seen}. Set tls.server_name to a name that it has, or give the app a certificate for this one.", "causeway probe {address}";
    TlsCertUntrusted = "tls_cert_untrusted", "tls_certificate_error", 502, Tls, Upstream, Any, false,
        "nobody whom causeway trusts has signed the upstream's certificate",
        "its certificate is not trusted: {seen}", "certificate not trusted: {seen}",
        "The certificate of {address} is not trusted: {seen}. Set tls.ca to the file of the certificate that signed it.", "causeway probe {address}";
    TlsFailure = "tls_failure", "tls_protocol_error", 502, Tls, Upstream, Any, false,
        "the TLS session with the upstream did not come about",
        "TLS with it failed: {seen}", "TLS failed: {seen}",
        "TLS with {address} failed: {seen}. Does it speak TLS 1.2 or 1.3 on this port?", "causeway probe {address}";
    StaleConnection = "stale_connection", "connection_terminated", 502, Head, Upstream, Idempotent, false,
        "the upstream closed a kept connection just as the request went out on it",
        "it closed a kept connection just as the request went out on it", "kept connection closed as the request went out",
        "{address} closed a kept connection as this request went out on it. Did the app crash or restart? If it happens again and again, set connections.idle below the app's own keep-alive time.", "causeway explain stale_connection";
    ClosedWithoutResponse = "closed_without_response", "connection_terminated", 502, Head, Upstream, Idempotent, false,
        "the upstream took the request and closed without a byte of an answer",
        "it took the request, then closed without a byte of an answer", "closed before the first byte of a response",
        "It took the request, then closed without a byte of an answer. Did the app crash, or was it killed? Its own log should say.", "causeway probe http://{address}/";
    ResetBeforeHead = "reset_before_head", "connection_terminated", 502, Head, Upstream, Idempotent, false,
        "the upstream reset the connection before it answered",
        "it took the request, then reset the connection", "connection reset before the response head",
        "It took the request, then reset the connection. Did the app crash, or does a firewall cut the connection?", "causeway probe http://{address}/";
    TruncatedHead = "truncated_head", "http_response_incomplete", 502, Head, Upstream, Idempotent, false,
        "the upstream's answer ended within its head",
        "its answer ended within the response head", "response head cut off after {seen}",
        "Its answer ended within the response head, after {seen}. Did the app crash while answering?", "causeway probe http://{address}/";
    NotHttp = "not_http", "http_protocol_error", 502, Head, Upstream, Idempotent, false,
        "the upstream answered with something that is not HTTP",
        "what it answered is not HTTP", "not HTTP: {seen}",
        "What it answered is not HTTP: {seen}. Is {address} the port of another service, a database perhaps?", "causeway probe {address}";
    SpeaksTls = "speaks_tls", "http_protocol_error", 502, Head, Upstream, Idempotent, false,
        "the upstream speaks TLS on this port",
        "it speaks TLS on this port", "TLS where plain HTTP was expected",
        "{address} speaks TLS here, and causeway spoke plain HTTP. Write https:// for it in upstreams, or the app's plain HTTP port.", "causeway probe https://{address}/";
    SpeaksH2 = "speaks_h2", "http_protocol_error", 502, Head, Upstream, Idempotent, false,
        "the upstream speaks HTTP/2 only",
        "it speaks only HTTP/2 on this port", "HTTP/2 where HTTP/1.1 was expected",
        "{address} speaks only HTTP/2 here, and causeway spoke HTTP/1.1. Write \"h2c://{address}\" in upstreams.", "curl -i --http2-prior-knowledge http://{address}/";
    InvalidHead = "invalid_head", "http_protocol_error", 502, Head, Upstream, Idempotent, false,
        "the upstream's response head breaks the rules of HTTP",
        "its response head breaks the rules of HTTP", "invalid response head: {seen}",
        "Its response head breaks the rules of HTTP: {seen}. This is a fault in the app or its framework.", "curl -iv http://{address}/";
    ResponseHeadTooLarge = "response_head_too_large", "http_response_header_section_size", 502, Head, Upstream, Never, false,
        "the upstream's response head is larger than the limit",
        "its response head is larger than {limit}", "response head larger than {limit}",
        "Its response head is larger than {limit} (limit: buffers.response_head). Raise it, or find what grows: usually Set-Cookie.", "causeway probe http://{address}/";
    BadChunking = "bad_chunking", "http_response_transfer_coding", 502, Body, Upstream, Idempotent, false,
        "the chunks of the upstream's response body are broken",
        "the chunks of its response body are broken", "broken chunk in the response body: {seen}",
        "The chunks of its response body are broken: {seen}. This is a fault in the app or its framework.", "curl -iv --raw http://{address}/";
    H2StreamRefused = "h2_stream_refused", "connection_terminated", 502, Head, Upstream, Any, false,
        "the upstream refused the HTTP/2 stream, and did nothing with it",
        "it refused the HTTP/2 stream", "HTTP/2 stream refused: {seen}",
        "It refused the HTTP/2 stream: {seen}. Is it shutting down, or at its own limit of streams?", "causeway probe {address}";
    H2ProtocolError = "h2_protocol_error", "http_protocol_error", 502, Head, Upstream, Idempotent, false,
        "the exchange over HTTP/2 ended with an error",
        "its HTTP/2 ended with an error", "HTTP/2 error: {seen}",
        "Its HTTP/2 ended with an error: {seen}. Does {address} speak HTTP/2 without TLS (h2c)?", "causeway probe {address}";
    ReadTimeout = "read_timeout", "connection_read_timeout", 504, Head, Upstream, Idempotent, true,
        "the upstream took the request and did not answer in time",
        "it took the request, then was silent for {limit}", "no response head within {limit}",
        "It took the request, then was silent for {limit} (limit: timeouts.read). Is it stuck, or is this route slow and needs a longer limit?", "causeway explain read_timeout";
    WriteTimeout = "write_timeout", "connection_write_timeout", 504, Request, Upstream, Idempotent, true,
        "the upstream stopped taking the request",
        "it took nothing more of the request for {limit}", "nothing of the request taken for {limit}",
        "It took nothing more of the request for {limit} (limit: timeouts.write). Does the app read request bodies?", "causeway explain write_timeout";
    RequestTimeout = "request_timeout", "http_response_timeout", 504, Head, Upstream, Never, true,
        "the whole exchange took longer than allowed",
        "the whole exchange took longer than {limit}", "not complete within {limit}",
        "The whole exchange took longer than {limit} (limit: timeouts.request). Give this route a longer limit if it needs it.", "causeway explain request_timeout";
    TruncatedBody = "truncated_body", "http_response_incomplete", 502, Body, Upstream, Idempotent, false,
        "the upstream's response body ended too early",
        "its response body ended too early", "response body cut off: {seen}",
        "Its response body ended too early: {seen}. Did the app crash while answering?", "curl -i http://{address}/";
    BodyTimeout = "body_timeout", "connection_read_timeout", 504, Body, Upstream, Idempotent, true,
        "the upstream fell silent within the response body",
        "it fell silent for {limit} within the response body", "silent for {limit} within the response body",
        "It fell silent for {limit} within the response body (limit: timeouts.body). Is it stuck, or does it pause for so long?", "causeway explain body_timeout";
    UpgradeFailed = "upgrade_failed", "http_upgrade_failed", 502, Head, Upstream, Never, false,
        "the upstream switched to a protocol that nobody asked for",
        "it switched to a protocol that was not asked for", "unexpected 101: {seen}",
        "It answered 101 for a protocol that was not asked for: {seen}. This is a fault in the app or its framework.", "curl -i http://{address}/";
    LoopDetected = "loop_detected", "proxy_loop_detected", 502, Queue, Proxy, Never, false,
        "the request has been through this causeway before",
        "the request came back to this causeway", "the request has been through this causeway before",
        "This request has been through this causeway before: an upstream points back here. Compare listen with upstreams.", "causeway check";
    HealthStatus = "health_status", "", 0, Head, Upstream, Any, false,
        "the health check got a status that it does not want",
        "its health check {seen}", "health check {seen}",
        "Health check {seen}.", "curl -i http://{address}/";
    HealthBody = "health_body", "", 0, Body, Upstream, Any, false,
        "the health check did not find the text that it wants",
        "its health check {seen}", "health check {seen}",
        "Health check {seen}.", "curl -i http://{address}/";
    Evicted = "evicted", "destination_unavailable", 502, Queue, Upstream, Any, false,
        "the upstream is evicted: its checks or requests to it failed, so it gets no traffic",
        "its health checks failed while it had the request", "evicted while it had the request",
        "Its health checks failed while it had the request.", "causeway probe {address}";
    Draining = "draining", "destination_unavailable", 502, Queue, Proxy, Any, false,
        "the operator drains the upstream, so it gets nothing new",
        "it is being drained", "being drained",
        "It is being drained: what it has may end, and it gets nothing new. Enable it when it may work again.", "causeway explain draining";
    Disabled = "disabled", "destination_unavailable", 502, Queue, Proxy, Any, false,
        "the operator has switched the upstream off",
        "it is switched off", "switched off",
        "It is switched off. Enable it when it may work again.", "causeway explain disabled";
    ClientClosed = "client_closed", "", 499, Request, Client, Never, false,
        "the client went away before it had its answer",
        "the client went away before it had its answer", "client gone before it had its answer",
        "The client closed the connection before it had its answer.", "";
    ClientTimeout = "client_timeout", "http_request_error", 408, Request, Client, Never, false,
        "the client did not send its request in time",
        "the request was not complete in time", "request not complete in time: {seen}",
        "The request was not complete in time: {seen}.", "";
    ClientInvalid = "client_invalid", "http_request_error", 400, Request, Client, Never, false,
        "the client's request breaks the rules of HTTP",
        "the request breaks the rules of HTTP", "invalid request: {seen}",
        "The request breaks the rules of HTTP: {seen}.", "";
    ClientTooLarge = "client_too_large", "http_request_error", 413, Request, Client, Never, false,
        "the client's request is larger than a limit",
        "the request is larger than allowed", "request too large: {seen}",
        "The request is larger than allowed: {seen}.", "";
    NoRoute = "no_route", "destination_not_found", 404, Queue, Proxy, Never, false,
        "no route takes this host, path and method",
        "no route takes this host, path and method", "no route takes {seen}",
        "No route takes {seen}.", "causeway check --url http://{address}/";
    Denied = "denied", "http_request_denied", 403, Queue, Client, Never, false,
        "the client's address may not use this route",
        "the client's address may not use this route", "address not allowed: {seen}",
        "The address that this request comes from may not use this route: {seen}.", "";
    Unauthorized = "unauthorized", "http_request_denied", 401, Queue, Client, Never, false,
        "the route wants a name and a password, and got none or the wrong ones",
        "the route wants a name and a password", "no right to come in: {seen}",
        "This route wants a name and a password: {seen}.", "";
    RateLimited = "rate_limited", "http_request_error", 429, Queue, Client, Never, false,
        "the client sent more requests than the route lets it",
        "the client sent more requests than the route lets it", "more than {limit}",
        "One client address may send {limit} to this route, and this is more.", "";
    ProxyBusy = "proxy_busy", "proxy_internal_response", 503, Queue, Proxy, Never, false,
        "the listener has as many requests as it may have",
        "causeway has as many requests as it may have", "as many requests as allowed: {limit}",
        "causeway has as many requests at once as this listener may have: {limit}.", "causeway explain proxy_busy";
    ShuttingDown = "shutting_down", "proxy_internal_response", 503, Queue, Proxy, Never, false,
        "causeway is shutting down",
        "causeway is shutting down", "shutting down",
        "causeway is restarting. Try again in a moment.", "";
    Bug = "bug", "proxy_internal_error", 500, Queue, Proxy, Never, false,
        "a fault in causeway",
        "a fault in causeway", "a fault in causeway",
        "This is a fault in causeway. Please report it with the request id.", "";
}
