// Pulls of models, followed as they go on.
"use strict";

(() => {
  const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

  function bytes(count) {
    let unit = 0;
    while (count >= 1023.5 && unit + 1 < UNITS.length) {
      count /= 1024;
      unit += 1;
    }
    return `${unit === 0 || count >= 99.95 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`;
  }

  for (const pull of document.querySelectorAll("[data-events]")) {
    const [bar, line] = [pull.querySelector("progress"), pull.querySelector("p")];
    const events = new EventSource(pull.dataset.events);
    events.addEventListener("progress", ({ data }) => {
      const { done_bytes, total_bytes } = JSON.parse(data);
      bar.max = total_bytes;
      bar.value = done_bytes;
      line.textContent = `${bytes(done_bytes)} of ${bytes(total_bytes)}`;
    });
    for (const type of ["ready", "failed"]) {
      events.addEventListener(type, () => {
        events.close();
        // Somebody who fills in a form below is not to lose it.
        const isTyping = document.activeElement?.matches("input, select");
        if (isTyping) line.textContent = `It is ${type}; load the page again to see it.`;
        else location.reload();
      });
    }
  }
})();
