// What became of the sampled traces, how unequal their weights are, and the bounds.

function drawWeighing(data) {
  return [
    h("h2", { id: "weighing-title" }, "Traces and weights"),
    h("p", { class: "lead" }, "Each question gets several traces. A trace’s weight, ρ̃, grows with how natural it is to the initial model and with how often right answers follow it; the weights of a question’s traces sum to 1."),
    h("div", { class: "figures" }, funnelFigure(data), boundsFigure(data), weightsFigure(data), lengthsFigure(data), emphasisFigure(data)),
  ];
}

function funnelFigure(data) {
  const { funnel, verdicts } = data;
  const first = funnel[0]?.count ?? 0;
  const reasons = verdicts.map(({ verdict, reason, count: number }) => [`${verdict}: ${reason.replaceAll("_", " ")}`, number]);
  const steps = numbers("Traces left after each step", ["Step", ["Traces", count], ["Share of sampled", percent], "The others"], funnel.map((step) => [step.name, step.count, first ? step.count / first : 0, step.lost]));
  return figure("funnel", "From sampled traces to chosen ones", "How many traces were left after each step.", {
    absent: data.missing.funnel,
    body: chart("Traces left after each step", steps, (width) => drawFunnel(funnel, width)),
    tables: [steps, reasons.length ? numbers("Verdicts on answers, by reason", ["Verdict", ["Answers", count]], reasons) : null],
  });
}

function drawFunnel(funnel, width) {
  const step = 58;
  const area = box(width, funnel.length * step + 4, { left: 0, right: 4, top: 0, bottom: 0 });
  const most = Math.max(...funnel.map(({ count: number }) => number), 1);
  const x = scale(0, most, area.left, area.right);
  const marks = [];
  const svg = drawing(area);
  funnel.forEach((entry, i) => {
    const top = i * step;
    const frame = { x: 0, y: top + 24, width: Math.max(x(entry.count), 1), height: 16 };
    const lost = i ? funnel[i - 1].count - entry.count : 0;
    svg.append(s("text", { x: 0, y: top + 17, "font-size": 14 }, s("tspan", { "font-weight": 600 }, `${capital(entry.name)} `), s("tspan", null, `${count(entry.count)} (${percent(entry.count / most)})`), lost && width > 480 ? s("tspan", { class: "quiet-text", dx: 10, "font-size": 13 }, `${count(lost)} ${entry.lost}`) : null));
    svg.append(s("rect", { x: 0, y: frame.y, width: area.right, height: 16, fill: "var(--raised)" }), s("rect", { class: "mark", ...frame, fill: i === funnel.length - 1 ? "var(--accent)" : "var(--grey)", "data-value": entry.count }));
    marks.push({ x: frame.width / 2, y: frame.y, frame, title: capital(entry.name), lines: [`${plural(entry.count, "trace")}, ${percent(entry.count / most)} of the first step`, ...(lost ? [`${count(lost)} ${entry.lost}`] : [])] });
  });
  return { svg, marks };
}

// A histogram's bins and their counts.
function bins(caption, [value, counted], histogram, digits) {
  const width = (histogram.high - histogram.low) / histogram.counts.length;
  const end = (value) => decimal(value, digits);
  const rows = histogram.counts.map((number, i) => [histogram.low + i * width, histogram.low + (i + 1) * width, number]);
  return numbers(caption, [[`${value}, from`, end], ["to", end], [counted, count]], rows);
}

// Bars of a histogram, with a line at a value worth knowing.
function drawHistogram(histogram, options, width) {
  const rows = ticksUpTo(Math.max(...histogram.counts, 1), 3).filter((value) => Number.isInteger(value));
  const area = box(width, options.height ?? 200, { left: axisRoom(rows, count), right: 10, top: 22, bottom: 42 });
  const x = scale(histogram.low, histogram.high, area.left, area.right);
  const y = scale(0, rows.at(-1), area.bottom, area.top);
  const columns = ticks(histogram.low, histogram.high, width < 360 ? 4 : 6);
  const svg = drawing(area, yAxis(area, y, rows, count), xAxis(area, x, columns, options.format ?? plainTicks(columns), options.label));
  const step = (histogram.high - histogram.low) / histogram.counts.length;
  const marks = histogram.counts.map((number, i) => {
    const [from, to] = [histogram.low + i * step, histogram.low + (i + 1) * step];
    const frame = { x: x(from) + 0.75, y: y(number), width: Math.max(x(to) - x(from) - 1.5, 0.5), height: area.bottom - y(number) };
    svg.append(s("rect", { class: "mark", ...frame, fill: options.colour ?? "var(--accent)", "data-value": number }));
    return { x: frame.x + frame.width / 2, y: frame.y, frame, title: `${options.name} ${decimal(from, options.digits)} to ${decimal(to, options.digits)}`, lines: [plural(number, options.unit)] };
  });
  if (options.line !== undefined) {
    const anchor = x(options.line) > (area.left + area.right) / 2 ? "end" : "start";
    svg.append(s("line", { x1: x(options.line), x2: x(options.line), y1: area.top - 8, y2: area.bottom, stroke: "var(--ink)", "stroke-dasharray": "3 3" }),
      s("text", { x: x(options.line) + (anchor === "end" ? -6 : 6), y: area.top - 9, "text-anchor": anchor }, options.lineText));
  }
  return { svg, marks };
}

function weightsFigure(data) {
  const weights = data.weights;
  const title = "How unequal the weights are";
  if (!weights) return figure("weights", title, null, { absent: data.missing.weights });
  const equal = 1 / weights.traces_each;
  const rho = { name: "Weight", unit: "trace", digits: 2, line: equal, lineText: `all equal: 1/${weights.traces_each}`, label: "weight of a trace" };
  const effective = { name: "Effective sample size", unit: "question", digits: 2, colour: "var(--green)", line: weights.mean_effective, lineText: `mean ${decimal(weights.mean_effective, 2)}`, label: "effective sample size of a question" };
  const ofTraces = bins("Weights of traces", ["Weight", "Traces"], weights.rho, 2);
  const ofQuestions = bins("Effective sample sizes", ["Effective sample size", "Questions"], weights.effective, 2);
  return figure("weights", title, `First, the weight of every trace; then, how many of a question’s ${weights.traces_each} traces its weights amount to, the effective sample size: ${weights.traces_each} if all weigh the same, 1 if one trace has all the weight (one over the sum of the squared weights). ${weights.description}`, {
    wide: true,
    body: h("div", { class: "panels" },
      h("div", null, h("h4", null, "Weight ", h("span", null, "traces in each bin")), chart("Weights of traces", ofTraces, (width) => drawHistogram(weights.rho, rho, width))),
      h("div", null, h("h4", null, "Effective sample size ", h("span", null, "questions in each bin")), chart("Effective sample sizes", ofQuestions, (width) => drawHistogram(weights.effective, effective, width)))),
    note: [copiesNote(weights, data.diagnostics.traces), withoutWeightNote(weights)].filter(Boolean).join(" ") || null,
    tables: [ofTraces, ofQuestions],
  });
}

// Why two effective sample sizes of the same weights can be far apart.
function copiesNote({ mean_effective: mean, traces_each: each }, traces) {
  if (!traces) return null;
  return `Here a trace that was drawn several times counts several times: the mean is ${decimal(mean, 2)}. Of a question’s ${each} traces ${decimal(traces.distinct_traces, 1)} are different on average; with each of these counted once, and the weights of its copies added up, the mean effective sample size is ${decimal(traces.distinct_effective_sample_size, 1)}.`;
}

function withoutWeightNote({ without_weight: without, questions }) {
  if (!without) return null;
  return `${plural(without, "question")} of ${count(questions + without)} had no trace of any weight and ${without === 1 ? "is" : "are"} not among these.`;
}

function boundsFigure(data) {
  const bounds = data.bounds;
  const isBound = bounds && bounds.no_bounds === null;
  const title = bounds && !isBound ? "L¹ to Lᴷ, as surrogates" : "The bounds L¹ to Lᴷ";
  if (!bounds) return figure("bounds", title, null, { absent: data.missing.bounds });
  const how = isBound
    ? "Lower bounds on the log-probability of a correct answer, in nats, as means over all questions: the more traces, the tighter."
    : `With the ${bounds.ratio} ratio and the answer probability of the weights these are surrogates, not bounds on the log-probability of a correct answer: compare them with each other, not with it. There are no bounds: ${bounds.no_bounds}.`;
  const note = isBound
    ? `${scaleNote(data.diagnostics.initial_on_sampled)}The answer probability is the likelihood of the reference answer plus the share of sampled answers that are correct and not the reference answer. A trace without an end counts as zero: where k traces of a question have none, Lᵏ is minus infinity for that question, and so is the mean.`
    : "Means over the questions for which every trace leads to a correct answer at least once, so that all values are of the same questions. Elsewhere L¹ is minus infinity; of how many questions Lᵏ is, stands in the table.";
  const isFinite = bounds.points.some((point) => point.mean !== null);
  const fourDigits = (value) => (value === -Infinity ? "−∞" : decimal(value, 4));
  const mean = (point) => (point.mean === null && isBound ? -Infinity : point.mean);
  const byK = numbers("L by number of traces, nats", [["k", count], ["Mean", fourDigits], ["Standard error", fourDigits], ["Questions at minus infinity", count]], bounds.points.map((point) => [point.k, mean(point), point.standard_error, point.unbounded]));
  return figure("bounds", title, isFinite ? `${how} Bars are one standard error over questions.` : how, {
    body: isFinite ? chart("L by number of traces", byK, (width) => drawBounds(bounds.points, width)) : h("p", null, "None of them is finite."),
    note,
    tables: byK,
  });
}

// Why the bounds lie so far below the logarithm of the accuracy.
function scaleNote(accuracy) {
  const right = accuracy?.accuracy > 0 ? ` The initial model is right in ${percent(accuracy.accuracy)} of its own responses to such questions, the logarithm of which is ${decimal(Math.log(accuracy.accuracy), 1)}.` : "";
  return `These are not on the scale of accuracy.${right} A mean of logarithms is governed by the questions that the model hardly ever answers: a chance of one in a billion is −20.7 nats, and to an accuracy the same as 0. And a lower bound is low where the k traces are few of the ways to a right answer. `;
}

function drawBounds(points, width) {
  const finite = points.filter((point) => point.mean !== null);
  const ends = finite.flatMap((point) => [point.mean - (point.standard_error ?? 0), point.mean + (point.standard_error ?? 0)]);
  const [low, high] = [Math.min(...ends, 0), Math.max(...ends, Math.min(...ends) + 0.01)];
  const room = (high - low) * 0.08;
  const rows = ticks(low - room, high + room, 5);
  const area = box(width, 300, { left: axisRoom(rows, plainTicks(rows)), right: 14, top: 16, bottom: 44 });
  const x = scale(1, Math.max(points.length, 2), area.left + 16, area.right - 10);
  const y = scale(low - room, high + room, area.bottom, area.top);
  const svg = drawing(area, yAxis(area, y, rows, plainTicks(rows)), xAxis(area, x, points.map((point) => point.k).filter((k) => points.length <= 10 || k % Math.ceil(points.length / 8) === 0 || k === 1), count, "traces, k"));
  svg.append(s("path", { d: path(finite.map((point) => [x(point.k), y(point.mean)])), fill: "none", stroke: "var(--accent)", "stroke-width": 1.5, "stroke-opacity": 0.5 }));
  const marks = finite.map((point) => {
    const error = point.standard_error ?? 0;
    svg.append(s("line", { x1: x(point.k), x2: x(point.k), y1: y(point.mean - error), y2: y(point.mean + error), stroke: "var(--accent)", "stroke-width": 5, "stroke-opacity": 0.3 }),
      s("circle", { class: "mark", cx: x(point.k), cy: y(point.mean), r: 4.5, fill: "var(--accent)", "data-value": point.mean }));
    return { x: x(point.k), y: y(point.mean), title: `L with k = ${point.k}`, lines: [`${decimal(point.mean, 4)} nats`, `standard error ${decimal(point.standard_error, 4)}`, `minus infinity for ${plural(point.unbounded, "question")}`] };
  });
  return { svg, marks };
}
