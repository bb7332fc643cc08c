// The operator's word on an upstream: drain, enable, disable. What would hurt is asked for once more.

let token = ""; // of the admin; for as long as the page is open, and nowhere else
let waiting = null;

const WORDS = {
  draining: ["Drain", (what) => `Drain ${what}?`, "It gets no new requests; those that run may end."],
  disabled: ["Disable", (what) => `Disable ${what}?`, "It gets no new requests until it is enabled again, not even as a last resort."],
  enabled: ["Enable", (what) => `Enable ${what}?`, "Its checks decide again."],
};

function ask(row, word) {
  const { upstream, pool } = row;
  const state = upstream.state === "ready";
  const usable = known?.pools.find((one) => one.name === pool)?.usable;
  const last = word !== "enabled" && state && usable === 1;
  if (word !== "disabled" && !last) return put(pool, upstream.upstream, word);
  const warning = last ? ` It is the last usable upstream of pool ${pool}: the pool's requests would fail.` : "";
  sure(pool, upstream.upstream, word, warning, false);
}

function sure(pool, upstream, word, warning, wantsToken) {
  const [verb, title, means] = WORDS[word];
  waiting = { pool, upstream, word };
  byId("sure-title").textContent = title(`${pool}/${upstream}`);
  byId("sure-body").textContent = means + warning;
  byId("sure-token").hidden = !wantsToken;
  byId("sure-yes").textContent = verb;
  byId("sure").showModal();
  (wantsToken ? byId("token") : byId("sure-no")).focus();
}

async function put(pool, upstream, word) {
  const path = `/api/pools/${encodeURIComponent(pool)}/upstreams/${encodeURIComponent(upstream)}/state`;
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  let told;
  try {
    const answer = await fetch(path, { method: "PUT", headers, body: JSON.stringify({ state: word }), signal: AbortSignal.timeout(5000) });
    const text = await answer.text();
    if (answer.ok) {
      const changed = JSON.parse(text).changed ?? [];
      told = changed.map((one) => `${pool}/${one.upstream} is ${one.to}, was ${one.from}.`).join(" ") || `${pool}/${upstream} was ${word} already.`;
    } else {
      told = `Not done (${answer.status}): ${text.trim().slice(0, 400)}`;
      if (answer.status === 401 || (answer.status === 403 && /token/i.test(text))) sure(pool, upstream, word, ` ${text.trim().slice(0, 400)}`, true);
    }
  } catch {
    told = `Not done: causeway did not answer. ${pool}/${upstream} is as it was, or will be shown when it answers again.`;
  }
  notice(told);
  poll();
}

let noticed = 0;
function notice(text) {
  byId("said").textContent = text;
  clearTimeout(noticed);
  noticed = setTimeout(() => (byId("said").textContent = ""), 8000);
}

byId("sure-no").addEventListener("click", () => byId("sure").close());
byId("sure-yes").addEventListener("click", () => {
  if (!byId("sure-token").hidden) token = byId("token").value.trim();
  byId("sure").close();
  put(waiting.pool, waiting.upstream, waiting.word);
});
byId("token").addEventListener("keydown", (event) => event.key === "Enter" && byId("sure-yes").click());
