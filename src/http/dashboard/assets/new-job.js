// A new job: what is wrong and what will happen, asked of the server as the form is filled in.
"use strict";

(() => {
  const form = document.getElementById("job");
  if (!form) return;
  const model = document.getElementById("base_model");
  let asking = null;
  let timer = 0;

  model.addEventListener("change", () => {
    const { dims, tokens } = model.selectedOptions[0].dataset;
    if (dims) document.getElementById("training.matryoshka_dims").placeholder = dims;
    if (tokens) document.getElementById("training.max_seq_length").placeholder = `${tokens}, the model's limit`;
  });

  for (const type of ["input", "change"]) {
    form.addEventListener(type, () => {
      clearTimeout(timer);
      timer = setTimeout(check, 350);
    });
  }

  async function check() {
    asking?.abort();
    asking = new AbortController();
    const fields = new URLSearchParams(new FormData(form));
    fields.set("action", "check");
    try {
      // Not `form.action`, which is the button of that name.
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body: fields, signal: asking.signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      // Anything else is the log-in page, or an error's, which the next submission shows.
      if (page.getElementById("plan")) show(page);
    } catch {
      // Asked again, or the connection is gone; submitting tells.
    }
  }

  function show(page) {
    document.getElementById("plan").replaceChildren(...page.getElementById("plan").childNodes);
    for (const control of form.querySelectorAll("[id][name]")) {
      const answer = page.getElementById(control.id);
      if (!answer) continue;
      for (const name of ["aria-invalid", "aria-describedby"]) {
        if (answer.hasAttribute(name)) control.setAttribute(name, answer.getAttribute(name));
        else control.removeAttribute(name);
      }
      document.getElementById(`${control.id}-error`)?.remove();
      const error = page.getElementById(`${control.id}-error`);
      if (error) control.closest(".field").append(error);
    }
    // What a submission found is told until it is mended, and new errors beside their fields alone.
    const summary = document.getElementById("job-errors");
    if (!page.getElementById("job-errors").hasChildNodes()) summary.replaceChildren();
  }
})();
