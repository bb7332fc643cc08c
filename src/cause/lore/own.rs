//! What is known of failures that no answer of an upstream is behind: limits, checks, the operator's word, clients,
//! causeway itself.

use super::{Lore, NOTHING, SWITCH};

pub(super) const LORE: &[Lore] = &[
    Lore {
        token: "upstream_busy",
        brief: "every upstream left has all the requests it may have",
        limits: &[
            ("limits.in_flight", "requests at once on each upstream"),
            ("limits.queue", "how many may wait for a slot"),
            ("limits.queue_timeout", "and how long"),
        ],
        reasons: &[
            "more requests than the upstreams can take",
            "slow answers that hold their slots",
            "fewer upstreams than usual, because others are evicted",
        ],
        steps: &[
            ("How many are usable?", "causeway status"),
            ("Let short bursts wait", "limits.queue = 100"),
            ("Can the app take more?", "limits.in_flight = 200"),
            ("Or add upstreams", ""),
        ],
        nginx: &["limiting connections by zone"],
        haproxy: &["sQ"],
        envoy: &["UO"],
        also: &["upstream connect error overflow", "circuit breaker"],
        ..NOTHING
    },
    Lore {
        token: "queue_timeout",
        limits: &[
            ("limits.queue_timeout", "how long a request may wait for a slot"),
            ("limits.queue", "how many may wait"),
            ("limits.in_flight", "requests at once on each upstream"),
        ],
        reasons: &[
            "more requests than the upstreams can take, for longer than a moment",
            "slow answers that hold their slots",
        ],
        steps: &[
            ("How many are usable?", "causeway status"),
            ("Can the app take more?", "limits.in_flight = 200"),
            ("Or add upstreams", ""),
        ],
        haproxy: &["sQ"],
        envoy: &["UO"],
        also: &["timeout queue"],
        ..NOTHING
    },
    Lore {
        token: "loop_detected",
        limits: &[],
        reasons: &["an upstream is causeway's own address", "an upstream is a proxy that sends requests back here"],
        steps: &[("Compare listen and upstreams", "causeway check"), ("Where does it lead?", "causeway probe")],
        nginx: &["worker_connections are not enough", "rewrite or internal redirection cycle"],
        also: &["ERR_TOO_MANY_REDIRECTS", "forwarding loop"],
        ..NOTHING
    },
    Lore {
        token: "health_status",
        limits: &[
            ("health.expect_status", "statuses that pass"),
            ("health.unhealthy_after", "failures in a row that evict"),
            ("health.interval", "between two checks"),
        ],
        reasons: &[
            "the app says that it is not well, for what its own check looks at",
            "the path does not exist (404), wants a login (401), or leads elsewhere",
            "the app does not know the name in Host: it gets its own address",
        ],
        steps: &[
            ("Ask what the check asks", "causeway probe"),
            ("Another path", "health.path = \"/healthz\""),
            ("Another Host", "health.host_header = \"shop.example\""),
            ("Other statuses are fine", "health.expect_status = \"200-499\""),
        ],
        haproxy: &["L7STS"],
        also: &["health check failed", "unhealthy"],
        ..NOTHING
    },
    Lore {
        token: "health_body",
        limits: &[
            ("health.expect_body", "the text that must be in the first 64 KiB"),
            ("health.unhealthy_after", "failures in a row that evict"),
        ],
        reasons: &["the app's answer has changed", "a page in its place: a login, a default page, an error with 200"],
        steps: &[("Ask what the check asks", "causeway probe"), ("Another text", "health.expect_body = \"ok\"")],
        haproxy: &["L7RSP"],
        ..NOTHING
    },
    Lore {
        token: "evicted",
        brief: "its checks or requests failed: it gets no traffic",
        limits: &[
            ("when_all_evicted", "whether evicted ones are tried when nobody else is left"),
            ("health.unhealthy_after", "checks in a row that evict"),
            ("passive.connect_failures", "failures to connect in a row that evict"),
            ("passive.gateway_failures", "other failures in a row that evict"),
            ("passive.evict", "how long traffic evicts at first"),
            ("wait", "how long a request may wait for one to come back"),
        ],
        reasons: &["its health checks fail", "requests to it failed several times in a row"],
        steps: &[
            ("What fails there?", "causeway probe"),
            ("How many are usable?", "causeway status"),
            ("Try evicted ones before a 502", "when_all_evicted = \"try\""),
            ("Let requests wait for a return", "wait = \"5s\""),
        ],
        nginx: &["no live upstreams while connecting to upstream", "upstream server temporarily disabled"],
        haproxy: &["<NOSRV>", "SC"],
        envoy: &["UH", "LH"],
        also: &["no healthy upstream", "no upstreams available", "no server is available to handle this request"],
        ..NOTHING
    },
    Lore {
        token: "draining",
        brief: "the operator drains it: it gets nothing new",
        limits: &[("wait", "how long a request may wait for an upstream to come back")],
        reasons: &["the operator said so, for a deploy perhaps, and nobody has taken it back"],
        steps: &[("Give it requests again", SWITCH)],
        haproxy: &["<NOSRV>"],
        envoy: &["UH"],
        also: &["DRAIN"],
        ..NOTHING
    },
    Lore {
        token: "disabled",
        limits: &[("wait", "how long a request may wait for an upstream to come back")],
        reasons: &["the operator has switched it off, and nobody has taken it back"],
        steps: &[("Give it requests again", SWITCH)],
        haproxy: &["<NOSRV>"],
        envoy: &["UH"],
        also: &["MAINT"],
        ..NOTHING
    },
    Lore {
        token: "client_closed",
        limits: &[("timeouts.read", "how long the response head may take")],
        reasons: &[
            "the user went on or pressed stop",
            "a client or a proxy in front has a shorter timeout than the app needs",
        ],
        steps: &[
            ("How long did they wait?", "look at elapsed_ms in the access log"),
            ("Is the app slow?", "causeway probe http://ADDRESS:PORT/PATH"),
        ],
        nginx: &["client prematurely closed connection", "client closed connection", "client canceled stream"],
        haproxy: &["CC", "CH", "CD", "CQ", "CR", "CT"],
        envoy: &["DC", "DR"],
        also: &["context canceled", "ECONNABORTED"],
        ..NOTHING
    },
    Lore {
        token: "client_timeout",
        limits: &[
            ("listener.NAME.timeouts.head", "how long a request head may take"),
            (
                "listener.NAME.timeouts.body",
                "the longest silence inside a request body, or of a client that takes nothing",
            ),
        ],
        reasons: &[
            "a slow or broken network of the client",
            "a client that opens connections and says nothing (Slowloris)",
            "a gRPC client whose own limit was over (grpc-timeout)",
        ],
        steps: &[
            ("Only uploads from afar?", "[listener.main.timeouts] body = \"5m\""),
            ("Who is it?", "look at client in the access log"),
        ],
        nginx: &["client timed out"],
        haproxy: &["cR", "cD", "cH"],
        envoy: &["SI"],
        also: &["Request Timeout"],
        ..NOTHING
    },
    Lore {
        token: "client_invalid",
        limits: &[],
        reasons: &[
            "a client that writes HTTP by hand, or a scanner",
            "two lengths, or a length and chunks: a request that two readers would cut differently",
        ],
        steps: &[
            ("What was wrong with it?", "causeway explain REQUEST-ID"),
            ("See what the client sends", "curl -v http://CAUSEWAY/PATH"),
        ],
        nginx: &[
            "client sent invalid request",
            "client sent invalid header line",
            "client sent invalid method",
            "client sent HTTP/1.1 request without Host header",
            "client sent plain HTTP request to HTTPS port",
        ],
        haproxy: &["PR"],
        envoy: &["DPE", "IH"],
        also: &["Bad Request", "417", "421", "497", "501"],
        ..NOTHING
    },
    Lore {
        token: "client_too_large",
        limits: &[
            ("route.NAME.max_body", "bytes of a request body, else 413"),
            ("listener.NAME.limits.head", "a request head, else 431 (414 for its first line)"),
            ("listener.NAME.limits.fields", "fields of a request, else 431"),
        ],
        reasons: &["an upload that is larger than the route allows", "cookies that have grown, or a form sent by GET"],
        steps: &[
            ("Which limit was it?", "causeway explain REQUEST-ID"),
            ("Larger uploads on one route", "[route.NAME] max_body = \"100MiB\""),
            ("Larger heads", "[listener.main.limits] head = \"64KiB\""),
        ],
        nginx: &[
            "client intended to send too large body",
            "client sent too large request",
            "client sent too long URI",
            "client sent too long header line",
        ],
        haproxy: &["PR"],
        envoy: &["DPE"],
        also: &[
            "Request Entity Too Large",
            "Payload Too Large",
            "client_max_body_size",
            "414",
            "URI Too Long",
            "431",
            "Request Header Fields Too Large",
            "Request Header Or Cookie Too Large",
            "494",
        ],
        ..NOTHING
    },
    Lore {
        token: "no_route",
        limits: &[],
        reasons: &[
            "no route has this host, or this path (405: this method)",
            "Host is not what the routes expect: an address, a port, www",
        ],
        steps: &[
            ("Where would it go?", "causeway check FILE --url http://HOST/PATH"),
            ("A route for all the rest", "[route.rest] pool = \"POOL\""),
        ],
        envoy: &["NR", "NC"],
        also: &["Not Found", "default backend - 404", "405", "Method Not Allowed"],
        ..NOTHING
    },
    Lore {
        token: "denied",
        limits: &[
            ("route.NAME.deny", "networks that may not come in, whatever allow says"),
            ("route.NAME.allow", "networks that may come in, where only some may"),
            ("trusted_proxies", "whose word on the client's address is believed"),
        ],
        reasons: &[
            "the client is in deny, or not in allow",
            "a proxy in front is not in trusted_proxies, so that its address counts in place of the client's",
        ],
        steps: &[
            ("Who was it?", "look at client in the access log"),
            ("What does the route ask for?", "causeway check FILE --url http://HOST/PATH"),
            ("Is there a proxy in front?", "trusted_proxies = [\"private\"]"),
        ],
        nginx: &["access forbidden by rule"],
        haproxy: &["PR", "PT"],
        envoy: &["RBAC"],
        also: &["Forbidden", "rbac_access_denied", "destination_ip_prohibited"],
        ..NOTHING
    },
    Lore {
        token: "unauthorized",
        brief: "a name and a password are wanted, or were wrong",
        limits: &[("route.NAME.basic_auth", "the file of names and bcrypt hashes")],
        reasons: &[
            "a client that has not been asked before: a browser now asks its user",
            "a wrong name or password",
            "a user who is not in the file, or was not when causeway read it",
        ],
        steps: &[
            ("Try it", "curl -i -u NAME http://HOST/PATH"),
            ("A new password", "htpasswd -B -C 10 FILE NAME"),
            ("Is the file as it should be?", "causeway check"),
        ],
        nginx: &[
            "no user/password was provided for basic authentication",
            "password mismatch",
            "was not found in htpasswd",
        ],
        haproxy: &["PR"],
        envoy: &["UAEX"],
        also: &["Unauthorized", "WWW-Authenticate"],
        ..NOTHING
    },
    Lore {
        token: "rate_limited",
        brief: "the client sent more than route.NAME.rate_limit",
        limits: &[
            ("route.NAME.rate_limit", "requests of one client address"),
            ("trusted_proxies", "whose word on the client's address is believed"),
        ],
        reasons: &[
            "a client that asks too often, or tries again without a pause",
            "many people behind one address",
            "a proxy in front is not in trusted_proxies, so that all its clients count as one",
        ],
        steps: &[
            ("Who was it?", "look at client in the access log"),
            ("Allow more", "[route.NAME] rate_limit = \"200/s\""),
            ("Is there a proxy in front?", "trusted_proxies = [\"private\"]"),
        ],
        nginx: &["limiting requests"],
        haproxy: &["PR"],
        envoy: &["RL", "RLSE"],
        also: &["Too Many Requests", "limit_req"],
        ..NOTHING
    },
    Lore {
        token: "proxy_busy",
        limits: &[("listener.NAME.limits.in_flight", "requests at once over all its connections")],
        reasons: &[
            "more requests than the listener may have",
            "slow answers, so that requests pile up",
            "memory is short, near the limit of the process or of its container",
        ],
        steps: &[
            ("Is the app slow?", "causeway probe"),
            ("Can it take more?", "[listener.main.limits] in_flight = 2000"),
            ("Is memory short?", "[listener.main.limits] connections = 1000"),
            ("Keep less of each request", "[pool.app.buffers] request = \"16KiB\""),
        ],
        nginx: &["limiting connections"],
        envoy: &["OM", "UO", "DO"],
        also: &["Service Unavailable"],
        ..NOTHING
    },
    Lore {
        token: "shutting_down",
        limits: &[
            ("shutdown.grace", "how long new requests still come in, while /readyz says no"),
            ("shutdown.timeout", "then what still runs is cut"),
        ],
        reasons: &["causeway was asked to end (a deploy, docker stop), and the request came in its last second"],
        steps: &[
            ("Let balancers look away first", "[shutdown] grace = \"10s\""),
            ("Long requests need longer", "[shutdown] timeout = \"25s\""),
            ("Docker must wait as long", "docker stop -t 40 CONTAINER"),
        ],
        envoy: &["OM"],
        also: &["Service Unavailable"],
        ..NOTHING
    },
    Lore {
        token: "bug",
        limits: &[],
        reasons: &["a fault in causeway, not in the app"],
        steps: &[
            ("Find what was said", "causeway explain REQUEST-ID"),
            ("Report it", "with the request id and the event \"panicked\""),
        ],
        haproxy: &["I"],
        also: &["Internal Server Error", "panic"],
        ..NOTHING
    },
];
