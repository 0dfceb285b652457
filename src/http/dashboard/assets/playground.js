// Puts what was found in place without loading the page anew, and asks again while a corpus is being embedded.
"use strict";

const form = document.getElementById("playground");
const results = document.getElementById("results");
// Not `form.dataset`, which is the field of that name.
const address = form.getAttribute("data-results");
const AGAIN_MS = 700;
/** Tells an answer that is still wanted from one that a newer question has overtaken. */
let latest = 0;

async function ask(fields) {
  const mine = ++latest;
  results.setAttribute("aria-busy", "true");
  for (;;) {
    let body;
    try {
      const response = await fetch(`${address}?${fields}`, { headers: { accept: "text/html" } });
      // Such as the log-in page, once a session has ended.
      if (response.redirected || !response.ok) throw new Error(response.statusText);
      body = await response.text();
    } catch {
      if (mine === latest) location.assign(`/ui/playground?${fields}`);
      return;
    }
    if (mine !== latest) return;
    results.innerHTML = body;
    if (!results.querySelector("[data-preparing]")) break;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (mine !== latest) return;
  }
  results.removeAttribute("aria-busy");
}

/** A dataset brings its own questions and a model its own dimensions: the page is loaded anew for them. */
const chosen = () => ["dataset", "base", "tuned"].map((name) => form.elements[name].value).join("\n");
const shown = chosen();

function submit() {
  const fields = new URLSearchParams(new FormData(form));
  const page = `${location.pathname}?${fields}`;
  if (chosen() !== shown) return location.assign(page);
  history.pushState(null, "", page);
  ask(fields);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});

// Only what changes the results in place: the other choices load the page anew, which is for the button to do.
form.elements.dimensions.addEventListener("change", () => {
  if (form.elements.query.value.trim()) submit();
});

for (const link of document.querySelectorAll("a[data-query]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    form.elements.query.value = link.dataset.query;
    submit();
  });
}

addEventListener("popstate", () => location.reload());

if (results.querySelector("[data-preparing]")) ask(new URLSearchParams(new FormData(form)));
