// Follows a job: when the server tells of something, the live region is asked for again and what changed is put in place.
// The page is complete without it, and shows how things stood when it was loaded.
"use strict";

{
  const EVENTS = ["status", "phase", "step", "progress", "evaluation", "checkpoint", "checkpoint_removed", "warning"];
  const SHORTEST_PAUSE = 1000;
  const AFTER_A_FAILURE = 5000;

  const region = document.querySelector("[data-live]");
  /** What each part was sent as; scripts change it afterwards. */
  const sent = new Map();
  let source = null;
  let timer = null;
  let asking = false;
  let again = false;
  let lastAsked = 0;

  const partsOf = (root) => [...root.querySelectorAll("[data-part]")];
  const focusable = (root) => [...root.querySelectorAll("a, button, summary, input, select, [tabindex]")];

  /** Puts a part in place of an older one, with what the reader opened, scrolled to and had in focus. */
  function replace(old, fresh) {
    const open = new Set([...old.querySelectorAll("details[open][id]")].map((details) => details.id));
    const scrolled = [...old.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    const focused = focusable(old).indexOf(document.activeElement);
    for (const details of fresh.querySelectorAll("details[id]")) details.open = open.has(details.id);
    old.replaceWith(fresh);
    [...fresh.querySelectorAll(".scroll")].forEach((box, nth) => { box.scrollLeft = scrolled[nth] ?? 0; });
    if (focused >= 0) focusable(fresh)[focused]?.focus({ preventScroll: true });
    freshenTimes(fresh);
  }

  /** True while the reader marks text there. */
  function isSelecting(part) {
    const selection = getSelection();
    return !selection.isCollapsed && part.contains(selection.anchorNode);
  }

  function show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").querySelector("[data-live]");
    // Another page came instead, such as the log-in form.
    if (!fresh) return location.reload();
    const words = region.querySelector("[data-words]");
    const newWords = fresh.querySelector("[data-words]").textContent;
    if (words.textContent !== newWords) words.textContent = newWords;
    const [old, next] = [partsOf(region), partsOf(fresh)];
    const same = old.length === next.length && old.every((part, nth) => part.id === next[nth].id);
    if (same) {
      old.forEach((part, nth) => {
        const html = next[nth].outerHTML;
        if (sent.get(part.id) === html || isSelecting(part)) return;
        sent.set(part.id, html);
        replace(part, document.adoptNode(next[nth]));
      });
    } else {
      for (const part of next) sent.set(part.id, part.outerHTML);
      for (const part of old) part.remove();
      for (const part of next) region.append(document.adoptNode(part));
      freshenTimes(region);
    }
    for (const name of ["events", "poll"]) {
      if (fresh.dataset[name] === undefined) delete region.dataset[name];
      else if (name !== "events" || address(fresh) !== address(region)) region.dataset[name] = fresh.dataset[name];
    }
  }

  /** The stream without the place in it. */
  const address = (root) => root.dataset.events?.split("?")[0];

  async function ask() {
    clearTimeout(timer);
    timer = null;
    if (asking) { again = true; return; }
    // Nobody sees it: it is asked for when somebody does.
    if (document.hidden) { again = true; return; }
    asking = true;
    again = false;
    lastAsked = Date.now();
    const offline = region.querySelector("[data-offline]");
    let pause = null;
    try {
      const answer = await fetch(region.dataset.live, { headers: { accept: "text/html" } });
      if (answer.status === 404) return location.reload();
      if (!answer.ok) throw new Error(answer.status);
      show(await answer.text());
      offline.hidden = true;
      follow();
    } catch {
      offline.hidden = false;
      pause = AFTER_A_FAILURE;
    }
    asking = false;
    if (pause === null && again) pause = 0;
    if (pause === null && !address(region) && region.dataset.poll) pause = region.dataset.poll * 1000;
    if (pause !== null) soon(pause);
  }

  function soon(pause = 0) {
    if (timer !== null && pause > 0) return;
    clearTimeout(timer);
    timer = setTimeout(ask, Math.max(pause, lastAsked + SHORTEST_PAUSE - Date.now()));
  }

  /** Listens to the stream that the region names, and to no other. */
  function follow() {
    const wanted = address(region);
    if (source?.wanted === wanted) return;
    source?.close();
    source = null;
    if (!wanted) return;
    source = new EventSource(region.dataset.events);
    source.wanted = wanted;
    for (const name of EVENTS) source.addEventListener(name, () => soon());
    source.addEventListener("error", () => {
      // The stream ends with the job, and breaks off with the server: the region tells which.
      soon(SHORTEST_PAUSE);
    });
  }

  if (region) {
    const start = () => {
      for (const part of partsOf(region)) sent.set(part.id, part.outerHTML);
      follow();
      if (!source && region.dataset.poll) soon(region.dataset.poll * 1000);
    };
    document.addEventListener("visibilitychange", () => { if (!document.hidden && again) soon(); });
    start();
  }
}
