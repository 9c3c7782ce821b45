// What was asked, what came out, whether to believe it.

const SIGNS = { support: ["✓", "For: "], caution: ["!", "Caution: "], note: ["·", "Note: "] };

function drawSummary(data) {
  const { run, findings } = data;
  const kicker = [h("b", null, run.name), run.task, run.method ? `method: ${run.method}` : null, run.provenance ? run.provenance.finished.slice(0, 10) : null, run.seed === null ? null : `seed ${run.seed}`];
  const remarks = findings.remarks.map(({ kind, text }) => {
    const [sign, spoken] = SIGNS[kind];
    return h("li", { class: kind }, h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", null, h("span", { class: "visually-hidden" }, spoken), text));
  });
  const column = (title, content) => h("div", null, h("h2", null, title), content);
  return [
    h("p", { class: "kicker" }, kicker.filter(Boolean).flatMap((part, i) => (i ? ["  ·  ", part] : [part]))),
    h("h1", null, findings.headline),
    h("div", { class: "standfirst" },
      column("What was asked", findings.asked.map((text) => h("p", null, text))),
      column("What came out", findings.outcome.map((text) => h("p", null, text))),
      column("Whether to believe it", h("ul", { class: "remarks" }, remarks))),
  ];
}

function drawContents() {
  const entries = [["results", "Results"], ["responses", "Before and after"], ["signs", "Can it help?"], ["learning", "Training"], ["weighing", "Traces and weights"], ["browser", "Read the traces"], ["costs", "Time and tokens"], ["recipe", "Origin"]];
  return [h("ul", null, entries.map(([id, title]) => h("li", null, h("a", { href: `#${id}` }, title))))];
}

// Stages of an unfinished run.
function drawProgress(data) {
  if (data.run.finished || !data.stages.length) return [];
  const signs = { done: ["✓", "done"], begun: ["▸", "at work"], waiting: ["○", "waiting"], stale: ["↻", "to be redone"] };
  const items = data.stages.map((stage) => {
    const [sign, spoken] = signs[stage.state];
    const name = stage.method ? `${shownName(stage.method)}: ${stage.title}` : stage.title;
    return h("li", { class: stage.state }, h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", null, name, h("span", { class: "visually-hidden" }, `: ${spoken}`)),
      h("span", { class: "amount" }, progressText(stage)), stage.progress?.total ? h("progress", { value: stage.progress.done, max: stage.progress.total, "aria-label": stage.title }) : null);
  });
  const done = data.stages.filter((stage) => stage.state === "done").length;
  return [h("h2", null, "Progress"), h("p", { class: "lead" }, `${done} of ${data.stages.length} stages are done.`), h("ul", { class: "stages" }, items)];
}

function progressText({ state, seconds, progress }) {
  if (state === "done") return duration(seconds);
  if (state === "stale") return "to be redone";
  if (!progress) return "";
  const amount = progress.total ? `${count(progress.done)} of ${count(progress.total)} ${progress.unit}` : `${count(progress.done)} ${progress.unit}`;
  const left = progress.seconds_left === null ? "" : `, ${duration(progress.seconds_left)} left`;
  return amount + left;
}
