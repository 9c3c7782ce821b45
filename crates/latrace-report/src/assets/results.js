// How often each model is right: overall, by difficulty, and given more tries.

function drawResults(data) {
  return [
    h("h2", { id: "results-title" }, "Results"),
    h("p", { class: "lead" }, resultsLead(data)),
    h("div", { class: "figures" }, accuracyFigure(data), difficultyFigure(data), passFigure(data)),
  ];
}

function resultsLead({ questions }) {
  if (!questions?.evaluation) return "Models are measured on questions that none of them was trained on.";
  const split = questions.evaluation_split ? ` of the ${questions.evaluation_split} split` : "";
  return `Models are measured on ${plural(questions.evaluation, "question")}${split}, which none of them was trained on. Intervals are 95 %, by bootstrap over questions: they say how much another draw of questions could change the number.`;
}

function accuracyFigure(data) {
  const { models, comparisons } = data;
  const rows = models.map((model) => [modelTitle(model), percent(model.overall.accuracy), percent(model.overall.low), percent(model.overall.high), count(model.overall.questions), count(model.overall.samples), count(model.truncated), count(model.undetermined), decimal(model.mean_tokens, 1)]);
  const pairs = comparisons.map((pair) => [`${shownName(pair.model)} against ${shownName(pair.against)}`, points(pair.difference.mean), points(pair.difference.low), points(pair.difference.high), count(pair.questions)]);
  return figure("accuracy", "Right answers, by model", "Share of responses that the verifier accepts; the bar is the 95 % interval. The dotted line is where the run began.", {
    absent: data.missing.accuracy,
    wide: true,
    body: chart(`Accuracy of ${plural(models.length, "model")}`, (width) => drawAccuracy(models, width)),
    note: pairs.length ? `Question by question: ${comparisons.map((pair) => `${shownName(pair.model)} against ${shownName(pair.against)} ${points(pair.difference.mean)} points (${points(pair.difference.low)} to ${points(pair.difference.high)})`).join("; ")}.` : null,
    numbers: [
      table("Accuracy by model", ["Model", "Right", "Low", "High", "Questions", "Responses", "Cut short", "Undetermined", "Mean tokens"], rows),
      pairs.length ? table("Paired differences, percentage points", ["Models", "Difference", "Low", "High", "Questions"], pairs) : null,
    ],
  });
}

function drawAccuracy(models, width) {
  const narrow = width < 520;
  const step = narrow ? 52 : 40;
  const area = box(width, models.length * step + 46, { left: narrow ? 4 : 150, right: narrow ? 8 : 190, top: 8, bottom: 38 });
  const most = Math.min(1, roundUp(Math.max(...models.map((model) => model.overall.high), 0.05)));
  const x = scale(0, most, area.left, area.right);
  const marks = [];
  const values = ticks(0, most, narrow ? 4 : 6);
  const svg = drawing(area, xAxis(area, x, values, (value) => `${decimal(value * 100, 0)} %`), values.map((value) => s("g", { class: "axis" }, s("line", { class: "gridline", x1: x(value), x2: x(value), y1: area.top, y2: area.bottom }))));
  const first = models.find((model) => model.role === "initial");
  if (first) svg.append(s("line", { x1: x(first.overall.accuracy), x2: x(first.overall.accuracy), y1: area.top, y2: area.bottom, stroke: "var(--grey)", "stroke-dasharray": "1 4", "stroke-linecap": "round", "stroke-width": 1.6 }));
  models.forEach((model, i) => {
    const { accuracy, low, high } = model.overall;
    const look = modelLook(models, model);
    const y = area.top + step * i + (narrow ? 36 : step / 2);
    const bold = model.role === "final" ? 700 : 400;
    const range = `${decimal(low * 100, 1)}–${decimal(high * 100, 1)}`;
    svg.append(narrow
      ? s("text", { x: area.left, y: y - 14, "font-weight": bold }, modelTitle(model), s("tspan", { class: "quiet-text", dx: 8, "font-weight": 400 }, `${percent(accuracy)} (${range})`))
      : s("g", null, s("text", { x: area.left - 16, y: y + 4.5, "text-anchor": "end", "font-size": 15, "font-weight": bold }, modelTitle(model)),
        s("text", { x: area.right + 18, y: y + 4.5, "font-size": 15, "font-weight": bold }, percent(accuracy), s("tspan", { class: "quiet-text", dx: 10, "font-size": 13, "font-weight": 400 }, range))));
    svg.append(s("line", { x1: x(low), x2: x(high), y1: y, y2: y, stroke: look.colour, "stroke-width": 7, "stroke-opacity": 0.38 }), pointMark(look, x(accuracy), y, accuracy, model.name));
    marks.push({ x: x(accuracy), y, frame: { x: x(low), y: y - 9, width: x(high) - x(low), height: 18 }, title: modelTitle(model), lines: intervalLines(model.overall) });
  });
  return { svg, marks };
}

function difficultyFigure(data) {
  const models = data.models.filter((model) => model.by_difficulty.length);
  const rows = models.flatMap((model) => model.by_difficulty.map(({ difficulty, accuracy }) => [`${modelTitle(model)}, ${difficulty}`, percent(accuracy.accuracy), percent(accuracy.low), percent(accuracy.high), count(accuracy.questions), count(accuracy.samples)]));
  return figure("difficulty", "Right answers, by difficulty", "From easy questions on the left to hard ones on the right. Thin lines are 95 % intervals.", {
    absent: data.missing.difficulty,
    body: chart("Accuracy by difficulty", (width) => drawDifficulty(models, width)),
    numbers: table("Accuracy by difficulty", ["Model, difficulty", "Right", "Low", "High", "Questions", "Responses"], rows),
  });
}

function drawDifficulty(models, width) {
  const names = [...new Set(models.flatMap((model) => model.by_difficulty.map((entry) => entry.difficulty)))];
  const area = box(width, 320, { left: 46, right: 92, bottom: 44 });
  const inset = Math.min(28, (area.right - area.left) / names.length / 2);
  const x = scale(0, Math.max(names.length - 1, 1), area.left + inset, area.right - inset);
  const y = scale(0, 1, area.bottom, area.top);
  const short = (at) => (names[at].length > 9 && names.length > 4 ? `${names[at].slice(0, 8)}…` : names[at]);
  const marks = [];
  const svg = drawing(area, yAxis(area, y, [0, 0.25, 0.5, 0.75, 1], (value) => `${decimal(value * 100, 0)} %`), xAxis(area, x, names.map((_, i) => i), short, "difficulty"));
  models.forEach((model, place) => {
    const look = modelLook(models, model);
    const shift = (place - (models.length - 1) / 2) * Math.min(7, inset / models.length);
    const places = model.by_difficulty.map(({ difficulty, accuracy }) => ({ px: x(names.indexOf(difficulty)) + shift, difficulty, accuracy }));
    svg.append(s("path", { d: path(places.map(({ px, accuracy }) => [px, y(accuracy.accuracy)])), fill: "none", stroke: look.colour, "stroke-width": model.role === "final" ? 2.5 : 1.5, "stroke-dasharray": look.dash }));
    for (const { px, difficulty, accuracy } of places) {
      svg.append(s("line", { x1: px, x2: px, y1: y(accuracy.low), y2: y(accuracy.high), stroke: look.colour, "stroke-width": 1.5, "stroke-opacity": 0.6 }), pointMark(look, px, y(accuracy.accuracy), accuracy.accuracy, model.name));
      marks.push({ x: px, y: y(accuracy.accuracy), title: `${modelTitle(model)}, difficulty ${difficulty}`, lines: intervalLines(accuracy) });
    }
  });
  svg.append(endLabels(models, area, (model) => y(model.by_difficulty.at(-1).accuracy.accuracy)));
  return { svg, marks };
}

// Names beside the ends of lines, apart from each other.
function endLabels(models, area, yOf) {
  const places = spread(models.map(yOf), 16, area.bottom);
  return s("g", null, models.map((model, i) => s("text", { x: area.right + 8, y: places[i] + 4.5, fill: modelLook(models, model).colour, "font-weight": model.role === "final" ? 700 : 400 }, modelTitle(model))));
}

function passFigure(data) {
  const models = data.models.filter((model) => model.pass_at.length);
  const most = Math.max(...models.map((model) => model.pass_at.length), 0);
  const rows = models.flatMap((model) => model.pass_at.map((pass, i) => [`${modelTitle(model)}, pass@${i + 1}`, percent(pass.mean), percent(pass.low), percent(pass.high)]));
  return figure("pass-at-k", "Right at least once in k tries", "pass@k: the chance that at least one of k responses is right, estimated without bias from all of them. The shade is the final model’s 95 % interval.", {
    absent: data.missing.pass_at_k,
    body: chart("Chance of a right answer in k tries", (width) => drawPass(models, most, width)),
    numbers: table("pass@k", ["Model, k", "pass@k", "Low", "High"], rows),
  });
}

function drawPass(models, most, width) {
  const area = box(width, 320, { left: 46, right: 92, bottom: 44 });
  const x = scale(1, Math.max(most, 2), area.left + 10, area.right - 10);
  const y = scale(0, 1, area.bottom, area.top);
  const steps = ticks(1, most, Math.min(most, 8)).filter((k) => Number.isInteger(k));
  const marks = [];
  const svg = drawing(area, yAxis(area, y, [0, 0.25, 0.5, 0.75, 1], (value) => `${decimal(value * 100, 0)} %`), xAxis(area, x, steps, count, "tries, k"));
  for (const model of models) {
    const look = modelLook(models, model);
    const places = model.pass_at.map((pass, i) => [x(i + 1), y(pass.mean)]);
    if (model.role === "final") svg.append(s("path", { d: `${path([...model.pass_at.map((pass, i) => [x(i + 1), y(pass.high)]), ...model.pass_at.map((pass, i) => [x(i + 1), y(pass.low)]).reverse()])}z`, fill: look.colour, "fill-opacity": 0.14 }));
    svg.append(s("path", { d: path(places), fill: "none", stroke: look.colour, "stroke-width": model.role === "final" ? 2.5 : 1.5, "stroke-dasharray": look.dash }));
    model.pass_at.forEach((pass, i) => {
      svg.append(pointMark(look, places[i][0], places[i][1], pass.mean, model.name));
      marks.push({ x: places[i][0], y: places[i][1], title: `${modelTitle(model)}, pass@${i + 1}`, lines: [percent(pass.mean), `95 % interval ${between(pass.low, pass.high)}`] });
    });
  }
  svg.append(endLabels(models, area, (model) => y(model.pass_at.at(-1).mean)));
  return { svg, marks };
}
