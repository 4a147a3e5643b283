//! HTTP/2 clients that read their socket and leave their flow-control windows shut.

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

async fn connected(server: &Listening, window: u32) -> SendRequest<Body> {
    let io = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let mut client = Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(window);
    let (requests, connection) = client.handshake(io).await.unwrap();
    server.lifecycle.tasks().spawn(async move { drop(connection.await) });
    requests
}

async fn get(
    server: &Listening,
    requests: &mut SendRequest<Body>,
    path: &str,
) -> Response<Incoming> {
    let url = format!("http://{}{path}", server.address);
    let request = Request::get(url).body(Body::empty()).unwrap();
    timeout(TEST_TIMEOUT, requests.send_request(request)).await.expect("headers").unwrap()
}

async fn is_reset(answer: Response<Incoming>) -> bool {
    let body = timeout(TEST_TIMEOUT, answer.into_body().collect()).await.expect("an end");
    format!("{:?}", body.err()).contains("Reset")
}

#[tokio::test]
async fn an_answer_whose_window_stays_shut_is_reset() {
    let server = Listening::open(short()).await;
    let mut requests = connected(&server, 0).await;
    let began = Instant::now();
    assert!(is_reset(get(&server, &mut requests, "/").await).await);
    is_half_a_second(began.elapsed());
}

#[tokio::test]
async fn an_answer_of_which_the_client_takes_only_the_beginning_is_reset() {
    let server = Listening::open(short()).await;
    // The answer has five bytes. The window opens again when the client reads them.
    for window in [1, 4] {
        let mut requests = connected(&server, window).await;
        let answer = get(&server, &mut requests, "/").await;
        sleep(Duration::from_millis(1_500)).await;
        assert!(is_reset(answer).await, "{window}");
    }
}

#[tokio::test]
async fn only_the_stream_of_an_answer_that_nobody_reads_ends() {
    let server = Listening::open(short()).await;
    let mut requests = connected(&server, 16 * 1024).await;
    let unread = get(&server, &mut requests, "/large").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        let read = get(&server, &mut requests, "/").await.into_body().collect().await;
        assert_eq!(read.unwrap().to_bytes(), "hello");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(is_reset(unread).await);
    let read = get(&server, &mut requests, "/").await.into_body().collect().await;
    assert_eq!(read.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_or_merely_quiet_is_whole() {
    let server = Listening::open(short()).await;
    let mut requests = connected(&server, 16 * 1024).await;
    let quiet = get(&server, &mut requests, "/quiet").await;
    let mut slow = get(&server, &mut requests, "/megabyte").await.into_body();
    let (began, mut bytes) = (Instant::now(), 0);
    while let Some(frame) = slow.frame().await {
        bytes += frame.unwrap().into_data().unwrap().len();
        if began.elapsed() < Duration::from_millis(1_500) {
            sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(bytes, 1024 * 1024);
    let quiet = timeout(TEST_TIMEOUT, quiet.into_body().collect()).await.unwrap().unwrap();
    assert_eq!(quiet.to_bytes(), "first last");
}
