//! The causes that the whole machine brings about, in a network of their own: local ports that run out, a name server
//! that says no or nothing. Each test runs itself again inside `unshare` (util-linux), where it may do as it likes.

use std::process::Command;

use tokio::net::{TcpStream, UdpSocket};

use super::*;
use crate::support::origin::{Behaviour, Origin};

const INSIDE: &str = "TEST_IN_A_NETWORK_OF_ITS_OWN";

/// Are we inside? Else this runs the test there, after `script`, and says that all is done.
fn inside(test: &str, script: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let script = format!("{{ ip link set lo up || ifconfig lo up; }} && {script} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "sh", "-c", &script, "sh"]).arg(this);
    let name = format!("causes::own_network::{test}");
    command.args(["--exact", &name, "--include-ignored", "--nocapture"]).env(INSIDE, "1");
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    false
}

fn get(accept: &str) -> String {
    format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")
}

#[tokio::test]
#[ignore = "needs unshare (Debian: util-linux) and leave to make namespaces"]
async fn no_local_port_is_left() {
    if !inside("no_local_port_is_left", "echo 50000 60000 > /proc/sys/net/ipv4/ip_local_port_range") {
        return;
    }
    let origin = Origin::start(Behaviour::Silent).await;
    let proxies = [(true, "full"), (false, "public")].map(|(full, detail)| {
        (full, Proxy::unchecked(&[origin.address()], &format!("[errors]\ndetail = \"{detail}\"\n")))
    });
    // Who listens has its port by now; connections get others.
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap();
    let mut taken = Vec::new();
    let error = loop {
        match TcpStream::connect(origin.address()).await {
            Ok(stream) => taken.push(stream),
            Err(error) => break error,
        }
        assert!(taken.len() <= 10, "the range does not hold");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable, "after {}", taken.len());
    for (full, proxy) in proxies {
        let wanted = Wanted { cause: Cause::PortsExhausted, status: 502, attempt: Some((Phase::Connect, false)) };
        let secrets = [origin.address().to_string(), PATH.to_owned()];
        checked(&wanted, full, &secrets, async |accept| ask(&proxy, &get(accept), b"").await).await;
    }
}

#[tokio::test]
#[ignore = "needs unshare (Debian: util-linux) and leave to make namespaces"]
async fn a_name_server_that_says_no_or_nothing() {
    let script = "f=$(mktemp) && echo nameserver 127.0.0.1 > $f && mount --bind $f /etc/resolv.conf && rm $f";
    if !inside("a_name_server_that_says_no_or_nothing", script) {
        return;
    }
    let server = UdpSocket::bind("127.0.0.1:53").await.unwrap();
    tokio::spawn(async move {
        let mut question = [0; 512];
        loop {
            let (length, client) = server.recv_from(&mut question).await.unwrap();
            // The name's first label begins behind the header of 12 bytes and its own length.
            let code = match &question[13..17] {
                b"gone" => 3,
                b"sick" => 2,
                _ => continue,
            };
            let mut answer = question[..length].to_vec();
            (answer[2], answer[3]) = (0x81, 0x80 | code);
            server.send_to(&answer, client).await.unwrap();
        }
    });
    for (name, cause, rcode) in [
        ("gone", Cause::DnsNotFound, "; rcode=\"NXDOMAIN\""),
        ("sick", Cause::DnsFailure, "; rcode=\"SERVFAIL\""),
        ("mute", Cause::DnsTimeout, ""),
    ] {
        for full in [true, false] {
            let detail = if full { "full" } else { "public" };
            let proxy = Proxy::start(&format!(
                "[pool.app]\nupstreams = [\"{name}.test:8099\"]\nhealth.type = \"off\"\ntimeouts.resolve = \"200ms\"\n[errors]\ndetail = \"{detail}\"\n"
            ));
            // The first look-up has to end before there is a word on it.
            let mut answer = ask(&proxy, &get("*/*"), b"").await;
            while answer.text().contains("not resolved yet") || !answer.text().contains(cause.token()) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                answer = ask(&proxy, &get("*/*"), b"").await;
            }
            assert!(
                answer.field("proxy-status").unwrap().contains(&format!("; error={}{rcode}; ", cause.row().rfc9209))
                    || full,
                "{answer:?}"
            );
            assert!(answer.field("proxy-status").unwrap().contains(rcode), "{answer:?}");
            let wanted = Wanted { cause, status: cause.row().status, attempt: Some((Phase::Resolve, false)) };
            let secrets = [format!("{name}.test"), ":8099".to_owned(), PATH.to_owned()];
            checked(&wanted, full, &secrets, async |accept| ask(&proxy, &get(accept), b"").await).await;
        }
    }
}
