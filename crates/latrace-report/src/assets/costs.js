// Time and tokens by stage, and the settings in full.

function drawCosts(data) {
  return [
    h("h2", { id: "costs-title" }, "Time and tokens"),
    h("p", { class: "lead" }, costsLead(data)),
    h("div", { class: "figures" }, costsFigure(data)),
  ];
}

function timed(data) {
  return data.stages.filter((stage) => stage.seconds !== null);
}

function stageName(stage) {
  return stage.method ? `${shownName(stage.method)}: ${stage.title.toLowerCase()}` : stage.title;
}

function costsLead(data) {
  const total = timed(data).reduce((sum, stage) => sum + stage.seconds, 0);
  const memory = data.run.peak_memory_bytes ? ` The program held ${decimal(data.run.peak_memory_bytes / 1e6, 0)} MB at most.` : "";
  return `${data.run.finished ? "The run took" : "So far the run took"} ${duration(total)} of working time.${memory}`;
}

function costsFigure(data) {
  const stages = timed(data);
  const rate = (stage) => (stage.tokens && stage.seconds > 0 ? stage.tokens / stage.seconds : null);
  const total = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const byStage = numbers("Time and tokens by stage", ["Stage", ["Seconds", (value) => decimal(value, 1)], ["Share", percent], ["Tokens", count], ["Tokens per second", count]], stages.map((stage) => [stageName(stage), stage.seconds, total ? stage.seconds / total : 0, stage.tokens, rate(stage)]));
  return figure("time", "Where the time went", "Working time of each stage, with the tokens that it drew, or trained on.", {
    absent: data.missing.time,
    wide: true,
    body: chart("Time by stage", byStage, (width) => drawTime(stages, rate, width)),
    tables: byStage,
  });
}

function drawTime(stages, rate, width) {
  const narrow = width < 560;
  const step = narrow ? 46 : 30;
  const left = narrow ? 0 : 210;
  const area = box(width, stages.length * step + 6, { left, right: narrow ? 4 : 250, top: 2, bottom: 4 });
  const x = scale(0, Math.max(...stages.map((stage) => stage.seconds), 1e-9), area.left, area.right);
  const svg = drawing(area);
  const marks = stages.map((stage, i) => {
    const y = area.top + i * step + (narrow ? 22 : 7);
    const frame = { x: area.left, y, width: Math.max(x(stage.seconds) - area.left, 1), height: 15 };
    const facts = [duration(stage.seconds), stage.tokens === null ? null : `${count(stage.tokens)} tokens`].filter(Boolean);
    svg.append(s("rect", { class: "mark", ...frame, fill: stage.method ? "var(--warm)" : "var(--accent)", "data-value": stage.seconds }));
    svg.append(narrow
      ? s("text", { x: 0, y: y - 6 }, stageName(stage), s("tspan", { class: "quiet-text", dx: 8 }, facts[0]))
      : s("g", null, s("text", { x: left - 14, y: y + 12, "text-anchor": "end" }, stageName(stage)), s("text", { class: "quiet-text", x: frame.x + frame.width + 8, y: y + 12 }, facts.join(", "))));
    return { x: frame.x + frame.width, y, frame, title: stageName(stage), lines: [...facts, ...(rate(stage) === null ? [] : [`${count(rate(stage))} tokens per second`])] };
  });
  return { svg, marks };
}

function drawRecipe(data) {
  const { run } = data;
  return [
    h("h2", { id: "recipe-title" }, "Origin"),
    h("p", { class: "lead" }, run.recipe ? "The same settings and the same program give the same run." : "The run folder has no recipe."),
    h("dl", { class: "facts" }, originFacts(run).filter(([, text]) => text).map(([name, text]) => h("div", null, h("dt", null, name), h("dd", null, text)))),
    run.recipe ? expandable("recipe", "The recipe in full: every setting of the run", h("pre", { tabindex: "0" }, run.recipe)) : null,
  ];
}

function originFacts({ provenance, version, compute, seed }) {
  return [
    ["Finished", provenance ? `${provenance.finished} UTC` : null],
    ["Machine", provenance ? `${provenance.processor}, ${plural(provenance.cores, "core")}` : null],
    ["Command", provenance ? h("code", null, provenance.command) : null],
    ["Trained elsewhere, and imported", Object.entries(provenance?.imported ?? {}).map(([stage, from]) => `${stage} from ${from}`).join("; ")],
    ["Program", version ? `latrace ${version}` : null],
    ["Arithmetic", compute.join(" and ")],
    ["Seed", seed === null ? null : String(seed)],
  ];
}
