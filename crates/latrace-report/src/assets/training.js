// Loss and gradient norm of each model that was trained.

const TRAINED = { initial: ["var(--grey)", "Initial"], posterior: ["var(--violet)", "Posterior"], final: ["var(--accent)", "Final"] };

function drawLearning(data) {
  return [
    h("h2", { id: "learning-title" }, "Training"),
    h("p", { class: "lead" }, "The initial model learns from questions that come with a thought. The posterior learns to write such thoughts when it is also shown a hint. The final model goes on from the posterior’s weighted traces."),
    h("div", { class: "figures" }, trainingFigure(data)),
  ];
}

function trainingFigure(data) {
  const runs = data.training;
  const panel = (run, field, label) => {
    const [colour, name] = TRAINED[run.name] ?? ["var(--warm)", shownName(run.name)];
    return h("div", null, h("h4", null, `${name} `, h("span", null, label)), chart(`${label} of ${name}`, curve(run), (width) => drawCurve(run, field, colour, label, width)));
  };
  const grain = runs.filter((run) => run.steps_per_point > 1).map((run) => `${run.steps_per_point} updates in ${shownName(run.name).toLowerCase()}`);
  return figure("training", "Loss and gradient norm", "Loss as each stage normalises it, so its height compares within a panel, not between panels. Gradient norms are those before clipping.", {
    absent: data.missing.training,
    wide: true,
    body: [h("div", { class: "panels" }, runs.map((run) => panel(run, "loss", "loss"))), h("div", { class: "panels" }, runs.map((run) => panel(run, "grad_norm", "gradient norm")))],
    note: grain.length ? `Each point is a mean: over ${grain.join(", ")}.` : null,
    tables: runs.map((run) => curve(run, 40)),
  });
}

function curve(run, most = Infinity) {
  const fourDigits = (value) => decimal(value, 4);
  return numbers(`${shownName(run.name)}: ${plural(run.steps, "update")}`, [["Update", count], ["Loss", fourDigits], ["Gradient norm", fourDigits]], thinned(run.points, most).map((point) => [point.step, point.loss, point.grad_norm]));
}

// Evenly chosen, first and last included.
function thinned(points, most) {
  if (points.length <= most) return points;
  return Array.from({ length: most }, (_, i) => points[Math.round((i * (points.length - 1)) / (most - 1))]);
}

function drawCurve(run, field, colour, label, width) {
  const values = run.points.map((point) => point[field]);
  const rows = ticksUpTo(Math.max(...values, 1e-9), 3);
  const area = box(width, 170, { left: axisRoom(rows, plainTicks(rows)), right: 10, top: 10, bottom: 26 });
  const x = scale(0, run.steps, area.left, area.right);
  const y = scale(0, rows.at(-1), area.bottom, area.top);
  const places = run.points.map((point) => [x(point.step), y(point[field])]);
  const svg = drawing(area, yAxis(area, y, rows, plainTicks(rows)), xAxis(area, x, ticks(0, run.steps, width < 320 ? 3 : 4), count));
  svg.append(s("path", { class: "mark", d: path(places), fill: "none", stroke: colour, "stroke-width": 1.8, "stroke-linejoin": "round", "data-series": run.name, "data-points": run.points.length, "data-value": values.at(-1) }));
  const marks = run.points.map((point, i) => ({ x: places[i][0], y: places[i][1], title: `Update ${count(point.step)}`, lines: [`${label} ${decimal(point[field], 4)}`] }));
  return { svg, marks };
}
