//! What is known of failures of an upstream that had the connection: late, broken and missing answers.

use super::{Lore, NOTHING};

pub(super) const LORE: &[Lore] = &[
    Lore {
        token: "stale_connection",
        brief: "a kept connection was closed as the request went out",
        limits: &[("connections.idle", "how long a connection is kept without use")],
        reasons: &[
            "the app closes idle connections sooner than causeway does (Node after 5 s, gunicorn after 2 s)",
            "the app was restarted",
        ],
        steps: &[
            ("How long does the app keep them?", "causeway probe --deep http://ADDRESS:PORT/"),
            ("Close them before the app does", "connections.idle = \"1s\""),
            ("Or let the app keep them longer", "server.keepAliveTimeout = 65000 in Node"),
        ],
        nginx: &["upstream prematurely closed connection while reading response header from upstream"],
        haproxy: &["SH"],
        envoy: &["UC"],
        cloudflare: &["520"],
        also: &["ECONNRESET", "EPIPE", "socket hang up"],
    },
    Lore {
        token: "closed_without_response",
        brief: "took the request, then closed without an answer",
        limits: &[],
        reasons: &[
            "the app crashed on this request, or was killed (out of memory)",
            "a worker of it ran into its own time limit",
            "it was restarted without ending what it had",
            "it does not take the Host of the request (nginx: return 444)",
        ],
        steps: &[
            ("What does the app's log say?", "docker logs --since 5m CONTAINER"),
            ("Was it killed?", "journalctl -k --since -1h"),
            ("Does this one request do it?", "causeway probe http://ADDRESS:PORT/PATH"),
            ("Is it the Host? Send its own", "host_header = \"upstream\""),
            ("Keep a deadly request to one", "[route.NAME.retry] resend = 0"),
        ],
        nginx: &["upstream prematurely closed connection while reading response header from upstream"],
        haproxy: &["SH"],
        envoy: &["UC", "URX"],
        cloudflare: &["520"],
        also: &[
            "Error reading from remote server",
            "AH01102 error reading status line from remote server",
            "socket hang up",
            "EOF",
            "Empty reply from server",
            "upstream connect error or disconnect/reset before headers",
        ],
    },
    Lore {
        token: "reset_before_head",
        limits: &[],
        reasons: &[
            "the app crashed, or closed with part of the request unread",
            "a firewall between cut a connection that was silent for long",
        ],
        steps: &[
            ("What does the app's log say?", "docker logs --since 5m CONTAINER"),
            ("Does this one request do it?", "causeway probe http://ADDRESS:PORT/PATH"),
            ("Large uploads? Let the app read", ""),
        ],
        nginx: &[
            "recv() failed Connection reset by peer while reading response header from upstream",
            "writev() failed Connection reset by peer while sending request to upstream",
            "writev() failed Broken pipe while sending request to upstream",
        ],
        haproxy: &["SH"],
        envoy: &["UR", "UC", "URX"],
        cloudflare: &["520"],
        also: &["ECONNRESET", "connection reset by peer"],
        ..NOTHING
    },
    Lore {
        token: "truncated_head",
        limits: &[],
        reasons: &["the app crashed while it wrote the head of its answer", "what stands between cut the connection"],
        steps: &[
            ("What does the app's log say?", "docker logs --since 5m CONTAINER"),
            ("See what comes", "causeway probe http://ADDRESS:PORT/PATH"),
        ],
        nginx: &["upstream prematurely closed connection while reading response header from upstream"],
        haproxy: &["SH", "PH"],
        envoy: &["UPE"],
        cloudflare: &["520"],
        also: &["unexpected EOF"],
        ..NOTHING
    },
    Lore {
        token: "not_http",
        limits: &[],
        reasons: &[
            "the port belongs to something else: a database, SSH, a debugger",
            "the app speaks another protocol (FastCGI, uwsgi)",
        ],
        steps: &[
            ("See its first bytes", "causeway probe ADDRESS:PORT"),
            ("Whose port is it?", "ss -ltnp"),
            ("PHP-FPM or uwsgi?", "put an HTTP server in front of it"),
        ],
        nginx: &["upstream sent no valid HTTP/1.0 header while reading response header from upstream"],
        haproxy: &["PH", "L7RSP"],
        envoy: &["UPE"],
        cloudflare: &["520"],
        also: &["malformed HTTP response", "HPE_INVALID_CONSTANT"],
        ..NOTHING
    },
    Lore {
        token: "speaks_tls",
        limits: &[],
        reasons: &["the port takes https only", "it answers plain HTTP with 400, and says so (nginx, Apache, Go)"],
        steps: &[
            ("Make sure", "curl -ik https://ADDRESS:PORT/"),
            ("Let causeway speak TLS to it", "upstreams = [\"https://ADDRESS:PORT\"]"),
            ("Or use the app's plain HTTP port", "upstreams = [\"ADDRESS:PLAIN_PORT\"]"),
        ],
        nginx: &["upstream sent no valid HTTP/1.0 header while reading response header from upstream"],
        haproxy: &["PH"],
        envoy: &["UPE"],
        cloudflare: &["520"],
        also: &["The plain HTTP request was sent to HTTPS port", "Client sent an HTTP request to an HTTPS server"],
        ..NOTHING
    },
    Lore {
        token: "speaks_h2",
        limits: &[],
        reasons: &["the port takes HTTP/2 only, as gRPC servers do"],
        steps: &[
            ("Make sure", "curl -i --http2-prior-knowledge http://ADDRESS:PORT/"),
            ("Let causeway speak HTTP/2 to it", "upstreams = [\"h2c://ADDRESS:PORT\"]"),
            ("Or name a port with HTTP/1.1", "upstreams = [\"ADDRESS:OTHER_PORT\"]"),
        ],
        nginx: &["upstream sent no valid HTTP/1.0 header while reading response header from upstream"],
        haproxy: &["PH"],
        envoy: &["UPE"],
        cloudflare: &["520"],
        ..NOTHING
    },
    Lore {
        token: "invalid_head",
        limits: &[],
        reasons: &[
            "a field with a line break, a space in its name, or two lengths that differ",
            "both Content-Length and Transfer-Encoding from the app or its framework",
        ],
        steps: &[
            ("See the head", "causeway probe http://ADDRESS:PORT/PATH"),
            ("See it byte by byte", "curl -s -D - -o /dev/null http://ADDRESS:PORT/PATH"),
        ],
        nginx: &[
            "upstream sent invalid header while reading response header from upstream",
            "upstream sent duplicate header line",
            "upstream sent both Transfer-Encoding and Content-Length headers",
            "upstream sent invalid Content-Length header",
        ],
        haproxy: &["PH", "L7RSP"],
        envoy: &["UPE"],
        cloudflare: &["520"],
        also: &["HPE_UNEXPECTED_CONTENT_LENGTH"],
        ..NOTHING
    },
    Lore {
        token: "response_head_too_large",
        limits: &[("buffers.response_head", "how large a response head may be")],
        reasons: &[
            "cookies that grow with each request: whole sessions, many Set-Cookie fields",
            "debug fields, long Link or Content-Security-Policy fields",
        ],
        steps: &[
            ("Which field is it?", "causeway probe http://ADDRESS:PORT/PATH"),
            ("Keep the session in the app", "and only its id in the cookie"),
            ("Or take larger heads", "buffers.response_head = \"128KiB\""),
        ],
        nginx: &["upstream sent too big header while reading response header from upstream"],
        haproxy: &["PH"],
        envoy: &["UPE"],
        cloudflare: &["520"],
        also: &["HPE_HEADER_OVERFLOW", "proxy_buffer_size", "http_response_header_size"],
        ..NOTHING
    },
    Lore {
        token: "bad_chunking",
        limits: &[],
        reasons: &["the app writes chunks by hand, and wrongly", "two parts of it wrote to one connection"],
        steps: &[("See the bytes", "curl -i --raw http://ADDRESS:PORT/PATH"), ("Let the framework write chunks", "")],
        nginx: &["upstream sent invalid chunked response while reading upstream"],
        haproxy: &["PD"],
        envoy: &["UPE"],
        cloudflare: &["520"],
        also: &["HPE_INVALID_CHUNK_SIZE", "ERR_INCOMPLETE_CHUNKED_ENCODING"],
        ..NOTHING
    },
    Lore {
        token: "h2_stream_refused",
        limits: &[],
        reasons: &["the app is shutting down", "it has as many streams as it takes at once"],
        steps: &[
            ("Try it from here", "causeway probe ADDRESS:PORT"),
            ("Is it restarting?", "docker ps"),
            ("Raise the app's own limit", "MAX_CONCURRENT_STREAMS in its settings"),
        ],
        haproxy: &["SH"],
        envoy: &["UR"],
        cloudflare: &["520"],
        also: &["REFUSED_STREAM", "GOAWAY", "server sent GOAWAY and closed the connection"],
        nginx: &["upstream rejected request with error", "upstream sent goaway with error"],
        ..NOTHING
    },
    Lore {
        token: "h2_protocol_error",
        limits: &[],
        reasons: &["the port does not speak HTTP/2 without TLS (h2c)", "a fault in the app's HTTP/2"],
        steps: &[
            ("Try it from here", "causeway probe ADDRESS:PORT"),
            ("Does it speak h2c?", "curl -i --http2-prior-knowledge http://ADDRESS:PORT/"),
            ("If not, ask it in HTTP/1.1", "upstreams = [\"ADDRESS:PORT\"]"),
        ],
        haproxy: &["SH"],
        envoy: &["UPE"],
        cloudflare: &["520"],
        also: &["PROTOCOL_ERROR", "ERR_HTTP2_PROTOCOL_ERROR"],
        nginx: &[
            "upstream rejected request with error",
            "upstream sent goaway with error",
            "upstream sent frame for unknown stream",
            "upstream sent frame for closed stream",
        ],
        ..NOTHING
    },
    Lore {
        token: "read_timeout",
        limits: &[("timeouts.read", "how long the response head may take")],
        reasons: &[
            "a slow query or a lock",
            "no free worker or connection in the app",
            "a call from the app to somebody else, without a timeout",
        ],
        steps: &[
            ("Time the app itself", "causeway probe http://ADDRESS:PORT/PATH"),
            ("One upstream or all?", "causeway status"),
            ("Only one route is slow?", "[route.NAME.timeouts] read = \"5m\""),
            ("Fail over sooner", "set timeouts.read below retry.deadline"),
            ("Notice a stuck app", "health.path = \"/healthz\""),
        ],
        nginx: &["upstream timed out while reading response header from upstream"],
        haproxy: &["sH", "L7TOUT"],
        envoy: &["UT"],
        cloudflare: &["524"],
        also: &["upstream request timeout", "timeout awaiting response headers", "proxy_read_timeout"],
        ..NOTHING
    },
    Lore {
        token: "write_timeout",
        limits: &[("timeouts.write", "how long the upstream may take nothing of the request")],
        reasons: &[
            "the app is stuck, and reads no more",
            "it does not read uploads at all",
            "its disk is full or slow",
        ],
        steps: &[
            ("Time the app itself", "causeway probe http://ADDRESS:PORT/PATH"),
            ("Is its disk full?", "df -h"),
            ("Slow on purpose?", "[route.NAME.timeouts] write = \"5m\""),
        ],
        nginx: &["upstream timed out while sending request to upstream"],
        haproxy: &["sD"],
        envoy: &["UT"],
        cloudflare: &["520"],
        also: &["proxy_send_timeout"],
        ..NOTHING
    },
    Lore {
        token: "request_timeout",
        limits: &[("timeouts.request", "how long the whole exchange may take, all attempts together")],
        reasons: &[
            "several slow attempts one after the other",
            "a long download under a limit meant for short answers",
        ],
        steps: &[
            ("Give each attempt less", "set timeouts.read below timeouts.request"),
            ("Long answers on one route?", "[route.NAME.timeouts] request = \"off\""),
        ],
        haproxy: &[],
        envoy: &["UT", "UMSDR", "DT"],
        also: &["context deadline exceeded"],
        ..NOTHING
    },
    Lore {
        token: "truncated_body",
        limits: &[("buffers.response", "answers up to this length are held until they are whole")],
        reasons: &[
            "the app crashed or was killed while answering",
            "it gave a length that it did not keep",
            "it was restarted in the middle",
        ],
        steps: &[
            ("What does the app's log say?", "docker logs --since 5m CONTAINER"),
            ("How far does it come?", "curl -sS -o /dev/null http://ADDRESS:PORT/PATH"),
            ("Hold longer answers", "buffers.response = \"1MiB\""),
        ],
        nginx: &[
            "upstream prematurely closed connection while reading upstream",
            "recv() failed Connection reset by peer while reading upstream",
        ],
        haproxy: &["SD"],
        envoy: &["UC"],
        cloudflare: &["520"],
        also: &[
            "ERR_CONTENT_LENGTH_MISMATCH",
            "unexpected EOF",
            "transfer closed with outstanding read data remaining",
        ],
        ..NOTHING
    },
    Lore {
        token: "body_timeout",
        limits: &[
            ("timeouts.body", "the longest silence inside the response body"),
            ("timeouts.tunnel", "the longest silence in an upgraded connection"),
            ("buffers.response", "answers up to this length are held until they are whole"),
        ],
        reasons: &[
            "the app stalls in the middle of an answer",
            "a stream of events with nothing to say for long",
            "a WebSocket without pings",
        ],
        steps: &[
            ("Watch it come", "curl -sN http://ADDRESS:PORT/PATH"),
            ("A stream of events?", "let the app send a comment line now and then"),
            ("Only one route is slow?", "[route.NAME.timeouts] body = \"1h\""),
        ],
        nginx: &["upstream timed out while reading upstream"],
        haproxy: &["sD"],
        envoy: &["SI"],
        cloudflare: &["520"],
        ..NOTHING
    },
    Lore {
        token: "upgrade_failed",
        limits: &[],
        reasons: &[
            "the app answers 101 to a request that asked for no upgrade, or for another one",
            "it speaks HTTP/2 alone, and takes no WebSockets that way",
        ],
        steps: &[
            ("See what it answers", "causeway probe http://ADDRESS:PORT/PATH"),
            ("Is it the WebSocket's path?", "compare it with the app's routes"),
        ],
        nginx: &[],
        also: &["websocket", "Error during WebSocket handshake", "bad handshake"],
        ..NOTHING
    },
];
