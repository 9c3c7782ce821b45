// A served page polls its server for newer data; a page from a file makes no requests.

const ASK_EVERY = 3000;

function follow() {
  if (!("live" in document.documentElement.dataset)) return;
  let known = null;
  const ask = async () => {
    try {
      const answer = await fetch("data.json", { cache: "no-store", headers: known ? { "If-None-Match": known } : {} });
      if (answer.status === 200) {
        known = answer.headers.get("ETag");
        const data = await answer.json();
        show(data);
        said(data.run.finished ? "" : "Live: updated while the run is in progress", data.run.finished ? "" : "on");
      } else if (answer.status !== 304) {
        said(`The run cannot be read: ${await answer.text()}`, "off");
      }
    } catch {
      said("The server does not answer; this is what it said last", "off");
    }
    setTimeout(ask, ASK_EVERY);
  };
  ask();
}

function said(text, state) {
  const place = byId("live");
  if (place.textContent === text) return;
  place.textContent = text;
  place.className = `live ${state}`.trim();
}
