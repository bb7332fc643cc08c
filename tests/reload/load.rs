//! Fifty reloads while clients go on asking: no request fails, and nothing is left behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::fine;
use crate::support::origin::Origin;
use crate::support::process::{Causeway, PATIENCE};

const RELOADS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_reloads_fail_no_request_and_leave_nothing_behind() {
    let (one, two) = (fine().await, fine().await);
    // On an address that nobody connects from: the other tests' connections take no port of it meanwhile.
    let own = |place: SocketAddr| SocketAddr::from(([127, 0, 50, 1], place.port()));
    let places: Vec<SocketAddr> = (0..RELOADS + 1).map(|_| own(Origin::free())).collect();
    let config = |round: usize| {
        let (one, two, place) = (one.address(), two.address(), places[round % places.len()]);
        let upstreams = if round.is_multiple_of(2) { format!("\"{one}\", \"{two}\"") } else { format!("\"{two}\"") };
        let log = ["off", "json"][round / 2 % 2];
        format!(
            "listen = \"127.0.0.1:0\"\nworkers = 2\nname = \"causeway-{}\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [log]\naccess = \"{log}\"\naccess_to = \"access.log\"\n\
             [listener.more]\naddress = \"{place}\"\n\
             [pool.app]\nupstreams = [{upstreams}]\nhealth.interval = \"200ms\"\ntimeouts.read = \"{}s\"\n\
             [pool.other{}]\nupstreams = [\"{one}\"]\n[route.main]\npool = \"app\"\n[route.other]\npath = \"/other\"\npool = \"other{}\"\n",
            round % 3,
            5 + round % 7,
            round % 5,
            round % 5,
        )
    };
    let (mut causeway, address) = Causeway::run(&config(0));
    let (stop, failed, done) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (stop, failed, done) = (Arc::clone(&stop), Arc::clone(&failed), Arc::clone(&done));
            std::thread::spawn(move || ask(address, number % 2 == 0, &stop, &failed, &done))
        })
        .collect();

    let mut before = None;
    for round in 1..=RELOADS {
        causeway.write(&config(round));
        causeway.signal(Signal::HUP);
        causeway.event("\"event\":\"config_reloaded\"");
        let (seen, begun) = (done.load(Relaxed), Instant::now());
        // Some of the traffic falls into each of them.
        while done.load(Relaxed) < seen + 20 && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if round == 10 {
            before = Some(settled(causeway.id(), None).await);
        }
    }
    let before = before.unwrap();
    let after = settled(causeway.id(), Some(&before)).await;
    stop.store(true, Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let failed: Vec<String> = std::mem::take(&mut *failed.lock().unwrap());
    println!("{} requests, {RELOADS} reloads; before {before:?}, after {after:?}", done.load(Relaxed));
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), done.load(Relaxed), &failed[..failed.len().min(5)]);
    assert_eq!((after.threads, after.files), (before.threads, before.files), "threads, descriptors");
    // Of a heap that breathes with traffic: forty configurations that stayed would be far more.
    assert!(after.kilobytes < before.kilobytes + 6 * 1024, "{before:?} {after:?}");
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

type Failed = Arc<std::sync::Mutex<Vec<String>>>;

/// GETs one after the other, on one connection for as long as it is kept, or each on its own.
fn ask(address: SocketAddr, keeps: bool, stop: &AtomicBool, failed: &Failed, done: &AtomicUsize) {
    let mut kept: Option<TcpStream> = None;
    while !stop.load(Relaxed) {
        let mut stream = kept.take().unwrap_or_else(|| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        });
        let close = if keeps { "" } else { "Connection: close\r\n" };
        let target = if done.load(Relaxed).is_multiple_of(2) { "/" } else { "/other" };
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{close}\r\n");
        let mut answer = Vec::new();
        let came = stream.write_all(head.as_bytes()).and_then(|()| {
            let mut part = [0; 4096];
            while !answer.ends_with(b"\r\n\r\nfine") {
                match stream.read(&mut part)? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    read => answer.extend_from_slice(&part[..read]),
                }
            }
            Ok(())
        });
        let text = String::from_utf8_lossy(&answer);
        match came {
            Ok(()) if text.starts_with("HTTP/1.1 200 ") => {
                if keeps && !text.to_ascii_lowercase().contains("connection: close") {
                    kept = Some(stream);
                }
            }
            came => failed.lock().unwrap().push(format!("{came:?}: {text}")),
        }
        done.fetch_add(1, Relaxed);
    }
}

/// What a process has.
#[derive(Clone, Debug)]
struct Has {
    threads: usize,
    /// Listening sockets, logs and the like: those of clients and upstreams come and go.
    files: usize,
    kilobytes: usize,
}

/// Once what was taken out has ended: listeners that left close a second later. `like`: what is waited for, in vain if
/// there is a leak.
async fn settled(id: u32, like: Option<&Has>) -> Has {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let has = has(id);
        let same = like.is_some_and(|like| (like.threads, like.files) == (has.threads, has.files));
        if begun.elapsed() > Duration::from_secs(3) && (same || like.is_none() || begun.elapsed() > PATIENCE) {
            return has;
        }
    }
}

fn has(id: u32) -> Has {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let number = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let sockets = listening();
    let file = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
    let is_lasting = |target: &std::path::PathBuf| {
        let text = target.to_string_lossy().into_owned();
        let inode = text.strip_prefix("socket:[").and_then(|text| text.strip_suffix(']'));
        inode.is_none_or(|inode| sockets.iter().any(|listening| listening == inode))
    };
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().filter_map(file).filter(is_lasting).count();
    Has { threads: number("Threads:"), files, kilobytes: number("VmRSS:") }
}

/// The inodes of all sockets that listen.
fn listening() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&"0A")).filter_map(|row| row.get(9).map(|inode| (*inode).to_owned())).collect()
}
