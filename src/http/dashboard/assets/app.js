// What every page has: times that stay fresh, and copying. Pages are complete without it.
"use strict";

/** How long ago, in the words of format::ago. */
function ago(then) {
  const seconds = Math.max(0, Math.floor((Date.now() - then) / 1000));
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 172800) return "1 day ago";
  return seconds < 2592000 ? `${Math.floor(seconds / 86400)} days ago` : null;
}

/** Writes every relative time anew; the whole time, in the reader's own zone, shows on hover. */
function freshenTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-relative]")) {
    const then = Date.parse(time.dateTime);
    if (Number.isNaN(then)) continue;
    const text = ago(then);
    if (text !== null && time.textContent !== text) time.textContent = text;
    time.title = new Date(then).toLocaleString();
  }
}

freshenTimes();
setInterval(freshenTimes, 15000);

// A button that copies the text of the element that it names.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // No clipboard without TLS: the text is selected instead, to be copied by hand.
    getSelection().selectAllChildren(source);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = label; }, 2000);
});
for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
