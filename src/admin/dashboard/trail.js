// One failed request with its whole trail: what happened at each upstream, and what to do next.

async function openTrail(id) {
  const dialog = byId("trail");
  byId("trail-title").textContent = `Request ${id.slice(0, 8)}`;
  byId("trail-body").replaceChildren(node("p", "soft", "Asking causeway."));
  if (!dialog.open) dialog.showModal();
  byId("trail-title").focus();
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  try {
    const trail = await get(`/api/incidents/${encodeURIComponent(id)}`);
    if (!dialog.open) return;
    showTrail(trail, id);
  } catch (error) {
    byId("trail-body").replaceChildren(node("p", "", error.refusal ?? "causeway does not answer. Close this and try again."));
  }
}

function showTrail(trail, id) {
  byId("trail-title").textContent = trail.title ? `${trail.status} ${trail.title}` : trail.cut ? `${trail.status}, then cut off` : trail.status ? `${trail.status}: the client went away` : "No answer";
  const body = [node("p", "", `${trail.method} ${trail.uri}, ${spoken(trail.elapsed_ms)}. ${trail.detail ?? ""}`)];
  if (trail.hint) body.push(node("p", "", trail.hint));
  const attempts = trail.attempts ?? [];
  const skipped = trail.not_tried ?? [];
  if (attempts.length + skipped.length) body.push(node("h3", "", "What happened"));
  body.push(node("ol", "", ...attempts.map(attemptCard), ...skipped.map(skippedCard)));
  const omitted = (trail.attempts_omitted ?? 0) + (trail.not_tried_omitted ?? 0);
  if (omitted) body.push(node("p", "soft", `And ${count(omitted, "row")} more, which are not kept.`));
  if (trail.earlier?.length) body.push(node("p", "soft", `${count(trail.earlier.length, "earlier request")} had the same id; causeway explain ${id.slice(0, 8)} shows them too.`));
  body.push(node("h3", "", "The request"), facts(trail), node("h3", "", "The same in a terminal"), run(`causeway explain ${id.slice(0, 8)}`));
  byId("trail-body").replaceChildren(...body);
  byId("trail").scrollTop = 0;
}

function attemptCard(attempt) {
  const failed = attempt.cause != null;
  const word = failed ? "failed" : `answered ${attempt.status ?? ""}`;
  const card = cardOf(failed ? "failed" : "answered", word, attempt, attempt.cause, [attempt.phase, spoken(attempt.elapsed_ms ?? 0)]);
  if (attempt.last_resort) card.append(node("p", "soft", "Tried as a last resort: it was evicted."));
  tell(card, attempt.hint ?? attempt.full_message ?? attempt.message, attempt);
  return card;
}

function skippedCard(skip) {
  const card = cardOf("skipped", "not tried", skip, skip.reason, [skip.cause, skip.held_ms != null && `for ${spoken(skip.held_ms)}`]);
  tell(card, skip.message, skip);
  return card;
}

function cardOf(kind, word, row, cause, right) {
  const where = row.address && row.address !== row.upstream ? `${row.upstream} (${row.address})` : row.upstream;
  const time = node("span", "time", right.filter(Boolean).join("  "));
  return node("li", `card ${kind}`, node("div", "row", node("span", "word", word), node("b", "", where), cause && node("code", "", cause), time));
}

function tell(card, said, row) {
  const text = said && /^[a-z]/.test(said) ? said[0].toUpperCase() + said.slice(1) : said;
  if (text) card.append(node("p", "", sentence(text)));
  if (row.found_later) card.append(node("p", "", `Found since then: ${row.found_later}`));
  if (row.state_now) card.append(node("p", "soft small", `Now it is ${row.state_now}.`));
  if (row.write) card.append(run(row.write, ""));
  const command = row.command_now ?? row.command;
  if (command) card.append(run(command));
}

function facts(trail) {
  const list = [
    ["Began", `${String(trail.time ?? "").replace("T", " ").replace("Z", "")} UTC`],
    ["Host", trail.host ?? "none was sent"],
    ["Client", [trail.client, trail.user_agent].filter(Boolean).join("; ")],
    ["Listener", [trail.listener, trail.protocol].filter(Boolean).join(", ")],
    ["Route", trail.route],
    ["Pool", trail.pool],
    ["Ended by", { proxy: "causeway", upstream: "the upstream", client: "the client" }[trail.ended_by]],
    ["Waited", trail.waited_ms ? `${spoken(trail.waited_ms)} for an upstream to come back` : null],
    ["Bytes", `${number(trail.bytes_in ?? 0)} of the request's body read, ${number(trail.bytes_out ?? 0)} of the answer's written`],
    ["Id", trail.request_id],
  ];
  return node("dl", "facts", ...list.filter(([, text]) => text).flatMap(([name, text]) => [node("dt", "", name), node("dd", "", text)]));
}

// Something to type, and a button that takes it along.
function run(text, kind = "shell") {
  const code = node("code", "", text);
  const copy = button("Copy", "", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      // Without https a browser gives no clipboard: select it, so that Ctrl-C is enough.
      getSelection().selectAllChildren(code);
      copy.textContent = "Selected";
    }
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
  copy.setAttribute("aria-label", `Copy ${text}`);
  return node("div", `run ${kind}`, node("pre", "", code), copy);
}

byId("trail-close").addEventListener("click", () => byId("trail").close());
byId("trail").addEventListener("close", () => history.replaceState(null, "", location.pathname));
byId("trail").addEventListener("click", (event) => event.target === byId("trail") && byId("trail").close());
