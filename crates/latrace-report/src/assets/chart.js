// A chart is redrawn for each width. It is one stop of the Tab key: arrow keys step through its marks, as a
// pointer does, and a tip shows each one's numbers.

// `data` are the chart's numbers, for the button that saves them. `draw(width)` gives `svg` and `marks`: places {x, y}, perhaps a `frame` {x, y, width, height}, a `title` and `lines` of text.
function chart(label, data, draw) {
  const tip = h("div", { class: "tip", hidden: "" });
  const said = h("p", { class: "visually-hidden", role: "status" });
  const empty = h("p", { class: "absent", hidden: "" }, "There are no values to draw.");
  const holder = h("div", { class: "chart", tabindex: "0", role: "group", "aria-roledescription": "chart", "aria-label": `${label}. Arrow keys step through its values.` }, empty, tip, said);
  const state = { marks: [], at: -1, svg: null, width: 0 };

  const redraw = () => {
    state.width = holder.clientWidth;
    if (!state.width) return;
    const drawn = draw(state.width);
    empty.hidden = drawn.marks.length > 0;
    drawn.svg.setAttribute("aria-hidden", "true");
    if (state.svg) state.svg.replaceWith(drawn.svg);
    else holder.prepend(drawn.svg);
    Object.assign(state, { svg: drawn.svg, marks: drawn.marks });
    if (state.at >= 0) show(Math.min(state.at, state.marks.length - 1), false);
  };
  const show = (at, aloud) => {
    hide();
    const mark = state.marks[at];
    if (!mark) return;
    state.at = at;
    state.svg.append(ringAround(mark));
    tip.replaceChildren(h("b", null, mark.title), ...mark.lines.map((line) => h("div", null, line)));
    tip.hidden = false;
    placeTip(tip, mark, state.width);
    if (aloud) said.textContent = [mark.title, ...mark.lines].join(", ");
  };
  const hide = () => {
    state.at = -1;
    tip.hidden = true;
    state.svg?.querySelector(".ring")?.remove();
  };
  holder.addEventListener("pointermove", (event) => {
    const at = nearest(state, holder, event);
    if (at !== state.at) show(at, false);
  });
  holder.addEventListener("pointerleave", hide);
  holder.addEventListener("blur", hide);
  holder.addEventListener("keydown", (event) => {
    const to = { ArrowRight: state.at + 1, ArrowDown: state.at + 1, ArrowLeft: Math.max(state.at, 1) - 1, ArrowUp: Math.max(state.at, 1) - 1, Home: 0, End: state.marks.length - 1 }[event.key];
    if (event.key === "Escape") hide();
    if (to === undefined || !state.marks.length) return;
    event.preventDefault();
    show(Math.min(to, state.marks.length - 1), true);
  });
  // Drawn in a frame of its own: a drawing changes the height of what is observed.
  new ResizeObserver(() => { if (holder.clientWidth !== state.width) requestAnimationFrame(redraw); }).observe(holder);
  return h("div", { class: "charted" }, holder, saving(label, data, () => state.svg));
}

function ringAround({ x, y, frame }) {
  if (frame) return s("rect", { class: "ring", x: frame.x - 1, y: frame.y - 1, width: Math.max(frame.width + 2, 3), height: Math.max(frame.height + 2, 3) });
  return s("circle", { class: "ring", cx: x, cy: y, r: 8 });
}

function placeTip(tip, mark, width) {
  const left = Math.max(0, Math.min(mark.x - tip.offsetWidth / 2, width - tip.offsetWidth));
  const top = (mark.frame ? Math.min(mark.frame.y, mark.y) : mark.y) - tip.offsetHeight - 12;
  tip.style.setProperty("left", `${left}px`);
  tip.style.setProperty("top", `${top < -40 ? mark.y + 14 : top}px`);
}

// The mark whose frame the pointer is in, or else the nearest one.
function nearest(state, holder, event) {
  const edge = holder.getBoundingClientRect();
  const [px, py] = [event.clientX - edge.left, event.clientY - edge.top];
  let best = -1;
  let least = Infinity;
  state.marks.forEach(({ x, y, frame }, at) => {
    const inside = frame && px >= frame.x && px <= frame.x + frame.width && py >= frame.y && py <= frame.y + frame.height;
    const distance = inside ? -1 : (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [at, distance];
  });
  return best;
}

function drawing(area, ...parts) {
  return s("svg", { viewBox: `0 0 ${area.width} ${area.height}`, width: area.width, height: area.height }, ...parts);
}

// Which details are open, by figure: they stay so when data changes.
const opened = new Set();

function expandable(key, title, ...content) {
  const details = h("details", { open: opened.has(key) ? "" : null }, h("summary", null, title), ...content);
  details.addEventListener("toggle", () => (details.open ? opened.add(key) : opened.delete(key)));
  return details;
}

// A figure: title, how to read it, the drawing, a note, and its numbers; or why there is none.
function figure(id, title, how, { body, note, tables, wide, absent }) {
  const caption = h("figcaption", null, h("h3", null, title), how ? h("p", null, how) : null);
  const attributes = { id, class: wide ? "wide" : null };
  if (absent) return h("figure", attributes, caption, h("p", { class: "absent" }, absent));
  return h("figure", attributes, caption, body, note ? h("p", { class: "foot" }, note) : null, tables ? expandable(id, "Exact numbers", [tables].flat().filter(Boolean).map(table)) : null);
}
