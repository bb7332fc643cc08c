//! The combined access log against nginx's own, byte for byte: the same requests to both, the same app behind both. It
//! needs the Debian package `nginx-light`, so this runs with `cargo test -- --ignored`.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::origin::{Behaviour, Origin};
use crate::support::process::Causeway;
use crate::support::raw::Raw;

/// A running nginx with a combined log; dropping it ends it, by its id.
struct Nginx {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    async fn start(upstream: SocketAddr) -> Self {
        let (folder, address) = (TempDir::new().unwrap(), Origin::free());
        let (root, file) = (folder.path().display(), folder.path().join("nginx.conf"));
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/err;\n\
             events {{ worker_connections 32; }} http {{ access_log {root}/log combined; large_client_header_buffers 4 32k;\n\
             client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n\
             uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen {address}; location / {{ proxy_pass http://{upstream}; }} }} }}\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).env("TZ", "UTC");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut nginx = Self { child, folder, address };
        while TcpStream::connect(address).await.is_err() {
            assert!(nginx.child.try_wait().unwrap().is_none(), "it ended at once");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        nginx
    }

    /// nginx writes a line before it closes the connection: who has seen the end finds it.
    fn line(&self, number: usize) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.lines().nth(number).unwrap_or_else(|| panic!("no line {number}: {log}")).to_owned()
    }
}

/// The request, to the end of the connection.
async fn ask(address: SocketAddr, request: &[u8]) {
    let mut client = Raw::connect(address).await;
    client.send(request).await;
    let mut answer = Vec::new();
    client.stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.") && answer[8..].starts_with(b" 200 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

/// `[21/Nov/2026:21:37:32 +0000]` as its shape: the two may stand a second apart.
fn shape(line: &str) -> String {
    let (before, rest) = line.split_once('[').unwrap();
    let (time, after) = rest.split_once(']').unwrap();
    let (date, zone) = time.split_once(' ').unwrap();
    let date: String = date
        .chars()
        .map(|c| match c {
            '0'..='9' => '0',
            'a'..='z' => 'a',
            c => c,
        })
        .collect();
    // `Jan` to `Dec`: the first letter is none that the shape tells of.
    let month = &date[3..4];
    format!("{before}[{} {zone}]{after}", date.replacen(month, "A", 1))
}

const REQUESTS: &[(&str, &[u8])] = &[
    ("GET / HTTP/1.1", b""),
    ("GET /a?b=c&d HTTP/1.1", b"User-Agent: curl/8.5.0\r\nReferer: http://x.example/y?z\r\n"),
    ("GET /it's?a='b'&c=(d)*!,;:@$~ HTTP/1.1", b""),
    ("GET /%22%0a%7f%e2%82%ac/../x/./y//z? HTTP/1.1", b""),
    ("GET /\u{fc}/\u{20ac} HTTP/1.1", b""),
    ("GET / HTTP/1.1", b"User-Agent: a \"quoted\" \\back\\ 'one'\r\nReferer: \"\\\r\n"),
    ("GET / HTTP/1.1", b"User-Agent: a\tb\r\n"),
    ("GET / HTTP/1.1", b"User-Agent: \xc3\xbc\xe2\x82\xac\r\nReferer: http://\xc3\xa4/\r\n"),
    ("GET / HTTP/1.1", b"User-Agent: \xff\xfe\x80\r\n"),
    ("GET / HTTP/1.1", b"Referer:\r\nUser-Agent: \r\n"),
    ("GET / HTTP/1.1", b"Referer: -\r\n"),
    ("GET / HTTP/1.1", b"User-Agent: one\r\nUser-Agent: two\r\nReferer: one\r\nReferer: two\r\n"),
    ("GET / HTTP/1.1", b"Authorization: Basic YWxpY2U6cHc=\r\n"),
    ("GET / HTTP/1.1", b"Authorization: basic  w7wiOnB3\r\n"),
    ("GET / HTTP/1.1", b"Authorization: Basic OnB3\r\n"),
    ("GET / HTTP/1.1", b"Authorization: Basic nocolon\r\n"),
    ("GET / HTTP/1.1", b"Authorization: Basic !\r\n"),
    ("GET / HTTP/1.1", b"Authorization: Bearer YTpi\r\n"),
    ("GET http://localhost/abs?x=1 HTTP/1.1", b""),
    ("HEAD /h HTTP/1.1", b""),
    ("PURGE /p HTTP/1.1", b""),
    ("GET /old HTTP/1.0", b""),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx (Debian: nginx-light)"]
async fn combined_is_what_nginx_writes() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let nginx = Nginx::start(origin.address()).await;
    let (mut causeway, address) = Causeway::run(&format!(
        "listen = \"127.0.0.1:0\"\nadmin.address = \"off\"\nlog.access = \"combined\"\n[pool.app]\nupstreams = [\"{}\"]\n",
        origin.address()
    ));
    let long = format!("GET /{}?{} HTTP/1.1", "x".repeat(20_000), "y".repeat(5_000));
    let agent = [&b"User-Agent: "[..], &b"u\"".repeat(8_000), b"\r\n"].concat();
    let more: [(&str, &[u8]); 2] = [(&long, b""), ("GET / HTTP/1.1", &agent)];
    for (number, (line, fields)) in REQUESTS.iter().copied().chain(more).enumerate() {
        let head = [line.as_bytes(), b"\r\nHost: localhost\r\nConnection: close\r\n", fields, b"\r\n"].concat();
        ask(nginx.address, &head).await;
        ask(address, &head).await;
        let (theirs, ours) = (nginx.line(number), causeway.line());
        assert_eq!(shape(&ours), shape(&theirs), "{line}: {}", fields.escape_ascii());
        assert!(ours.is_ascii());
    }
}
