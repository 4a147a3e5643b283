use super::*;

const JSON_HEADERS: &str = "HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\n";

#[track_caller]
fn is_problem(response: &str, wanted: u16, code: &str) {
    assert_eq!(status(response), wanted, "{response}");
    assert!(response.contains("content-type: application/problem+json"), "{response}");
    assert!(response.contains("x-request-id: req_"), "{response}");
    assert!(response.contains(&format!("\"code\":\"MELMASTOON.{code}\"")), "{response}");
    assert!(response.contains("connection: close"), "{response}");
}

#[tokio::test]
async fn a_body_that_stands_still_is_408() {
    let server = Listening::open(short()).await;
    for framing in ["Content-Length: 10\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let mut client = server.connect().await;
        client.send(&format!("POST /echo {JSON_HEADERS}{framing}")).await;
        let (response, took) = client.rest().await;
        is_problem(&response, 408, "GENERAL.REQUEST_TIMEOUT");
        is_half_a_second(took);
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_408_after_its_whole_time() {
    let server = Listening::open(short()).await;
    let mut client = server.connect().await;
    client.send(&format!("POST /echo {JSON_HEADERS}Content-Length: 1000\r\n\r\n{{")).await;
    let began = Instant::now();
    let response = loop {
        assert!(began.elapsed() < TEST_TIMEOUT);
        let _ = client.0.write_all(b" ").await;
        let mut bytes = vec![0; 4096];
        if let Ok(read) = timeout(Duration::from_millis(200), client.0.read(&mut bytes)).await {
            bytes.truncate(read.unwrap());
            break String::from_utf8(bytes).unwrap();
        }
    };
    assert_eq!(status(&response), 408);
    assert!((1_400..4_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_unread_body_holds_no_connection() {
    let server = Listening::open(short()).await;
    let mut client = server.connect().await;
    client.send(&format!("POST /unread {JSON_HEADERS}Content-Length: 1000\r\n\r\n{{")).await;
    let (response, took) = client.rest().await;
    assert_eq!(status(&response), 204);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_body_in_time_is_taken_whole() {
    let server = Listening::open(short()).await;
    let mut client = server.connect().await;
    client.send(&format!("POST /echo {JSON_HEADERS}Content-Length: 4\r\n\r\n{{")).await;
    for piece in ["\"", "\"", "}"] {
        sleep(Duration::from_millis(200)).await;
        client.send(piece).await;
    }
    let response = client.response().await;
    assert_eq!(status(&response), 200);
    assert!(response.ends_with("{\"\"}"), "{response}");
    assert_eq!(status(&client.get("/").await), 200, "the connection is kept");
}

#[tokio::test]
async fn http1_1_needs_one_host() {
    let server = Listening::open(short()).await;
    for hosts in ["", "Host: a.example\r\nHost: a.example\r\n", "Host: a b\r\n", "Host:\r\n"] {
        let mut client = server.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        is_problem(&client.rest().await.0, 400, "GENERAL.MALFORMED_REQUEST");
    }
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&client.rest().await.0), 200);
}

#[tokio::test]
async fn headers_above_the_limit_are_431_as_a_problem() {
    let server = Listening::open(short()).await;
    let (long, many) = ("x".repeat(70 * 1024), "X-A: ".to_owned() + &"x".repeat(8 * 1024) + "\r\n");
    let requests = [
        format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-A: {long}\r\n\r\n"),
        format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", &long[..60 * 1024]),
        format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", many.repeat(20)),
        format!("POST /echo {JSON_HEADERS}Content-Length: 2\r\n{}\r\n{{}}", many.repeat(5)),
        format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", "X-A: b\r\n".repeat(200)),
    ];
    for request in requests {
        let mut client = server.connect().await;
        client.send(&request).await;
        is_problem(&client.rest().await.0, 431, "BFF.HEADERS_TOO_LARGE");
        // Also after a request that was answered.
        let mut client = server.connect().await;
        assert_eq!(status(&client.get("/").await), 200);
        client.send(&request).await;
        is_problem(&client.rest().await.0, 431, "BFF.HEADERS_TOO_LARGE");
    }
}

#[tokio::test]
async fn bytes_that_are_no_request_are_400_as_a_problem() {
    let server = Listening::open(short()).await;
    let all: [&[u8]; 8] = [
        b"GET / HTTP/1.2\r\nHost: a.example\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nX-A: a\x00b\r\n\r\n",
        b"G\xc3\xa9T / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a.example\r\nContent-Length: x\r\n\r\n",
    ];
    for bytes in all {
        let mut client = server.connect().await;
        client.0.write_all(bytes).await.unwrap();
        let answer = client.rest().await.0;
        is_problem(&answer, 400, "GENERAL.MALFORMED_REQUEST");
        assert!(is_whole(&answer), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn targets_without_a_path_are_problems() {
    let server = Listening::open(short()).await;
    for line in ["OPTIONS *", "CONNECT a.example:443"] {
        let mut client = server.connect().await;
        client
            .send(&format!("{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"))
            .await;
        let answer = client.rest().await.0;
        assert!([400, 404, 405].contains(&status(&answer)), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains("x-request-id: req_"), "{answer}");
    }
}
