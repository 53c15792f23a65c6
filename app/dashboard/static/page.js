// Refreshes the page while it is visible, without losing the reader's selection, and shows when the server cannot be
// reached.
const SECONDS = 3;
const TIMEOUT_SECONDS = 10;

const stale = document.getElementById("stale");
let reached = new Date();

function isBeingRead() {
  const selection = document.getSelection();
  const main = document.querySelector("main");
  return !selection.isCollapsed && main.contains(selection.anchorNode);
}

function report(problem) {
  stale.hidden = !problem;
  if (problem) {
    stale.textContent = `${problem} This page is as of ${reached.toLocaleTimeString()}.`;
  }
}

async function refresh() {
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000),
    });
    if (!answer.ok) {
      report(`The server answers with an error (${answer.status}).`);
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    reached = new Date();
    report(null);
    if (!isBeingRead()) document.querySelector("main").replaceWith(fresh.querySelector("main"));
  } catch {
    report("The server does not answer.");
  }
}

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, SECONDS * 1000);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
setTimeout(keepFresh, SECONDS * 1000);
