// The upload form: a look at the file before it is sent, its columns to choose from, and progress. Without this script the
// form works as a plain one.
"use strict";

(() => {
  const form = document.getElementById("upload");
  if (!form) return;
  const HEAD_BYTES = 1 << 20;
  const WHOLE_BYTES = 64 << 20;
  // Of these the beginning tells enough; JSON and Parquet are looked at as a whole.
  const CUTTABLE = /\.(csv|tsv|tab|jsonl|ndjson)(\.(gz|gzip|zst|zstd))?$/i;
  const PARTS = { anchor: "question", positive: "passage", id: "id" };

  const file = form.elements.file;
  const drop = form.querySelector(".drop");
  const preview = document.getElementById("upload-preview");
  const errors = document.getElementById("upload-errors");
  const progress = document.getElementById("upload-progress");
  const send = form.querySelector("button[type=submit]");
  // The plain fields, to put back where a file has no columns to choose from.
  const inputs = Object.fromEntries(Object.keys(PARTS).map((part) => [part, form.elements[part]]));
  let looking = null;

  for (const type of ["dragenter", "dragover"]) {
    drop.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length > 0) {
      file.files = event.dataTransfer.files;
      look();
    }
  });
  file.addEventListener("change", look);

  async function look() {
    looking?.abort();
    looking = new AbortController();
    const { signal } = looking;
    restoreInputs();
    errors.replaceChildren();
    preview.hidden = true;
    const chosen = file.files[0];
    if (!chosen) return;
    const isCut = CUTTABLE.test(chosen.name) && chosen.size > HEAD_BYTES;
    if (!isCut && chosen.size > WHOLE_BYTES) {
      say("This file is too large to be looked into before it is sent. Name its columns where they are called otherwise than guessed.");
      return;
    }
    say("Looking into the file…");
    try {
      const answer = await fetch(`/v1/datasets/preview?file_name=${encodeURIComponent(chosen.name)}`, {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: isCut ? chosen.slice(0, HEAD_BYTES) : chosen,
        signal,
      });
      const body = await answer.json();
      if (answer.ok) show(body);
      else say(body.error.message, true);
    } catch (error) {
      if (!signal.aborted) say(`The file could not be looked into: ${error.message}`, true);
    }
  }

  function say(text, isWrong = false) {
    const line = document.createElement("p");
    line.textContent = text;
    line.className = isWrong ? "field-error" : "hint";
    preview.replaceChildren(line);
    preview.hidden = false;
  }

  function show({ columns, mapping, rows }) {
    const selects = {};
    for (const part of Object.keys(PARTS)) {
      selects[part] = selectOf(inputs[part], columns, mapping[part], part === "id");
      document.getElementById(`upload-${part}`).replaceWith(selects[part]);
      selects[part].addEventListener("change", mark);
    }
    const table = document.createElement("table");
    table.className = "texts";
    const caption = table.createCaption();
    caption.textContent = "The first rows";
    const head = table.createTHead().insertRow();
    const cells = columns.map((column) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.append(column, " ", Object.assign(document.createElement("span"), { className: "badge" }));
      head.append(cell);
      return cell;
    });
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      for (const text of row) line.insertCell().textContent = text ?? "–";
    }
    function mark() {
      cells.forEach((cell, index) => {
        const parts = Object.keys(PARTS).filter((part) => selects[part].value === columns[index]);
        const badge = cell.lastChild;
        badge.textContent = parts.map((part) => PARTS[part]).join(", ");
        badge.hidden = parts.length === 0;
      });
    }
    mark();
    const box = document.createElement("div");
    box.className = "scroll";
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "The first rows");
    box.append(table);
    preview.replaceChildren(box);
    preview.hidden = false;
  }

  // A select of the columns in place of a text field.
  function selectOf(input, columns, guess, mayBeNone) {
    const select = document.createElement("select");
    for (const name of ["id", "name", "aria-describedby"]) {
      if (input.hasAttribute(name)) select.setAttribute(name, input.getAttribute(name));
    }
    if (!guess) select.add(new Option(mayBeNone ? "none: rows are numbered" : "Please choose…", ""));
    for (const column of columns) select.add(new Option(column, column));
    select.value = guess ?? "";
    select.required = !mayBeNone;
    return select;
  }

  function restoreInputs() {
    for (const [part, input] of Object.entries(inputs)) document.getElementById(`upload-${part}`).replaceWith(input);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [bar, line] = [progress.querySelector("progress"), progress.querySelector("p")];
    errors.replaceChildren();
    progress.hidden = false;
    send.disabled = true;
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      const percent = total > 0 ? Math.floor((loaded / total) * 100) : 0;
      bar.value = percent;
      line.textContent = percent < 100 ? `${percent} % sent` : "All is sent; the rows are being checked…";
    });
    request.addEventListener("load", () => {
      done();
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      if (request.status < 400) arrived(page, request.responseURL);
      else refused(page);
    });
    request.addEventListener("error", () => {
      done();
      errors.replaceChildren(box("The connection broke before the file was there. Please try again."));
    });
    request.open("POST", form.getAttribute("action"));
    request.send(new FormData(form));
  });

  function done() {
    progress.hidden = true;
    send.disabled = false;
  }

  // The answer is the page that a plain form would have led to.
  function arrived(page, address) {
    const [mine, theirs] = [document.getElementById("dataset_id"), page.getElementById("dataset_id")];
    if (!mine || !theirs) {
      location.assign(address);
      return;
    }
    // On the page of a new job what has been filled in stays; only the choice of datasets is new.
    const evaluation = document.getElementById("eval_dataset_id");
    const kept = evaluation.value;
    evaluation.replaceChildren(...page.getElementById("eval_dataset_id").childNodes);
    evaluation.value = kept;
    mine.replaceChildren(...theirs.childNodes);
    mine.dispatchEvent(new Event("change", { bubbles: true }));
    form.reset();
    restoreInputs();
    preview.hidden = true;
    form.closest("details").open = false;
    mine.focus();
  }

  function refused(page) {
    const found = page.getElementById("upload-errors");
    if (found) errors.replaceChildren(...found.childNodes);
    else errors.replaceChildren(box(page.querySelector("main p")?.textContent ?? "The server refused the file."));
    errors.scrollIntoView({ block: "center" });
  }

  function box(text) {
    const notice = document.createElement("div");
    notice.className = "notice bad";
    notice.setAttribute("role", "alert");
    notice.append(Object.assign(document.createElement("p"), { textContent: text }));
    return notice;
  }
})();
