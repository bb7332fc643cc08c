//! A process that was reloaded hands over what it has by then; nothing is reloaded while it does.

use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::process::Signal;

use super::app::App;
use super::{Load, Meeting, ended_well, get};
use crate::names::dns::Dns;
use crate::support::process::Causeway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reloads_and_names_made_of_it_is_handed_over() {
    let (meeting, dns) = (Meeting::new(), Dns::start().await);
    let port = meeting.app.address.port();
    let _moved = App::at(([127, 0, 0, 2], port).into(), b"moved");
    dns.a("app.test", 0, &[1]);
    let config = |admin: u8, more: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\nworkers = 2\nadmin.address = \"127.0.0.{admin}:0\"\nlog.access = \"off\"\n\
             hand_over = \"{}\"\nname_servers = [\"{}\"]\n[shutdown]\ngrace = \"60s\"\ntimeout = \"15s\"\n\
             [pool.app]\nupstreams = [\"app.test:{port}\"]\nhealth.interval = \"50ms\"\n{more}",
            meeting.path("hand-over").display(),
            dns.at
        )
    };
    let (mut old, stayed) = Causeway::run(&config(3, "[listener.went]\naddress = \"127.0.0.4:0\"\n"));
    let went = old.address("listening on http://");
    let old_admin = old.address("health on http://");
    old.event("\"serving\"");
    let load = Load::on(stayed);
    load.goes_on(50);
    assert!(get(went).ends_with("fine"));

    let after = config(6, "[listener.came]\naddress = \"127.0.0.5:0\"\n");
    old.write(&after);
    old.signal(Signal::HUP);
    let came = old.address("listening on http://");
    let admin = old.address("health on http://");
    old.event("config_reloaded");
    dns.a("app.test", 0, &[2]);
    while !get(came).ends_with("moved") {
        load.goes_on(1);
    }
    load.goes_on(50);

    let (mut new, its) = Causeway::run(&after);
    assert_eq!((its, new.address("listening on http://")), (stayed, came));
    assert_eq!(new.address("health on http://"), admin);
    new.event("taken over from process");
    load.goes_on(50);
    ended_well(old);
    load.goes_on(50);
    for address in [stayed, came] {
        assert!(get(address).ends_with("moved"));
    }
    for address in [went, old_admin] {
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }

    // And what was taken over can be reloaded: it goes, and comes again.
    new.write(&config(6, ""));
    new.signal(Signal::HUP);
    new.event("config_reloaded");
    new.write(&config(6, &format!("[listener.again]\naddress = \"{came}\"\n")));
    new.signal(Signal::HUP);
    assert_eq!(new.address("listening on http://"), came);
    new.event("config_reloaded");
    assert!(get(came).ends_with("moved"));
    load.goes_on(50);
    load.end();
}

#[test]
fn nothing_is_reloaded_while_it_changes_hands() {
    let meeting = Meeting::new();
    let config = meeting.config(2, "");
    let (mut old, address) = Causeway::run(&config);
    old.event("\"serving\"");
    let load = Load::on(address);
    let refused = |causeway: &mut Causeway| {
        causeway.signal(Signal::HUP);
        causeway.event("config_refused")
    };
    old.write(&config.replace("hand-over", "another"));
    let said = refused(&mut old);
    assert!(said.contains("hand_over cannot change while causeway runs"), "{said}");
    old.write(&config);

    // The check of this one never comes to an end, so it does not take over yet.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut new, its) = Causeway::run(&never(&meeting, silent.local_addr().unwrap()));
    assert_eq!(its, address);
    let said = refused(&mut new);
    assert!(said.contains("has not taken over from the older process yet"), "{said}");
    let said = refused(&mut old);
    assert!(said.contains("a newer causeway is about to take over"), "{said}");
    // It ends at once and takes nobody with it, who waits for the other.
    new.signal(Signal::TERM);
    ended_well(new);
    old.event("did not take over: it left. This one serves on");
    old.signal(Signal::HUP);
    old.event("config_reloaded");
    load.goes_on(50);
    load.end();
}

fn never(meeting: &Meeting, silent: SocketAddr) -> String {
    meeting.config(
        2,
        &format!(
            "[route.never]\npath = \"/never\"\npool = \"never\"\n[route.all]\npool = \"app\"\n\
             [pool.never]\nupstreams = [\"{silent}\"]\nhealth.path = \"/\"\nhealth.timeout = \"9s\"\n\
             health.interval = \"20s\"\n"
        ),
    )
}
