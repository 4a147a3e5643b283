use super::*;

#[tokio::test]
async fn a_request_that_comes_while_the_server_drains_is_answered_with_the_announcement() {
    let server = Listening::open(short()).await;
    let (mut idle, mut busy, mut silent) =
        (server.connect().await, server.connect().await, server.connect().await);
    let response = idle.get("/").await;
    assert!(!response.contains("connection: close"), "{response}");
    busy.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    // Its handler runs: the next response on another connection comes after it began.
    assert_eq!(status(&idle.get("/").await), 200);
    server.lifecycle.stop();
    let response = idle.get("/").await;
    assert!(status(&response) == 200 && response.contains("connection: close"), "{response}");
    assert_eq!(idle.rest().await.0, "");
    let (response, _) = busy.rest().await;
    assert!(status(&response) == 200 && response.contains("connection: close"), "{response}");
    is_half_a_second(silent.rest().await.1 + Duration::from_millis(450));
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody is accepted any more");
    timeout(TEST_TIMEOUT, server.lifecycle.drain()).await.expect("nothing is left");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_drain() {
    let server = Listening::open(short()).await;
    let mut idle = server.connect().await;
    assert_eq!(status(&idle.get("/").await), 200);
    let began = Instant::now();
    timeout(TEST_TIMEOUT, server.lifecycle.drain()).await.expect("nothing is left");
    is_half_a_second(began.elapsed());
    assert_eq!(idle.rest().await.0, "");
}
