// Tiles: one per widget, rendered again whenever its record arrives.

/** Creates an element with attributes and children. Strings become text, never HTML. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return element;
}

const TITLES = {
  occupancy: "Occupancy",
  availability: "Availability",
  rateSnapshot: "Rates tonight",
  housekeepingSummary: "Housekeeping",
  roomStatus: "Rooms",
  maintenanceSummary: "Maintenance",
  arrivals: "Arrivals",
  departures: "Departures",
  inHouse: "In house",
  folioSummary: "Folios",
  alerts: "Alerts",
  aiSuggestions: "Suggestions",
  kpis: "Yesterday",
  staffOnDuty: "On duty",
  staffingGaps: "Staffing gaps",
  syncStatus: "Sync",
  propertyCard: "Property",
};

const REASONS = {
  UPSTREAM_TIMEOUT: "It did not answer in time.",
  UPSTREAM_UNAVAILABLE: "It cannot be reached.",
  UPSTREAM_ERROR: "It answered with an error.",
  BREAKER_OPEN: "It failed too often and is left alone for a while.",
  CONCURRENCY_LIMIT: "Too many requests wait for it.",
  SCHEMA_DRIFT: "Its answer breaks the contract.",
  RESPONSE_TOO_LARGE: "Its answer is too large.",
  NOT_FOUND: "It does not know this property.",
};

const words = (name) => name.replace(/([A-Z])/g, " $1").replaceAll("_", " ").toLowerCase().trim();
const title = (name) => TITLES[name] ?? words(name).replace(/^./, (first) => first.toUpperCase());

let clock;

/** Formats a time in the property's time zone. */
export function inTimeZone(timeZone) {
  clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone });
}
inTimeZone();

const time = (instant) => (instant ? clock.format(new Date(instant)) : "–");
const day = (date) =>
  new Date(`${date}T12:00:00Z`).toLocaleDateString("en-GB", { weekday: "short", day: "numeric" });

function money({ amountMicro, currency }) {
  // Whole units are exact in a double up to 9 billion; rates and averages stay far below.
  const units = Number(BigInt(amountMicro) / 10_000n) / 100;
  return `${units.toLocaleString("en-GB", { maximumFractionDigits: 0 })} ${currency}`;
}

export function age(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

const number = (value) => el("td", { class: "number" }, String(value));

function table(caption, heads, rows) {
  const cell = (head) => el("th", { scope: "col", class: head.number ? "number" : undefined }, head.text ?? head);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, heads.map(cell))), el("tbody", {}, rows)));
}

const right = (text) => ({ text, number: true });

function pairs(entries) {
  return el("dl", { class: "pairs" }, entries.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
}

const PAINT = {
  occupancy: (data) => [
    el("p", { class: "big" }, `${data.percent}%`, el("small", {}, ` of ${data.total} rooms, ${day(data.date)}`)),
    el("meter", { min: 0, max: 100, value: data.percent, "aria-label": `${data.percent} percent occupied` }, `${data.percent}%`),
    pairs([["Sold", data.sold], ["Held", data.held], ["Out of order", data.outOfService], ["Free", data.available]]),
  ],
  availability: (data) => {
    const nights = data.roomTypes[0]?.nights.slice(0, 4) ?? [];
    const heads = ["Free rooms", ...nights.map((night) => right(day(night.date)))];
    const row = (type) => el("tr", {}, el("th", { scope: "row" }, type.name), type.nights.slice(0, 4).map((night) => number(night.stopSell ? "stop" : night.available)));
    return table("Rooms that can be sold", heads, data.roomTypes.map(row));
  },
  rateSnapshot: (data) => {
    const change = (percent) => (percent > 0 ? `▲ ${percent}%` : percent < 0 ? `▼ ${-percent}%` : "–");
    const row = (rate) => el("tr", {}, el("th", { scope: "row" }, rate.name), number(money(rate.bestAvailable)), number(change(rate.changePercent)));
    return table(`Best available ${day(data.date)}, and the change since yesterday`, ["Room type", right("Rate"), right("Change")], data.rates.map(row));
  },
  housekeepingSummary: (data) => {
    const tasks = Object.entries(data.tasks).filter(([, count]) => count > 0);
    return [
      pairs(tasks.map(([status, count]) => [words(status), count])),
      pairs([
        ["Urgent and open", data.urgentOpen],
        ["Unfinished before an arrival", data.pendingTasksAtArrivalWindow],
        ["Check-out to ready", data.timeToReadyMinutes == null ? "–" : `${Math.round(data.timeToReadyMinutes)} min`],
      ]),
    ];
  },
  roomStatus: (data) => {
    const roomItem = (room) => el("li", { class: room.status, title: `${words(room.status)} since ${time(room.since)}` }, room.number, el("span", { class: "sr" }, ` ${words(room.status)}`));
    const counts = Object.entries(data.counts).filter(([, count]) => count > 0);
    return [
      el("p", {}, counts.map(([status, count]) => `${count} ${words(status)}`).join(" · ")),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rooms by number" }, el("ul", { class: "rooms" }, data.rooms.map(roomItem))),
    ];
  },
  arrivals: (data) => [
    el("p", { class: "big" }, `${data.arrived ?? 0}`, el("small", {}, ` of ${data.expected ?? data.items.length} arrived, ${data.withoutRoom ?? 0} without a room`)),
    stays(data.items, "eta"),
  ],
  departures: (data) => stays(data.items),
  inHouse: (data) => stays(data.items),
  alerts: (data) => data.items.length === 0 ? el("p", {}, "Nothing needs you.") : el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Alerts" },
    el("ul", { class: "list" }, data.items.map((alert) => el("li", { class: alert.severity }, el("strong", { dir: "auto" }, alert.title), el("br"), el("span", { class: "quiet", dir: "auto" }, `${alert.body} ${time(alert.raisedAt)}`))))),
  kpis: (data) => [
    el("p", { class: "big" }, `${data.occupancyPercent}%`, el("small", {}, ` sold on ${day(data.businessDate)}`)),
    pairs([["Average daily rate", money(data.adr)], ["Revenue per room", money(data.revPar)]]),
  ],
  staffOnDuty: (data) => {
    const row = (department) => el("tr", {}, el("th", { scope: "row" }, department.department), number(`${department.present.length} / ${department.scheduled}`), el("td", { dir: "auto" }, department.present.map((person) => person.displayName).join(", ") || "–"));
    return table("Present of planned", ["Department", right("Here"), "Who"], data.departments.map(row));
  },
  maintenanceSummary: (data) => [
    pairs(Object.entries(data.states).filter(([, count]) => count > 0).map(([state, count]) => [words(state), count])),
    pairs([["Overdue", data.overdue], ["Rooms out of order for it", data.roomsOutOfOrder.map((room) => room.number).join(", ") || "none"]]),
  ],
  folioSummary: (data) => pairs([
    ["Open folios", data.openFolios],
    ["Owed", data.outstanding.map(money).join(" + ") || "nothing"],
    ["Due today", data.dueToday.map(money).join(" + ") || "nothing"],
    ["From folios", data.foliosDueToday],
  ]),
  aiSuggestions: (data) => data.items.length === 0 ? el("p", {}, "No advice.") : el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Suggestions" },
    el("ul", { class: "list" }, data.items.map((one) => el("li", {}, el("strong", { dir: "auto" }, one.title), el("br"), el("span", { class: "quiet", dir: "auto" }, `${one.rationale} ${Math.round(one.confidence * 100)}% sure`))))),
  staffingGaps: (data) => {
    const short = (department) => department.hours.filter((hour) => hour.missing > 0);
    const row = (department) => el("tr", {}, el("th", { scope: "row" }, department.department), number(short(department).length), el("td", {}, short(department)[0] ? time(short(department)[0].startsAt) : "–"));
    return table("Hours of the next 24 with too few people", ["Department", right("Hours"), "First at"], data.departments.map(row));
  },
  syncStatus: (data) => pairs([
    ["Desktops online", `${data.online} of ${data.devices}`],
    ["Changes that wait", data.pendingActions],
    ["Stale", data.stale],
    ["Oldest cursor", data.oldestCursorAt ? time(data.oldestCursorAt) : "–"],
  ]),
  propertyCard: (data) => [
    el("p", {}, el("strong", { dir: "auto" }, data.name), el("br"), `${data.address}, ${data.city}`),
    pairs([["Rooms", data.roomCount], ["Phone", data.phone], ["Email", data.email]]),
  ],
};

function stays(items, when) {
  const row = (stay) => el("tr", {}, el("th", { scope: "row", dir: "auto" }, stay.guestName), el("td", {}, stay.roomNumber ?? "–"), el("td", {}, words(stay.state)), number(when ? time(stay[when]) : stay.checkOut.slice(5)));
  return table("Stays", ["Guest", "Room", "State", right(when ? "Time" : "Until")], items.map(row));
}

/** Renders any other widget: its members, one level deep. */
function plain(data) {
  const shown = Object.entries(data).filter(([, value]) => typeof value !== "object" || value === null);
  const counted = Object.entries(data).filter(([, value]) => Array.isArray(value));
  return pairs([...shown.map(([name, value]) => [words(name), value]), ...counted.map(([name, value]) => [words(name), value.length])]);
}

function content(name, widget) {
  if (widget.data === undefined) return el("p", { class: "quiet" }, widget.status === "forbidden" ? "Not for this role." : "Nothing to show.");
  try {
    return (PAINT[name] ?? plain)(widget.data);
  } catch (error) {
    console.error(name, error);
    return el("p", {}, "This console cannot show the answer; look at it in the network panel.");
  }
}

function origin(widget) {
  const said = [`from ${widget.source}`];
  if (widget.tookMs !== undefined) said.push(`${widget.tookMs} ms`);
  if (widget.asOf) said.push(`true at ${time(widget.asOf)}`);
  if (widget.ageMs !== undefined) said.push(`${age(widget.ageMs)} old`);
  return said.join(" · ");
}

function tile(name, status, chip, body, foot) {
  const id = `tile-${name}`;
  return el("article", { class: "tile", id, "data-status": status, "aria-labelledby": `${id}-title` },
    el("header", {}, el("h2", { id: `${id}-title` }, title(name)), el("span", { class: "chip" }, chip)), body, el("footer", {}, foot));
}

/** Renders a tile without data yet. */
export function waiting(name) {
  return tile(name, "waiting", "…", el("div", { class: "skeleton" }), "waiting");
}

export function painted(name, widget) {
  const reason = widget.reason ? el("p", {}, REASONS[widget.reason] ?? words(widget.reason), " ", el("code", {}, widget.reason)) : null;
  return tile(name, widget.status, widget.status, [content(name, widget)].flat().concat(reason ?? []), origin(widget));
}
