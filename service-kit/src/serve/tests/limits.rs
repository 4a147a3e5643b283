use super::*;

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = Listening::open(short()).await;
    let (text, took) = server.connect().await.rest().await;
    assert_eq!(text, "");
    is_half_a_second(took);
}

#[tokio::test]
async fn a_partial_preface_or_header_times_out() {
    let server = Listening::open(short()).await;
    let halves = ["P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"];
    for half in halves {
        let mut client = server.connect().await;
        client.send(half).await;
        is_half_a_second(client.rest().await.1);
    }
}

#[tokio::test]
async fn headers_that_trickle_end_with_their_limit() {
    let server = Listening::open(short()).await;
    let mut client = server.connect().await;
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\n").await;
    while began.elapsed() < TEST_TIMEOUT {
        sleep(Duration::from_millis(100)).await;
        if client.0.write_all(b"a: b\r\n").await.is_err() {
            break;
        }
    }
    is_half_a_second(began.elapsed());
}

#[tokio::test]
async fn a_kept_alive_connection_has_the_idle_limit_then_the_header_limit() {
    let server = Listening::open(short()).await;
    let mut client = server.connect().await;
    assert_eq!(status(&client.get("/").await), 200);
    sleep(Duration::from_millis(1_200)).await;
    assert_eq!(status(&client.get("/").await), 200);
    client.send("GET / HTTP/1.1\r\nHos").await;
    is_half_a_second(client.rest().await.1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_own_time() {
    let server = Listening::open(ConnectionLimits { idle_ms: 500, ..short() }).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        assert_eq!(status(&client.get("/").await), 200);
        sleep(Duration::from_millis(250)).await;
    }
    let (text, took) = client.rest().await;
    assert_eq!(text, "");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_request_that_takes_long_is_not_idle() {
    let server = Listening::open(ConnectionLimits { idle_ms: 200, ..short() }).await;
    assert_eq!(status(&server.connect().await.get("/slow").await), 200);
}

#[tokio::test]
async fn a_response_that_is_not_read_is_abandoned() {
    let server = Listening::open(short()).await;
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    sleep(Duration::from_millis(1_500)).await;
    let (_, took) = client.rest().await;
    assert!(took < TEST_TIMEOUT, "{took:?}");
}

#[tokio::test]
async fn the_newest_connection_past_a_limit_is_refused_and_a_sign_in_makes_room() {
    let limits = ConnectionLimits {
        first_byte_ms: 60_000,
        max_unauthenticated_per_address: 2,
        max_connections: 4,
        ..short()
    };
    let server = Listening::open(limits).await;
    let mut first = server.connect().await;
    assert_eq!(status(&first.get("/").await), 200);
    let mut second = server.connect().await;
    assert!(!second.is_refused().await);
    assert!(server.connect().await.is_refused().await);
    assert_eq!(status(&first.get("/signed-in").await), 200);
    let mut third = server.connect().await;
    assert!(!third.is_refused().await);
    assert!(server.connect().await.is_refused().await);
    // Then the limit of the listener, whoever is signed in.
    for client in [&mut second, &mut third] {
        assert_eq!(status(&client.get("/signed-in").await), 200);
    }
    let mut fourth = server.connect().await;
    assert_eq!(status(&fourth.get("/signed-in").await), 200);
    assert!(server.connect().await.is_refused().await);
    drop(fourth);
    let admitted = async { while server.connect().await.is_refused().await {} };
    timeout(TEST_TIMEOUT, admitted).await.expect("a closed connection makes room");
}

#[tokio::test]
async fn behind_a_proxy_the_client_it_names_has_the_limit() {
    let client_of: ClientAddress = Arc::new(|peer, headers: &HeaderMap| {
        let named = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        named.and_then(|text| text.parse().ok()).unwrap_or(peer)
    });
    let limits = ConnectionLimits { max_unauthenticated_per_address: 1, ..short() };
    let config = ListenerConfig { limits, ..ListenerConfig::unobserved() };
    let server = Listening::with(config, Some(client_of)).await;
    let request = |client: &str| {
        format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: {client}\r\n\r\n")
    };
    let (mut one, mut two, mut three) =
        (server.connect().await, server.connect().await, server.connect().await);
    one.send(&request("192.0.2.1")).await;
    assert_eq!(status(&one.response().await), 200);
    two.send(&request("192.0.2.1")).await;
    let (refusal, _) = two.rest().await;
    assert_eq!(status(&refusal), 429);
    assert!(refusal.contains("connection: close") && refusal.contains("BFF.RATE_LIMITED"));
    three.send(&request("192.0.2.2")).await;
    assert_eq!(status(&three.response().await), 200);
}
