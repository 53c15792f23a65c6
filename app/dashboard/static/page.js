// Keeps what is shown fresh without losing the reader's place: a look every few seconds while the page is in view.
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
  } catch { /* the server is away for the moment: what is shown says as of when it is */ }
}, 3000);
