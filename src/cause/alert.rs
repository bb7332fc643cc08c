//! What the alerts of TLS are called (RFC 8446 §6, RFC 5246 §7.2), and what to do about those that say so.

/// None of the protocols that ALPN offered is spoken there (RFC 7301 §3.2).
pub const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Its name; `unknown` for one that nobody has registered.
#[must_use]
pub const fn name(id: u8) -> &'static str {
    match id {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "unknown",
    }
}

/// What is the matter and what to do, filled in like `Row::hint`; `None`: it says too little.
pub(super) const fn hint(id: u8) -> Option<&'static str> {
    Some(match id {
        40 => {
            "{address} refused TLS: {seen}. Does it want a client certificate (tls.cert, tls.key), does it know \
             another name (tls.server_name), or is its TLS older than 1.2?"
        }
        41 | 116 => "{address} wants a client certificate: {seen}. Set tls.cert and tls.key to one that it trusts.",
        42..=46 | 48 | 49 => {
            "{address} does not take causeway's certificate: {seen}. Set tls.cert and tls.key to one that it trusts."
        }
        70 | 71 => "{address} refused TLS: {seen}. causeway speaks TLS 1.2 and 1.3: let the app speak one of them.",
        112 => {
            "{address} does not know the name that it was asked for: {seen}. Set tls.server_name to one that it serves."
        }
        120 => {
            "{address} takes none of the protocols that causeway speaks: {seen}. Let it speak HTTP/1.1 here (ALPN http/1.1)."
        }
        _ => return None,
    })
}

/// Is it our certificate that the other side refuses? In TLS 1.3 this is said only after the handshake (RFC 8446
/// §4.4.2.4), by one that has read nothing yet.
#[must_use]
pub const fn refuses_certificate(id: u8) -> bool {
    matches!(id, 41..=46 | 48 | 49 | 116)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_names() {
        assert_eq!((name(112), name(116), name(255)), ("unrecognized_name", "certificate_required", "unknown"));
        for id in 0..=255 {
            assert!(!refuses_certificate(id) || hint(id).is_some_and(|hint| hint.contains("tls.cert")), "{id}");
            assert!(hint(id).is_none_or(|hint| hint.contains("{seen}. ") && name(id) != "unknown"), "{id}");
        }
    }
}
