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
