//! nginx with the same faults behind it, configured as its tutorials do: what it answers, and what its log says. It
//! needs the Debian package `nginx-light`, so this runs with `cargo test -- --ignored`.

use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::*;

/// A running nginx; dropping it ends it, by its id.
struct Nginx {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn command(folder: &TempDir, words: &[&str]) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf")).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn configured(address: SocketAddr, upstream: SocketAddr, fault: Fault) -> TempDir {
    let folder = TempDir::new().unwrap();
    let root = folder.path().display();
    let more = match fault {
        Fault::Slow => "proxy_read_timeout 1s;",
        Fault::Swallowed => "proxy_connect_timeout 1s;",
        Fault::Typo => "proxy_read_timout 1s;",
        _ => "",
    };
    let limit = if fault == Fault::Overloaded { "max_conns=1" } else { "" };
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/err;\n\
         events {{ worker_connections 32; }} http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n\
         fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
         upstream app {{ zone app 64k; server {upstream} {limit}; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://app; {more} }} }} }}\n"
    );
    std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
    folder
}

impl Nginx {
    async fn start(upstream: SocketAddr, fault: Fault) -> Self {
        let address = if fault == Fault::Loop { upstream } else { Origin::free() };
        let folder = configured(address, upstream, fault);
        let child = command(&folder, &[]).spawn().unwrap();
        let mut nginx = Self { child, folder, address };
        while TcpStream::connect(address).await.is_err() {
            assert!(nginx.child.try_wait().unwrap().is_none(), "it ended at once");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        nginx
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("err")).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx (Debian: nginx-light)"]
async fn nginx_says_what_the_table_says() {
    for Story { fault, nginx: (status, log), .. } in STORIES {
        let upstream = Upstream::with(*fault).await;
        if *fault == Fault::Typo {
            let folder = configured(Origin::free(), upstream.address, *fault);
            let output = command(&folder, &["-t"]).output().unwrap();
            assert!(String::from_utf8_lossy(&output.stderr).contains(log), "{output:?}");
            continue;
        }
        let nginx = Nginx::start(upstream.address, *fault).await;
        let mut client = Raw::connect(nginx.address).await;
        if *fault == Fault::NoUpgrade {
            let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
            client.send(format!("GET /chat HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n")).await;
        } else {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        }
        let answer = if *fault == Fault::Overloaded {
            upstream.origin.as_ref().unwrap().requests(1).await;
            Raw::connect(nginx.address).await.get("/").await
        } else {
            client.response().await
        };
        let said = nginx.log();
        assert_eq!(answer.status.to_string(), *status, "{fault:?}: {answer:?}\n{said}");
        assert!(said.contains(log), "{fault:?}: {log}\n{said}");
    }
}
