// How often each model is right: overall, by difficulty, and given more tries.

function drawResults(data) {
  return [
    h("h2", { id: "results-title" }, "Results"),
    h("p", { class: "lead" }, resultsLead(data)),
    h("div", { class: "figures" }, accuracyFigure(data), methodsFigure(data), difficultyFigure(data), passFigure(data)),
  ];
}

function resultsLead({ questions }) {
  if (!questions?.evaluation) return "Models are measured on questions that none of them was trained on.";
  const split = questions.evaluation_split ? ` of the ${questions.evaluation_split} split` : "";
  return `Models are measured on ${plural(questions.evaluation, "question")}${split}, which none of them was trained on. Intervals are 95 %, by bootstrap over questions: they say how much another draw of questions could change the number.`;
}

function accuracyFigure(data) {
  const { models, comparisons } = data;
  const rows = models.map((model) => [modelTitle(model), ...accuracyCells(model.overall), model.truncated, model.undetermined, model.mean_tokens]);
  const pairs = comparisons.map(({ model, against, difference, questions }) => [`${shownName(model)} against ${shownName(against)}`, difference.mean, difference.low, difference.high, questions]);
  const byModel = numbers("Accuracy by model", ["Model", ...ACCURACY_COLUMNS, ["Cut short", count], ["Undetermined", count], ["Mean tokens", (value) => decimal(value, 1)]], rows);
  return figure("accuracy", "Right answers, by model", "Share of responses that the verifier accepts; the bar is the 95 % interval. The dotted line is where the run began.", {
    absent: data.missing.accuracy,
    wide: true,
    body: chart(`Accuracy of ${plural(models.length, "model")}`, byModel, (width) => drawAccuracy(models, width)),
    note: pairs.length ? `Question by question: ${comparisons.slice(0, NOTED_PAIRS).map((pair) => `${shownName(pair.model)} against ${shownName(pair.against)} ${points(pair.difference.mean)} points (${points(pair.difference.low)} to ${points(pair.difference.high)})`).join("; ")}${pairs.length > NOTED_PAIRS ? "; the others are among the exact numbers" : ""}.` : null,
    tables: [byModel, pairs.length ? numbers("Paired differences, percentage points", ["Models", ["Difference", points], ["Low", points], ["High", points], ["Questions", count]], pairs) : null],
  });
}

// More of them are no longer read as a sentence.
const NOTED_PAIRS = 4;
const ACCURACY_COLUMNS = [["Right", percent], ["Low", percent], ["High", percent], ["Questions", count], ["Responses", count]];

function accuracyCells({ accuracy, low, high, questions, samples }) {
  return [accuracy, low, high, questions, samples];
}

function drawAccuracy(models, width) {
  const narrow = width < 520;
  const step = narrow ? 52 : 40;
  const area = box(width, models.length * step + 46, { left: narrow ? 4 : 150, right: narrow ? 8 : 190, top: 8, bottom: 38 });
  const most = Math.min(1, roundUp(Math.max(...models.map((model) => model.overall.high), 0.05)));
  const x = scale(0, most, area.left, area.right);
  const marks = [];
  const values = ticks(0, most, narrow ? 4 : 6);
  const places = narrow ? models.map((_, i) => area.top + step * i + 36) : null;
  const svg = drawing(area, xAxis(area, x, values, wholePercent), values.map((value) => s("g", { class: "axis" }, verticals(area, x(value), { class: "gridline" }, places))));
  const first = models.find((model) => model.role === "initial");
  if (first) svg.append(...verticals(area, x(first.overall.accuracy), { stroke: "var(--grey)", "stroke-dasharray": "1 4", "stroke-linecap": "round", "stroke-width": 1.6 }, places));
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
  const rows = models.flatMap((model) => model.by_difficulty.map(({ difficulty, accuracy }) => [modelTitle(model), difficulty, ...accuracyCells(accuracy)]));
  const byDifficulty = numbers("Accuracy by difficulty", ["Model", "Difficulty", ...ACCURACY_COLUMNS], rows);
  return figure("difficulty", "Right answers, by difficulty", "From easy questions on the left to hard ones on the right. Thin lines are 95 % intervals.", {
    absent: data.missing.difficulty,
    body: chart("Accuracy by difficulty", byDifficulty, (width) => drawDifficulty(models, width)),
    note: difficultyNote(data.questions),
    tables: byDifficulty,
  });
}

// What difficulty counts, and why an easy question can score low.
function difficultyNote(questions) {
  if (!questions) return null;
  const counts = questions.difficulty ? `Difficulty counts ${questions.difficulty}. ` : "Difficulty is as the data states it. ";
  const traced = (questions.traced_by_difficulty ?? []).filter(([, number]) => number > 0);
  const few = traced.length ? ` Training questions with a trace, by difficulty: ${traced.map(([name, number]) => `${count(number)} of ${name}`).join(", ")}.` : "";
  return `${counts}It does not say how often a model is right: an easy question can score low where the model has seen few of its kind.${few}`;
}

function drawDifficulty(models, width) {
  const names = [...new Set(models.flatMap((model) => model.by_difficulty.map((entry) => entry.difficulty)))];
  const area = box(width, 320, { left: axisRoom(QUARTERS, wholePercent), right: labelRoom(width), bottom: 44 });
  const inset = Math.min(28, (area.right - area.left) / names.length / 2);
  const x = scale(0, Math.max(names.length - 1, 1), area.left + inset, area.right - inset);
  const y = scale(0, 1, area.bottom, area.top);
  const short = (at) => (names[at].length > 9 && names.length > 4 ? `${names[at].slice(0, 8)}…` : names[at]);
  const marks = [];
  const svg = drawing(area, yAxis(area, y, QUARTERS, wholePercent), xAxis(area, x, names.map((_, i) => i), short, "difficulty"));
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

// Lines of a chart of shares.
const QUARTERS = [0, 0.25, 0.5, 0.75, 1];

// Room for names beside the ends of lines: on a narrow screen long ones are cut.
function labelRoom(width) {
  return width < 420 ? 92 : 128;
}

function endLabel(model, { width }) {
  const [title, most] = [modelTitle(model), width < 420 ? 11 : 18];
  return title.length > most ? `${title.slice(0, most - 1)}…` : title;
}

// Names beside the ends of lines, apart from each other.
function endLabels(models, area, yOf) {
  const places = spread(models.map(yOf), 16, area.bottom);
  return s("g", null, models.map((model, i) => s("text", { x: area.right + 8, y: places[i] + 4.5, fill: modelLook(models, model).colour, "font-weight": model.role === "final" ? 700 : 400 }, endLabel(model, area))));
}

function passFigure(data) {
  const models = data.models.filter((model) => model.pass_at.length);
  const most = Math.max(...models.map((model) => model.pass_at.length), 0);
  const passes = numbers("pass@k", ["Model", ["k", count], ["pass@k", percent], ["Low", percent], ["High", percent]], models.flatMap((model) => model.pass_at.map((pass, i) => [modelTitle(model), i + 1, pass.mean, pass.low, pass.high])));
  return figure("pass-at-k", "Right at least once in k tries", "pass@k: the chance that at least one of k responses is right, estimated without bias from all of them. The shade is the final model’s 95 % interval.", {
    absent: data.missing.pass_at_k,
    body: chart("Chance of a right answer in k tries", passes, (width) => drawPass(models, most, width)),
    tables: passes,
  });
}

function drawPass(models, most, width) {
  const area = box(width, 320, { left: axisRoom(QUARTERS, wholePercent), right: labelRoom(width), bottom: 44 });
  const x = scale(1, Math.max(most, 2), area.left + 10, area.right - 10);
  const y = scale(0, 1, area.bottom, area.top);
  const steps = ticks(1, most, Math.min(most, 8)).filter((k) => Number.isInteger(k));
  const marks = [];
  const svg = drawing(area, yAxis(area, y, QUARTERS, wholePercent), xAxis(area, x, steps, count, "tries, k"));
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
