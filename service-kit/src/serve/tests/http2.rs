use std::convert::Infallible;

use axum::body::Body;
use futures_util::stream::unfold;
use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

async fn connected(server: &Listening) -> SendRequest<Body> {
    let io = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let (requests, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    server.lifecycle.tasks().spawn(async move { drop(connection.await) });
    requests
}

/// A body of what is sent, whole when the sender is dropped.
fn streamed() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(2);
    let next = async |mut receiver: mpsc::Receiver<Bytes>| {
        receiver.recv().await.map(|bytes| (Ok::<_, Infallible>(bytes), receiver))
    };
    (sender, Body::from_stream(unfold(receiver, next)))
}

fn url(server: &Listening, path: &str) -> String {
    format!("http://{}{path}", server.address)
}

#[tokio::test]
async fn a_body_that_stands_still_is_408_and_its_neighbours_go_on() {
    let server = Listening::open(short()).await;
    let mut requests = connected(&server).await;
    let (body, receiver) = streamed();
    body.send(Bytes::from_static(b"{")).await.unwrap();
    let request = Request::post(url(&server, "/echo")).body(receiver).unwrap();
    let began = Instant::now();
    let response = timeout(TEST_TIMEOUT, requests.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    is_half_a_second(began.elapsed());
    let problem = response.into_body().collect().await.unwrap().to_bytes();
    assert!(problem.windows(16).any(|part| part == b".REQUEST_TIMEOUT"), "{problem:?}");
    let (whole, receiver) = streamed();
    drop(whole);
    let request = Request::post(url(&server, "/echo")).body(receiver).unwrap();
    assert_eq!(requests.send_request(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn unread_bodies_hold_no_streams() {
    let server = Listening::open(short()).await;
    let mut requests = connected(&server).await;
    let mut open = Vec::new();
    // More than may be open at the same time.
    for _ in 0..600 {
        let (body, receiver) = streamed();
        open.push(body);
        let request = Request::post(url(&server, "/unread")).body(receiver).unwrap();
        let response =
            timeout(TEST_TIMEOUT, requests.send_request(request)).await.expect("a response");
        assert_eq!(response.unwrap().status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_with_goaway() {
    let server = Listening::open(ConnectionLimits { idle_ms: 1_500, ..short() }).await;
    let mut requests = connected(&server).await;
    for _ in 0..2 {
        let request = Request::get(url(&server, "/")).body(Body::empty()).unwrap();
        assert_eq!(requests.send_request(request).await.unwrap().status(), StatusCode::OK);
        sleep(Duration::from_secs(1)).await;
    }
    let closed = async {
        while requests.ready().await.is_ok() {
            sleep(TEST_TIMEOUT / 100).await;
        }
    };
    timeout(TEST_TIMEOUT, closed).await.expect("an idle connection is closed");
}

#[tokio::test]
async fn a_connection_that_brings_no_request_is_closed() {
    let server = Listening::open(short()).await;
    for part in [PREFACE, &[PREFACE, SETTINGS].concat(), &[PREFACE, &SETTINGS[..4]].concat()] {
        let mut client = server.connect().await;
        client.0.write_all(part).await.unwrap();
        is_half_a_second(client.rest().await.1);
    }
}

#[tokio::test]
async fn a_header_block_without_an_end_is_closed_also_beside_other_requests() {
    let server = Listening::open(short()).await;
    let mut client = server.connect().await;
    // Stream 1 is `GET http://a/slow`, whole; stream 3 never is.
    let slow = b"\0\0\x0c\x01\x05\0\0\0\x01\x82\x86\x04\x05/slow\x41\x01a";
    let half = &[0, 0, 1, 1, 1, 0, 0, 0, 3, 0x82];
    client.0.write_all(&[PREFACE, SETTINGS, slow, half].concat()).await.unwrap();
    is_half_a_second(client.rest().await.1);
}

#[tokio::test]
async fn a_drain_is_announced_and_the_requests_under_way_are_answered() {
    let server = Listening::open(short()).await;
    let mut requests = connected(&server).await;
    let request = |path| Request::get(url(&server, path)).body(Body::empty()).unwrap();
    assert_eq!(requests.send_request(request("/")).await.unwrap().status(), StatusCode::OK);
    let slow = requests.send_request(request("/slow"));
    assert_eq!(requests.send_request(request("/")).await.unwrap().status(), StatusCode::OK);
    server.lifecycle.stop();
    assert_eq!(slow.await.unwrap().status(), StatusCode::OK);
    let goaway = async {
        while requests.ready().await.is_ok() {
            sleep(TEST_TIMEOUT / 100).await;
        }
    };
    timeout(TEST_TIMEOUT, goaway).await.expect("the client learns that the connection ends");
    timeout(TEST_TIMEOUT, server.lifecycle.drain()).await.expect("nothing is left");
}

/// HEADERS of a POST whose body does not come: END_HEADERS, not END_STREAM.
fn post_without_body(stream: u32, path: &str) -> Vec<u8> {
    let (method_and_scheme, authority) = (b"\x83\x86", b"\x41\x01a");
    let length = method_and_scheme.len() + 2 + path.len() + authority.len();
    let mut frame = vec![0, 0, length as u8, 1, 4];
    frame.extend(stream.to_be_bytes());
    frame.extend(method_and_scheme);
    frame.extend([4, path.len() as u8]);
    frame.extend(path.bytes());
    frame.extend(authority);
    frame
}

/// Clients that open as many streams as they may and leave; in a process of its own: see below.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn program_whose_clients_leave() {
    let server = Listening::open(short()).await;
    for round in 0..24 {
        let path = if round < 12 { "/unread" } else { "/echo" };
        let streams = (0..250).flat_map(|number| post_without_body(number * 2 + 1, path));
        let streams: Vec<u8> = streams.collect();
        let mut client = server.connect().await;
        client.0.write_all(&[PREFACE, SETTINGS, &streams].concat()).await.unwrap();
        let mut bytes = vec![0; 64 * 1024];
        // At once, after the settings, and when the bodies are given up.
        match round % 4 {
            0 => {}
            1 => drop(client.0.read(&mut bytes).await),
            2 => sleep(Duration::from_millis(20)).await,
            _ => sleep(Duration::from_millis(600)).await,
        }
    }
    server.lifecycle.drain().await;
}

#[test]
fn clients_that_leave_with_open_streams_cause_no_panic() {
    let program = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["serve::tests::http2::program_whose_clients_leave", "--exact", "--ignored"])
        .arg("--nocapture")
        .output()
        .unwrap();
    assert!(program.status.success(), "{program:?}");
    let said = String::from_utf8_lossy(&[program.stdout, program.stderr].concat()).into_owned();
    assert!(said.contains("1 passed") && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn headers_above_the_limit_are_431_as_a_problem_and_the_connection_goes_on() {
    let server = Listening::open(short()).await;
    let mut requests = connected(&server).await;
    for (count, length) in [(6, 8 * 1024), (1, 70 * 1024), (700, 16)] {
        let mut request = Request::get(url(&server, "/"));
        for number in 0..count {
            request = request.header(format!("x-{number}"), "x".repeat(length));
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = timeout(TEST_TIMEOUT, requests.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.headers().contains_key("x-request-id"));
        let problem = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(problem.windows(18).any(|part| part == b".HEADERS_TOO_LARGE"), "{problem:?}");
    }
    let request = Request::get(url(&server, "/")).body(Body::empty()).unwrap();
    assert_eq!(requests.send_request(request).await.unwrap().status(), StatusCode::OK);
}
