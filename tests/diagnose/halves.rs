//! An answer that has begun is one: neither another protocol nor silence.

use super::*;

async fn cut(head: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((alone(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, move |said| (if said.starts_with(b"GET ") { head.to_vec() } else { Vec::new() }, false));
    address
}

#[tokio::test]
async fn a_status_line_that_is_cut_is_http() {
    for head in [&b"H"[..], b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Le"] {
        let proxy = proxy(cut(head).await);
        let said = hint(&proxy, Cause::TruncatedHead).await;
        let wanted = format!(
            "Its answer ended within the response head, after {} bytes. The head of its answer to a new GET / is cut off, too. \
             The app's own log should say why.",
            head.len()
        );
        assert_eq!(said, wanted);
    }
}

/// A head that comes byte by byte, and not to its end.
#[tokio::test]
async fn a_dripping_head_is_no_silence() {
    let listener = TcpListener::bind((alone(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut said = [0; 4096];
                let length = stream.read(&mut said).await.unwrap_or_default();
                if !said[..length].starts_with(b"GET ") {
                    return;
                }
                for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat_n(&b'x', 1000)) {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    });
    let said = hint(&proxy(address), Cause::ReadTimeout).await;
    let (start, rest) =
        said.split_once(" bytes of a response head, and not the rest within ").unwrap_or_else(|| panic!("{said}"));
    assert!(start.starts_with("It took the request, then sent "), "{said}");
    assert!(rest.contains("It begins to answer a new GET /, but the head is not whole within 1 s"), "{said}");
    assert!(!said.contains("silent") && !said.contains("does not answer"), "{said}");
}
