//! A port that takes no connection: its queue is full, so the kernel drops what else knocks.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Full until it is dropped.
pub struct Full {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

/// Such a port on 127.0.0.1.
pub async fn full() -> (SocketAddr, Full) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queue.push(stream.unwrap());
    }
    (address, Full { _listener: listener, _queue: queue })
}
