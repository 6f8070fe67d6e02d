"use strict";
history.replaceState(null, "", location.pathname);  // the cookie holds the token now

// What is in the queue and what can be done with it. How films come in is films.js, what is shown of them viewer.js.

const WORDS = {
  held: "waits for you", queued: "in the queue", running: "working", stopping: "stopping",
  stopped: "stopped", done: "done", failed: "failed", waiting: "waits to be sent", sending: "being sent",
};
const MEANS = {
  fast: "Nothing learned: several times quicker, more rain stays and fine detail softens.",
  balanced: "The usual choice.",
  best: "A larger network for graphics cards; many times slower without one.",
};
const jobs = new Map(), cards = new Map();
let asked = Promise.resolve();

// What things are called.

function bytes(size) {
  for (const [unit, worth] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (size >= worth) return `${(size / worth).toFixed(size < 10 * worth ? 1 : 0)} ${unit}`;
  }
  return `${size} bytes`;
}
function tell(text) { $("problem").firstElementChild.textContent = text ?? ""; $("problem").hidden = !text; }
$("problem").lastElementChild.onclick = () => tell(null);

function ask(...request) { return asked = asked.then(() => answerTo(...request)); }  // one after the other, as they were made

async function answerTo(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  try { response = await fetch(`api/${path}`, options); } catch {
    tell("The server does not answer. Is derain serve still running?");
    return null;
  }
  const answer = response.status === 204 ? {} : await response.json().catch(() => null);
  tell(response.ok ? null : answer?.error ?? `The server's answer makes no sense (${response.status}); load the page again.`);
  return response.ok ? answer : null;
}

// Jobs, one card each.

function newCard(id) {
  const card = $("job").content.firstElementChild.cloneNode(true), find = query => card.querySelector(query);
  for (const radio of card.querySelectorAll("input[type=radio]")) {
    radio.name = `quality-${id}`;
    radio.onchange = () => change(id);
  }
  for (const query of [".streaks", ".haze", ".boldness", ".speed", ".protect", ".codec", ".crf"]) find(query).onchange = () => change(id);
  for (const range of card.querySelectorAll("input[type=range]")) range.oninput = () => percent(range);
  return card;
}
function percent(range) { range.previousElementSibling.textContent = `${Math.round(100 * range.value)} %`; }

async function change(id) {  // whether the server has the dials that the page shows
  const card = cards.get(id), find = query => card.querySelector(query), wrong = card.querySelector("input:invalid");
  find(".means").textContent = MEANS[find("input[type=radio]:checked").value];
  if (wrong) {
    tell(wrong.matches(".crf") ? "CRF is a whole number from 0 to 63." : "A region to protect is X,Y,width,height in pixels, such as 0,640,1280,80.");
    return false;
  }
  const job = await ask("PATCH", `jobs/${id}`, {
    quality: find("input[type=radio]:checked").value,
    streaks: Number(find(".streaks").value), haze: Number(find(".haze").value),
    boldness: Number(find(".boldness").value), speed: find(".speed").value,
    protect: find(".protect").value.split(/\s+/).filter(Boolean),
    codec: find(".codec").value || null, crf: find(".crf").value === "" ? null : Number(find(".crf").value),
  });
  if (job) show(job);
  return Boolean(job);
}

async function act(id, path) {  // never with other dials than the page shows
  if (jobs.get(id).state === "held" && !(await change(id))) return;
  const job = await ask("POST", `jobs/${id}/${path}`);
  if (job) show(job);
}

function show(job) {
  jobs.set(job.id, job);
  if (!cards.has(job.id)) {
    cards.set(job.id, newCard(job.id));
    $("jobs").prepend(cards.get(job.id));
  }
  const card = cards.get(job.id), find = query => card.querySelector(query);
  card.dataset.state = job.state;
  card.dataset.id = job.id;
  find("h3").textContent = job.name;
  find(".badge").textContent = WORDS[job.state];
  const film = job.film, facts = [bytes(job.size)];
  if (film) facts.unshift(`${film.width}×${film.height}`, `${Number(film.fps.toFixed(2))} fps`);
  if (film?.seconds) facts.unshift(clock(film.seconds));
  if (job.state !== "held") facts.push(job.settings.quality);
  if (job.result_size !== null) facts.push(`${job.result}, ${bytes(job.result_size)}`);
  find(".facts").textContent = facts.join(" · ");
  const begun = ["running", "stopping", "stopped", "failed"].includes(job.state);
  find("progress").hidden = find(".rate").hidden = !begun || !job.total;
  find("progress").value = job.total ? Math.min(1, job.frames / job.total) : 0;
  find("progress").setAttribute("aria-label", `Progress of ${job.name}`);
  const rate = [`${job.frames} of ${job.total} frames`];
  if (job.fps) rate.push(`${job.fps.toFixed(job.fps < 10 ? 1 : 0)} a second`);
  if (job.seconds_left !== null) rate.push(`${clock(job.seconds_left)} left`);
  if (job.state === "running" && !job.fps) rate.push("the network is being loaded");
  find(".rate").textContent = rate.join(" · ");
  find(".error").textContent = job.error ?? "";
  find(".error").hidden = !job.error;
  find(".notices").replaceChildren(...job.notices.map(text => element("li", text)));
  showDials(card, job);
  showPreview(card, job);
  showButtons(card, job);
  count();
  const shown = jobs.get(chosen);  // the newest of which there is a frame, until the user picks one
  if (job.frames > 0 && !picked && (!shown || job.created > shown.created)) choose(job.id);
  if (chosen === job.id) follow();
}

function showDials(card, job) {
  const find = query => card.querySelector(query), { quality, codec, crf, protect } = job.settings;
  find(".dials").hidden = job.state !== "held";
  if (card.contains(document.activeElement) && document.activeElement.matches("input, select")) return;
  find(`input[value=${quality}]`).checked = true;
  find(".means").textContent = MEANS[quality];
  for (const dial of ["streaks", "haze", "boldness", "speed"]) find(`.${dial}`).value = job.settings[dial];
  find(".protect").value = protect.join(" ");
  find(".codec").value = codec ?? "";
  find(".crf").value = crf ?? "";
  for (const range of card.querySelectorAll(".dials input[type=range]")) percent(range);
}

function showPreview(card, job) {
  const box = card.querySelector(".preview"), preview = job.preview, link = box.querySelector("a");
  box.hidden = !preview;
  if (!preview) return;
  let text = preview.state === "queued" ? "The preview waits for another." : "A preview is being made: five spots are derained, in about half a minute.";
  if (preview.state === "failed") text = preview.error;
  if (preview.state === "done") {
    const seen = preview.rain.length ? `Seen: ${preview.rain.join(", ")}.` : "No rain is seen.";
    const takes = `The whole film takes about ${clock(preview.seconds)} (${preview.fps.toFixed(1)} frames a second) and becomes about ${bytes(preview.size)} large.`;
    const other = preview.settings && !sameDials(preview.settings, job.settings);
    const again = other && (job.state === "held" ? "This was with other dials; preview again to see these." : "This was with other dials.");
    text = [seen, preview.nothing, takes, again].filter(Boolean).join(" ");
  }
  box.querySelector("p").textContent = text;
  box.querySelector("progress").hidden = !["queued", "running"].includes(preview.state);
  link.hidden = preview.state !== "done";
  const key = JSON.stringify(preview);  // another preview is other frames
  if (!link.hidden && link.dataset.key !== key) {
    link.dataset.key = key;
    link.href = `api/jobs/${job.id}/preview.png`;
    link.querySelector("img").src = `${link.href}?${Date.now()}`;
  }
}

function sameDials(one, other) { return Object.keys(one).every(dial => String(one[dial]) === String(other[dial])); }

function showButtons(card, job) {
  const previewing = ["queued", "running"].includes(job.preview?.state), { id, state } = job;
  const key = JSON.stringify([state, previewing, job.frames > 0]);
  if (card.dataset.buttons === key) return;  // the focus stays where it is
  card.dataset.buttons = key;
  const box = card.querySelector(".buttons"), all = [], focused = box.contains(document.activeElement);
  const add = (text, run, main = false, off = false) => {
    const button = element("button", text);
    button.onclick = run;
    button.disabled = off;
    if (main) button.className = "main";
    all.push(button);
  };
  const post = path => () => act(id, path);
  if (state === "held") add("Start", post("start"), true);
  if (state === "held") add("Preview", post("preview"), false, previewing);
  if (["stopped", "failed"].includes(state)) add(job.frames ? "Resume" : "Start", post("start"), true);
  if (state === "queued") add("Take out of the queue", post("stop"));
  if (["running", "stopping"].includes(state)) add("Stop", post("stop"), false, state === "stopping");
  if (state === "done") {
    const link = element("a", "Download");
    link.className = "button main";
    link.href = `api/jobs/${id}/result`;
    link.download = "";
    all.push(link);
  }
  if (job.frames && state !== "queued") add("Before and after", () => pick(id));
  if (["stopped", "failed"].includes(state) && job.frames) add("From the beginning", post("start?again=true"));
  if (["held", "stopped", "failed", "done"].includes(state)) add("Remove", () => remove(job));
  box.replaceChildren(...all);
  if (focused) all.find(button => !button.disabled)?.focus();
}

async function remove(job) {
  const goes = job.origin === "upload" ? "Its film and what was made of it go from the server." : "What is unfinished goes; films and results in folders stay.";
  if (!confirm(`Remove ${job.name}? ${goes}`)) return;
  if (await ask("DELETE", `jobs/${job.id}`)) forget(job.id);
}
function forget(id) {
  jobs.delete(id);
  cards.get(id)?.remove();
  cards.delete(id);
  if (chosen === id) leave();
  count();
}
function count() {
  $("none").hidden = $("jobs").childElementCount > 0;
  $("all").hidden = [...jobs.values()].filter(job => job.state === "held").length < 2;
  const busy = [...jobs.values()].find(job => job.state === "running" && job.total);
  document.title = busy ? `${Math.floor(100 * busy.frames / busy.total)} % of ${busy.name}` : "derain";
}
function element(name, text) { const made = document.createElement(name); made.textContent = text; return made; }
$("start-all").onclick = async () => {
  for (const job of [...jobs.values()]) if (job.state === "held") await act(job.id, "start");
};

// News from the server; the browser connects again by itself.

const events = new EventSource("api/events");
function online(is) {
  $("state").textContent = is ? "connected" : "offline";
  $("state").dataset.state = is ? "online" : "offline";
}
events.onopen = async () => {
  online(true);
  const now = await ask("GET", "jobs");
  if (!now) return;
  const ids = new Set(now.map(job => job.id));
  for (const id of [...jobs.keys()]) if (!ids.has(id)) forget(id);
};
events.onerror = () => {
  online(false);
  if (events.readyState === EventSource.CLOSED) tell("The server refuses this page; open the address that derain serve printed.");
};
events.addEventListener("job", event => show(JSON.parse(event.data)));
events.addEventListener("removed", event => forget(event.data));
