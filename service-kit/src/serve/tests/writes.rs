//! How often the listener writes to a socket for one answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_util::io::InspectWriter;

use super::*;

/// Counts writes.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Accept for Counting {
    type Stream = InspectWriter<Socket, Box<dyn FnMut(&[u8]) + Send>>;

    async fn accept(&self, connection: Socket) -> io::Result<Self::Stream> {
        let writes = Arc::clone(&self.0);
        let count = move |_: &[u8]| {
            writes.fetch_add(1, Ordering::SeqCst);
        };
        Ok(InspectWriter::new(connection, Box::new(count)))
    }
}

/// A listener that counts its writes, and a client of it.
struct Case {
    writes: Arc<AtomicUsize>,
    requests: SendRequest<Body>,
    address: SocketAddr,
    lifecycle: Lifecycle,
}

impl Case {
    async fn new() -> Self {
        let (counting, lifecycle) = (Counting::default(), Lifecycle::new());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        serve(listener, counting.clone(), app(), &lifecycle);
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (requests, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
        lifecycle.tasks().spawn(async move { drop(connection.await) });
        let mut case = Self { writes: counting.0, requests, address, lifecycle };
        // Settings are exchanged with the first request.
        case.writes_of("/").await;
        case
    }

    async fn writes_of(&mut self, path: &str) -> usize {
        let before = self.writes.load(Ordering::SeqCst);
        let url = format!("http://{}{path}", self.address);
        let request = Request::get(url).body(Body::empty()).unwrap();
        let answer = self.requests.send_request(request).await.unwrap();
        timeout(TEST_TIMEOUT, answer.into_body().collect()).await.unwrap().unwrap();
        self.writes.load(Ordering::SeqCst) - before
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

#[tokio::test]
async fn head_data_and_end_of_an_answer_over_http2_are_one_write() {
    let mut case = Case::new().await;
    assert_eq!(case.writes_of("/").await, 1);
    assert_eq!(case.writes_of("/signed-in").await, 1);
}
