"use strict";

// Shapes: S spans of the text (usually characters), N entries of the vocabulary that spell them, U units.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int8: Int8Array, float32: Float32Array };

function numbers({ dtype, data: text }) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return new ARRAYS[dtype](bytes.buffer);
}

const SIZE = data.spans.length;
const K = data.numAlternatives;
const bits = numbers(data.bits);
const ranks = numbers(data.ranks);
const came = numbers(data.came);
const alternatives = numbers(data.alternatives);
const probabilities = numbers(data.probabilities);
const states = numbers(data.states);
const properties = data.properties.map((property) => ({ ...property, values: numbers(property.values) }));

// Where the entries and the characters of each span begin, with the end of the text as one more; sums of bits alike.
const entryStart = sums(numbers(data.lengths));
const charStart = sums(data.spans.map((span) => [...span].length));
const bitsBefore = new Float64Array(SIZE + 1);
for (let i = 0; i < SIZE; i++) {
  bitsBefore[i + 1] = bitsBefore[i];
  for (let n = entryStart[i]; n < entryStart[i + 1]; n++) bitsBefore[i + 1] += bits[n];
}
const chars = charStart[SIZE];

function sums(counts) {
  const before = new Uint32Array(counts.length + 1);
  counts.forEach((count, i) => { before[i + 1] = before[i] + count; });
  return before;
}

// Bits per character from span `start` up to `stop`: total bits by total characters.
const perChar = (start, stop) => (bitsBefore[stop] - bitsBefore[start]) / (charStart[stop] - charStart[start]);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

let cursor = 0;
let hover = -1;
let pinned = false;
let colour = "bits";
let unit = properties.length ? properties[0].best[0][0] : 0;
let property = properties.length ? 0 : -1;
const shown = () => (pinned || hover < 0 ? cursor : hover);

// Words for what is read

const NAMES = new Map([
  [" ", "space"], ["\n", "newline"], ["\t", "tab"], ["\u00a0", "no-break space"], ["\u3000", "wide space"],
]);
const SIGNS = new Map([["\n", "↵"], ["\t", "⇥"], [" ", "␣"]]);
// Control characters as the pictures that Unicode has for them; but line ends and tabs, which the text needs.
const pictured = (text) => text.replace(/[\0-\x08\x0b-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)));
const visible = (text) => pictured(text).replace(/[\n\t ]/g, (c) => SIGNS.get(c)).replace(/^\p{M}/u, "◌$&");
const hex = (bytes) => bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");

function labelled(label) {
  if (typeof label !== "string") return { text: `byte ${hex(label)}`, kind: "bytes" };
  if (NAMES.has(label)) return { text: NAMES.get(label), kind: "named" };
  return { text: visible(label), kind: "letters" };
}

function percent(share) {
  if (share >= 0.9995) return "100 %";
  const value = 100 * share;
  if (value < 0.001) return "< 0.001 %";
  return `${value >= 9.95 ? value.toFixed(1) : value.toPrecision(2)} %`;
}

const thousands = (value) => value.toLocaleString("en-US");
const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
const signed = (value) => (value < 0 ? "" : "+") + fixed(value);
const valueOf = (row, i) => data.units[row].median + (data.units[row].scale * states[row * SIZE + i]) / 127;
// The value of a unit with as many digits as its scale makes sense of.
const rounded = (value, { scale }) => fixed(value, scale > 0 ? clamp(2 - Math.floor(Math.log10(scale)), 0, 8) : 3);
const hasParts = new Set(data.units.map((u) => u.part)).size > 1;
const unitName = (u) => `layer ${u.layer} · ${hasParts ? u.part + " " : ""}${u.index}`;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Colours: levels of two scales, as rules of CSS, so that they follow the theme

const HEAT_LEVELS = 16;
const HEAT_TOP = 8; // bits per character from which on all are alike
const UNIT_LEVELS = 8; // on either side of the median

function colourRules() {
  const rules = [];
  for (let level = 1; level <= HEAT_LEVELS; level++) {
    const part = Math.round((100 * level) / HEAT_LEVELS);
    const hue = `color-mix(in oklab, var(--heat-high) ${part}%, var(--heat-low))`;
    const strength = Math.min(2.5 * part, 100); // the lowest fade into the paper
    rules.push(`.h${level} { background: color-mix(in oklab, ${hue} ${strength}%, transparent); }`);
  }
  for (let level = 1; level <= UNIT_LEVELS; level++) {
    const strength = Math.round((100 * level) / UNIT_LEVELS);
    rules.push(`.u${level} { background: color-mix(in oklab, var(--up) ${strength}%, transparent); }`);
    rules.push(`.d${level} { background: color-mix(in oklab, var(--down) ${strength}%, transparent); }`);
  }
  document.head.append(element("style", {}, rules.join("\n")));
}

const heatClass = (value) => `h${clamp(Math.round((HEAT_LEVELS * value) / HEAT_TOP), 0, HEAT_LEVELS)}`;
function unitClass(code) {
  const level = Math.round((UNIT_LEVELS * code) / 127);
  return level < 0 ? `d${-level}` : `u${level}`;
}
const colourClass = (i) => (colour === "bits" ? heatClass(perChar(i, i + 1)) : unitClass(states[unit * SIZE + i]));

// The text

// Line ends and tabs get a sign that can be pointed at, but is not copied with the text.
const cells = data.spans.map((span, i) => {
  const parts = pictured(span).split(/([\n\t])/).filter((part) => part);
  const shown = (part) => (/^[\n\t]$/.test(part) ? element("i", { "data-sign": SIGNS.get(part) }, part) : part);
  const cell = element("span", {}, ...parts.map(shown));
  cell.place = i;
  return cell;
});
const placeOf = (target) => target.closest("#text span")?.place ?? -1;

function paint() {
  cells.forEach((cell, i) => { cell.className = colourClass(i); });
  mark();
  legend();
}

let marked = [];
function mark() {
  for (const cell of marked) cell.classList.remove("at", "hover", "pinned");
  marked = [cells[cursor], cells[shown()]];
  marked[1].classList.add("hover");
  marked[0].classList.add("at");
  marked[0].classList.toggle("pinned", pinned);
}

function legend() {
  const ramp = element("span", { class: "ramp" });
  const levels = [];
  let low, high, label;
  if (colour === "bits") {
    for (let level = 0; level <= HEAT_LEVELS; level++) levels.push(`h${level}`);
    [low, high] = ["0", `${HEAT_TOP} bits per character or more`];
    label = `surprise, from 0 to ${high}`;
  } else {
    for (let level = -UNIT_LEVELS; level <= UNIT_LEVELS; level++) levels.push(level < 0 ? `d${-level}` : `u${level}`);
    const { median, scale } = data.units[unit];
    const value = (number) => rounded(number, data.units[unit]);
    [low, high] = [value(median - scale), `${value(median + scale)} (no colour: its median, ${value(median)})`];
    label = `the unit, from ${low} to ${high}`;
  }
  ramp.append(...levels.map((level) => element("i", { class: level })));
  $("legend").replaceChildren(low, ramp, high);
  $("legend").setAttribute("aria-label", `Colour scale of ${label}`);
}

// Here: what came and what might have come

function here() {
  const i = shown();
  const span = data.spans[i];
  let before = "";
  for (let j = i - 1; j >= 0 && before.length < 28; j--) before = data.spans[j] + before;
  $("context").replaceChildren(visible(before).replaceAll("␣", " "), element("b", {}, visible(span)));

  const first = entryStart[i];
  const count = entryStart[i + 1] - first;
  const total = bitsBefore[i + 1] - bitsBefore[i];
  const points = [...span].map((c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);
  const length = points.length;
  facts([
    [length === 1 ? "character" : `${length} characters`,
      `${thousands(charStart[i] + 1)} of ${thousands(chars)}${length === 1 ? ` · ${points[0]}` : ""}`],
    ["surprise", length === 1 ? `${fixed(total)} bits` : `${fixed(total)} bits, ${fixed(total / length)} a character`],
    ["probability", percent(2 ** -total) + (count === 1 ? ` · ${ordinal(ranks[first])} likeliest` : "")],
  ]);

  const lists = [];
  for (let n = first; n < first + count; n++) {
    if (count > 1) lists.push(element("h3", {}, `part ${n - first + 1} of ${count}, ${ordinal(ranks[n])} likeliest`));
    lists.push(count === 1 ? choices(n, K, K + 1) : choices(n, Math.min(K, 3), 3));
  }
  $("alternatives").classList.toggle("several", count > 1);
  $("alternatives").replaceChildren(...lists);
  $("alternatives").scrollTop = 0;
}

function facts(pairs) {
  $("facts").replaceChildren(...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

// The likeliest for entry n, and what came where it is not among them, in at most `rows` rows.
function choices(n, count, rows) {
  const list = element("ol");
  const isBeyond = !alternatives.subarray(n * K, n * K + count).includes(came[n]);
  for (let k = 0; k < Math.min(count, rows - isBeyond); k++) {
    const label = alternatives[n * K + k];
    list.append(choice(label, probabilities[n * K + k] / 0xffff, label === came[n] ? "came" : ""));
  }
  if (isBeyond) list.append(choice(came[n], 2 ** -bits[n], "came beyond"));
  return list;
}

function choice(label, share, kind) {
  const { text, kind: type } = labelled(data.labels[label]);
  const bar = element("i", { style: `width:${(100 * share).toFixed(2)}%` });
  return element(
    "li", { class: `choice ${kind}` },
    element("span", { class: `what ${type}` }, text),
    element("span", { class: "meter" }, bar),
    element("span", { class: "share" }, percent(share)),
  );
}

function ordinal(n) {
  const tail = n % 100 > 10 && n % 100 < 14 ? "th" : ["th", "st", "nd", "rd"][n % 10] ?? "th";
  return n === 1 ? "the" : `${thousands(n)}${tail}`;
}

let announcement = 0;
function announce() {
  clearTimeout(announcement);
  announcement = setTimeout(() => {
    const n = entryStart[cursor];
    const total = bitsBefore[cursor + 1] - bitsBefore[cursor];
    const best = [0, 1, 2].filter((k) => k < K).map((k) => (
      `${labelled(data.labels[alternatives[n * K + k]]).text} ${percent(probabilities[n * K + k] / 0xffff)}`
    ));
    const text = data.spans[cursor];
    $("announcer").textContent = `${NAMES.get(text) ?? text}: ${fixed(total)} bits. Likeliest: ${best.join(", ")}`;
  }, 200);
}

// Curves

const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const GUTTER = 34; // pixels for the numbers of the axis
const plots = {};

// A plot: an axis from `low` to `high`, marks at `ticks`, and places of the text along its width.
function canvas(id, low, high, ticks) {
  const box = $(id);
  const width = Math.max(box.clientWidth - GUTTER, 50);
  const height = box.clientHeight;
  const y = (value) => height - 1 - ((height - 8) * (value - low)) / (high - low || 1);
  const svg = shape("svg", { "aria-hidden": "true" });
  for (const tick of ticks) {
    svg.append(shape("line", { class: "grid", x1: GUTTER, x2: GUTTER + width, y1: y(tick.at), y2: y(tick.at) }));
    svg.append(shape("text", { class: "label", x: GUTTER - 6, y: y(tick.at) + 4, "text-anchor": "end" }, tick.text));
  }
  box.replaceChildren(svg);
  return { svg, width, height, y };
}

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// Bits per character of the spans within `size` characters around this one.
function smoothed(char, size) {
  return perChar(spanAt(char - size / 2), spanAt(char + size / 2) + 1);
}

// The span that holds this character.
function spanAt(char) {
  let low = 0;
  let high = SIZE - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (charStart[middle] <= char) low = middle;
    else high = middle - 1;
  }
  return low;
}

function drawBits() {
  const size = Number($("window").value);
  const steps = Math.min(chars, Math.max($("bits-plot").clientWidth - GUTTER, 50));
  const curve = Array.from({ length: steps }, (_, step) => {
    const char = ((step + 0.5) * chars) / steps;
    return [char, smoothed(char, size)];
  });
  const top = Math.max(...curve.map(([, value]) => value), 0.5);
  const spacing = [0.5, 1, 2, 4, 8, 16, 32].find((s) => top / s <= 3.5) ?? 64;
  const ticks = [];
  for (let at = 0; at <= top; at += spacing) ticks.push({ at, text: String(at) });
  const plot = canvas("bits-plot", 0, top, ticks);
  const mean = plot.y(perChar(0, SIZE));
  plot.svg.append(shape("line", { class: "mean", x1: GUTTER, x2: GUTTER + plot.width, y1: mean, y2: mean }));
  const points = curve.map(([char, value]) => [overviewX(plot, char), plot.y(value)]);
  plot.svg.append(shape("path", { class: "bits curve", d: path(points) }));
  addCursor("bits-plot", plot);
}

const overviewX = (plot, char) => GUTTER + (plot.width * char) / chars;
const middle = (i) => (charStart[i] + charStart[i + 1]) / 2;

function drawUnit() {
  const { median, scale } = data.units[unit];
  const values = scale ? [median - scale, median, median + scale] : [median];
  const ticks = values.map((at) => ({ at, text: rounded(at, data.units[unit]) }));
  const plot = canvas("unit-plot", median - scale, median + scale, ticks);
  const steps = Math.min(SIZE, Math.ceil(plot.width / 2));
  const high = [];
  const low = [];
  const mean = [];
  for (let step = 0; step < steps; step++) {
    const start = Math.floor((step * SIZE) / steps);
    const stop = Math.floor(((step + 1) * SIZE) / steps);
    const part = states.subarray(unit * SIZE + start, unit * SIZE + stop);
    const x = overviewX(plot, (charStart[start] + charStart[stop]) / 2);
    const y = (code) => plot.y(median + (scale * code) / 127);
    high.push([x, y(Math.max(...part))]);
    low.unshift([x, y(Math.min(...part))]);
    mean.push([x, y(part.reduce((sum, code) => sum + code, 0) / part.length)]);
  }
  plot.svg.append(shape("path", { class: "unit range", d: `${path([...high, ...low])}Z` }));
  plot.svg.append(shape("path", { class: "unit curve", d: path(mean) }));
  addCursor("unit-plot", plot);
  const name = unitName(data.units[unit]);
  $("unit-name").textContent = `Unit: ${name}`;
  $("unit-plot").setAttribute("aria-label", `Values of ${name} along the text`);
}

function addCursor(id, plot) {
  plot.window = shape("rect", { class: "window", y: 0, height: plot.height });
  plot.cursor = shape("line", { class: "cursor", y1: 0, y2: plot.height });
  plot.svg.append(plot.window, plot.cursor);
  plots[id] = plot;
}

// The close-up: spans around the cursor, each with a bar of its bits, the unit's curve over them, the property behind.
// It stands still while the pointer moves within it.
function nearSpans() {
  const room = Math.max(Math.floor(($("near-plot").clientWidth - GUTTER) / 10), 12);
  const at = (i) => {
    const first = clamp(Math.floor(middle(i) - room / 2), 0, Math.max(chars - room, 0));
    return [spanAt(first), spanAt(Math.min(first + room, chars) - 1) + 1];
  };
  const [start, stop] = at(cursor);
  return shown() >= start && shown() < stop ? [start, stop] : at(shown());
}

function drawNear() {
  const [start, stop] = nearSpans();
  const plot = canvas("near-plot", 0, 1, []);
  const bottom = plot.height - 17;
  const step = plot.width / (charStart[stop] - charStart[start]);
  const x = (char) => GUTTER + (char - charStart[start]) * step;
  const y = (share) => bottom - (bottom - 3) * share;
  const bar = (kind, left, right, share) => plot.svg.append(
    shape("rect", { class: kind, x: left, width: right - left, y: y(share), height: bottom - y(share) }),
  );
  const points = [];
  for (let i = start; i < stop; i++) {
    const [left, right] = [x(charStart[i]), x(charStart[i + 1])];
    if (property >= 0) bar("property", left, right + 0.3, properties[property].values[i] / 255);
    bar("bar", left + 0.3 * step, right - 0.3 * step, Math.min(perChar(i, i + 1) / HEAT_TOP, 1));
    [...visible(data.spans[i]).replaceAll("␣", " ")].forEach((letter, k) => {
      const kind = i === shown() ? "letter at" : "letter";
      plot.svg.append(shape("text", { class: kind, x: left + (k + 0.5) * step, y: plot.height - 4 }, letter));
    });
    points.push([x(middle(i)), y(0.5 + states[unit * SIZE + i] / 254)]);
  }
  plot.svg.append(shape("line", { class: "grid", x1: GUTTER, x2: GUTTER + plot.width, y1: bottom, y2: bottom }));
  plot.svg.append(shape("path", { class: "unit curve", d: path(points) }));
  const at = x(middle(shown()));
  plot.svg.append(shape("line", { class: "cursor", x1: at, x2: at, y1: 0, y2: bottom }));
}

function drawCursors() {
  const i = shown();
  const [start, stop] = nearSpans();
  for (const plot of Object.values(plots)) {
    const x = overviewX(plot, middle(i));
    plot.cursor.setAttribute("x1", x);
    plot.cursor.setAttribute("x2", x);
    const left = overviewX(plot, charStart[start]);
    plot.window.setAttribute("x", left);
    plot.window.setAttribute("width", overviewX(plot, charStart[stop]) - left);
  }
  const smooth = smoothed(middle(i), Number($("window").value));
  $("bits-value").textContent = `${fixed(smooth)} here, ${fixed(perChar(0, SIZE))} in all`;
  $("unit-value").textContent = `${rounded(valueOf(unit, i), data.units[unit])} here`;
  const slider = $("bits-plot");
  slider.setAttribute("aria-valuenow", charStart[i] + 1);
  slider.setAttribute("aria-valuetext", `character ${charStart[i] + 1}, ${fixed(smooth)} bits per character around it`);
  drawNear();
}

function drawAll() {
  drawBits();
  drawUnit();
  drawCursors();
}

// Moving

function update() {
  mark();
  here();
  drawCursors();
}

function go(i, centre = false) {
  cursor = clamp(i, 0, SIZE - 1);
  hover = -1;
  reveal(cells[cursor], centre);
  update();
  announce();
}

function reveal(cell, centre) {
  const box = $("text");
  const room = Math.min(2.5 * cell.offsetHeight, box.clientHeight / 3);
  const top = cell.offsetTop;
  if (centre) box.scrollTop = top - box.clientHeight / 2;
  else if (top < box.scrollTop + room) box.scrollTop = top - room;
  else if (top + cell.offsetHeight > box.scrollTop + box.clientHeight - room) {
    box.scrollTop = top + cell.offsetHeight - box.clientHeight + room;
  }
}

const position = (i) => cells[i].getClientRects()[0];
const sameLine = (a, b) => Math.abs(a.top - b.top) < a.height / 2;

// The place nearest to x on the next line above (−1) or below (1), or the end of the text.
function vertical(from, direction, x) {
  const start = position(from);
  let best = -1;
  let line = null;
  for (let i = from + direction; i >= 0 && i < SIZE; i += direction) {
    const rect = position(i);
    if (line ? !sameLine(line, rect) : sameLine(start, rect)) {
      if (line) break;
      continue;
    }
    line ??= rect;
    if (best < 0 || Math.abs(rect.left - x) < Math.abs(position(best).left - x)) best = i;
  }
  return best < 0 ? from : best;
}

function lineEnd(from, direction) {
  const start = position(from);
  let i = from;
  while (i + direction >= 0 && i + direction < SIZE && sameLine(start, position(i + direction))) i += direction;
  return i;
}

let goal = null; // the x that vertical moves keep to
function pages(direction) {
  const lineHeight = parseFloat(getComputedStyle($("text")).lineHeight);
  const lines = Math.max(Math.floor($("text").clientHeight / lineHeight) - 1, 1);
  let i = cursor;
  for (let line = 0; line < lines; line++) i = vertical(i, direction, goal);
  return i;
}

function textKey(event) {
  const whole = event.ctrlKey || event.metaKey;
  if (event.altKey || (whole && !["Home", "End"].includes(event.key))) return;
  const isVertical = ["ArrowUp", "ArrowDown", "PageUp", "PageDown"].includes(event.key);
  goal = isVertical ? goal ?? position(cursor).left : null;
  const moves = {
    ArrowLeft: () => cursor - 1,
    ArrowRight: () => cursor + 1,
    ArrowUp: () => vertical(cursor, -1, goal),
    ArrowDown: () => vertical(cursor, 1, goal),
    PageUp: () => pages(-1),
    PageDown: () => pages(1),
    Home: () => (whole ? 0 : lineEnd(cursor, -1)),
    End: () => (whole ? SIZE - 1 : lineEnd(cursor, 1)),
  };
  if (event.key in moves) go(moves[event.key]());
  else if (event.key === "Enter") pin(!pinned);
  else if (event.key === "Escape") pin(false);
  else return;
  event.preventDefault();
}

function pin(on) {
  if (on && hover >= 0) cursor = hover;
  pinned = on;
  hover = -1;
  $("pin").setAttribute("aria-pressed", String(pinned));
  $("pin").textContent = pinned ? "Pinned" : "Pin";
  update();
}

function sliderKey(event) {
  const part = Math.max(Math.round(SIZE / 100), 1);
  const moves = {
    ArrowLeft: cursor - part, ArrowDown: cursor - part, ArrowRight: cursor + part, ArrowUp: cursor + part,
    PageDown: cursor - 10 * part, PageUp: cursor + 10 * part, Home: 0, End: SIZE - 1,
  };
  if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  goal = null;
  go(moves[event.key], true);
}

// The span under the pointer in a plot of the spans from `start` up to `stop`.
function placeIn(event, start, stop) {
  const box = event.currentTarget.getBoundingClientRect();
  const share = clamp((event.clientX - box.left - GUTTER) / Math.max(box.width - GUTTER, 50), 0, 1);
  return spanAt(charStart[start] + share * (charStart[stop] - charStart[start]));
}

// A text that scrolls under a pointer at rest is no movement of the pointer.
let pointer = "";
function pointAt(event) {
  const at = `${event.clientX} ${event.clientY}`;
  if (event.pointerType === "mouse" && at !== pointer) point(placeOf(event.target));
  pointer = at;
}

function point(i) {
  if (pinned || i === hover) return;
  hover = i;
  update();
}

// State

function showUnit(row, colourToo = true) {
  unit = row;
  if (colourToo) colour = "unit";
  for (const radio of document.getElementsByName("colour")) radio.checked = radio.value === colour;
  const { layer } = data.units[unit];
  $("layer").value = layer;
  fillUnits(layer);
  $("unit").value = unit;
  for (const button of $("best").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Number(button.value) === unit));
  }
  paint();
  drawUnit();
  drawCursors();
}

function fillUnits(layer) {
  const rows = data.units.map((u, row) => [u, row]).filter(([u]) => u.layer === layer);
  rows.sort(([a], [b]) => (a.part === b.part ? a.index - b.index : a.part < b.part ? 1 : -1));
  $("unit").replaceChildren(
    ...rows.map(([u, row]) => element("option", { value: row }, `${hasParts ? `${u.part} ` : ""}${u.index}`)),
  );
}

function showProperty(index) {
  property = index;
  const { about, isBinary, mean, top, best } = properties[index];
  const counts = `0 to ${thousands(top)}, ${fixed(mean, 1)} on average`;
  $("property-about").textContent = `${about}; ${isBinary ? `so at ${percent(mean)} of the places` : counts}`;
  $("near-property").textContent = properties[index].name;
  $("best").replaceChildren(
    ...best.map(([row, score]) => {
      const bar = element("i", { style: `width:${(100 * Math.abs(score)).toFixed(1)}%` });
      const button = element(
        "button", { type: "button", value: row, "aria-pressed": "false" },
        element("span", {}, unitName(data.units[row])),
        element("span", { class: "meter" }, bar),
        element("span", { class: "share" }, signed(score)),
      );
      button.addEventListener("click", () => showUnit(row));
      return element("li", {}, button);
    }),
  );
}

// Light and dark

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const other = theme === "dark" ? "light" : "dark";
  $("theme").textContent = theme === "dark" ? "☀ Light" : "☾ Dark";
  $("theme").setAttribute("aria-label", `Change to ${other} colours`);
}

// Start

function start() {
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  setTheme(prefersDark.matches ? "dark" : "light");
  prefersDark.addEventListener("change", () => setTheme(prefersDark.matches ? "dark" : "light"));
  const isDark = () => document.documentElement.dataset.theme === "dark";
  $("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));

  $("title").textContent = data.title;
  const amount = `${data.isCut ? "its first " : ""}${thousands(chars)} characters`;
  const mean = `${fixed(perChar(0, SIZE), 3)} bits per character`;
  $("about").textContent = `${amount}, read by ${data.model} (${data.network}): ${mean}`;
  colourRules();
  $("text").append(...cells);
  $("bits-plot").setAttribute("aria-valuemax", chars);
  $("alternatives").classList.toggle("tall", SIZE < came.length);

  const layers = [...new Set(data.units.map((u) => u.layer))].sort((a, b) => a - b);
  $("layer").replaceChildren(...layers.map((layer) => element("option", { value: layer }, String(layer))));
  $("property").replaceChildren(...properties.map(({ name }, i) => element("option", { value: i }, name)));
  if (properties.length) showProperty(0);
  else for (const id of ["property-row", "property-about", "best", "near-swatch"]) $(id).hidden = true;
  const absent = data.absent.length ? ` Not in this text, or too rare: ${data.absent.join(", ")}.` : "";
  const held = data.units.length < data.numUnits
    ? `${data.units.length} of the ${thousands(data.numUnits)} units are in this page: those that track a property `
      + "best, then those that vary most."
    : `All ${data.numUnits} units are in this page.`;
  const score = "The score is the correlation of the unit with the property over the text, from −1 to +1.";
  $("note").textContent = `${score} ${held}${absent}`;
  showUnit(unit, false);
  drawBits();
  update();

  const text = $("text");
  text.addEventListener("keydown", textKey);
  text.addEventListener("pointermove", pointAt);
  text.addEventListener("pointerleave", () => point(-1));
  text.addEventListener("click", (event) => {
    const place = placeOf(event.target);
    if (place < 0 || String(getSelection())) return;
    goal = null;
    go(place);
  });
  $("pin").addEventListener("click", () => pin(!pinned));

  $("bits-plot").addEventListener("keydown", sliderKey);
  for (const id of ["bits-plot", "unit-plot", "near-plot"]) {
    $(id).addEventListener("click", (event) => {
      goal = null;
      go(placeIn(event, ...(id === "near-plot" ? nearSpans() : [0, SIZE])), true);
      text.focus({ preventScroll: true });
    });
  }
  $("window").addEventListener("change", () => { drawBits(); drawCursors(); });

  for (const radio of document.getElementsByName("colour")) {
    radio.addEventListener("change", () => { colour = radio.value; paint(); });
  }
  $("property").addEventListener("change", () => {
    showProperty(Number($("property").value));
    showUnit(properties[property].best[0][0]);
  });
  $("layer").addEventListener("change", () => {
    fillUnits(Number($("layer").value));
    showUnit(Number($("unit").value));
  });
  $("unit").addEventListener("change", () => showUnit(Number($("unit").value)));
  new ResizeObserver(drawAll).observe($("bits-plot"));
  text.focus({ preventScroll: true });
}

start();
