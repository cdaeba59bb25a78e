// The worklist beside the viewer. Keys are followed here, each press after its scan was drawn;
// what was done is sent to the server until it says that it followed: `data.followed`.

const AHEAD = 4; // scans whose images are fetched before they are asked for
const SEND_MS = 100, PATIENCE_MS = 4000; // without an answer, what was sent is sent again
const STORE = "tumorlens-events";

function isText(target) {
  return target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName) ||
    (target.tagName === "INPUT" && !/^(checkbox|button|radio)$/.test(target.type));
}

function isOwnKeys(target) { // arrows mean something else there
  return isText(target) || !!target.closest?.("[role=radiogroup],[role=slider],[role=tablist],[role=grid],[role=menu]");
}

async function inflate(response) {
  if (!response.ok) throw new Error(`status ${response.status}`);
  const stream = response.body.pipeThrough(new DecompressionStream("deflate"));
  return new Uint16Array(await new Response(stream).arrayBuffer());
}

class Reader {
  constructor(root) {
    this.root = root;
    this.tab = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()); // its events are counted from 1
    this.events = []; this.number = 0; this.views = new Map(); this.presses = Promise.resolve(); this.waiting = [];
    this.done = new Set(); this.uncovered = new Set(); this.viewer = null; this.current = ""; this.drawn = Promise.resolve();
    root.replaceChildren();
    const side = element("section", { class: "tl-side" }, root);
    this.count = element("label", { class: "tl-count" }, side);
    this.bar = element("progress", { max: 1, value: 0 }, side);
    this.list = element("ul", { class: "tl-list", role: "listbox", tabindex: "0" }, side);
    const main = element("section", { class: "tl-main" }, root);
    const head = element("div", { class: "tl-head" }, main);
    this.name = element("h2", {}, head);
    this.badge = element("span", { class: "tl-badge" }, head);
    this.at = element("span", { class: "tl-at" }, head);
    const keys = element("span", { class: "tl-keys" }, head);
    this.buttons = {
      previous: this.button(keys, () => this.press("move", -1)),
      next: this.button(keys, () => this.press("move", 1)),
      agree: this.button(keys, () => this.press("agree")),
    };
    this.view = element("div", { class: "tl-view" }, main);
    this.said = element("div", { class: "tl-hidden", role: "status", "aria-live": "polite" }, root);
    this.listen = (event) => this.key(event);
    document.addEventListener("keydown", this.listen);
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (row) this.press("show", row.dataset.key);
    });
    window.addEventListener("pagehide", () => this.keep());
    let kept = null;
    try { kept = JSON.parse(sessionStorage.getItem(STORE) || "null"); } catch { /* storage is off */ }
    this.left = kept?.loads || []; // what earlier lives of this page did, and the server has not said yet
    this.replay = kept?.waiting || []; this.replayAt = kept?.at;
  }

  button(parent, act) {
    const made = element("button", { type: "button" }, parent);
    made.addEventListener("click", act);
    return made;
  }

  // --- from the server ---

  update(data, send) {
    this.send = send; this.data = data; this.t = data.texts;
    const followed = data.followed[this.tab] || 0;
    this.events = this.events.filter((event) => event.n > followed);
    this.recover();
    this.keep();
    const isBehind = this.events.length > 0 || this.left.length > 0;
    if (!isBehind || !this.rows) this.rows = data.rows;
    else { // marks may come, the order stays while keys are on their way
      const fresh = new Map(data.rows.map((row) => [row.key, row]));
      this.rows = this.rows.map((row) => fresh.get(row.key) || row);
    }
    for (const row of data.rows) if (row.isDone) this.done.delete(row.key);
    if (this.source !== data.source + data.language) { this.views.clear(); this.shown = ""; }
    this.source = data.source + data.language;
    for (const key of data.uncovered) {
      if (this.uncovered.has(key)) continue; // its mask may be fetched now
      this.uncovered.add(key); this.views.delete(key);
      if (this.shown === key) this.shown = "";
    }
    const isHere = this.rows.some((row) => row.key === this.current);
    if (!isBehind || !isHere) this.current = data.current;
    this.label(); this.list_(); this.show();
    this.post();
    const replay = this.replay.splice(0); // pressed before a reload, on a scan that was not drawn yet
    if (this.current === this.replayAt) for (const one of replay) this.press(one.act, one.what);
  }

  // What a reload cut off: it goes first, and the reader stands where it had come to.
  recover() {
    this.left = this.left.filter((load) => !(this.data.followed[load.tab] >= load.list.at(-1).n));
    if (!this.left.length || this.current) return;
    this.current = this.left.at(-1).list.at(-1).next;
    for (const load of this.left) for (const event of load.list) if (event.act === "agree") this.done.add(event.key);
  }

  label() {
    const names = { previous: ["\u2190 ", ""], next: ["", " \u2192"], agree: ["", " (A)"] };
    for (const [name, [before, after]] of Object.entries(names)) this.buttons[name].textContent = before + this.t[name] + after;
    this.list.setAttribute("aria-label", this.t.choose);
    this.buttons.agree.hidden = !this.data.isOwn;
    this.bar.hidden = this.count.hidden = !this.data.isOwn;
  }

  isDone(row) { return row.isDone || this.done.has(row.key); }

  list_() {
    const rows = this.rows.map((row) => {
      const made = document.createElement("li");
      made.id = "tl-row-" + row.key; made.dataset.key = row.key;
      made.setAttribute("role", "option");
      made.setAttribute("aria-selected", String(row.key === this.current));
      const top = element("span", { class: "tl-row" }, made);
      element("span", { class: "tl-badge tl-" + row.color }, top, row.badge);
      if (row.figure) element("span", { class: "tl-figure" }, top, row.figure);
      if (row.slices > 1) element("span", { class: "tl-slices" }, top, this.t.slices.replace("{n}", row.slices));
      if (this.isDone(row)) element("span", { class: "tl-done", title: this.t.reviewed }, top, "\u2713 " + (row.word || this.t.reviewed));
      element("span", { class: "tl-name" }, made, row.name);
      return made;
    });
    this.list.replaceChildren(...rows);
    const done = this.rows.filter((row) => this.isDone(row)).length, all = this.rows.length;
    this.bar.max = Math.max(1, all); this.bar.value = done;
    this.count.textContent = this.t.done.replace("{done}", done).replace("{of}", all);
    this.bar.setAttribute("aria-label", this.count.textContent);
    this.mark();
  }

  mark() {
    for (const made of this.list.children) made.setAttribute("aria-selected", String(made.dataset.key === this.current));
    const at = [...this.list.children].find((made) => made.dataset.key === this.current);
    if (!at) return;
    this.list.setAttribute("aria-activedescendant", at.id);
    const top = at.offsetTop - this.list.offsetTop, low = top + at.offsetHeight;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    if (low > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = low - this.list.clientHeight;
  }

  // --- the scan that is shown ---

  row() { return this.rows.find((row) => row.key === this.current); }

  fetch(key) {
    if (!this.views.has(key)) {
      const url = (part) => new URL(`${this.data.source}/${key}${part}`, document.baseURI);
      const found = this.again(() => fetch(url("")).then((r) => { if (!r.ok) throw new Error(`status ${r.status}`); return r.json(); }))
        .then((content) => {
          const held = new Map();
          content.load = (k) => {
            if (!held.has(k)) held.set(k, this.again(() => fetch(url("/" + k)).then(inflate)));
            return held.get(k);
          };
          return content.load(content.start).then(() => content);
        });
      found.catch(() => this.views.delete(key));
      this.views.set(key, found);
    }
    return this.views.get(key);
  }

  async again(act) {
    for (let wait = 200; ; wait *= 3) {
      try { return await act(); } catch (error) { if (wait > 2000) throw error; }
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  ahead() {
    const at = this.rows.findIndex((row) => row.key === this.current);
    const near = this.rows.slice(Math.max(0, at - 1), at + 1 + AHEAD).filter((row) => row.canShow).map((row) => row.key);
    for (const key of near) this.fetch(key).catch(() => {});
    for (const key of this.views.keys()) if (!near.includes(key)) this.views.delete(key);
  }

  show() {
    const row = this.row();
    if (!row) { this.view.replaceChildren(); this.name.textContent = ""; return; }
    const at = this.rows.indexOf(row);
    this.name.textContent = row.name;
    this.badge.textContent = row.badge; this.badge.className = "tl-badge tl-" + row.color;
    this.at.textContent = `${at + 1} / ${this.rows.length}`;
    const text = `${row.name}: ${row.badge}${row.figure ? ", " + row.figure : ""}`; // a list with the focus tells its rows by itself
    if (!this.list.matches(":focus") && this.said.textContent !== text) this.said.textContent = text;
    this.root.dataset.current = row.key; this.root.dataset.pending = this.events.length + this.waiting.length;
    this.ahead();
    if (this.shown === row.key) return;
    this.shown = row.key;
    if (this.viewer) { this.viewer.destroy(); this.viewer = null; }
    this.drawn = row.canShow ? this.draw(row) : Promise.resolve(element("p", { class: "tl-error" }, this.view, row.error));
  }

  async draw(row) {
    this.view.replaceChildren();
    element("p", { class: "tl-wait" }, this.view, this.t.loading);
    let content;
    try { content = await this.fetch(row.key); } catch (error) {
      if (this.shown === row.key) { this.view.replaceChildren(); element("p", { class: "tl-error" }, this.view, `${this.t.lost} (${error.message})`); }
      return;
    }
    if (this.shown !== row.key) return;
    this.viewer = mountViewer(this.view, content, this.data.language);
    await new Promise((done) => this.view.firstChild.addEventListener("tl-drawn", done, { once: true }));
  }

  // --- keys ---

  key(event) {
    if (!this.root.isConnected) { document.removeEventListener("keydown", this.listen); return; }
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || isText(target)) return;
    const name = event.key.toLowerCase(), inList = target.closest?.(".tl-list");
    const steps = { arrowleft: -1, arrowright: 1, ...(inList ? { arrowup: -1, arrowdown: 1 } : {}) };
    if (name === "a" && !event.repeat && this.data.isOwn) { event.preventDefault(); this.press("agree"); }
    else if (name in steps && (inList || !isOwnKeys(target))) { event.preventDefault(); this.press("move", steps[name]); }
  }

  // One press after the other, each on a scan that has been drawn: none is lost, none is blind.
  // Each is kept at once, so that a reload does not lose those that still wait.
  press(act, what) {
    this.waiting.push({ act, what });
    this.keep();
    this.presses = this.presses.then(() => this.drawn).then(() => {
      if (!this.root.isConnected) return; // another page is open: the reader that comes back goes on
      this.waiting.shift();
      this.follow(act, what);
      this.keep();
    }).catch(() => {});
  }

  follow(act, what) {
    const row = this.row(), at = this.rows.indexOf(row), last = this.rows.length - 1;
    if (!row) return;
    const steps = { agree: () => this.rows[Math.min(at + 1, last)], move: () => this.rows[(at + what + last + 1) % (last + 1)],
      show: () => this.rows.find((one) => one.key === what) || row };
    const next = steps[act]();
    if (act === "agree" && row.canAgree) this.done.add(row.key);
    this.events.push({ n: ++this.number, act, key: row.key, next: next.key });
    this.current = next.key;
    this.list_(); this.show(); this.soon();
  }

  soon() {
    this.keep();
    this.timer ||= setTimeout(() => { this.timer = 0; this.post(); }, SEND_MS);
  }

  // One load is on its way at a time: the next follows when the server has said what it followed.
  post() {
    const load = this.left[0] || { tab: this.tab, list: this.events }, last = load.list.at(-1);
    if (!last) return;
    const mark = load.tab + last.n, isWaiting = this.sent && (this.data.followed[this.sent.tab] || 0) < this.sent.n;
    const isLate = this.sent && Date.now() - this.sent.at > PATIENCE_MS;
    if (isWaiting && !isLate) { this.timer ||= setTimeout(() => { this.timer = 0; this.post(); }, PATIENCE_MS / 2); return; }
    this.sent = { tab: load.tab, n: last.n, at: Date.now() };
    this.send("events", { tab: load.tab, list: load.list, mark: mark + "-" + this.sent.at });
  }

  keep() { // what a reload would lose
    try {
      const loads = [...this.left, ...(this.events.length ? [{ tab: this.tab, list: this.events }] : [])];
      const waiting = [...this.replay, ...this.waiting];
      if (!loads.length && !waiting.length) sessionStorage.removeItem(STORE);
      else sessionStorage.setItem(STORE, JSON.stringify({ loads, waiting, at: this.replay.length ? this.replayAt : this.current }));
    } catch { /* storage is off: a reload loses what the server has not followed yet */ }
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".tl-reader");
  root.tlReader ||= new Reader(root);
  root.tlReader.update(data, setStateValue);
}
