// The script of explorers and labs. It has no dependency and asks no other host.
//
// `mount` takes the SVG that Python drew out of the image, puts it into the page and
// moves its curves when a slider moves. All that can change is in `view.state`: one
// value a slider (by its key), `probe` and `group`.
//
// Python removes lines that begin with // and the indentation, and nothing else.

// Build the drawing inside `root`, once. `changed(key, value)` hears of each change that
// a reader makes. Returns the view; `view.set(key, value)` changes the state.
function mount(root, spec, functions, changed) {
  if (root.lbxView) return root.lbxView;
  const view = { root, spec, functions, changed: changed || (() => {}), shows: {} };
  root.lbxView = view;
  view.initial = initialState(spec);
  view.state = { ...view.initial };
  view.groups = spec.groups.map((group, g) => readableGroup(spec, group, functions[g]));
  view.set = (key, value) => setState(view, key, value);
  view.replace = (frame) => replaceCurves(view, frame);

  buildDrawing(view);
  buildReadout(view);
  buildControls(view);
  followTheme(root);
  showGroup(view);
  draw(view);
  return view;
}

// Tie the view to a widget's model: the state's keys are the model's traits.
function bind(model, root, spec, functions) {
  const view = mount(root, spec, functions, (key, value) => {
    model.set(key, value);
    model.save_changes();
  });
  const hear = (name, act) => {
    act(model.get(name));
    model.on("change:" + name, () => act(model.get(name)));
  };
  for (const key of Object.keys(view.initial)) hear(key, (value) => view.set(key, value));
  if (spec.live) {
    hear("frame", view.replace);
    hear("busy", (busy) => root.classList.toggle("lbx-busy", busy));
  }
}

function initialState(spec) {
  const state = {};
  if (spec.groups.length > 1) state.group = spec.groups[0].label;
  for (const group of spec.groups) {
    for (const slider of group.sliders) state[slider.key] = slider.value;
  }
  if (spec.probe) state.probe = spec.probe.value;
  return state;
}

// A group with a function of (x, ...sliders) for each curve, whatever it is stored as.
function readableGroup(spec, group, functions) {
  const curves = group.curves.map((curve, k) => ({
    ...curve,
    value: curve.table ? tableFunction(curve.table) : functions.curves[k],
  }));
  return { ...group, curves, inside: functions.shade };
}

// ---- numbers ----

// The value at x. Where a formula has none (0 times infinity) its limit from inside the
// axis is taken.
function valueAt(spec, value, x, params) {
  const y = value(x, ...params);
  return Number.isNaN(y) ? value(inward(spec, x), ...params) : y;
}

function inward(spec, x) {
  const { min, max, nearby } = spec.x;
  return x + (x < (min + max) / 2 ? 1 : -1) * nearby * (max - min);
}

function numberText(value, digits) {
  if (Number.isNaN(value)) return "undefined";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "\u2212infinite";
  let text = value.toFixed(digits);
  if (Number(text) === 0) text = text.replace("-", "");
  return text.replace("-", "\u2212");
}

// A table: codes 0..254 stand for low..high, 255 for a hole; stored as differences along
// x. Linear in x, bilinear in at most two parameters. Corners without weight are left
// out, or their holes would spread.
function tableFunction(table) {
  const levels = tableLevels(table);
  const last = table.n - 1;
  const stored = (row, j) =>
    table.low + (levels[row * table.n + j] / 254) * (table.high - table.low);
  const alongX = (row, j, share) =>
    (share < 1 ? (1 - share) * stored(row, j) : 0) +
    (share > 0 ? share * stored(row, j + 1) : 0);

  return (x, ...params) => {
    if (!(x >= table.min && x <= table.max)) return NaN;
    const place = ((x - table.min) / (table.max - table.min)) * last;
    const j = Math.min(Math.floor(place), last - 1);
    let sum = 0;
    for (const [row, weight] of tableCorners(table, params)) {
      if (weight) sum += weight * alongX(row, j, place - j);
    }
    return sum;
  };
}

// Rounding leaves steps of one level on gentle slopes; they are smoothed, bends are not.
function tableLevels(table) {
  const codes = Uint8Array.from(atob(table.codes), (char) => char.charCodeAt(0));
  for (let i = 1; i < codes.length; i++) {
    if (i % table.n) codes[i] += codes[i - 1];
  }
  const levels = Array.from(codes, (code) => (code === 255 ? NaN : code));
  return levels.map((level, i) => {
    const bend = levels[i - 1] - 2 * level + levels[i + 1];
    const inside = i % table.n && (i + 1) % table.n;
    return inside && Math.abs(bend) <= 2 ? level + bend / 4 : level;
  });
}

// The rows around the parameters, each with its weight.
function tableCorners(table, params) {
  let corners = [[0, 1]];
  table.grids.forEach((grid, k) => {
    const [i, share] = locate(grid, params[table.axes[k]]);
    corners = corners.flatMap(([row, weight]) => [
      [row * grid.length + i, weight * (1 - share)],
      [row * grid.length + i + 1, weight * share],
    ]);
  });
  return corners;
}

function locate(grid, value) {
  if (grid.length === 1) return [0, 0];
  const inside = Math.max(grid[0], Math.min(grid[grid.length - 1], value));
  let i = 0;
  while (i < grid.length - 2 && grid[i + 1] <= inside) i++;
  return [i, (inside - grid[i]) / (grid[i + 1] - grid[i])];
}

// ---- building ----

function element(name, attributes, parent, text) {
  const made = document.createElement(name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function buildDrawing(view) {
  const { root, spec } = view;
  const image = root.querySelector("img");
  // What an earlier script built in a copied page goes; title and image stay.
  for (const child of [...root.children]) {
    if (child !== image && child.className !== "lbx-title") child.remove();
  }
  window.lbxCount = (window.lbxCount || 0) + 1;
  view.id = "lbx" + window.lbxCount;
  const address = image.getAttribute("src");
  const source = decodeURIComponent(address.slice(address.indexOf(",") + 1));
  const parsed = new DOMParser().parseFromString(
    source.replaceAll("lbx-id", view.id), "image/svg+xml");
  const svg = document.importNode(parsed.documentElement, true);
  svg.setAttribute("viewBox", spec.frame.view);
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  if (spec.probe) svg.querySelector(".marks").removeAttribute("visibility");
  image.hidden = true;
  if (spec.groups.length > 1) buildMenu(view);
  root.append(svg);

  view.svg = svg;
  view.paths = [...svg.querySelectorAll("path[class^=c]")];
  view.marks = [...svg.querySelectorAll("path[class^=m]")];
  view.hairline = svg.querySelector(".probe");
  view.shade = svg.querySelector(".shade");
  if (spec.probe) followPointer(view);
}

// The point follows a pressed pointer along the drawing; the slider does the same by
// keyboard.
function followPointer(view) {
  const { svg, spec } = view;
  const { left, right } = spec.frame;
  const { min, max } = spec.x;
  const move = (event) => {
    if (!event.buttons) return;
    const box = svg.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const share = Math.max(0, Math.min(1, (place - left) / (right - left)));
    const steps = Math.round((share * (max - min)) / spec.probe.step);
    const x = Number((min + steps * spec.probe.step).toPrecision(12));
    readerSets(view, "probe", Math.min(x, max));
  };
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    move(event);
  });
  svg.addEventListener("pointermove", move);
  svg.classList.add("lbx-drag");
}

// The read-out: a sample of each line, its name, its value. What is spoken is a sentence
// of its own, which waits until the slider rests; print shows it too.
function buildReadout(view) {
  view.readout = element("div", { class: "lbx-read" }, view.root);
  view.sentence = element("p", { class: "lbx-say", "aria-live": "polite" }, view.root);
}

function buildReadoutEntries(view) {
  const group = currentGroup(view);
  view.readout.replaceChildren();
  const entry = (sample, name) => {
    const item = element("span", {}, view.readout);
    if (sample) item.append(sample);
    item.append(name + " ");
    return element("b", {}, item);
  };
  if (view.spec.probe) view.probeText = entry(null, view.spec.x.label + " =");
  view.curveTexts = group.curves.map((curve, k) => {
    const shown = entry(lineSample(view, k), curve.label);
    if (!view.spec.probe) shown.remove();
    return shown;
  });
  (view.spec.points || []).forEach((name, i) => {
    entry(pointSample(view, view.paths.length + i), name).remove();
  });
  if (group.shade) view.shadeText = entry(shadeSample(view), group.shade);
  view.numberTexts = (group.numbers || []).map((number) => entry(null, number.label));
}

function sample(width, inner) {
  const holder = document.createElement("template");
  holder.innerHTML =
    `<svg class="lbx-sample" width="${width}" height="14" aria-hidden="true">${inner}</svg>`;
  return holder.content.firstChild;
}

function lineSample(view, k) {
  const mark = view.spec.probe
    ? `<path class="m${k}" transform="translate(17 7)" d="${shape(view, k)}"/>`
    : "";
  return sample(34, `<path class="c${k}" d="M0 7H34"/>${mark}`);
}

function pointSample(view, k) {
  const use = `<use href="#${view.id}-point${k}" x="6" y="7"/>`;
  return sample(12, `<g class="p${k}">${use}</g>`);
}

function shadeSample(view) {
  return sample(24, `<rect width="24" height="14" fill="url(#${view.id}-hatch)"/>`);
}

function shape(view, k) {
  return view.marks[k].getAttribute("d");
}

function buildControls(view) {
  const { spec, root } = view;
  const form = element("div", { class: "lbx-controls" }, root);
  view.rows = spec.groups.map((group) =>
    group.sliders.map((slider) => buildSlider(view, form, slider)));
  if (spec.probe) buildSlider(view, form, spec.probe);
  if (!form.firstChild) {
    form.remove();
    return;
  }
  const reset = element("button", { type: "button", class: "lbx-reset" }, form, "Reset");
  reset.addEventListener("click", () => {
    for (const key in view.initial) readerSets(view, key, view.initial[key]);
  });
}

function buildMenu(view) {
  const row = element("div", { class: "lbx-menu" }, view.root);
  const id = view.id + "-group";
  element("label", { for: id }, row, view.spec.menu);
  const select = element("select", { id }, row);
  for (const group of view.spec.groups) {
    element("option", { value: group.label }, select, group.label);
  }
  select.addEventListener("change", () => readerSets(view, "group", select.value));
  view.shows.group = (value) => {
    select.value = value;
    showGroup(view);
  };
}

function buildSlider(view, form, slider) {
  const row = element("div", { class: "lbx-row", "data-key": slider.key }, form);
  const id = `${view.id}-${slider.key}`;
  const label = element("label", { for: id }, row);
  element("b", {}, label, slider.label);
  if (slider.note) element("span", {}, label, " " + slider.note);
  // The slider speaks its value itself; the output would say it twice.
  const output = element("output", { for: id, "aria-live": "off" }, row);
  const input = element("input", {
    id,
    type: "range",
    min: slider.min,
    max: slider.max,
    step: slider.step,
    // JupyterLab would take the arrow keys for itself.
    "data-lm-suppress-shortcuts": "true",
  }, row);
  input.addEventListener("input", () => readerSets(view, slider.key, Number(input.value)));
  view.shows[slider.key] = (value) => {
    const text = sliderText(slider, value);
    input.value = value;
    output.textContent = text;
    input.setAttribute("aria-valuetext", `${slider.label} ${text}`);
  };
  view.shows[slider.key](view.state[slider.key]);
  return row;
}

// A lab's slider walks through a list; its value is the place in the list.
function sliderText(slider, value) {
  const text = slider.texts ? slider.texts[value] : numberText(value, slider.digits);
  return text + slider.unit;
}

// The text around tells whether the page is dark, whatever the page calls its theme.
function followTheme(root) {
  const look = () => {
    if (!root.isConnected) return;
    const color = getComputedStyle(root).color;
    const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
    const white = color.startsWith("rgb") ? 255 : 1;
    const light = (0.3 * red + 0.6 * green + 0.1 * blue) / white;
    root.classList.toggle("lbx-dark", light > 0.5);
  };
  // A theme may fade: look again when it rests.
  const lookTwice = () => {
    look();
    setTimeout(look, 500);
  };
  const observer = new MutationObserver(lookTwice);
  for (const host of [document.documentElement, document.body]) {
    observer.observe(host, { attributes: true });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", lookTwice);
  lookTwice();
}

// ---- answering ----

function readerSets(view, key, value) {
  if (view.state[key] === value) return;
  view.set(key, value);
  view.changed(key, value);
}

function setState(view, key, value) {
  if (view.state[key] === value) return;
  view.state[key] = value;
  view.shows[key](value);
  drawSoon(view);
}

// Live labs: values over evenly spaced x and texts come from the kernel.
function replaceCurves(view, frame) {
  if (!frame.curves) return;
  const { min, max } = view.spec.x;
  const group = view.groups[0];
  group.curves.forEach((curve, k) => {
    const values = frame.curves[k].map((y) => (y === null ? NaN : y));
    curve.value = (x) => {
      const place = ((x - min) / (max - min)) * (values.length - 1);
      const j = Math.min(Math.floor(place), values.length - 2);
      const share = place - j;
      return share ? (1 - share) * values[j] + share * values[j + 1] : values[j];
    };
  });
  group.numbers.forEach((number, k) => (number.texts = [frame.numbers[k]]));
  drawSoon(view);
}

function currentGroup(view) {
  const { group } = view.state;
  return group === undefined ? view.groups[0] : view.groups.find((g) => g.label === group);
}

function showGroup(view) {
  const shown = view.groups.indexOf(currentGroup(view));
  view.rows.forEach((rows, g) => rows.forEach((row) => (row.hidden = g !== shown)));
  buildReadoutEntries(view);
}

// At most one redraw a frame of the screen, however fast the events come.
function drawSoon(view) {
  if (view.waiting) return;
  view.waiting = true;
  requestAnimationFrame(() => {
    view.waiting = false;
    draw(view);
  });
}

function draw(view) {
  const start = performance.now();
  const group = currentGroup(view);
  const params = group.sliders.map((slider) => view.state[slider.key]);
  view.paths.forEach((path, k) => {
    const curve = group.curves[k];
    path.setAttribute("d", curve ? curvePath(view.spec, curve.value, params) : "");
  });
  if (view.shade) {
    view.shade.setAttribute("d", group.inside ? shadePath(view.spec, group, params) : "");
  }
  if (view.spec.probe) drawProbe(view, group, params);
  drawNumbers(view, group, params);
  speakSoon(view, group);
  view.root.dataset.ms = (performance.now() - start).toFixed(2);
}

function placeX(spec, x) {
  const { left, right } = spec.frame;
  return left + ((x - spec.x.min) / (spec.x.max - spec.x.min)) * (right - left);
}

// Far beyond the drawing area, further makes no difference.
function placeY(spec, y) {
  const { top, bottom, low, high } = spec.frame;
  const place = bottom - ((y - low) / (high - low)) * (bottom - top);
  return Math.max(-1e4, Math.min(1e4, place));
}

function xAt(spec, i) {
  return spec.x.min + ((spec.x.max - spec.x.min) * i) / (spec.x.places - 1);
}

// Values without a number break the line.
function curvePath(spec, value, params) {
  let d = "";
  let pen = "M";
  for (let i = 0; i < spec.x.places; i++) {
    const x = xAt(spec, i);
    let y = value(x, ...params);
    if (!Number.isFinite(y)) y = value(inward(spec, x), ...params);
    if (!Number.isFinite(y)) {
      pen = "M";
      continue;
    }
    d += pen + placeX(spec, x).toFixed(1) + " " + placeY(spec, y).toFixed(1);
    pen = "L";
  }
  return d;
}

// Rectangles over the stretches of x where the shade's function is negative.
function shadePath(spec, group, params) {
  const { top, bottom } = spec.frame;
  let d = "";
  let start = null;
  let before = NaN;
  for (let i = 0; i <= spec.x.places; i++) {
    const atEnd = i === spec.x.places;
    const x = xAt(spec, atEnd ? i - 1 : i);
    const y = atEnd ? 0 : valueAt(spec, group.inside, x, params);
    const share = atEnd ? 1 : before / (before - y);
    const back = atEnd || !Number.isFinite(share) ? 0 : 1 - share;
    const crossing = placeX(spec, x - (back * (spec.x.max - spec.x.min)) / (spec.x.places - 1));
    if (y < 0 && start === null) start = crossing;
    if (!(y < 0) && start !== null) {
      const [a, b] = [start.toFixed(1), crossing.toFixed(1)];
      d += `M${a} ${top}H${b}V${bottom}H${a}z`;
      start = null;
    }
    before = y;
  }
  return d;
}

function drawProbe(view, group, params) {
  const { spec } = view;
  const x = view.state.probe;
  const across = placeX(spec, x).toFixed(1);
  view.hairline.setAttribute("d", `M${across} ${spec.frame.top}V${spec.frame.bottom}`);
  view.marks.forEach((mark, k) => {
    const curve = group.curves[k];
    const y = curve ? valueAt(spec, curve.value, x, params) : NaN;
    const inView = y >= spec.frame.low && y <= spec.frame.high;
    mark.style.display = inView ? "" : "none";
    if (inView) mark.setAttribute("transform", `translate(${across} ${placeY(spec, y).toFixed(1)})`);
    if (curve) view.curveTexts[k].textContent = numberText(y, curve.digits);
  });
  view.probeText.textContent = numberText(x, spec.probe.digits);
  if (group.shade) {
    const inside = valueAt(spec, group.inside, x, params) < 0;
    view.shadeText.textContent = inside ? "(inside)" : "(outside)";
  }
}

// A lab's numbers: one text a state, the last control fastest.
function drawNumbers(view, group, params) {
  (group.numbers || []).forEach((number, k) => {
    let state = 0;
    group.sliders.forEach((slider, i) => (state = state * slider.texts.length + params[i]));
    view.numberTexts[k].textContent = number.texts[state];
  });
}

function speakSoon(view, group) {
  clearTimeout(view.speaking);
  const speak = () => {
    const setting = group.sliders.map((slider) =>
      `${slider.label} = ${sliderText(slider, view.state[slider.key])}`);
    const values = [...view.readout.children]
      .filter((item) => item.querySelector("b"))
      .map((item) => item.textContent.trim());
    if (group.label) setting.unshift(group.label);
    const sentence = (parts) => (parts.length ? parts.join(", ") + ". " : "");
    view.sentence.replaceChildren();
    element("span", { class: "lbx-setting" }, view.sentence, sentence(setting));
    element("span", {}, view.sentence, sentence(values));
  };
  // The first sentence is not news: it stands there before anybody listens.
  if (view.sentence.textContent) view.speaking = setTimeout(speak, 400);
  else speak();
}
