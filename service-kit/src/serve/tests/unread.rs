//! Clients that do not read their socket, behind a stream with a buffer of its own, as TLS has.

use tokio::io::BufWriter;

use super::*;

/// Has room for the answer and what follows it.
const BUFFER: usize = 65 * 1024 * 1024;

/// Like TLS: takes bytes although the client takes none.
#[derive(Clone, Copy)]
struct Buffered;

impl Accept for Buffered {
    type Stream = BufWriter<Socket>;

    async fn accept(&self, connection: Socket) -> io::Result<Self::Stream> {
        Ok(BufWriter::with_capacity(BUFFER, connection))
    }
}

async fn listen(lifecycle: &Lifecycle) -> SocketAddr {
    let config = ListenerConfig { limits: short(), ..ListenerConfig::unobserved() };
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    Server::new(app(), config).serve(listener, Buffered, lifecycle);
    address
}

/// A frame of HTTP/2 (RFC 9113 section 4.1), shorter than 256 bytes.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Asks for an answer that fits no socket's buffer, with windows that do not limit it.
fn request() -> Vec<u8> {
    let window = 0x7fff_ffff_u32.to_be_bytes();
    let settings = [&[0, 4], &window[..]].concat();
    let more = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
    // GET, http, :path and :authority as literals (RFC 7541).
    let headers = [b"\x82\x86\x04\x06/large\x01\x09a.example", &[][..]].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let update = frame(8, 0, 0, &more);
    [preface, frame(4, 0, 0, &settings), update, frame(1, 5, 1, &headers)].concat()
}

#[tokio::test]
async fn a_client_that_sends_and_does_not_read_is_closed_at_the_limit() {
    let lifecycle = Lifecycle::new();
    let mut client = TcpStream::connect(listen(&lifecycle).await).await.unwrap();
    client.write_all(&request()).await.unwrap();
    let began = Instant::now();
    let closed = async {
        // Each PING asks for a frame that the stream's buffer has room for.
        while client.write_all(&frame(6, 0, 0, &[0; 8])).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(TEST_TIMEOUT, closed).await.expect("the server closes the connection");
    is_half_a_second(began.elapsed());
    lifecycle.stop();
}
