//! `[listener.NAME]`, as far as the words for its problems do not show it.

use causeway::config::Config;
use causeway::config::model::Protocols;

#[test]
fn a_listener_speaks_what_it_says() {
    for (said, h1, h2) in [
        ("", true, true),
        ("protocols = [\"h1\"]", true, false),
        ("protocols = [\"h2\"]", false, true),
        ("protocols = [\"h2\", \"h1\"]", true, true),
    ] {
        let text = format!("[listener.web]\naddress = \":8080\"\n{said}\n[pool.app]\nupstreams = [\"3000\"]\n");
        let config = Config::from_toml(&text).unwrap();
        assert_eq!(config.listeners[0].protocols, Protocols { h1, h2 }, "{said}");
    }
}
