// Whether the method can help on these questions at all, before any result.

function drawSigns(data) {
  return [
    h("h2", { id: "signs-title" }, "Can it help?"),
    h("p", { class: "lead" }, "New traces teach something where the initial model fits the traces that it has but fails on other questions, and where the posterior, which sees the hint, is right more often than the initial model is on the same questions. Where the model does not fit its own traces, nobody’s traces help."),
    h("div", { class: "figures" }, fitFigure(data)),
  ];
}

function fitFigure(data) {
  const signs = data.diagnostics;
  const row = (name, of) => (of ? [[name, of.accuracy, [of.low, of.high], of.questions]] : []);
  const own = row("Initial model, on questions that it learns from", signs.initial_on_traced);
  const sampled = row("Initial model, on questions that traces are sampled for", signs.initial_on_sampled);
  const lift = signs.lift;
  const rows = [
    ...own,
    ...row("Initial model, on held-out questions", signs.initial_on_held_out),
    ...sampled,
    ...row("With gold traces for every question, on held-out questions", signs.ceiling),
    ...(lift ? row("After the posterior’s traces", lift.posterior) : []),
    ...(lift ? [["Lift: posterior less initial model, points", lift.difference, lift.difference, lift.questions]] : []),
  ];
  return figure("fit", "Right answers before training on new traces", "The initial model answers with the settings of the evaluation; the posterior’s traces and the answers after them are sampled as in training. The lift is of the first round, question by question. Gold traces are the task’s own: what the best traces would lead to.", {
    absent: own.length || sampled.length ? null : data.missing.fit ?? "Not measured.",
    wide: true,
    body: table(numbers("Right answers before training on new traces", ["What", ["Right", shownRight], ["95 % interval", shownInterval], ["Questions", count]], rows)),
    note: [validityNote(signs.validity), diversityNote(signs.traces), mismatchNote(signs.mismatch)].filter(Boolean).join(" "),
  });
}

// The lift is a difference, in points; all else is a share.
function shownRight(value) {
  return typeof value === "number" ? percent(value) : points(value.mean);
}

function shownInterval(value) {
  return Array.isArray(value) ? between(...value) : `${points(value.low)} to ${points(value.high)}`;
}

function validityNote(validity) {
  if (!validity) return null;
  const share = percent(validity.valid / Math.max(validity.finished, 1));
  const mass = validity.training_mass === null ? "" : ` They carry ${percent(validity.training_mass)} of the training weight of sampled examples.`;
  const forced = validity.forced === null ? "" : ` ${percent(validity.forced)} of the right answers follow the other traces.`;
  return `Of ${plural(validity.finished, "finished trace")}, ${share} are valid in every step by the rules of the task.${mass}${forced}`;
}

function diversityNote(traces) {
  if (!traces) return null;
  const logProb = traces.mean_log_q === null ? "" : `; the model that wrote them gives a trace a log-prob of ${decimal(traces.mean_log_q, 1)} nats on average`;
  const clipped = traces.clipped > 0 ? ` The likelihood ratio of ${percent(traces.clipped)} of the traces is cut at its limit.` : "";
  return `Of a question’s traces ${decimal(traces.distinct_traces, 1)} are different on average${logProb}.${clipped}`;
}

function mismatchNote(mismatch) {
  if (!mismatch) return null;
  return `The log-probs of the sampler and of the scorer differ by ${mismatch.mean.toExponential(1)} nats a token on average, ${mismatch.largest.toExponential(1)} at most, and by ${mismatch.mean_of_traces.toExponential(1)} a trace; weights have the scorer’s.`;
}
