// What each upstream's state was in the last 10 minutes: from events, and from what the polls say.

const WINDOW = 600000;
const KEPT = 64; // changes of one upstream

const histories = new Map(); // pool and upstream -> { changes: [{ at, state, before }], version }

const keyOf = (pool, upstream) => `${pool}\n${upstream}`;

function remember(key, at, state, before) {
  if (!Number.isFinite(at)) return;
  let history = histories.get(key);
  if (!history) histories.set(key, (history = { changes: [], version: 0 }));
  const { changes } = history;
  let place = changes.length;
  while (place > 0 && changes[place - 1].at > at) place -= 1;
  changes.splice(place, 0, { at, state, before });
  if (changes.length > KEPT) changes.shift();
  history.version += 1;
}

// An event that changes a state.
function rememberEvent(event) {
  const [state, before] = {
    upstream_evicted: ["evicted", "ready"],
    upstream_back: ["ready", "evicted"],
    upstream_ready: ["ready", "unknown"],
    upstream_switched: [event.to, event.from],
  }[event.event] ?? [];
  if (state && event.upstream) remember(keyOf(event.pool, event.upstream), Date.parse(event.time), state, before);
}

// What a poll says; an event may have said it already, to the millisecond or not.
function rememberPoll(key, upstream) {
  const at = Date.parse(upstream.since);
  const last = histories.get(key)?.changes.at(-1);
  if (!last || last.state !== upstream.state || at > last.at + 2000) remember(key, at, upstream.state, null);
}

// Old changes go; the last one before the window says how it began.
function forget(now) {
  for (const [key, { changes }] of histories) {
    while (changes.length > 1 && changes[1].at < now - WINDOW) changes.shift();
    if (!changes.length || now - changes.at(-1).at > 86400000) histories.delete(key);
  }
}

// [from, to, state] in ms since the window began.
function segments(key, now) {
  const changes = histories.get(key)?.changes ?? [];
  const begin = now - WINDOW;
  const found = [];
  let state = null;
  let from = 0;
  const until = (to) => {
    if (state && to > from) found.push([from, to, state]);
  };
  changes.forEach(({ at, state: next, before }, index) => {
    const to = Math.min(Math.max(at - begin, 0), WINDOW);
    if (index === 0) state = before;
    until(to);
    [state, from] = [next, to];
  });
  until(WINDOW);
  return found;
}

const HEIGHTS = { ready: 4, evicted: 13, draining: 8, disabled: 8, unknown: 4 };

// Drawn again when something changed, and every 10 s, since time moves.
function drawStrip(svg, key, now, started) {
  const mark = `${key} ${histories.get(key)?.version} ${Math.floor(now / 10000)}`;
  if (svg.drawn === mark) return;
  svg.drawn = mark;
  const born = started - (now - WINDOW);
  // Nothing before the start: another process may have told of that.
  const parts = segments(key, now).map(([from, to, state]) => [Math.max(from, born), to, state]).filter(([from, to]) => to > from);
  const rects = parts.map(([from, to, state]) => {
    const rect = document.createElementNS(SVG, "rect");
    const height = HEIGHTS[state] ?? 4;
    rect.setAttribute("class", HEIGHTS[state] ? state : "unknown");
    rect.setAttribute("x", from / 1000);
    rect.setAttribute("width", Math.max((to - from) / 1000, state === "evicted" ? 4 : 0));
    rect.setAttribute("y", 13 - height);
    rect.setAttribute("height", height);
    return rect;
  });
  svg.replaceChildren(baseline(600, 13), ...rects);
  const out = parts.filter(([, , state]) => state === "evicted");
  const away = out.reduce((sum, [from, to]) => sum + to - from, 0);
  const told = out.length ? `evicted ${out.length === 1 ? "once" : `${out.length} times`}, ${spoken(away)} in all` : "never evicted";
  svg.setAttribute("aria-label", `last 10 minutes: ${told}`);
  const title = document.createElementNS(SVG, "title");
  title.textContent = `Last 10 minutes: ${told}`;
  svg.prepend(title);
}
