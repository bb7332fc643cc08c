// How times and figures are said, and how nodes are made. What comes from outside goes in as text, never as markup.

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function node(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter((child) => child != null));
  return made;
}

function button(text, className, act) {
  const made = node("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

// Nodes that change often remember what they say, so that nothing is laid out again for nothing.
function say(element, text) {
  if (element.said === text) return;
  element.said = text;
  element.textContent = text;
}

function look(element, className) {
  if (element.className !== className) element.className = className;
}

const number = (value) => Math.round(value).toLocaleString("en");

function rate(value) {
  if (value == null) return "-";
  return value > 0 && value < 9.95 ? value.toFixed(1) : number(value);
}

// A time in a table: 8s, 12m, 3h 12m, 4d 2h.
function short(ms) {
  if (ms == null) return "";
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor(s / 60) % 60}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor(s / 3600) % 24}h`;
}

// A time in a sentence: 0.3 ms, 38 ms, 5.0 s, 41 s, 12 min.
function spoken(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 90000) return `${Math.round(ms / 1000)} s`;
  return short(ms).replace("m", " min").replace("h", " h").replace("d", " d");
}

// What is left until then, which is seconds: 1.2 s, 41 s.
const soonest = (ms) => (ms < 10000 ? `${(ms / 1000).toFixed(1)} s` : spoken(ms));

// With its full stop.
const sentence = (text) => (/[.?]$/.test(text) ? text : `${text}.`);

// The time that a count is of.
const span = (ms = 300000) => (ms < 60000 ? `${Math.round(ms / 1000)} s` : `${Math.floor(ms / 60000)} min`);

const latency = (ms) => (ms == null ? "-" : ms < 1 ? "< 1 ms" : spoken(ms).replace(/^(\d)\.\d ms/, "$1 ms"));

// The clock of whoever looks; the tooltip has UTC, as the logs do.
function clock(when) {
  const time = new Date(when);
  const shown = node("time", "time", time.toLocaleTimeString("en-GB"));
  if (!Number.isNaN(time.getTime())) shown.title = `${time.toISOString().replace("T", " ").replace("Z", "")} UTC`;
  return shown;
}

const count = (amount, noun) => `${number(amount)} ${noun}${amount === 1 ? "" : "s"}`;

// Bars for one series of figures, the newest at the right.
function spark(svg, values, most) {
  const width = 60;
  const top = Math.max(...values, 1e-9);
  const bars = values.map((value, index) => {
    if (!value) return null;
    const bar = document.createElementNS(SVG, "rect");
    const height = Math.max(1.5, (value / top) * 16);
    bar.setAttribute("x", width - values.length + index);
    bar.setAttribute("y", 17 - height);
    bar.setAttribute("width", 0.8);
    bar.setAttribute("height", height);
    return bar;
  });
  svg.replaceChildren(baseline(width, 17.5), ...bars.filter(Boolean));
  svg.setAttribute("aria-label", `at most ${rate(most)} a second in the last 2 minutes`);
}

function picture(className, box) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("viewBox", box);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  return svg;
}

function baseline(width, y) {
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", `M0 ${y}H${width}`);
  return line;
}
