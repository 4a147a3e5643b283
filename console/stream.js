// The event stream, read with fetch because an EventSource cannot send headers.

/** Splits a text/event-stream body into events and comments (WHATWG HTML, 9.2.6). */
export async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = {};
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data !== undefined) yield { type: "message", ...event };
        event = {};
      } else if (line.startsWith(":")) {
        yield { comment: line.slice(1).trim() };
      } else {
        takeField(event, line);
      }
    }
  }
}

function takeField(event, line) {
  const colon = line.indexOf(":");
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
  else if (name === "event") event.type = value;
  else if (name === "id") event.id = value;
  else if (name === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
}

const LONGEST_WAIT_MS = 30_000;
/** Heartbeats without data after which a stream counts as broken. */
const MISSED_HEARTBEATS = 2.5;

/** Keeps a stream open until it is stopped, and resumes from the last event. */
export class Stream {
  #session;
  #on;
  #stop = new AbortController();
  #last;
  #heartbeatMs = 15_000;
  #retryMs = 2_000;

  /** `on` receives `state(name, text)`, `event(event)` and `heartbeat()`. */
  constructor(session, on) {
    this.#session = session;
    this.#on = on;
    this.#run();
  }

  close() {
    this.#stop.abort();
    this.#on.state("closed", "closed");
  }

  async #run() {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      try {
        this.#on.state("waiting", "connecting");
        await this.#listen(() => (failures = 0));
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        failures += 1;
        this.#on.state("waiting", error.message);
      }
      const wait = Math.min(this.#retryMs * 2 ** Math.max(0, failures - 1), LONGEST_WAIT_MS);
      await new Promise((resolve) => setTimeout(resolve, wait * (0.8 + Math.random() * 0.4)));
    }
  }

  async #listen(opened) {
    const attempt = new AbortController();
    const give = () => attempt.abort();
    this.#stop.signal.addEventListener("abort", give, { once: true });
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(give, this.#heartbeatMs * MISSED_HEARTBEATS);
    };
    try {
      const headers = this.#last ? { "Last-Event-ID": this.#last } : {};
      const options = { accept: "text/event-stream", headers, signal: attempt.signal };
      const answer = await this.#session.get("/sse/stream", options);
      opened();
      alive();
      for await (const event of eventsOf(answer.body)) {
        alive();
        this.#take(event);
      }
    } finally {
      clearTimeout(watchdog);
      this.#stop.signal.removeEventListener("abort", give);
    }
    this.#on.state("waiting", "ended by the server");
  }

  #take(event) {
    if (event.comment !== undefined) return this.#on.heartbeat();
    if (event.id) this.#last = event.id;
    if (event.retry) this.#retryMs = event.retry;
    event.data = JSON.parse(event.data);
    if (event.type === "hello") {
      this.#heartbeatMs = event.data.heartbeatMs ?? this.#heartbeatMs;
      this.#retryMs = event.data.retryMs ?? this.#retryMs;
      this.#on.state("open", "open");
    }
    this.#on.event(event);
    // Another window of this desktop took over the stream; reconnecting would take it back.
    if (event.type === "superseded") this.#stop.abort();
  }
}
