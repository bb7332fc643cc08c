//! What is known of failures before anything was sent: names, routes, connections, what the machine has no more of.

use super::{Lore, NOTHING};

pub(super) const LORE: &[Lore] = &[
    Lore {
        token: "dns_not_found",
        limits: &[("timeouts.resolve", "how long a name may take to have an address")],
        reasons: &[
            "a typo in the name",
            "the container that has it is not on the same network, or not up yet",
            "it is the name of a container of another project, not of a service of this one",
        ],
        steps: &[
            ("Ask as causeway asks", "getent hosts NAME"),
            ("Look at names and addresses", "causeway probe"),
            ("One compose project?", "docker compose ps"),
        ],
        nginx: &["host not found in upstream", "could not be resolved Host not found"],
        haproxy: &["SC"],
        envoy: &["DF"],
        cloudflare: &["530"],
        also: &["ENOTFOUND", "NXDOMAIN", "no such host", "Name or service not known"],
        ..NOTHING
    },
    Lore {
        token: "dns_failure",
        limits: &[("timeouts.resolve", "how long a name may take to have an address")],
        reasons: &[
            "the name server has trouble of its own (SERVFAIL)",
            "name_servers, or else /etc/resolv.conf, names a server that does not serve this name",
            "the list of upstreams_file is missing, or is no list",
        ],
        steps: &[
            ("Ask as causeway asks", "getent hosts NAME"),
            ("Which name server is asked?", "cat /etc/resolv.conf"),
            ("Where is the list wrong?", "causeway check"),
            ("Known addresses stay in use", ""),
        ],
        nginx: &["could not be resolved Server failure", "no resolver defined to resolve"],
        haproxy: &["SC"],
        envoy: &["DF"],
        cloudflare: &["530"],
        also: &["SERVFAIL", "EAI_AGAIN", "Temporary failure in name resolution"],
        ..NOTHING
    },
    Lore {
        token: "dns_timeout",
        limits: &[("timeouts.resolve", "how long a name may take to have an address")],
        reasons: &[
            "the name server is down, or a firewall drops its answers",
            "name_servers, or else /etc/resolv.conf, names a server that cannot be reached from this container",
        ],
        steps: &[
            ("Ask as causeway asks", "getent hosts NAME"),
            ("Which name server is asked?", "cat /etc/resolv.conf"),
            ("Do without the name", "upstreams = [\"10.0.0.1:3000\"]"),
        ],
        nginx: &["could not be resolved Operation timed out"],
        haproxy: &["SC"],
        envoy: &["DF"],
        cloudflare: &["530"],
        also: &[],
        ..NOTHING
    },
    Lore {
        token: "unreachable",
        limits: &[],
        reasons: &[
            "the address belongs to another subnet, and no route leads there",
            "the container is not attached to that network",
            "the host is down, and its router says so",
        ],
        steps: &[
            ("Which way does it take?", "ip route get ADDRESS"),
            ("Try it from here", "causeway probe ADDRESS:PORT"),
        ],
        nginx: &["connect() failed No route to host", "connect() failed Network is unreachable"],
        haproxy: &["SC", "L4CON"],
        envoy: &["UF"],
        cloudflare: &["523"],
        also: &["EHOSTUNREACH", "ENETUNREACH", "target_connection_error"],
        ..NOTHING
    },
    Lore {
        token: "connection_refused",
        limits: &[],
        reasons: &[
            "the app is not running, or still starting",
            "it listens on another port",
            "it listens on 127.0.0.1 inside its own container, where nobody else gets in",
            "localhost means causeway's own container",
        ],
        steps: &[
            ("Try it from here", "causeway probe ADDRESS:PORT"),
            ("What listens where?", "ss -ltnp"),
            ("Let the app listen everywhere", "HOST=0.0.0.0 in many frameworks"),
            ("Starts slowly? Let requests wait", "wait = \"5s\""),
        ],
        nginx: &["connect() failed Connection refused while connecting to upstream"],
        haproxy: &["SC", "L4CON"],
        envoy: &["UF", "URX"],
        cloudflare: &["521"],
        also: &[
            "AH01114 failed to make connection to backend",
            "ECONNREFUSED",
            "connect: connection refused",
            "upstream connect error or disconnect/reset before headers",
            "target_connection_error",
        ],
        ..NOTHING
    },
    Lore {
        token: "connect_timeout",
        limits: &[("timeouts.connect", "how long the connection may take to stand")],
        reasons: &[
            "a firewall or a security group drops the packets",
            "the host is down",
            "the app takes no more connections: its queue of them is full",
        ],
        steps: &[
            ("Try it from here", "causeway probe ADDRESS:PORT"),
            ("On its host: is the queue full?", "ss -ltn"),
            ("Find out sooner", "timeouts.connect = \"1s\""),
        ],
        nginx: &[
            "upstream timed out while connecting to upstream",
            "connect() failed Connection timed out while connecting to upstream",
        ],
        haproxy: &["sC", "L4TOUT"],
        envoy: &["UF", "LR", "URX"],
        cloudflare: &["522"],
        also: &["ETIMEDOUT", "dial tcp i/o timeout", "target_connection_error"],
        ..NOTHING
    },
    Lore {
        token: "connect_reset",
        limits: &[],
        reasons: &[
            "the port belongs to a proxy or a load balancer with nothing behind it",
            "the app has more connections than it takes, and throws new ones out",
        ],
        steps: &[
            ("Try it from here", "causeway probe ADDRESS:PORT"),
            ("Whose port is it?", "ss -ltnp"),
            ("Keep connections instead", "connections.max_idle = 128"),
        ],
        nginx: &[
            "connect() failed Connection reset by peer",
            "recv() failed Connection reset by peer while connecting",
        ],
        haproxy: &["SC", "L4CON"],
        envoy: &["UF", "URX"],
        cloudflare: &["522"],
        also: &["ECONNRESET", "target_connection_error"],
        ..NOTHING
    },
    Lore {
        token: "ports_exhausted",
        brief: "no local port is free for the connection",
        limits: &[
            ("connections.max_idle", "how many connections are kept for each upstream"),
            ("connections.idle", "and how long"),
        ],
        reasons: &[
            "the app closes each connection after one answer, so every request takes a port, for a minute after its end",
            "many upstreams behind one address",
        ],
        steps: &[
            ("How many are in use?", "ss -s"),
            ("Let the app keep connections", "Connection: keep-alive in its answers"),
            ("Widen the range", "sysctl -w net.ipv4.ip_local_port_range='1024 65535'"),
        ],
        nginx: &["connect() failed Cannot assign requested address"],
        haproxy: &["RC", "SOCKERR"],
        envoy: &["UF"],
        also: &["EADDRNOTAVAIL"],
        ..NOTHING
    },
    Lore {
        token: "files_exhausted",
        limits: &[("listener.NAME.limits.connections", "connections of clients at once")],
        reasons: &["the limit of open files is lower than the number of connections, two for each request"],
        steps: &[
            ("What is the limit?", "ulimit -n"),
            ("Raise it: systemd", "LimitNOFILE=65536"),
            ("Raise it: Docker", "docker run --ulimit nofile=65536"),
            ("Or let fewer clients in", "[listener.main.limits] connections = 5000"),
        ],
        nginx: &["Too many open files", "worker_connections are not enough"],
        haproxy: &["PC", "RC", "SOCKERR"],
        envoy: &["OM"],
        also: &["EMFILE", "ENFILE"],
        ..NOTHING
    },
];
