// The page's own life: asks every 2 s while somebody looks, at once when an event says so, and tells when nobody answers.

const PERIOD = 2000;
// All that causeway tells: a browser hands out only those that are asked for by name.
const EVENTS = [
  "accept_backoff", "access_log_dropped", "addresses_changed", "admin_listening", "certificate_refused",
  "certificate_taken", "config_refused", "config_reloaded", "config_warning", "drain_begun", "drain_cut", "drained", "eviction_withheld", "fatal",
  "grace_begun", "hand_over_ended", "handed_over", "handshake_failed", "introduction_refused", "listening", "log", "log_not_reopened",
  "log_not_written", "log_reopened", "manager_not_told", "memory_back", "memory_short", "name_not_resolved", "name_resolved", "notify_failed", "notify_late",
  "notify_said", "panicked",
  "request_failed", "request_suspect", "requests_failed", "retry_budget_exhausted", "serving", "spans_lost",
  "sockets_unused", "starting", "taken_over", "taking_over", "taking_over_unchecked", "threads_silent", "traces_off", "traces_on", "unasked_bytes", "untrusted_forwarded", "upstream_back",
  "upstream_diagnosed", "upstream_evicted", "upstream_idle_learnt", "upstream_ready", "upstream_switched",
  "upstreams_file_refused", "upstreams_file_taken",
];
const CHANGES = new Set(["upstream_evicted", "upstream_back", "upstream_ready", "upstream_switched", "config_reloaded", "config_refused"]);
const SHOWN = 15; // events

let known = null; // the last answer
let lostAt = 0;
let asking = false;
let again = false;
let timer = 0;

async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (answer.ok) return answer.json();
  const refusal = `causeway answered ${answer.status}: ${(await answer.text()).trim().split("\n")[0].slice(0, 300)}`;
  throw Object.assign(new Error(refusal), { refusal });
}

async function poll() {
  clearTimeout(timer);
  if (asking) {
    again = true;
    return;
  }
  if (document.hidden) return;
  asking = true;
  polled = performance.now();
  try {
    const status = await get("/api/status");
    found();
    await incidents(status);
    show(status);
  } catch (error) {
    lost(error.refusal);
  }
  asking = false;
  timer = setTimeout(poll, again ? 200 : PERIOD);
  again = false;
}

// The list is asked for when there is more in it.
let sum = null;
let news = true;
async function incidents(status) {
  const last = status.last ?? {};
  const now = `${status.started} ${last.failed} ${(last.errors ?? []).map((error) => error.count)}`;
  if (now === sum && !news) return;
  [sum, news] = [now, false];
  showIncidents((await get("/api/incidents?limit=20")).incidents ?? []);
}

function show(status) {
  const anew = known && known.started !== status.started;
  known = status;
  view.started = Date.parse(status.started);
  view.now = view.started + status.uptime_ms; // causeway's clock, not this machine's
  if (anew) curves.clear();
  forget(view.now);
  say(byId("name"), status.name ?? "causeway");
  const own = status.name && status.name !== "causeway" ? "causeway " : "";
  say(byId("about"), [`${own}${status.version}`, `up ${short(status.uptime_ms)}`, status.state, status.config ? `config ${status.config}${status.reload?.succeeded ? ` (reloaded ${short(status.reload.loaded_ago_ms)} ago)` : ""}` : "no config file", ...(status.listeners ?? []).map(({ name, addresses, connections, draining }) => `${name} ${draining ? "draining" : (addresses ?? []).join(" ")}${connections == null ? "" : ` (${count(connections, "connection")})`}`)].join(", "));
  reloads(status.reload ?? {});
  const last = status.last ?? {};
  document.querySelectorAll(".window").forEach((one) => say(one, span(last.window_ms)));
  say(byId("rate"), rate(status.requests?.per_second));
  say(byId("flight"), number(status.requests?.in_flight ?? 0));
  say(byId("rescued"), number(last.rescued ?? 0));
  say(byId("failed"), number(last.failed ?? 0));
  look(byId("failed"), last.failed ? "bad" : "");
  const unusable = status.pools.filter((pool) => pool.total && !pool.usable).length;
  const title = `${unusable ? `${count(unusable, "pool")} down - ` : ""}${status.name ?? "causeway"}`;
  if (document.title !== title) document.title = title;
  showPools(status.pools);
  showTroubles(status, view.now);
}

function reloads({ failure }) {
  byId("reload").hidden = !failure;
  if (!failure) return;
  const why = failure.why ? `: ${failure.why.replace(/\.$/, "")}` : "";
  const next = failure.next ? ` Next: ${failure.next}` : "";
  say(byId("reload"), `The last reload failed ${short(failure.ago_ms)} ago, the old configuration stays in force${why}.${next}`);
}

// ---- the connection

function lost(refusal) {
  if (!lostAt) {
    lostAt = Date.now();
    document.body.classList.add("stale");
    byId("lost").hidden = false;
  }
  const at = new Date(lostAt).toLocaleTimeString("en-GB");
  say(byId("lost-what"), refusal ?? "No connection to causeway.");
  say(byId("lost-since"), `Since ${at}; ${known ? "below is what was known then" : "nothing is known yet"}. It is tried again every 2 s.`);
  const waits = byId("waiting");
  if (waits) waits.textContent = "Nothing is known yet.";
}

function found() {
  if (!lostAt) return;
  lostAt = 0;
  document.body.classList.remove("stale");
  byId("lost").hidden = true;
  notice("causeway answers again.");
  listen();
}

// ---- events

let source = null;
let newest = 0;

function listen() {
  source?.close();
  source = new EventSource(`/api/events?after=${newest}`);
  const own = source;
  for (const name of EVENTS) source.addEventListener(name, (event) => own === source && happened(event));
  // A browser gives up where the answer was no stream; the polls go on meanwhile.
  source.addEventListener("error", () => own === source && own.readyState === EventSource.CLOSED && setTimeout(() => own === source && !document.hidden && listen(), 10000));
}

function happened(message) {
  const sequence = Number(message.lastEventId);
  if (sequence && sequence <= newest) return;
  newest = Math.max(newest, sequence || 0);
  let event;
  try {
    event = JSON.parse(message.data);
  } catch {
    return;
  }
  rememberEvent(event);
  const items = event.event === "config_reloaded" ? event.changes : event.event === "config_refused" ? event.why : null;
  const list = Array.isArray(items) ? listed(items, event.count ?? 0) : null;
  const line = node("li", ["warn", "error"].includes(event.level) ? event.level : "", clock(event.time), node("span", "", event.message ?? event.event ?? "", list));
  byId("events").prepend(line);
  byId("events-none").hidden = true;
  while (byId("events").children.length > SHOWN) byId("events").lastChild.remove();
  if (event.event === "request_failed" || event.event === "requests_failed") news = true;
  // What was kept from before is no news.
  if (known && CHANGES.has(event.event) && Date.parse(event.time) > view.now) byId("live").textContent = event.message ?? "";
  soon();
}

const LISTED = 20;
function listed(items, count) {
  const shown = items.slice(0, LISTED).map((item) => node("li", "", String(item)));
  const more = Math.max(count, items.length) - shown.length;
  return shown.length ? node("ul", "listed", ...shown, more > 0 ? node("li", "", `and ${number(more)} more`) : null) : null;
}

// Many events, one question, and at most two a second.
let due = 0;
let polled = 0;
function soon() {
  if (due) return;
  const pause = Math.max(100, polled + 500 - performance.now());
  due = setTimeout(() => {
    due = 0;
    poll();
  }, pause);
}

// ---- keys, and whether anybody looks

let typed = 0;
function refilter() {
  filter.text = byId("filter").value.trim().toLowerCase();
  clearTimeout(typed);
  typed = setTimeout(() => known && showPools(known.pools), 60);
}

function only(state) {
  filter.state = filter.state === state ? null : state;
  if (known) showPools(known.pools);
}

byId("filter").addEventListener("input", refilter);
document.addEventListener("keydown", (event) => {
  const types = event.target.matches?.("input, textarea");
  if (event.key === "/" && !types && !event.ctrlKey && !event.metaKey && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    byId("filter").focus();
  } else if (event.key === "Escape" && event.target === byId("filter")) {
    if (byId("filter").value || filter.state) {
      byId("filter").value = "";
      filter.state = null;
      refilter();
    } else {
      byId("filter").blur();
    }
  }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    source?.close();
    source = null;
  } else {
    listen();
    poll();
  }
});

if (!document.hidden) listen();
poll();
if (location.hash.length > 8) {
  try {
    openTrail(decodeURIComponent(location.hash.slice(1)));
  } catch {
    history.replaceState(null, "", location.pathname);
  }
}
