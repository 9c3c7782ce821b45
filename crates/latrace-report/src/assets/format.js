// Numbers as people read them: British, with a real minus sign and spaces that do not break.

const SPACE = "\u00a0";
const MISSING = "–";

function decimal(value, digits) {
  if (value === null || value === undefined) return MISSING;
  // Halves go up, as in the page's sentences, which are made elsewhere.
  const rounded = Math.round(Math.abs(value) * 10 ** digits) / 10 ** digits;
  const text = rounded.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return value < 0 && rounded !== 0 ? `−${text}` : text;
}

function count(value) {
  return decimal(value, 0);
}

function percent(share) {
  return share === null || share === undefined ? MISSING : `${decimal(share * 100, 1)}${SPACE}%`;
}

function wholePercent(share) {
  return `${decimal(share * 100, 0)} %`;
}

function points(difference) {
  return `${difference > 0 ? "+" : ""}${decimal(difference * 100, 1)}`;
}

function between(low, high) {
  return `${decimal(low * 100, 1)} to ${percent(high)}`;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return MISSING;
  if (seconds < 60) return `${decimal(seconds, seconds < 10 ? 1 : 0)}${SPACE}s`;
  const minutes = Math.round(seconds / 60);
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${SPACE}min ${Math.round(seconds % 60)}${SPACE}s`;
  return `${Math.floor(minutes / 60)}${SPACE}h ${minutes % 60}${SPACE}min`;
}

function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many ?? `${one}s`}`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// Titles of the models that methods train, from the run's own data.
const titles = new Map();

// A model's or method's name as the page writes it.
function shownName(name) {
  return titles.get(name) ?? capital(name.replaceAll("-", " "));
}
