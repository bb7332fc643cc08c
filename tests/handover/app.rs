//! An upstream that stops in the middle of what it does until it is told to go on.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Bytes of the second half: more than causeway would hold back to have the answer whole.
pub const LAST: usize = 1 << 20;

pub struct App {
    pub address: SocketAddr,
    go: Arc<(Mutex<bool>, Condvar)>,
}

impl App {
    pub fn start() -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), b"fine")
    }

    /// One that says this.
    pub fn at(address: SocketAddr, says: &'static [u8]) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (address, go) = (listener.local_addr().unwrap(), Arc::<(Mutex<bool>, Condvar)>::default());
        let shared = Arc::clone(&go);
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let go = Arc::clone(&shared);
                std::thread::spawn(move || serve(connection, &go, says));
            }
        });
        Self { address, go }
    }

    /// Says the second half.
    pub fn go_on(&self) {
        *self.go.0.lock().unwrap() = true;
        self.go.1.notify_all();
    }
}

/// Until the connection ends.
fn serve(mut connection: TcpStream, go: &(Mutex<bool>, Condvar), says: &[u8]) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        connection.read_exact(&mut body).ok()?;
        if head.starts_with("get /half ") {
            connection
                .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\nfirst", 5 + LAST).as_bytes())
                .ok()?;
            drop(go.1.wait_while(go.0.lock().unwrap(), |go| !*go).unwrap());
            connection.write_all(&vec![b'-'; LAST]).ok()?;
        } else if head.starts_with("get /ws ") {
            let accepted = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            connection.write_all(accepted.as_bytes()).ok()?;
            std::io::copy(&mut connection.try_clone().ok()?, &mut connection).ok()?;
            return Some(());
        } else {
            let body = if body.is_empty() { says.to_vec() } else { body };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            connection.write_all(&[head.as_bytes(), &body].concat()).ok()?;
        }
    }
}
