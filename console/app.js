// The page: sign-in, property selection, dashboard and stream state.

import { Failure, Session } from "./session.js";
import { Stream } from "./stream.js";
import { age, el, inTimeZone, painted, waiting } from "./tiles.js";

const $ = (id) => document.getElementById(id);
const AUTO_MS = 10_000;
const MOST_EVENTS = 200;

const state = { config: undefined, session: undefined, stream: undefined, loading: undefined };

function say(failure) {
  const notice = $("notice");
  notice.hidden = !failure;
  if (!failure) return;
  const link = failure.address ? [" ", el("a", { href: failure.address, target: "_blank", rel: "noopener" }, failure.address)] : [];
  notice.replaceChildren(failure.message, ...link);
  if (!(failure instanceof Failure)) console.error(failure);
}

function log(name, text) {
  const events = $("events");
  const now = new Date().toLocaleTimeString("en-GB");
  events.prepend(el("li", {}, `${now} `, el("b", {}, name), ` ${text}`));
  while (events.children.length > MOST_EVENTS) events.lastChild.remove();
}

/** Lists the operators by property. */
function offerOperators({ operators }) {
  const groups = Map.groupBy(operators, (operator) => operator.at);
  const option = (operator) => el("option", { value: operator.username }, `${operator.displayName}, ${operator.roles.join(", ")}`);
  $("operator").replaceChildren(...[...groups].map(([at, people]) => el("optgroup", { label: at }, people.map(option))));
}

function offerProperties({ properties }, operator) {
  const own = properties.filter((property) => operator.propertyIds.includes(property.propertyId));
  $("property").replaceChildren(...own.map((property) => el("option", { value: property.propertyId }, `${property.name}, ${property.city}`)));
}

async function signIn(event) {
  event.preventDefault();
  const operator = state.config.operators.find((each) => each.username === $("operator").value);
  $("sign-in-button").disabled = true;
  try {
    state.session = await Session.open(state.config, operator);
    say();
    log("signed in", operator.username);
    offerProperties(state.config, operator);
    $("sign-in").hidden = true;
    $("signed-in").hidden = false;
    $("who").textContent = `${operator.displayName} (${operator.roles.join(", ")})`;
    tick();
    openStream();
    await load();
    $("property").focus();
  } catch (failure) {
    say(failure);
  } finally {
    $("sign-in-button").disabled = false;
  }
}

/** Deletes the tokens. The device's key stays, as on a desktop. */
function signOut() {
  state.stream?.close();
  state.loading?.abort();
  state.session = undefined;
  $("sign-in").hidden = false;
  $("signed-in").hidden = true;
  $("who").textContent = "not signed in";
  $("dashboard-state").textContent = "none";
  $("tiles").replaceChildren(el("p", { class: "empty" }, "Signed out. Choose an operator and sign in."));
  say();
  $("operator").focus();
}

function openStream() {
  const show = (name, text) => {
    const element = $("stream-state");
    element.className = name;
    element.replaceChildren(el("span", { class: "dot", "aria-hidden": "true" }), text);
  };
  let beats = 0;
  state.stream = new Stream(state.session, {
    state: show,
    heartbeat: () => show("open", `open, heartbeat ${(beats += 1)} at ${new Date().toLocaleTimeString("en-GB")}`),
    event: (event) => log(event.type, JSON.stringify(event.data)),
  });
}

/** Yields the lines of a body as JSON. */
async function* records(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines.filter(Boolean).map((line) => JSON.parse(line));
  }
  if (rest.trim()) yield JSON.parse(rest);
}

function putTile(name, tile) {
  const old = $(`tile-${name}`);
  if (old) old.replaceWith(tile);
  else $("tiles").append(tile);
}

/** Removes tiles that the new dashboard does not have; others keep their content until it is replaced. */
function lay(names, propertyId) {
  const tiles = $("tiles");
  if (tiles.dataset.property !== propertyId) tiles.replaceChildren();
  tiles.dataset.property = propertyId;
  inTimeZone(state.config.properties.find((property) => property.propertyId === propertyId)?.timeZone);
  for (const old of [...tiles.children]) if (!names.includes(old.id.slice(5))) old.remove();
  for (const name of names) if (!$(`tile-${name}`)) tiles.append(waiting(name));
}

async function load() {
  if (!state.session) return;
  state.loading?.abort();
  const attempt = (state.loading = new AbortController());
  const propertyId = $("property").value;
  const started = performance.now();
  const took = () => `${Math.round(performance.now() - started)} ms`;
  $("tiles").setAttribute("aria-busy", "true");
  try {
    const path = `/dashboard?propertyId=${encodeURIComponent(propertyId)}`;
    const accept = "application/x-ndjson";
    const answer = await state.session.get(path, { accept, signal: attempt.signal });
    let first;
    for await (const record of records(answer.body)) {
      first ??= took();
      if (record.record === "skeleton") lay(record.widgets, record.propertyId);
      else if (record.record === "widget") putTile(record.name, painted(record.name, record.widget));
      else finish(record.partial, `first record ${first}, all ${took()}`);
    }
    say();
  } catch (failure) {
    if (failure.name !== "AbortError") {
      say(failure);
      $("dashboard-state").textContent = "failed";
    }
  } finally {
    if (state.loading === attempt) $("tiles").setAttribute("aria-busy", "false");
  }
}

function finish(partial, figures) {
  $("dashboard-state").textContent = `${partial ? "partial" : "whole"}, ${figures}`;
}

function tick() {
  const left = (state.session?.endsAt ?? 0) - Date.now();
  $("token").textContent = state.session ? (left > 0 ? `bound to this browser, ${age(left)} left` : "ended") : "none";
}

async function start() {
  $("sign-in").addEventListener("submit", signIn);
  $("sign-out").addEventListener("click", signOut);
  $("refresh").addEventListener("click", load);
  $("property").addEventListener("change", load);
  setInterval(tick, 1000);
  setInterval(() => $("auto").checked && document.visibilityState === "visible" && load(), AUTO_MS);
  state.config = await (await fetch("config.json")).json();
  offerOperators(state.config);
  $("addresses").textContent = `Gateway ${state.config.gateway} · iam ${state.config.issuer}`;
}

start().catch(say);
