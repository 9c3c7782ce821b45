// Time and tokens by stage, and the settings in full.

function drawCosts(data) {
  return [
    h("h2", { id: "costs-title" }, "Time and tokens"),
    h("p", { class: "lead" }, costsLead(data)),
    h("div", { class: "figures" }, costsFigure(data), methodsFigure(data)),
  ];
}

// What a fair comparison of methods needs: what each of them took in all.
function methodsFigure(data) {
  const costs = Object.entries(data.diagnostics.costs);
  if (!costs.length) return null;
  const own = ([name]) => (name === "final" ? 0 : 1);
  const rows = costs.sort((a, b) => own(a) - own(b)).map(([name, cost]) => [shownName(name), count(cost.tokens_drawn), count(cost.tokens_trained), decimal(cost.seconds, 1)]);
  return figure("methods", "What each method took", "All stages that lead to its final model, without evaluations. A stage that methods share counts for each of them. Tokens drawn are those of traces and answers; tokens trained those of all updates, prompts included.", {
    wide: true,
    body: table("Tokens and time by method", ["Method", "Tokens drawn", "Tokens trained", "Seconds"], rows),
  });
}

function timed(data) {
  return data.stages.filter((stage) => stage.seconds !== null);
}

function stageName(stage) {
  return stage.method ? `${shownName(stage.method)}: ${stage.title.toLowerCase()}` : stage.title;
}

function costsLead(data) {
  const total = timed(data).reduce((sum, stage) => sum + stage.seconds, 0);
  const memory = data.run.peak_memory_bytes ? ` The program held ${decimal(data.run.peak_memory_bytes / 2 ** 20, 0)} MiB at most.` : "";
  return `${data.run.finished ? "The run took" : "So far the run took"} ${duration(total)} of working time.${memory}`;
}

function costsFigure(data) {
  const stages = timed(data);
  const rate = (stage) => (stage.tokens && stage.seconds > 0 ? stage.tokens / stage.seconds : null);
  const total = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const rows = stages.map((stage) => [stageName(stage), decimal(stage.seconds, 1), percent(total ? stage.seconds / total : 0), stage.tokens === null ? MISSING : count(stage.tokens), rate(stage) === null ? MISSING : count(rate(stage))]);
  return figure("time", "Where the time went", "Working time of each stage, with the tokens that it drew, or trained on.", {
    absent: data.missing.time,
    wide: true,
    body: chart("Time by stage", (width) => drawTime(stages, rate, width)),
    numbers: table("Time and tokens by stage", ["Stage", "Seconds", "Share", "Tokens", "Tokens per second"], rows),
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
  const compute = run.compute?.length ? `computed in ${run.compute.join(" and ")}` : null;
  const facts = [run.version ? `latrace ${run.version}` : null, run.seed === null ? null : `seed ${run.seed}`, compute].filter(Boolean).join(", ");
  return [
    h("h2", { id: "recipe-title" }, "Settings"),
    h("p", { class: "lead" }, run.recipe ? `Every setting of the run${facts ? ` (${facts})` : ""}. The same settings and the same program give the same run.` : "The run folder has no recipe."),
    run.recipe ? expandable("recipe", "The recipe in full", h("pre", { tabindex: "0" }, run.recipe)) : null,
  ];
}
