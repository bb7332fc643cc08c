// What failed: errors that clients saw, attempts that failed on the way, and the latest incidents.

const POINTS = 60; // of a curve: 2 minutes of polls
const ROWS = 12;
const curves = new Map(); // name -> { total, at, rates }

// A total that grows, as a rate. `fresh` of it is new where the kind was not there before; the first look compares with nothing.
function curve(name, total, fresh, now) {
  let one = curves.get(name);
  if (!one) curves.set(name, (one = { total: began ? total - fresh : total, at: now - PERIOD, rates: [] }));
  one.seen = now;
  const gone = now - one.at;
  if (gone < 500) return one;
  // After a pause (a hidden page) it starts anew.
  if (gone > 20000) one.rates = [];
  one.rates.push((Math.max(0, total - one.total) / gone) * 1000);
  if (one.rates.length > POINTS) one.rates.shift();
  [one.total, one.at] = [total, now];
  return one;
}
let began = false;

function rows(table, none, list, make) {
  none.hidden = list.length > 0;
  table.hidden = list.length === 0;
  const body = table.tBodies[0];
  table.rowsByName ??= new Map();
  const gone = new Set(table.rowsByName.keys());
  list.forEach((item, index) => {
    let row = table.rowsByName.get(item.name);
    if (!row) {
      const cells = [node("code"), node("span", "where"), node("span"), node("span")];
      const svg = picture("spark", "0 0 60 18");
      const line = node("tr", "", ...cells.map((cell, place) => node("td", place > 1 ? "n" : "", cell)), node("td", "curve", svg));
      table.rowsByName.set(item.name, (row = { cells, svg, line }));
    }
    gone.delete(item.name);
    make(item).forEach((text, place) => say(row.cells[place], text));
    spark(row.svg, item.curve.rates, Math.max(0, ...item.curve.rates));
    if (body.children[index] !== row.line) body.insertBefore(row.line, body.children[index] ?? null);
  });
  for (const name of gone) {
    table.rowsByName.get(name).line.remove();
    table.rowsByName.delete(name);
  }
}

function showTroubles(status, now) {
  const last = status.last ?? {};
  const minutes = (last.window_ms ?? 300000) / 60000;
  // `total` is since the start; a window's count falls again, and shows what came on top of that.
  const errors = (last.errors ?? []).map((error) => {
    const name = `${error.code} ${error.cause} ${error.pool ?? ""}`;
    return { ...error, name, curve: curve(`e ${name}`, error.total ?? error.count, error.count, now) };
  });
  errors.sort((a, b) => b.count - a.count);
  rows(byId("errors"), byId("errors-none"), errors.slice(0, ROWS), (error) => [`${error.code} ${error.cause ?? ""}`, error.pool ?? "-", number(error.count), rate(error.count / minutes)]);
  const causes = new Map();
  for (const pool of status.pools) {
    for (const upstream of pool.upstreams) {
      for (const [cause, amount] of Object.entries(upstream.failures ?? {})) {
        if (!amount) continue;
        const sum = causes.get(cause) ?? { name: cause, count: 0, most: 0, where: "" };
        sum.count += amount;
        if (amount > sum.most) [sum.most, sum.where] = [amount, `${pool.name}/${upstream.upstream}`];
        causes.set(cause, sum);
      }
    }
  }
  const attempts = [...causes.values()].sort((a, b) => b.count - a.count);
  byId("attempts-note").hidden = !attempts.length;
  attempts.forEach((sum) => (sum.curve = curve(`a ${sum.name}`, sum.count, sum.count, now)));
  const lately = ({ rates }) => (rates.length ? (rates.reduce((all, one) => all + one, 0) / rates.length) * 60 : null);
  rows(byId("attempts"), byId("attempts-none"), attempts.slice(0, ROWS), (sum) => [sum.name, sum.where, number(sum.count), rate(lately(sum.curve))]);
  for (const [name, one] of curves) if (one.seen !== now && now - one.seen > 600000) curves.delete(name);
  began = true;
}

// ---- incidents

let shownIncidents = "";

function showIncidents(list) {
  const mark = list.map((one) => one.sequence).join();
  if (mark === shownIncidents) return;
  shownIncidents = mark;
  const holds = byId("incidents").contains(document.activeElement) ? document.activeElement.name : null;
  byId("incidents-none").hidden = list.length > 0;
  byId("incidents").replaceChildren(...list.map((one) => {
    const target = `${one.method} ${one.path}`;
    const top = node("span", "row", node("b", one.status >= 500 ? "bad" : "", String(one.status || "cut")), node("code", "", one.cause ?? ""), clock(one.time));
    const below = node("span", "clip", target, node("span", "soft", ` ${[one.pool && `pool ${one.pool}`, spoken(one.elapsed_ms)].filter(Boolean).join(", ")}`));
    const opens = button("", one.status >= 500 || !one.status ? "" : "client", () => openTrail(one.id));
    opens.append(top, below, node("span", "clip soft small", one.summary ?? ""));
    opens.title = `${target}\n${one.summary ?? ""}`;
    opens.name = String(one.sequence);
    opens.setAttribute("aria-haspopup", "dialog");
    return node("li", "", opens);
  }));
  if (holds) [...byId("incidents").querySelectorAll("button")].find((one) => one.name === holds)?.focus();
}
