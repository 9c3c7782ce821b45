// Several runs beside each other: accuracies, each and pooled, training curves, the settings that differ.

const RUN_COLOURS = ["--accent", "--warm", "--green", "--pink", "--violet", "--ochre"];

// Runs beyond the colours have them again, with another line and another mark.
function runLook(i) {
  const turn = Math.floor(i / RUN_COLOURS.length) % 3;
  return { colour: `var(${RUN_COLOURS[i % RUN_COLOURS.length]})`, dash: [null, "6 3", "2 3"][turn], shape: ["square", "triangle", "diamond"][turn] };
}

function showSeveral(data) {
  name(data.methods);
  const parts = { summary: severalSummary(data), results: severalResults(data), learning: severalTraining(data), recipe: severalSettings(data) };
  for (const section of document.querySelectorAll("main > section")) {
    if (parts[section.id]) section.replaceChildren(...parts[section.id].filter(Boolean));
    else section.remove();
  }
  byId("contents").replaceChildren(h("ul", null, [["results", "Results"], ["learning", "Training"], ["recipe", "Settings that differ"]].map(([id, title]) => h("li", null, h("a", { href: `#${id}` }, title)))));
}

function severalSummary({ headline, runs, not_pooled: notPooled }) {
  const rows = runs.map(({ run }) => [run.name, run.task, run.method, run.seed, run.provenance?.finished ?? null, run.provenance ? `${run.provenance.processor}, ${plural(run.provenance.cores, "core")}` : null, run.compute.join(" and ")]);
  return [
    h("p", { class: "kicker" }, runs.map(({ run }, i) => [i ? "  ·  " : "", h("b", null, run.name)])),
    h("h1", null, headline),
    h("p", { class: "lead" }, notPooled ?? "Pooled accuracies are over the questions of all runs; a question that several runs share has the responses of all of them. Intervals are 95 %, by bootstrap over questions: they do not hold what another training would change, which the spread of the runs shows."),
    figure("runs", "The runs", null, { body: table(numbers("The runs", ["Run", "Questions", "Method", ["Seed", String], "Finished, UTC", "Machine", "Arithmetic"], rows)) }),
  ];
}

function severalResults(data) {
  const { models, runs } = data;
  const isPooled = data.not_pooled === null;
  const byModel = numbers("Accuracy by model and run", ["Model", ...runs.map(({ run }) => [run.name, percent]), ...(isPooled ? POOLED_COLUMNS : [])],
    models.map((model) => [shownName(model.name), ...model.by_run.map((accuracy) => accuracy?.accuracy), ...(isPooled ? pooledCells(model.pooled) : [])]));
  const eachRun = numbers("Accuracy of each run", ["Model", "Run", ...ACCURACY_COLUMNS],
    models.flatMap((model) => model.by_run.flatMap((accuracy, i) => (accuracy ? [[shownName(model.name), runs[i].run.name, ...accuracyCells(accuracy)]] : []))));
  const pairs = data.comparisons.map(({ model, against, difference, questions }) => [`${shownName(model)} against ${shownName(against)}`, difference.mean, difference.low, difference.high, questions]);
  const costs = models.filter((model) => model.cost);
  const byMethod = numbers("Accuracy, time and tokens by method", METHOD_COLUMNS, costs.map((model) => [shownName(model.name), ...methodCells(model.pooled, model.cost)]));
  const known = new Set(models.map((model) => model.name));
  const words = glossary(data.methods.filter((method) => known.has(method.name)));
  return [
    h("h2", { id: "results-title" }, "Results"),
    h("div", { class: "figures" },
      figure("accuracy", "Right answers, by model", isPooled ? "A small mark is one run; the large one, with its 95 % interval, is all of them pooled." : "A mark is one run, the line through it its 95 % interval.", {
        wide: true,
        body: [runKey(runs, keyMark), chart("Accuracy by model and run", byModel, (width) => drawSeveral(models, runs, width)), table(byModel)],
        tables: [eachRun, pairs.length ? numbers("Paired differences, percentage points", ["Models", ["Difference", points], ["Low", points], ["High", points], ["Questions", count]], pairs) : null],
      }),
      costs.length
        ? figure("methods", "What each method reaches, and what it took", "Costs are means over runs, of all stages that lead to a method’s final model, without evaluations.", { wide: true, body: [table(byMethod), saving(byMethod.caption, byMethod), words] })
        : figure("methods", "The methods", null, { wide: true, body: words })),
  ];
}

const POOLED_COLUMNS = [["Pooled", percent], ...ACCURACY_COLUMNS.slice(1)];

function pooledCells(pooled) {
  return pooled ? accuracyCells(pooled) : POOLED_COLUMNS.map(() => null);
}

// What stands for each run: its mark, or its line.
function runKey(runs, drawn) {
  return h("ul", { class: "runs" }, runs.map(({ run }, i) => h("li", null, s("svg", { width: 26, height: 12, "aria-hidden": "true" }, drawn(runLook(i))), run.name)));
}

function keyMark(look) {
  return pointMark(look, 13, 6, null, null);
}

function keyLine({ colour, dash }) {
  return s("line", { x1: 0, x2: 26, y1: 6, y2: 6, stroke: colour, "stroke-width": 3, "stroke-dasharray": dash });
}

// Height of a run among others (pixels).
const ROW = 14;

function drawSeveral(models, runs, width) {
  const narrow = width < 520;
  const isPooled = models.some((model) => model.pooled);
  // Runs that are not pooled have a line each, beneath each other.
  const rows = isPooled ? 1 : runs.length;
  const step = (narrow ? 52 : 44) + (rows - 1) * ROW;
  const area = box(width, models.length * step + 46, { left: narrow ? 4 : 150, right: narrow ? 8 : isPooled ? 190 : 24, top: 8, bottom: 38 });
  const top = (i) => area.top + step * i + (narrow ? 36 : 22);
  const all = models.flatMap((model) => [...model.by_run.map((accuracy) => (isPooled ? accuracy?.accuracy : accuracy?.high) ?? 0), model.pooled?.high ?? 0]);
  const most = Math.min(1, roundUp(Math.max(...all, 0.05)));
  const x = scale(0, most, area.left, area.right);
  const values = ticks(0, most, narrow ? 4 : 6);
  const places = narrow ? models.flatMap((_, i) => Array.from({ length: rows }, (_, at) => top(i) + at * ROW)) : null;
  const marks = [];
  const svg = drawing(area, xAxis(area, x, values, wholePercent), values.map((value) => s("g", { class: "axis" }, verticals(area, x(value), { class: "gridline" }, places))));
  models.forEach((model, i) => {
    const y = top(i);
    const { pooled } = model;
    const range = pooled ? `${decimal(pooled.low * 100, 1)}–${decimal(pooled.high * 100, 1)}` : "";
    svg.append(narrow
      ? s("text", { x: area.left, y: y - 14 }, shownName(model.name), pooled ? s("tspan", { class: "quiet-text", dx: 8 }, `${percent(pooled.accuracy)} (${range})`) : null)
      : s("g", null, s("text", { x: area.left - 16, y: y + 4.5, "text-anchor": "end", "font-size": 15 }, shownName(model.name)),
        pooled ? s("text", { x: area.right + 18, y: y + 4.5, "font-size": 15 }, percent(pooled.accuracy), s("tspan", { class: "quiet-text", dx: 10, "font-size": 13 }, range)) : null));
    if (pooled) {
      svg.append(s("line", { x1: x(pooled.low), x2: x(pooled.high), y1: y, y2: y, stroke: "var(--ink)", "stroke-width": 7, "stroke-opacity": 0.25 }), s("circle", { class: "mark", cx: x(pooled.accuracy), cy: y, r: 5.5, fill: "var(--ink)", "data-value": pooled.accuracy, "data-series": model.name }));
      marks.push({ x: x(pooled.accuracy), y, title: `${shownName(model.name)}, pooled`, lines: intervalLines(pooled) });
    }
    model.by_run.forEach((accuracy, at) => {
      if (!accuracy) return;
      const look = runLook(at);
      const place = { x: x(accuracy.accuracy), y: isPooled ? y + 13 : y + at * ROW };
      if (!isPooled) svg.append(s("line", { x1: x(accuracy.low), x2: x(accuracy.high), y1: place.y, y2: place.y, stroke: look.colour, "stroke-width": 4, "stroke-opacity": 0.3 }));
      svg.append(pointMark(look, place.x, place.y, accuracy.accuracy, model.name));
      marks.push({ ...place, title: `${shownName(model.name)}, ${runs[at].run.name}`, lines: intervalLines(accuracy) });
    });
  });
  return { svg, marks };
}

function severalTraining({ runs }) {
  const trained = [...new Set(runs.flatMap(({ training }) => training.map((curve) => curve.name)))];
  const panel = (name, field, label) => {
    const curves = runs.map(({ run, training }, i) => ({ run: run.name, look: runLook(i), curve: training.find((curve) => curve.name === name) })).filter(({ curve }) => curve);
    const fourDigits = (value) => decimal(value, 4);
    const data = numbers(`${shownName(name)}, ${label}`, ["Run", ["Update", count], [capital(label), fourDigits]], curves.flatMap(({ run, curve }) => curve.points.map((point) => [run, point.step, point[field]])));
    return h("div", null, h("h4", null, `${shownName(name)} `, h("span", null, label)), chart(`${capital(label)} of ${shownName(name)}`, data, (width) => drawOver(curves, field, label, width)));
  };
  const body = trained.length ? [runKey(runs, keyLine), ...[["loss", "loss"], ["grad_norm", "gradient norm"]].map(([field, label]) => h("div", { class: "panels" }, trained.map((name) => panel(name, field, label))))] : null;
  return [
    h("h2", { id: "learning-title" }, "Training"),
    h("div", { class: "figures" }, figure("training", "Loss and gradient norm, run over run", "A line is one run. Loss is as each stage normalises it; gradient norms are those before clipping.", { wide: true, body, absent: body ? null : "No run has logged an update." })),
  ];
}

function drawOver(curves, field, label, width) {
  const steps = Math.max(...curves.map(({ curve }) => curve.steps));
  const rows = ticksUpTo(Math.max(...curves.flatMap(({ curve }) => curve.points.map((point) => point[field])), 1e-9), 3);
  const area = box(width, 190, { left: axisRoom(rows, plainTicks(rows)), right: 10, top: 10, bottom: 26 });
  const x = scale(0, steps, area.left, area.right);
  const y = scale(0, rows.at(-1), area.bottom, area.top);
  const svg = drawing(area, yAxis(area, y, rows, plainTicks(rows)), xAxis(area, x, ticks(0, steps, width < 320 ? 3 : 4), count));
  const marks = curves.flatMap(({ run, look, curve }) => {
    const places = curve.points.map((point) => [x(point.step), y(point[field])]);
    svg.append(s("path", { class: "mark", d: path(places), fill: "none", stroke: look.colour, "stroke-dasharray": look.dash, "stroke-width": 1.5, "stroke-linejoin": "round", "data-series": run, "data-points": curve.points.length }));
    return curve.points.map((point, i) => ({ x: places[i][0], y: places[i][1], title: `${run}, update ${count(point.step)}`, lines: [`${label} ${decimal(point[field], 4)}`] }));
  });
  return { svg, marks };
}

function severalSettings({ settings, runs }) {
  const differing = numbers("Settings that differ", ["Setting", ...runs.map(({ run }) => run.name)], settings.map(({ name: setting, values }) => [setting, ...values]));
  return [
    h("h2", { id: "recipe-title" }, "Settings that differ"),
    h("p", { class: "lead" }, settings.length ? "All other settings are the same in every run." : "All settings are the same in every run."),
    settings.length ? h("div", { class: "differing" }, table(differing), saving(differing.caption, differing)) : null,
  ];
}
