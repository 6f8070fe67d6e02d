"use strict";
history.replaceState(null, "", location.pathname);  // the cookie holds the token now

// What is in the queue, what can be done with it, and how films come in; what is shown of them is viewer.js.

const WORDS = {
  held: "waits for you", queued: "in the queue", running: "working", stopping: "stopping",
  stopped: "stopped", done: "done", failed: "failed", sending: "being sent",
};
const jobs = new Map(), cards = new Map(), uploads = [];
let sending = false;

// What things are called.

function bytes(size) {
  for (const [unit, worth] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (size >= worth) return `${(size / worth).toFixed(size < 10 * worth ? 1 : 0)} ${unit}`;
  }
  return `${size} bytes`;
}
function tell(text) { $("problem").textContent = text ?? ""; $("problem").hidden = !text; }

async function ask(method, path, body) {
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
  const answer = response.status === 204 ? {} : await response.json();
  tell(response.ok ? null : answer.error);
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

async function change(id) {
  const find = query => cards.get(id).querySelector(query), crf = find(".crf"), protect = find(".protect");
  if (!crf.checkValidity()) return tell("CRF is a whole number from 0 to 63.");
  if (!protect.checkValidity()) return tell("A region to protect is X,Y,width,height in pixels, such as 0,640,1280,80.");
  const job = await ask("PATCH", `jobs/${id}`, {
    quality: find("input[type=radio]:checked").value,
    streaks: Number(find(".streaks").value), haze: Number(find(".haze").value),
    boldness: Number(find(".boldness").value), speed: find(".speed").value,
    protect: protect.value.split(/\s+/).filter(Boolean),
    codec: find(".codec").value || null, crf: crf.value === "" ? null : Number(crf.value),
  });
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
  let text = "A preview is being made: a few spots are derained.";
  if (preview.state === "failed") text = preview.error;
  if (preview.state === "done") {
    const seen = preview.rain.length ? `Seen: ${preview.rain.join(", ")}.` : "No rain is seen.";
    const takes = `About ${clock(preview.seconds)} at ${preview.fps.toFixed(1)} frames a second; ${bytes(preview.size)}.`;
    text = [seen, preview.nothing, takes].filter(Boolean).join(" ");
  }
  box.querySelector("p").textContent = text;
  link.hidden = preview.state !== "done";
  const key = JSON.stringify(preview);  // another preview is other frames
  if (!link.hidden && link.dataset.key !== key) {
    link.dataset.key = key;
    link.href = `api/jobs/${job.id}/preview.png`;
    link.querySelector("img").src = `${link.href}?${Date.now()}`;
  }
}

function showButtons(card, job) {
  const previewing = ["queued", "running"].includes(job.preview?.state), { id, state } = job;
  const key = JSON.stringify([state, previewing, job.frames > 0]);
  if (card.dataset.buttons === key) return;  // the focus stays where it is
  card.dataset.buttons = key;
  const box = card.querySelector(".buttons"), all = [], focused = box.contains(document.activeElement);
  const act = (text, run, main = false, off = false) => {
    const button = element("button", text);
    button.onclick = run;
    button.disabled = off;
    if (main) button.className = "main";
    all.push(button);
  };
  const post = path => async () => { const now = await ask("POST", `jobs/${id}/${path}`); if (now) show(now); };
  if (state === "held") act("Start", post("start"), true);
  if (state === "held") act("Preview", post("preview"), false, previewing);
  if (["stopped", "failed"].includes(state)) act(job.frames ? "Resume" : "Start", post("start"), true);
  if (state === "queued") act("Take out of the queue", post("stop"));
  if (["running", "stopping"].includes(state)) act("Stop", post("stop"), false, state === "stopping");
  if (state === "done") {
    const link = element("a", "Download");
    link.className = "button main";
    link.href = `api/jobs/${id}/result`;
    link.download = "";
    all.push(link);
  }
  if (job.frames && state !== "queued") act("Before and after", () => pick(id));
  if (["stopped", "failed"].includes(state) && job.frames) act("From the beginning", post("start?again=true"));
  if (["held", "stopped", "failed", "done"].includes(state)) act("Remove", () => remove(job));
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
}
function element(name, text) { const made = document.createElement(name); made.textContent = text; return made; }
$("start-all").onclick = async () => {
  for (const job of [...jobs.values()]) if (job.state === "held") await ask("POST", `jobs/${job.id}/start`);
};

// Films in: dropped, chosen, or of the folder.

function send(files) { uploads.push(...files); if (!sending) sendNext(); }

function sendNext() {
  const file = uploads.shift();
  sending = Boolean(file);
  if (!file) return;
  const card = newCard("upload"), request = new XMLHttpRequest(), find = query => card.querySelector(query);
  find("h3").textContent = file.name;
  find(".badge").textContent = WORDS.sending;
  find(".facts").textContent = bytes(file.size);
  find("progress").hidden = find(".rate").hidden = false;
  const cancel = element("button", "Cancel");
  cancel.onclick = () => request.abort();
  find(".buttons").append(cancel);
  $("jobs").prepend(card);
  count();
  request.upload.onprogress = event => {
    find("progress").value = event.loaded / file.size;
    find(".rate").textContent = `${bytes(event.loaded)} of ${bytes(file.size)} sent`;
  };
  request.onloadend = () => {
    card.remove();
    let answer = null;
    try { answer = JSON.parse(request.responseText); } catch { /* no answer came */ }
    if (request.status === 201) { tell(null); show(answer); }
    else if (!request.status) tell(`${file.name} was not sent.`);
    else tell(`${file.name}: ${answer?.error ?? "The server refused it."}`);
    count();
    sendNext();
  };
  request.open("POST", `api/jobs?hold=true&name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.send(file);
}
$("file").onchange = () => { send($("file").files); $("file").value = ""; };
for (const kind of ["dragover", "drop", "dragleave"]) {
  addEventListener(kind, event => {
    event.preventDefault();  // or the browser would leave the page for the film
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") send(event.dataTransfer.files);
  });
}
$("folder").ontoggle = async () => {
  const found = $("folder").open ? await ask("GET", "films") : null;
  if (!found) return;
  const rows = found.map(film => {
    const row = element("li", ""), add = element("button", "Add");
    add.setAttribute("aria-label", `Add ${film.name}`);
    add.onclick = async () => {
      const job = await ask("POST", `jobs?hold=true&film=${encodeURIComponent(film.name)}`);
      if (job) show(job);
    };
    row.append(element("span", film.name), element("small", bytes(film.size)), add);
    return row;
  });
  $("named").replaceChildren(...(rows.length ? rows : [element("li", "There is no film in it.")]));
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
