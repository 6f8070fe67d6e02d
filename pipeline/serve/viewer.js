"use strict";

// Before and after: a frame of the chosen job, the newest one or that of a time.

const $ = id => document.getElementById(id);
let chosen = null, picked = false, border = 0.5, bitmap = null, loading = false, wanted = false;

function clock(seconds) {
  const whole = Math.round(seconds), two = number => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function fineClock(seconds) {  // to the tenth where that is seen
  const tenths = Math.floor(10 * seconds + 0.001), whole = Math.floor(tenths / 10);
  return $("at").max < 60 ? `${clock(whole)}.${tenths % 10}` : clock(whole);
}
function showTime(seconds) {
  $("time").textContent = fineClock(seconds);
  $("at").setAttribute("aria-valuetext", $("time").textContent);
}

function choose(id) {
  chosen = id;
  bitmap = null;
  for (const [key, card] of cards) card.classList.toggle("chosen", key === id);
  const job = jobs.get(id);
  $("viewer").hidden = false;
  $("shown").textContent = job.name;
  $("hint").textContent = "The frame is being loaded.";
  $("stage").classList.add("empty");
  $("at").max = job.film?.seconds || job.total / (job.film?.fps || 25);
  $("length").textContent = fineClock($("at").max);
  $("follow").checked = job.state !== "done";
  $("at").value = job.state === "done" ? $("at").max / 2 : 0;
  load();
}
function pick(id) {
  picked = true;
  choose(id);
  $("viewer").scrollIntoView({ block: "nearest" });
}
function leave() { chosen = bitmap = null; picked = false; $("viewer").hidden = true; }

function follow() {
  const job = jobs.get(chosen);
  $("follow-label").hidden = job.state === "done";
  if (job.frames && (!bitmap || ($("follow").checked && job.state === "running"))) load();
}

async function load() {
  if (loading) { wanted = true; return; }
  loading = true;
  wanted = false;
  const id = chosen, began = performance.now(), due = Number($("at").value), newest = $("follow").checked && jobs.get(id).state !== "done";
  try {
    const response = await fetch(`api/jobs/${id}/frame.jpg${newest ? "" : `?at=${due}`}`);
    if (!response.ok) throw new Error((await response.json()).error);
    const made = await createImageBitmap(await response.blob()), time = Number(response.headers.get("X-Time"));
    if (id === chosen) {
      bitmap = made;
      $("frame").dataset.time = time;
      showTime(time);
      if (newest) $("at").value = time;
      $("stage").classList.remove("empty");
      const behind = !newest && jobs.get(id).state !== "done" && time < due - 0.5;
      $("hint").textContent = !behind ? "" : `It is derained up to ${fineClock(time)} so far.`;
      draw();
    }
  } catch (error) {
    if (id === chosen) $("hint").textContent = error instanceof TypeError ? "The server does not answer." : error.message;
  }
  // The work needs the cores: whoever watches takes a fifth of one at most.
  const pause = newest ? Math.max(700, 4 * (performance.now() - began)) : 0;
  setTimeout(() => { loading = false; if (wanted && chosen) load(); }, pause);
}
$("at").oninput = () => { $("follow").checked = false; showTime($("at").value); load(); };
$("follow").onchange = load;

function draw() {
  if (!bitmap) return;
  const canvas = $("frame"), width = bitmap.width, height = bitmap.height / 2, x = Math.round(border * width);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width; canvas.height = height;
    canvas.style.aspectRatio = `${width} / ${height}`;
  }
  const context = canvas.getContext("2d", { alpha: false });
  if (x > 0) context.drawImage(bitmap, 0, 0, x, height, 0, 0, x, height);
  if (x < width) context.drawImage(bitmap, x, height, width - x, height, x, 0, width - x, height);
  place();
}
function box() {  // where the frame is inside the canvas element, which may be letterboxed
  const area = $("frame").getBoundingClientRect(), stage = $("stage").getBoundingClientRect();
  const width = Math.min(area.width, area.height * $("frame").width / $("frame").height);
  return { left: area.left - stage.left + (area.width - width) / 2, width, stage };
}
function place() {
  const { left, width } = box();
  $("border").style.left = `${left + border * width}px`;
  $("border").setAttribute("aria-valuenow", Math.round(100 * border));
  $("border").setAttribute("aria-valuetext", `rain on the left ${Math.round(100 * border)} %`);
  $("before").style.visibility = border > 0.12 ? "visible" : "hidden";
  $("after").style.visibility = border < 0.88 ? "visible" : "hidden";
}
function move(share) { border = Math.min(1, Math.max(0, share)); draw(); place(); }
function drag(event) { const { left, width, stage } = box(); move((event.clientX - stage.left - left) / width); }
$("stage").addEventListener("pointerdown", event => { $("stage").setPointerCapture(event.pointerId); drag(event); });
$("stage").addEventListener("pointermove", event => { if (event.buttons) drag(event); });
$("border").addEventListener("keydown", event => {
  const step = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
  if (step) { event.preventDefault(); move(border + step); }
});
addEventListener("resize", place);
