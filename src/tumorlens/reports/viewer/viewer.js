// Slices on a canvas: wheel, window and level, zoom, pan, evidence, a strip of probabilities.
// No change asks anything of a server. Pixels stand in the content, or `content.load(k)` gets
// those of a slice once. `mountViewer(root, content, language)` returns {destroy}; at the first
// slice drawn it sends the event "tl-drawn".

const TEXTS = {
  en: {
    viewer: "Viewer", window: "Window", presets: {}, zoomIn: "Zoom in", zoomOut: "Zoom out", invert: "Invert",
    two: "Two views", reset: "Reset", evidence: "Evidence", mask: "Labeled tumor", strip: "Probability along the head",
    use: "Research use only. Not a medical device.", shrunk: " Slices are shrunk to fit.",
    help: "Wheel: slices. Drag: window and level. Shift and drag: pan. Ctrl and wheel: zoom. " +
      "Double click: reset. Keys: arrows, I invert, H evidence, 2 second view, R reset.",
    none: "no probability", probability: "tumor probability", slice: "Slice", of: "of", decisions: {},
  },
  es: {
    viewer: "Visor", window: "Ventana", presets: { brain: "cerebro", subdural: "subdural", stroke: "ictus", bone: "hueso" },
    zoomIn: "Acercar", zoomOut: "Alejar", invert: "Invertir", two: "Dos vistas", reset: "Restablecer",
    evidence: "Evidencia", mask: "Tumor etiquetado", strip: "Probabilidad a lo largo de la cabeza",
    use: "Solo para investigaci\u00f3n. No es un producto sanitario.", shrunk: " Los cortes se han reducido para que quepan.",
    help: "Rueda: cortes. Arrastrar: ventana y nivel. May\u00fas y arrastrar: mover. Ctrl y rueda: zoom. " +
      "Doble clic: restablecer. Teclas: flechas, I invertir, H evidencia, 2 segunda vista, R restablecer.",
    none: "sin probabilidad", probability: "probabilidad de tumor", slice: "Corte", of: "de",
    decisions: { tumor: "tumor", "no tumor": "sin tumor", uncertain: "incierto", "out of scope": "fuera de alcance" },
  },
};
const NICE_MM = [100, 50, 20, 10, 5, 2, 1];
const HEAD_SIDE = 128, HEAT_SIDE = 256;

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint16Array(await new Response(stream).arrayBuffer());
}

function element(name, attributes, parent, text) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// Inferno, coarse: dark violet, red, orange, yellow. Alpha grows with the evidence.
const COLORS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
function heatColor(share) {
  const at = share * (COLORS.length - 1), k = Math.min(Math.floor(at), COLORS.length - 2);
  return COLORS[k].map((c, i) => c + (at - k) * (COLORS[k + 1][i] - c));
}

// The edge of a mask in green, so that what it marks stays in sight.
async function outline(slice) {
  const image = new Image(); image.src = slice.mask; await image.decode();
  const canvas = canvasOf(slice.width, slice.height), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, slice.width, slice.height);
  const found = context.getImageData(0, 0, slice.width, slice.height), w = slice.width;
  const is = (k) => found.data[4 * k] > 127, drawn = new ImageData(slice.width, slice.height);
  for (let k = 0; k < w * slice.height; k++) {
    if (is(k) && !(is(k - 1) && is(k + 1) && is(k - w) && is(k + w))) drawn.data.set([60, 255, 120, 255], 4 * k);
  }
  context.putImageData(drawn, 0, 0);
  return canvas;
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width; canvas.height = height;
  return canvas;
}

function heatCanvas(heat) {
  const canvas = canvasOf(heat.columns, heat.rows);
  const image = new ImageData(heat.columns, heat.rows), values = atob(heat.values);
  for (let k = 0; k < values.length; k++) {
    const share = values.charCodeAt(k) / 255, [r, g, b] = heatColor(share);
    image.data.set([r, g, b, 255 * Math.min(1, 1.6 * share)], 4 * k);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return cutAtHead(canvas, heat.head);
}

// Evidence is coarse: smoothed it would reach beyond the head, where the network saw nothing.
function cutAtHead(canvas, packed) {
  const head = canvasOf(HEAD_SIDE, HEAD_SIDE), image = new ImageData(HEAD_SIDE, HEAD_SIDE), bits = atob(packed);
  for (let k = 0; k < HEAD_SIDE * HEAD_SIDE; k++) {
    image.data[4 * k + 3] = (bits.charCodeAt(k >> 3) >> (7 - (k & 7))) & 1 ? 255 : 0;
  }
  head.getContext("2d").putImageData(image, 0, 0);
  const cut = canvasOf(HEAT_SIDE, HEAT_SIDE), context = cut.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.drawImage(canvas, 0, 0, HEAT_SIDE, HEAT_SIDE);
  context.globalCompositeOperation = "destination-in";
  context.drawImage(head, 0, 0, HEAT_SIDE, HEAT_SIDE);
  return cut;
}

export function mountViewer(root, content, language) {
  root.replaceChildren();
  const t = TEXTS[language] || TEXTS.en;
  const box = element("div", { class: "tl-viewer", role: "group", "aria-label": `${t.viewer}: ${content.name}` }, root);
  const load = content.load || ((k) => unpack(content.slices[k].pixels));
  const tools = element("div", { class: "tl-tools" }, box);
  const views = element("div", { class: "tl-views" }, box);
  const n = content.slices.length;
  const first = () => ({ slice: Math.min(content.start || 0, n - 1), center: content.window[0],
    width: content.window[1], zoom: 1, x: 0, y: 0, invert: false, opacity: 0.5, two: false, mask: false });
  let state = first(), frame = 0, closed = false;
  const pixels = new Array(n), heats = new Array(n), masks = new Array(n), off = document.createElement("canvas");
  let drawn = "";

  const plain = element("canvas", { tabindex: "0", role: "img" }, views);
  const second = element("canvas", { tabindex: "-1", "aria-hidden": "true", hidden: "" }, views);
  second.style.display = "none";
  const strip = n > 1 ? element("canvas", { class: "tl-strip", tabindex: "0", role: "slider",
    "aria-label": t.strip, "aria-valuemin": 1, "aria-valuemax": n }, box) : null;
  const line = element("div", { class: "tl-line" }, box);
  const said = element("span", { class: "tl-said" }, line);
  element("strong", {}, line, t.use);
  element("div", { class: "tl-help" }, box, t.help + (content.isShrunk ? t.shrunk : ""));

  function set(changes) {
    Object.assign(state, changes);
    state.slice = Math.max(0, Math.min(n - 1, state.slice));
    state.width = Math.max(state.width, 1e-6);
    state.zoom = Math.max(0.25, Math.min(16, state.zoom));
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  }

  function button(text, act, pressed) {
    const made = element("button", { type: "button" }, tools, text);
    if (pressed !== undefined) made.setAttribute("aria-pressed", String(pressed));
    made.addEventListener("click", () => act(made));
    return made;
  }
  if (Object.keys(content.presets).length) {
    const label = element("label", {}, tools, t.window);
    const select = element("select", {}, label);
    for (const name of Object.keys(content.presets)) {
      const [center, width] = content.presets[name];
      element("option", { value: name }, select, `${t.presets[name] || name} ${width}/${center}`);
    }
    select.addEventListener("change", () => {
      const [center, width] = content.presets[select.value]; set({ center, width });
    });
  }
  button("+", () => set({ zoom: state.zoom * 1.25 })).setAttribute("aria-label", t.zoomIn);
  button("\u2212", () => set({ zoom: state.zoom / 1.25 })).setAttribute("aria-label", t.zoomOut);
  const inverter = button(t.invert, () => set({ invert: !state.invert }), false);
  const doubler = button(t.two, () => set({ two: !state.two }), false);
  button(t.reset, () => set({ ...first(), slice: state.slice }));
  let slider = null;
  if (content.slices.some((slice) => slice.heat)) {
    const label = element("label", {}, tools, t.evidence);
    slider = element("input", { type: "range", min: 0, max: 100, value: 50 }, label);
    slider.addEventListener("input", () => set({ opacity: slider.value / 100 }));
  }
  if (content.slices.some((slice) => slice.mask)) {
    const masker = button(t.mask, () => { set({ mask: !state.mask }); masker.setAttribute("aria-pressed", String(state.mask)); }, false);
  }

  function render(slice, values) {
    const key = [state.slice, state.center, state.width, state.invert].join();
    if (key === drawn) return;
    drawn = key;
    off.width = slice.width; off.height = slice.height;
    const image = new ImageData(slice.width, slice.height), out = new Uint32Array(image.data.buffer);
    const low = state.center - state.width / 2, scale = 255 / state.width, flip = state.invert;
    const offset = (slice.low - low) * scale, step = slice.step * scale;
    for (let k = 0; k < out.length; k++) {
      let gray = offset + step * values[k];
      gray = gray < 0 ? 0 : gray > 255 ? 255 : gray | 0;
      if (flip) gray = 255 - gray;
      out[k] = 0xff000000 | (gray << 16) | (gray << 8) | gray;
    }
    off.getContext("2d").putImageData(image, 0, 0);
  }

  // From pixels of the slice to those of the canvas: square millimeters, in the middle.
  function geometry(canvas, slice) {
    const aspect = slice.mm ? slice.mm[0] / slice.mm[1] : 1;
    const fit = Math.min(canvas.width / slice.width, canvas.height / (slice.height * aspect)) * state.zoom;
    const ratio = window.devicePixelRatio || 1;
    return { sx: fit, sy: fit * aspect,
      x: (canvas.width - slice.width * fit) / 2 + state.x * ratio,
      y: (canvas.height - slice.height * fit * aspect) / 2 + state.y * ratio };
  }

  function paint(canvas, slice, withHeat) {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const context = canvas.getContext("2d"), g = geometry(canvas, slice);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000"; context.fillRect(0, 0, width, height);
    context.setTransform(g.sx, 0, 0, g.sy, g.x, g.y);
    context.imageSmoothingEnabled = g.sx < 4;
    context.drawImage(off, 0, 0);
    if (withHeat && slice.heat && state.opacity > 0) {
      const heat = heats[state.slice] || (heats[state.slice] = heatCanvas(slice.heat));
      const m = slice.heat.matrix;
      context.save();
      context.beginPath(); context.rect(0, 0, slice.width, slice.height); context.clip();
      context.transform(m[0][0], m[1][0], m[0][1], m[1][1], m[0][2], m[1][2]);
      context.imageSmoothingEnabled = true; context.globalAlpha = state.opacity;
      context.drawImage(heat, 0, 0, slice.heat.side, slice.heat.side);
      context.restore();
    }
    if (slice.mask && state.mask && masks[state.slice]) {
      context.imageSmoothingEnabled = false;
      context.drawImage(masks[state.slice], 0, 0, slice.width, slice.height);
    }
    marks(context, canvas, slice, g, ratio);
  }

  function marks(context, canvas, slice, g, ratio) {
    const w = canvas.width, h = canvas.height, size = 14 * ratio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.font = `${size}px system-ui, sans-serif`; context.fillStyle = "#ffe9a8";
    context.strokeStyle = "#000"; context.lineWidth = 3 * ratio; context.lineJoin = "round"; // read over white bone too
    const write = (text, x, y, align) => { context.textAlign = align; context.strokeText(text, x, y); context.fillText(text, x, y); };
    if (slice.letters) {
      write(slice.letters.left, 8 * ratio, h / 2, "left"); write(slice.letters.right, w - 8 * ratio, h / 2, "right");
      write(slice.letters.top, w / 2, size + 4 * ratio, "center"); write(slice.letters.bottom, w / 2, h - 8 * ratio, "center");
    }
    write(`${state.slice + 1} / ${n}`, 8 * ratio, size + 4 * ratio, "left");
    const unit = content.isCt ? " HU" : "";
    write(`W ${short(state.width)} L ${short(state.center)}${unit}`, 8 * ratio, h - 8 * ratio, "left");
    if (slice.mm) {
      const mm = NICE_MM.find((m) => m / slice.mm[1] * g.sx < w / 4) || 1, long = mm / slice.mm[1] * g.sx;
      context.strokeRect(w - long - 12 * ratio, h - 12 * ratio, long, 3 * ratio);
      context.fillRect(w - long - 12 * ratio, h - 12 * ratio, long, 3 * ratio);
      write(`${mm} mm`, w - 12 * ratio, h - 18 * ratio, "right");
    }
  }
  const short = (value) => Math.abs(value) >= 10 ? value.toFixed(0) : value.toPrecision(2);

  function paintStrip() {
    if (!strip) return;
    const ratio = window.devicePixelRatio || 1;
    strip.width = Math.round(strip.clientWidth * ratio); strip.height = Math.round(strip.clientHeight * ratio);
    const context = strip.getContext("2d"), w = strip.width, h = strip.height, wide = w / n;
    context.clearRect(0, 0, w, h);
    content.curve.forEach((p, k) => {
      context.fillStyle = k === state.slice ? "#ffd23f" : p === null ? "#76848f" : "#5aa2dd";
      const high = p === null ? h * 0.06 : Math.max(2, p * h);
      context.fillRect(k * wide + 0.5, h - high, Math.max(1, wide - 1), high);
    });
    if (content.threshold !== null) {
      context.fillStyle = "#ff9f43"; context.fillRect(0, h - content.threshold * h, w, ratio);
    }
    strip.setAttribute("aria-valuenow", state.slice + 1);
    strip.setAttribute("aria-valuetext", describe());
  }

  function describe() {
    const slice = content.slices[state.slice];
    const p = slice.probability === null ? t.none : `${t.probability} ${slice.probability.toFixed(3)}`;
    return `${t.slice} ${state.slice + 1} ${t.of} ${n}: ${slice.error || t.decisions[slice.decision] || slice.decision}, ${p}`;
  }

  // Slices that are turned to are announced; not the first, and not by the strip, whose own value says the same.
  function tell(text) {
    said.setAttribute("aria-live", said.textContent && !strip?.matches(":focus") ? "polite" : "off");
    said.textContent = text;
    plain.setAttribute("aria-label", text);
  }

  async function draw() {
    if (closed) return;
    const at = state.slice, slice = content.slices[at];
    if (!pixels[at]) { pixels[at] = await load(at); if (closed || at !== state.slice) return draw(); }
    if (slice.mask && !masks[at]) { masks[at] = await outline(slice); if (closed || at !== state.slice) return draw(); }
    render(slice, pixels[at]);
    second.style.display = state.two ? "block" : "none";
    views.classList.toggle("tl-two", state.two);
    paint(plain, slice, !state.two);
    if (state.two) paint(second, slice, true);
    paintStrip();
    inverter.setAttribute("aria-pressed", String(state.invert));
    doubler.setAttribute("aria-pressed", String(state.two));
    if (slider && Math.abs(slider.value / 100 - state.opacity) > 0.005) slider.value = 100 * state.opacity;
    const text = describe();
    if (said.textContent !== text) tell(text);
    box.dataset.slice = at + 1; box.dataset.width = state.width; box.dataset.zoom = state.zoom;
    box.dispatchEvent(new CustomEvent("tl-drawn"));
  }

  for (const canvas of [plain, second]) {
    let held = null;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const step = Math.sign(event.deltaY);
      if (event.ctrlKey || n === 1) set({ zoom: state.zoom * (step < 0 ? 1.1 : 1 / 1.1) });
      else set({ slice: state.slice + step });
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, y: event.clientY, pans: event.shiftKey || event.button > 0, from: { ...state } };
      canvas.setPointerCapture(event.pointerId); plain.focus({ preventScroll: true });
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      const dx = event.clientX - held.x, dy = event.clientY - held.y, from = held.from;
      if (held.pans) set({ x: from.x + dx, y: from.y + dy });
      else set({ width: from.width * Math.exp(dx / 250), center: from.center - dy * from.width / 250 });
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => set({ ...first(), slice: state.slice, two: state.two }));
  }
  const KEYS = {
    ArrowUp: () => set({ slice: state.slice + 1 }), ArrowDown: () => set({ slice: state.slice - 1 }),
    PageUp: () => set({ slice: state.slice + 5 }), PageDown: () => set({ slice: state.slice - 5 }),
    Home: () => set({ slice: 0 }), End: () => set({ slice: n - 1 }),
    i: () => set({ invert: !state.invert }), r: () => set({ ...first(), slice: state.slice }),
    h: () => set({ opacity: state.opacity > 0 ? 0 : 0.5 }), 2: () => set({ two: !state.two }),
  };
  box.addEventListener("keydown", (event) => {
    const act = KEYS[event.key];
    if (!act || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
    event.preventDefault(); event.stopPropagation(); act();
  });
  if (strip) {
    let on = false;
    const jump = (event) => {
      const edge = strip.getBoundingClientRect();
      set({ slice: Math.floor((event.clientX - edge.left) / edge.width * n) });
    };
    strip.addEventListener("pointerdown", (event) => { on = true; strip.setPointerCapture(event.pointerId); jump(event); });
    strip.addEventListener("pointermove", (event) => { if (on) jump(event); });
    strip.addEventListener("pointerup", () => { on = false; });
  }
  const watcher = new ResizeObserver(() => set({}));
  watcher.observe(views);
  // Neighbors are unpacked ahead, so that the wheel never waits.
  (async () => { for (let k = 0; k < n && !closed; k++) { const j = (state.slice + k) % n; pixels[j] ||= await load(j); } })();
  set({});
  return { destroy() { closed = true; watcher.disconnect(); root.replaceChildren(); } };
}
