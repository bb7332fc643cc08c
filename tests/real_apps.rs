//! In front of real servers. They need Debian packages, so they run where those are: `cargo test -- --ignored`.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;

/// A real server as a child; dropping it ends it, by its id.
struct App(Child);

impl Drop for App {
    fn drop(&mut self) {
        // nginx ends its own workers when it is asked, not when it is killed.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Whether somebody listens there. A connect to a port that nobody has can meet itself.
async fn taken(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok_and(|stream| stream.local_addr().is_ok_and(|local| local != address))
}

async fn started(command: &mut Command, address: SocketAddr) -> App {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut app = App(child);
    while !taken(address).await {
        assert!(app.0.try_wait().unwrap().is_none(), "it ended at once");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app
}

#[tokio::test]
#[ignore = "needs nginx (Debian: nginx-light)"]
async fn nginx_behind_it() {
    let folder = TempDir::new().unwrap();
    let (root, address) = (folder.path().display(), Origin::free());
    std::fs::write(folder.path().join("big.bin"), vec![b'x'; 3 << 20]).unwrap();
    let config = folder.path().join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/err;\n\
         events {{}} http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n\
         uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; server {{ listen {address}; root {root}; }} }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let app = started(Command::new("nginx").arg("-c").arg(&config).arg("-p").arg(folder.path()), address).await;
    let proxy = Proxy::unchecked(&[address], "");
    let mut client = Raw::connect(proxy.address).await;
    let whole = client.get("/big.bin").await;
    assert_eq!((whole.status, whole.body.len()), (200, 3 << 20), "{}", whole.text());
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET /big.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=10-19\r\n\r\n").await;
    let part = client.response().await;
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert_eq!(client.get("/none").await.status, 404);
    drop(app);
    let gone = Raw::connect(proxy.address).await.get("/big.bin").await;
    assert_eq!(gone.status, 502);
    assert!(gone.text().contains("connection_refused"), "{}", gone.text());
}

#[tokio::test]
#[ignore = "needs node (Debian: nodejs)"]
async fn a_node_server_that_crashes_and_comes_back() {
    let address = Origin::free();
    let script = format!(
        "require('http').createServer((q, s) => q.url === '/crash' ? process.exit(1) : q.pipe(s)).listen({}, '127.0.0.1')",
        address.port()
    );
    let node = || {
        let mut command = Command::new("node");
        command.arg("-e").arg(&script);
        command
    };
    let app = started(&mut node(), address).await;
    let proxy = Proxy::unchecked(&[address], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "hello");
    let crashed = Raw::connect(proxy.address).await.get("/crash").await;
    assert_eq!(crashed.status, 502, "{}", crashed.text());
    drop(app);
    let _app = started(&mut node(), address).await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nagain").await;
    assert_eq!(client.response().await.text(), "again");
}
