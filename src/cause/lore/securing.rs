//! What is known of failures of TLS, and of sockets that cannot be opened.

use super::{Lore, NOTHING};

pub(super) const LORE: &[Lore] = &[
    Lore {
        token: "socket_missing",
        limits: &[],
        reasons: &[
            "the app is not running, or still starting",
            "it makes its socket at another path",
            "app and causeway run in two containers that share no volume",
        ],
        steps: &[
            ("Which sockets are there?", "ss -lx"),
            ("Try it from here", "causeway probe unix:PATH"),
            ("Starts slowly? Let requests wait", "wait = \"5s\""),
        ],
        nginx: &["connect() to unix: failed No such file or directory"],
        haproxy: &["SC"],
        envoy: &["UF"],
        also: &["ENOENT"],
        ..NOTHING
    },
    Lore {
        token: "socket_denied",
        limits: &[],
        reasons: &[
            "the socket belongs to the user of the app, and causeway runs as another one",
            "a folder on the way to it may not be entered",
        ],
        steps: &[
            ("Whose is it?", "stat PATH"),
            ("Let the group in", "chmod 660 PATH, or UMask=0007 in the unit of the app"),
            ("Join the group", "SupplementaryGroups=GROUP in the unit of causeway"),
        ],
        nginx: &["connect() to unix: failed Permission denied"],
        haproxy: &["SC"],
        also: &["EACCES"],
        ..NOTHING
    },
    Lore {
        token: "speaks_plaintext",
        limits: &[],
        reasons: &[
            "https:// in upstreams for a port that speaks plain HTTP",
            "the app speaks TLS on another port, often 443 or 8443",
        ],
        steps: &[
            ("Ask it in plain HTTP", "causeway probe http://ADDRESS:PORT/"),
            ("If that answers", "upstreams = [\"http://10.0.0.1:3000\"]"),
        ],
        nginx: &["SSL_do_handshake() failed wrong version number", "SSL_do_handshake() failed http request"],
        haproxy: &["SC", "L6RSP"],
        envoy: &["UF"],
        cloudflare: &["525"],
        also: &["WRONG_VERSION_NUMBER", "first record does not look like a TLS handshake"],
        ..NOTHING
    },
    Lore {
        token: "tls_timeout",
        brief: "the upstream did not answer to TLS in time",
        limits: &[("timeouts.tls", "how long the TLS session may take to stand")],
        reasons: &[
            "the port speaks another protocol, and waits for its client",
            "the app is stuck, or has more connections than it can serve",
        ],
        steps: &[
            ("Try it from here", "causeway probe https://ADDRESS:PORT/"),
            ("Does it speak plain HTTP?", "causeway probe http://ADDRESS:PORT/"),
            ("Find out sooner", "timeouts.tls = \"2s\""),
        ],
        nginx: &["upstream timed out while SSL handshaking to upstream"],
        haproxy: &["sC", "L6TOUT"],
        envoy: &["UF"],
        cloudflare: &["525"],
        also: &["TLS handshake timeout"],
    },
    Lore {
        token: "tls_alert",
        limits: &[
            ("tls.server_name", "the name that is asked for"),
            ("tls.cert", "causeway's own certificate there, with tls.key"),
        ],
        reasons: &[
            "it wants a client certificate (certificate_required, handshake_failure)",
            "it serves no such name (unrecognized_name)",
            "it speaks only TLS 1.0 or 1.1 (protocol_version)",
        ],
        steps: &[
            ("Look at the handshake", "openssl s_client -connect ADDRESS:PORT -servername NAME"),
            ("Ask for a name that it serves", "tls.server_name = \"NAME\""),
            ("Show a certificate", "cert and key in [pool.app.tls]"),
        ],
        nginx: &["SSL_do_handshake() failed alert"],
        haproxy: &["SC"],
        envoy: &["UF"],
        cloudflare: &["525"],
        also: &["sslv3 alert handshake failure", "tlsv13 alert certificate required", "tlsv1 unrecognized name"],
        ..NOTHING
    },
    Lore {
        token: "tls_cert_expired",
        limits: &[],
        reasons: &["nobody renewed it, or the app has not loaded the new one", "the clock of this machine is wrong"],
        steps: &[
            ("Until when does it hold?", "causeway probe https://ADDRESS:PORT/"),
            ("What time is it here?", "date -u"),
        ],
        nginx: &["upstream SSL certificate verify error certificate has expired"],
        haproxy: &["SC"],
        envoy: &["UF"],
        cloudflare: &["526"],
        also: &["CERT_HAS_EXPIRED", "certificate has expired or is not yet valid"],
        ..NOTHING
    },
    Lore {
        token: "tls_cert_name",
        limits: &[("tls.server_name", "the name that it must have; unsaid: the one in upstreams")],
        reasons: &[
            "upstreams has an IP address, and the certificate a name",
            "the certificate is for the public name, and upstreams has an internal one",
        ],
        steps: &[
            ("Which names does it have?", "causeway probe https://ADDRESS:PORT/"),
            ("Want one of these", "tls.server_name = \"NAME\""),
        ],
        nginx: &["upstream SSL certificate does not match"],
        haproxy: &["SC"],
        envoy: &["UF"],
        cloudflare: &["526"],
        also: &[
            "ERR_TLS_CERT_ALTNAME_INVALID",
            "certificate is valid for, not",
            "Hostname/IP does not match certificate's altnames",
        ],
        ..NOTHING
    },
    Lore {
        token: "tls_cert_untrusted",
        brief: "nobody trusted has signed the certificate",
        limits: &[("tls.ca", "the file of the certificates to trust in place of the usual ones")],
        reasons: &[
            "a CA of your own signed it, or it signed itself",
            "the app does not send the certificates between its own and the root",
        ],
        steps: &[
            ("Who signed it?", "causeway probe https://ADDRESS:PORT/"),
            ("Trust that one", "ca in [pool.app.tls]: the file of its certificate"),
            ("Is the chain whole?", "openssl s_client -connect ADDRESS:PORT -showcerts"),
        ],
        nginx: &["upstream SSL certificate verify error unable to get local issuer certificate"],
        haproxy: &["SC"],
        envoy: &["UF"],
        cloudflare: &["526"],
        also: &[
            "DEPTH_ZERO_SELF_SIGNED_CERT",
            "SELF_SIGNED_CERT_IN_CHAIN",
            "self-signed certificate",
            "certificate verify failed",
            "unable to verify the first certificate",
            "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            "certificate signed by unknown authority",
        ],
    },
    Lore {
        token: "tls_failure",
        limits: &[("tls.ca", "the file of the certificates to trust in place of the usual ones")],
        reasons: &[
            "it closed the connection in the midst of the handshake: often a name that it does not serve",
            "its TLS breaks the rules, or shares no cipher with causeway",
        ],
        steps: &[
            ("Look at the handshake", "openssl s_client -connect ADDRESS:PORT -servername NAME"),
            ("Ask for a name that it serves", "tls.server_name = \"NAME\""),
        ],
        nginx: &["peer closed connection in SSL handshake", "SSL_do_handshake() failed"],
        haproxy: &["SC", "L6RSP"],
        envoy: &["UF"],
        cloudflare: &["525"],
        also: &["SSL_ERROR_SYSCALL", "unexpected eof while reading"],
        ..NOTHING
    },
];
