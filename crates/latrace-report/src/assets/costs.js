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

// Stages with something in common, summed, the longest first.
function summed(stages, nameOf) {
  const groups = new Map();
  for (const stage of stages) {
    const name = nameOf(stage);
    const { seconds, tokens } = groups.get(name) ?? { seconds: 0, tokens: null };
    groups.set(name, { name, seconds: seconds + stage.seconds, tokens: stage.tokens === null ? tokens : (tokens ?? 0) + stage.tokens });
  }
  return [...groups.values()].sort((a, b) => b.seconds - a.seconds);
}

// The smallest groups as one: beside the largest, their bars cannot be seen.
function folded(groups, most) {
  if (groups.length <= most) return groups;
  const rest = groups.slice(most - 1);
  return [...groups.slice(0, most - 1), ...summed(rest, () => `${rest.length} others`)];
}

const DRAWN_GROUPS = 8;
const OWN_STAGES = "The run’s own method";

function tokensPerSecond({ tokens, seconds }) {
  return tokens && seconds > 0 ? tokens / seconds : null;
}

function costsFigure(data) {
  const stages = timed(data);
  const groups = [
    ["By method", folded(summed(stages, (stage) => (stage.method ? shownName(stage.method) : OWN_STAGES)), DRAWN_GROUPS)],
    ["By kind of work", folded(summed(stages, (stage) => stage.title.replace(/(, (refinement|round) \d+)+$/, "")), DRAWN_GROUPS)],
  ];
  const total = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const table = (caption, first, entries) => numbers(caption, [first, ["Seconds", (value) => decimal(value, 1)], ["Share", percent], ["Tokens", count], ["Tokens per second", count]], entries.map((entry) => [entry.name, entry.seconds, total ? entry.seconds / total : 0, entry.tokens, tokensPerSecond(entry)]));
  const panel = ([title, entries]) => h("div", null, h("h4", { class: "over" }, title), chart(`Time ${title.toLowerCase()}`, table(`Time and tokens ${title.toLowerCase()}`, title, entries), (width) => drawTime(entries, width)));
  return figure("time", "Where the time went", "Working time, with the tokens that were drawn or trained on. A stage that several methods share counts once, with the run’s own method.", {
    absent: data.missing.time,
    wide: true,
    body: groups.map(panel),
    tables: table("Time and tokens by stage", "Stage", stages.map((stage) => ({ ...stage, name: stageName(stage) }))),
  });
}

// A bar each, with its name and numbers above it.
function drawTime(entries, width) {
  const step = 42;
  const area = box(width, entries.length * step + 4, { left: 0, right: 4, top: 0, bottom: 0 });
  const x = scale(0, Math.max(...entries.map((entry) => entry.seconds), 1e-9), area.left, area.right);
  const svg = drawing(area);
  const marks = entries.map((entry, i) => {
    const y = i * step + 22;
    const frame = { x: area.left, y, width: Math.max(x(entry.seconds) - area.left, 1), height: 12 };
    const facts = [duration(entry.seconds), entry.tokens === null ? null : `${count(entry.tokens)} tokens`].filter(Boolean);
    svg.append(s("rect", { class: "mark", ...frame, fill: "var(--accent)", "data-value": entry.seconds }), s("text", { x: 0, y: y - 6 }, entry.name, s("tspan", { class: "quiet-text", dx: 8 }, width < 480 ? facts[0] : facts.join(", "))));
    return { x: frame.x + frame.width, y, frame, title: entry.name, lines: [...facts, ...(tokensPerSecond(entry) === null ? [] : [`${count(tokensPerSecond(entry))} tokens per second`])] };
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
