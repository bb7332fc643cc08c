// The pools: a heading each, and tables of at most 50 upstreams. A table out of sight is an empty box of its height.

const BLOCK = 50;
const SORTED_FROM = 20; // a larger pool shows those in trouble first
const STATES = ["evicted", "draining", "disabled", "unknown", "ready"];
const LOW = { evicted: 0, draining: 1, disabled: 2, unknown: 3, ready: 4 };

const sections = new Map(); // pool -> { root, name, facts, body, blocks }
const filter = { text: "", state: null };
const view = { now: 0, started: 0 };

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.block.near = isIntersecting;
    fill(target.block);
  }
}, { rootMargin: "800px 0px" });

function showPools(pools) {
  const names = new Set(pools.map((pool) => pool.name));
  for (const [name, section] of sections) {
    if (names.has(name)) continue;
    section.blocks.forEach((block) => near.unobserve(block.root));
    section.root.remove();
    sections.delete(name);
  }
  const counts = { evicted: 0, draining: 0, disabled: 0, unknown: 0, ready: 0 };
  let shown = 0;
  let total = 0;
  for (const pool of pools) {
    for (const upstream of pool.upstreams) {
      counts[upstream.state] = (counts[upstream.state] ?? 0) + 1;
      rememberPoll(keyOf(pool.name, upstream.upstream), upstream);
    }
    total += pool.upstreams.length;
    shown += showPool(pool);
  }
  showStates(counts, total);
  say(byId("shown"), shown === total ? "" : `${number(shown)} of ${number(total)} shown`);
  byId("tools").hidden = false;
  byId("waiting")?.remove();
}

function showPool(pool) {
  let section = sections.get(pool.name);
  if (!section) {
    section = { name: node("span"), usable: node("small"), facts: node("small"), stale: node("ul", "unheard"), body: node("div"), blocks: [] };
    section.root = node("section", "pool", node("h2", "", section.name, section.usable, section.facts), section.stale, section.body);
    section.root.setAttribute("aria-label", `pool ${pool.name}`);
    say(section.name, pool.name);
    sections.set(pool.name, section);
    byId("pools").append(section.root);
  }
  const last = pool.last ?? {};
  say(section.usable, `${number(pool.usable)} of ${number(pool.total)} usable`);
  look(section.usable, pool.usable === 0 ? "none" : "");
  const queue = pool.queue ? `, ${count(pool.queue, "request")} waiting` : "";
  const recent = `last ${span(last.window_ms)}: ${number(last.rescued ?? 0)} rescued, ${number(last.failed ?? 0)} failed`;
  say(section.facts, `${rate(pool.per_second)} req/s${queue}, ${recent}`);
  showStale(section.stale, pool.stale ?? []);
  let list = pool.upstreams.filter((upstream) => wanted(pool.name, upstream));
  if (pool.upstreams.length > SORTED_FROM) {
    list = STATES.flatMap((state) => list.filter((upstream) => (LOW[upstream.state] ?? 3) === LOW[state]));
  }
  section.root.hidden = list.length === 0 && pool.upstreams.length > 0;
  const blocks = Math.ceil(list.length / BLOCK);
  while (section.blocks.length > blocks) {
    const block = section.blocks.pop();
    near.unobserve(block.root);
    block.root.remove();
  }
  while (section.blocks.length < blocks) section.blocks.push(newBlock(section.body, pool.name));
  section.blocks.forEach((block, index) => {
    block.list = list.slice(index * BLOCK, (index + 1) * BLOCK);
    fill(block);
  });
  return list.length;
}

// Names and lists that cannot be had now: each is a line, with what stays in use.
function showStale(list, stale) {
  list.hidden = stale.length === 0;
  while (list.children.length > stale.length) list.lastChild.remove();
  while (list.children.length < stale.length) list.append(node("li"));
  stale.forEach(({ source, held_ms, cause, message }, index) => say(list.children[index], `${source}, for ${short(held_ms)}: ${cause}. ${message}`));
}

function wanted(pool, upstream) {
  if (filter.state && upstream.state !== filter.state) return false;
  if (!filter.text) return true;
  const all = [pool, upstream.upstream, upstream.address, upstream.state, upstream.cause, upstream.message];
  return filter.text.split(/\s+/).every((word) => all.some((text) => text?.toLowerCase().includes(word)));
}

// ---- tables

function newBlock(body, pool) {
  const root = node("div", "block");
  const block = { root, pool, list: [], rows: new Map(), table: null, near: false };
  root.block = block;
  body.append(root);
  near.observe(root);
  return block;
}

function fill(block) {
  const { root } = block;
  const held = block.table && root.contains(document.activeElement);
  if (!block.near && !held) {
    // The height that it had, or what a row usually takes.
    const height = block.table ? root.offsetHeight : parseFloat(root.style.height) || 0;
    const guess = block.list.length * (matchMedia("(max-width: 52rem)").matches ? 150 : 38);
    const wanted = `${block.filled === block.list.length && height ? height : guess}px`;
    if (root.style.height !== wanted) root.style.height = wanted;
    if (block.table) root.replaceChildren();
    block.table = null;
    block.rows.clear();
    return;
  }
  if (!block.table) {
    block.table = newTable(block.pool);
    root.replaceChildren(block.table);
    root.style.height = "";
  }
  block.filled = block.list.length;
  const gone = new Set(block.rows.keys());
  let before = block.table.tHead;
  for (const upstream of block.list) {
    let row = block.rows.get(upstream.upstream);
    if (!row) block.rows.set(upstream.upstream, (row = newRow(block.pool, upstream)));
    gone.delete(upstream.upstream);
    showRow(row, upstream);
    if (before.nextSibling !== row.root) before.after(row.root);
    before = row.root;
  }
  for (const name of gone) {
    block.rows.get(name).root.remove();
    block.rows.delete(name);
  }
}

const COLUMNS = [["Upstream", ""], ["State", "c-state"], ["Last 10 min", "c-strip"], ["In flight", "c-n"], ["Req/s", "c-n"], ["p50", "c-n"], ["p99", "c-n"], ["Switch", "c-do"]];

function newTable(pool) {
  const caption = node("caption", "sr", `Upstreams of pool ${pool}`);
  const heads = COLUMNS.map(([text, kind]) => {
    const head = node("th", kind === "c-n" ? "n" : "", kind === "c-do" ? node("span", "sr", text) : text);
    head.scope = "col";
    return head;
  });
  const columns = node("colgroup", "", ...COLUMNS.map(([, kind]) => node("col", kind)));
  return node("table", "", caption, columns, node("thead", "", node("tr", "", ...heads)));
}

function newRow(pool, upstream) {
  const name = upstream.upstream;
  const row = { pool, upstream, key: keyOf(pool, name) };
  const figure = (label) => {
    const cell = node("td", "n", "");
    cell.dataset.label = label;
    return cell;
  };
  row.mark = node("span", "mark");
  row.mark.setAttribute("aria-hidden", "true");
  [row.word, row.held, row.at, row.tags] = [node("span"), node("small"), node("small", "at soft"), node("span", "tag")];
  row.state = node("td", "state", row.mark, row.word, " ", row.held);
  row.strip = picture("strip", "0 0 600 13");
  [row.flight, row.rate, row.p50, row.p99] = ["In flight", "Req/s", "p50", "p99"].map(figure);
  [row.flights, row.limit] = [node("span"), node("span", "of")];
  row.flight.append(row.flights, row.limit);
  row.turn = button("", "", () => ask(row, row.upstream.state === "draining" || row.upstream.state === "disabled" ? "enabled" : "draining"));
  row.off = button("Disable", "", () => ask(row, "disabled"));
  row.off.setAttribute("aria-label", `Disable ${name}`);
  const bold = node("b", "", name);
  row.line = node("tr", "up", node("td", "", bold, row.tags, row.at), row.state, node("td", "strips", row.strip), row.flight, row.rate, row.p50, row.p99, node("td", "do", row.turn, row.off));
  row.said = node("p");
  const cell = node("td", "", row.said);
  cell.colSpan = COLUMNS.length;
  row.why = node("tr", "why", cell);
  row.root = node("tbody", "", row.line, row.why);
  return row;
}

function showRow(row, upstream) {
  row.upstream = upstream;
  const state = STATES.includes(upstream.state) ? upstream.state : "unknown";
  look(row.root, state);
  look(row.line, `up ${state}`);
  look(row.mark, `mark ${state}`);
  look(row.state, `state ${state}`);
  say(row.word, upstream.state);
  say(row.held, short(upstream.held_ms));
  const elsewhere = upstream.address && upstream.address !== upstream.upstream;
  say(row.at, elsewhere ? upstream.address : "");
  row.at.hidden = !elsewhere;
  const tags = [upstream.backup && "backup", upstream.weight > 1 && `weight ${upstream.weight}`].filter(Boolean).join(", ");
  say(row.tags, tags);
  row.tags.hidden = !tags;
  say(row.flights, number(upstream.in_flight ?? 0));
  say(row.limit, upstream.limit ? ` of ${number(upstream.limit)}` : "");
  say(row.rate, rate(upstream.per_second));
  say(row.p50, latency(upstream.p50_ms));
  say(row.p99, latency(upstream.p99_ms));
  drawStrip(row.strip, row.key, view.now, view.started);
  const out = state === "draining" || state === "disabled";
  if (row.turn.said !== (out ? "Enable" : "Drain")) {
    say(row.turn, out ? "Enable" : "Drain");
    row.turn.setAttribute("aria-label", `${out ? "Enable" : "Drain"} ${upstream.upstream}`);
  }
  row.off.hidden = state === "disabled";
  const why = reason(upstream);
  say(row.said, why);
  row.why.hidden = !why;
}

function reason(upstream) {
  const { state, cause, message } = upstream;
  if (state === "ready") return "";
  const said = [];
  if (state === "draining") {
    const left = upstream.in_flight ? `${count(upstream.in_flight, "request")} may still end` : "nothing is in flight";
    said.push(`No new requests by the operator's word; ${left}.`);
  } else if (state === "disabled") {
    said.push("Switched off by the operator. Enable it when it may work again.");
  } else {
    const why = message && message.replaceAll(" ", "_") !== cause ? `${cause ? `${cause}: ` : ""}${message}` : cause;
    if (why) said.push(sentence(why));
    if (upstream.next_check_ms != null) said.push(`Next check in ${soonest(upstream.next_check_ms)}.`);
    else if (upstream.ends_in_ms != null) said.push(`Tried again in ${soonest(upstream.ends_in_ms)}.`);
  }
  const finding = upstream.finding?.sentence ?? upstream.finding;
  if (finding) said.push(sentence(finding));
  return said.join(" ");
}

// ---- filter

const chips = new Map();

function showStates(counts, total) {
  for (const state of [null, "ready", "evicted", "draining", "disabled", "unknown"]) {
    let chip = chips.get(state);
    if (!chip) {
      chip = { words: node("span"), button: button("", "", () => only(state)) };
      const mark = state && node("span", `mark ${state}`);
      mark?.setAttribute("aria-hidden", "true");
      chip.button.append(...[mark, chip.words].filter(Boolean));
      chips.set(state, chip);
      byId("states").append(chip.button);
    }
    const amount = state ? counts[state] : total;
    say(chip.words, `${state ?? "all"} ${number(amount)}`);
    chip.button.hidden = !amount && filter.state !== state && state != null && state !== "ready" && state !== "evicted";
    chip.button.setAttribute("aria-pressed", filter.state === state);
  }
}
