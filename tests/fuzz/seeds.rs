//! Writes a corpus for each fuzz target to start from: the tables' answers and requests, a whole config.

#[path = "../codec/compare/mod.rs"]
#[allow(dead_code)]
mod compare;
#[allow(dead_code)]
mod cuts;
#[allow(dead_code)] // it only writes
mod input;
#[path = "../codec/server/table/mod.rs"]
#[allow(dead_code)]
mod requests;
#[path = "../codec/table/mod.rs"]
#[allow(dead_code)]
mod table;

use std::fs;
use std::path::Path;

/// Longer answers only slow it down.
const LONGEST: usize = 2 << 10;

/// Those of the client: the first byte says how the rest comes.
const REQUESTS: [&[u8]; 9] = [
    b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b?c=d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"\0POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n3;e=f\r\nabc\r\n0\r\nx: y\r\n\r\n",
    b"\0POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc",
    b"\0GET / HTTP/1.1\r\nHost: a:1\r\nX-Forwarded-For: 1.2.3.4, ::1\r\nX-Forwarded-Proto: https\r\nVia: 1.1 b\r\n\
      Forwarded: for=\"[::1]:80\";proto=http, for=_x;host=\"c\"\r\nCookie: stick=abc; d=e\r\nConnection: close\r\n\r\n",
    b"\0GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"\0POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\ngrpc-timeout: 5m\r\n\
      Accept-Encoding: gzip;q=0.5, br, zstd;q=0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"\x01\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x84\x41\x08127.0.0.1",
    b"\x02\x01\x04\x01\x06\x83\x86\x84\x41\x01a\0\x01\x01\x03abc\x06\0\0\x0812345678\x03\0\x01\x04\0\0\0\x08",
    b"\x03\x01\x04\x01\x01\x88\0\0\x01\x03abc\x01\x05\x01\x05\0\x01a\x01b",
];

fn main() -> std::io::Result<()> {
    let rows = table::rows().into_iter().filter(|row| row.answer.len() <= LONGEST);
    let rows = rows.flat_map(|row| input::write(&row.answer, row.early).collect::<Vec<_>>());
    write("answer", rows)?;
    let rows = requests::rows().into_iter().filter(|row| row.stream.len() <= LONGEST);
    let manner = |index: usize| [index as u8 & 3, (index / 4) as u8];
    write("request", rows.enumerate().map(|(index, row)| [&manner(index)[..], &row.stream].concat()))?;
    write("client", REQUESTS.iter().map(|request| request.to_vec()))?;
    let config = include_str!("../../config/causeway.toml");
    let tables = config.split("\n\n").map(|part| part.replace("\n#", "\n"));
    let files = tables.map(|part| ["\0", &part].concat().into_bytes());
    let list = b"\x01[{\"targets\": [\"b:2\"], \"labels\": {\"weight\": \"3\"}}]".to_vec();
    let words = ["https://[::1]:443", "unix:/a", "srv:_http._tcp.a", "1h30m", "64KiB"];
    let words = words.map(|word| ["\x02", word].concat().into_bytes());
    write("files", files.chain([list]).chain(words))
}

fn write(target: &str, inputs: impl Iterator<Item = Vec<u8>>) -> std::io::Result<()> {
    let folder = Path::new("corpus").join(target);
    fs::create_dir_all(&folder)?;
    let mut count = 0;
    for bytes in inputs {
        fs::write(folder.join(format!("row-{count:04}")), bytes)?;
        count += 1;
    }
    println!("{count} in {}", folder.display());
    Ok(())
}
