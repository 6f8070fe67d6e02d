"use strict";

// How films come in: dropped, chosen, or of the server's folder. One is sent at a time, the others wait.

const uploads = [];
let sending = null;

function send(files) {
  if (!files.length) return tell("Drop video files; what was dropped is none.");
  for (const file of files) {
    const card = newCard("upload"), find = query => card.querySelector(query), upload = { file, card };
    const cancel = element("button", "Cancel");
    cancel.setAttribute("aria-label", `Do not send ${file.name}`);
    cancel.onclick = () => {
      if (sending === upload) return upload.request.abort();
      uploads.splice(uploads.indexOf(upload), 1);
      drop(upload);
    };
    find("h3").textContent = file.name;
    find(".badge").textContent = WORDS.waiting;
    find(".facts").textContent = bytes(file.size);
    find(".buttons").append(cancel);
    $("jobs").prepend(card);
    uploads.push(upload);
  }
  count();
  if (!sending) sendNext();
}

function drop(upload) { upload.card.remove(); count(); }

function sendNext() {
  const upload = sending = uploads.shift() ?? null;
  if (!upload) return;
  const { file, card } = upload, find = query => card.querySelector(query), request = upload.request = new XMLHttpRequest();
  find(".badge").textContent = WORDS.sending;
  find("progress").hidden = find(".rate").hidden = false;
  find("progress").value = 0;
  find("progress").setAttribute("aria-label", `Sent of ${file.name}`);
  request.upload.onprogress = event => {
    const whole = event.loaded >= event.total;
    find("progress").value = event.loaded / event.total;
    find(".rate").textContent = whole ? "The server looks at it." : `${bytes(event.loaded)} of ${bytes(file.size)} sent`;
  };
  request.onload = () => {
    let answer = null;
    try { answer = JSON.parse(request.responseText); } catch { /* not from derain */ }
    if (request.status === 201 && answer) { tell(null); show(answer); return; }
    const why = answer?.error ?? `the server refused it (${request.status}).`;
    tell(why.startsWith(file.name) ? why : `${file.name}: ${why}`);
  };
  request.onerror = () => tell(`${file.name} could not be sent. Is it a folder, or larger than the server takes, or is the server gone?`);
  request.onloadend = () => { drop(upload); sendNext(); };
  request.open("POST", `api/jobs?hold=true&name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.send(file);
}

$("file").onchange = () => { send([...$("file").files]); $("file").value = ""; };
for (const kind of ["dragover", "drop", "dragleave"]) {
  addEventListener(kind, event => {
    event.preventDefault();  // or the browser would leave the page for the film
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") send([...event.dataTransfer.files]);
  });
}
addEventListener("beforeunload", event => { if (sending) event.preventDefault(); });  // the browser asks first

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
