/* The gallery over every picture of the run. Filters are kept in the address (#gallery?category=counting&verdicts=disagree), so that a
   view can be linked to. Without this script the prompts that stand in the page are shown. */
(async function () {
  "use strict";
  const section = document.getElementById("gallery"), packed = document.getElementById("pool");
  if (!section || !packed || !window.DecompressionStream) return;
  const form = section.querySelector("form"), list = section.querySelector(".found"), PAGE = 24, APART = 0.25;
  const SVG = "http://www.w3.org/2000/svg", fields = Array.from(form.elements).filter((field) => field.name);
  const bytes = Uint8Array.from(atob(packed.textContent.trim()), (c) => c.charCodeAt(0));
  const sets = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  const judges = sets.flatMap((set) => set.judges.map((judge) => ({ set, judge })));
  const still = new Map(Array.from(section.querySelectorAll(".still [data-file]"), (img) => [img.dataset.file, img]));
  let inside = null, shown = PAGE, rows = [];

  const make = (tag, properties, ...children) => { const e = Object.assign(document.createElement(tag), properties); e.append(...children.filter((c) => c !== null)); return e; };
  const value = (name) => { const f = form.elements[name]; return !f ? "" : f.type === "checkbox" ? f.checked : f.value; };
  const current = () => judges[Number(value("benchmark")) || 0];
  const methods = (set) => [...new Set(set.policies.map((p) => p[1]))];

  /* Choices that depend on others: categories, seeds, samples and methods of the chosen benchmark. */
  function fill(name, options, keep) {
    const select = form.elements[name];
    select.replaceChildren(...options.map(([v, text]) => make("option", { value: v, textContent: text })));
    select.value = options.some(([v]) => v === keep) ? keep : options[0][0];
    select.parentElement.hidden = options.length < 2;
  }
  function choices(wanted) {
    const { set } = current(), seeds = [...new Set(set.policies.map((p) => p[2]).filter((seed) => seed !== null))];
    const all = [["", "all"]], names = methods(set).map((m) => [m, m]), read = (name) => (wanted ? wanted.get(name) || "" : value(name));
    fill("category", all.concat([...new Set(set.prompts.map((p) => p[2]))].map((c) => [c, c.replaceAll("_", " ")])), read("category"));
    fill("seed", seeds.length ? seeds.map((s) => [String(s), String(s)]) : [["", "–"]], read("seed"));
    fill("sample", set.samples.map((s) => [String(s), String(s)]), read("sample"));
    fill("a", names, read("a") || (names[1] || names[0])[0]);
    fill("b", names, read("b") || names[0][0]);
    for (const name of ["a", "b"]) form.elements[name].parentElement.hidden = value("verdicts") !== "pair";
  }

  function columns(set) {
    const seed = value("seed");
    return methods(set).map((m) => set.policies.findIndex((p) => p[1] === m && (p[2] === null || String(p[2]) === seed))).filter((i) => i >= 0);
  }

  function compute() {
    const { set, judge } = current(), shownColumns = columns(set), sample = Math.max(0, set.samples.indexOf(Number(value("sample"))));
    const limit = judge.binary ? 0.5 : APART * Math.abs(judge.ends[1] - judge.ends[0]), better = Math.sign(judge.ends[1] - judge.ends[0]) || 1;
    const of = (name) => shownColumns.find((c) => set.policies[c][1] === name), words = String(value("search")).toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    set.prompts.forEach(([id, text, category], p) => {
      const scores = shownColumns.map((c) => judge.scores[c][p][sample]), known = scores.filter((s) => s !== null);
      const spread = known.length > 1 ? Math.max(...known) - Math.min(...known) : 0, disagree = spread >= limit && spread > 0;
      const [a, b] = ["a", "b"].map((name) => (judge.scores[of(value(name))] ? judge.scores[of(value(name))][p][sample] : null));
      const gap = a === null || b === null ? 0 : (a - b) * better;
      const verdicts = value("verdicts"), fits = { "": true, disagree, agree: !disagree, pair: gap >= limit && gap > 0 }[verdicts];
      const haystack = `${text} ${id}`.toLowerCase();
      if (fits && (!value("category") || value("category") === category) && words.every((w) => haystack.includes(w))) {
        found.push({ set, judge, p, id, text, category, sample, columns: shownColumns, spread, disagree, mean: known.reduce((a, b) => a + b, 0) / (known.length || 1) * better });
      }
    });
    const order = { spread: (a, b) => b.spread - a.spread, worst: (a, b) => a.mean - b.mean, text: (a, b) => a.text.localeCompare(b.text) }[value("sort")];
    return order ? found.sort(order) : found;
  }

  /* As in reports/figures/tones.py: red at the worst, amber half way, green at the best. */
  function tone(score, [worst, best]) {
    if (score === null) return ["#8a8a8a", "#000"];
    let share = best === worst ? 2 : 2 * Math.min(1, Math.max(0, (score - worst) / (best - worst)));
    const stops = [[215, 48, 39], [224, 148, 11], [26, 152, 80]], from = share <= 1 ? 0 : 1;
    share -= from;
    const rgb = stops[from].map((low, i) => Math.round(low * (1 - share) + stops[from + 1][i] * share));
    const light = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return [`rgb(${rgb})`, 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] > 0.179 ? "#000" : "#fff"];
  }
  const mark = (score, judge) => (score === null ? "" : judge.binary ? (score === 1 ? "✓" : "✗") : (score * judge.scale).toFixed(judge.digits).replace("-", "−"));

  function file(set, policy, id, sample) {
    const strange = set.files[`${policy}/${id}/${sample}`];
    return strange === undefined ? `images/${policy}/${set.set}/${set.setting}/${id}_${sample}.png` : strange;
  }
  function picture(path, alt) {
    if (still.has(path)) return make("img", { src: still.get(path).src, alt, className: still.get(path).className });
    const part = path.match(/^(.*)#(\d+),(\d+),(\d+),(\d+)$/), near = (file) => "../" + file.split("/").map(encodeURIComponent).join("/");
    if (part) {
      const [left, upper, right, lower] = part.slice(2).map(Number), svg = document.createElementNS(SVG, "svg"), image = svg.appendChild(document.createElementNS(SVG, "image"));
      svg.setAttribute("viewBox", `${left} ${upper} ${right - left} ${lower - upper}`); svg.setAttribute("class", "part"); svg.setAttribute("role", "img"); svg.setAttribute("aria-label", alt);
      image.setAttribute("href", near(part[1]));
      return svg;
    }
    inside = inside || JSON.parse(document.getElementById("pool-pictures").textContent);
    const end = path.lastIndexOf("/"), data = (inside[path.slice(0, end)] || {})[path.slice(end + 1)];
    const src = data ? `data:image/webp;base64,${data}` : near(path);
    const img = make("img", { src, alt, loading: "lazy", className: data ? "pixels" : "" });
    img.addEventListener("error", () => img.replaceWith(make("p", { className: "none", textContent: "This picture lies in the run's folder, which is not beside this page." })));
    return img;
  }

  function boxes(found, frame) {
    const svg = document.createElementNS(SVG, "svg");
    const put = (parent, tag, attributes, text = "") => { const e = parent.appendChild(document.createElementNS(SVG, tag)); for (const key in attributes) e.setAttribute(key, attributes[key]); e.textContent = text; return e; };
    svg.setAttribute("viewBox", `0 0 ${frame[0]} ${frame[1]}`); svg.setAttribute("preserveAspectRatio", "none"); svg.setAttribute("aria-hidden", "true");
    found.forEach(([, , counted, x1, y1, x2, y2], i) => {
      const g = put(svg, "g", counted ? {} : { class: "left-out" });
      for (const layer of ["under", "over"]) put(g, "rect", { class: layer, x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
      put(g, "text", { x: x1 + 0.02 * frame[0], y: y1 + 0.09 * frame[1], "font-size": 0.085 * frame[0] }, String(i + 1));
    });
    return svg;
  }

  function evidence([, , found = [], , questions = [], values = {}]) {
    if (!found.length && !questions.length && !Object.keys(values).length) return null;
    const held = questions.filter((q) => q[1] >= 0.5).length;
    const title = questions.length ? `${held} of ${questions.length} questions hold` : found.length ? `${found.length} found` : "evidence";
    const zeroed = (q) => q[2] !== null && q[2] >= 0.5 && q[1] < 0.5;
    return make("details", { open: value("evidence") }, make("summary", { textContent: title }),
      questions.length ? make("ul", {}, ...questions.map((q) => make("li", { className: zeroed(q) ? "zeroed" : q[1] >= 0.5 ? "yes" : "no", textContent: q[0] + (zeroed(q) ? " (yes, but what it depends on is not there)" : "") }))) : null,
      found.length ? make("ol", {}, ...found.map((b) => make("li", { className: b[2] ? "" : "out", textContent: `${b[0]} ${b[1].toFixed(2)}${b[2] ? "" : " (did not count)"}` }))) : null,
      ...Object.entries(values).map(([key, v]) => make("p", { className: "out", textContent: `${key.replaceAll("_", " ")}: ${v}` })));
  }

  function tile(row, c) {
    const { set, judge, p, id } = row, [policy, name, seed, colour, note] = set.policies[c], score = judge.scores[c][p][row.sample];
    const [ground, ink] = tone(score, judge.ends), record = (set.evidence[c][row.sample] || [])[p], seen = (judge.told && record) || [];
    const path = record === 0 && score === null ? "" : file(set, policy, id, set.samples[row.sample]);
    const frame = make("button", { type: "button", className: "frame", title: "enlarge" });
    frame.style.borderColor = ground;
    if (path) frame.append(picture(path, `${name}: ${row.text}`)); else frame.append(make("span", { className: "none", textContent: "no picture" }));
    const img = frame.querySelector("img"), known = still.get(path);
    const part = path.match(/#(\d+),(\d+),(\d+),(\d+)$/);
    if ((seen[2] || []).length && part && !img) frame.append(boxes(seen[2], seen[3] || [part[3] - part[1], part[4] - part[2]]));
    if ((seen[2] || []).length && img) {
      const draw = () => { if (!frame.querySelector("svg")) frame.append(boxes(seen[2], seen[3] || [img.naturalWidth, img.naturalHeight])); };
      if (seen[3] || (img.complete && img.naturalWidth)) draw(); else img.addEventListener("load", draw);
    }
    const dot = make("span", { className: "dot" }), flag = make("span", { className: "mark", textContent: mark(score, judge) });
    dot.style.background = colour; flag.style.cssText = `background:${ground};color:${ink}`;
    const order = known && known.closest(".tile").querySelector(".order");
    const more = set.judges.filter((one) => one !== judge && one.scores[c][p][row.sample] !== null).map((one) => make("p", { className: "out", textContent: `${one.title}: ${mark(one.scores[c][p][row.sample], one)}` }));
    frame.addEventListener("click", () => window.enlarge(frame.cloneNode(true), `${name}${seed === null ? "" : `, training seed ${seed}`}, sample ${set.samples[row.sample]}: ${row.text}`,
      [["prompt id", id], ["file", path]], [seen[0] || "", seen[1] || ""].filter(Boolean), evidence(seen)));
    return make("figure", { className: "tile" }, make("div", { className: "name" }, dot, name, make("small", { textContent: note }), mark(score, judge) ? flag : null), frame, order ? order.cloneNode(true) : null,
      ...[seen[0], seen[1]].filter(Boolean).map((text) => make("p", { textContent: text })), ...more, evidence(seen));
  }

  function render(row) {
    const tiles = make("div", { className: "tiles" }, ...row.columns.map((c) => tile(row, c)));
    tiles.style.setProperty("--tile", section.dataset.tile);
    return make("article", { className: "case", tabIndex: 0 }, make("h3", {}, row.text, make("span", { className: "tag", textContent: row.category.replaceAll("_", " ") }),
      row.disagree ? make("span", { className: "tag", textContent: "methods disagree" }) : null, make("code", { className: "id", textContent: row.id })), tiles);
  }

  function draw() {
    list.replaceChildren(...rows.slice(0, shown).map(render));
    section.querySelector(".count").textContent = `${rows.length} of ${current().set.prompts.length} prompts`;
    section.querySelector(".empty").hidden = rows.length > 0;
    section.querySelector(".more").hidden = rows.length <= shown;
    for (const name of ["boxes", "order"]) if (form.elements[name]) section.classList.toggle(`hide-${name}`, !value(name));
  }
  function apply() { choices(); shown = PAGE; rows = compute(); draw(); }

  function read() {
    const [place, query] = location.hash.split("?"), wanted = new URLSearchParams(place === "#gallery" ? query || "" : "");
    for (const field of fields) {
      if (field.type === "checkbox") field.checked = wanted.has(field.name) ? wanted.get(field.name) === "1" : field.defaultChecked;
      else if (field.name !== "benchmark") field.value = wanted.get(field.name) || "";
    }
    form.elements.benchmark.value = String(Math.max(0, judges.findIndex(({ judge }) => judge.title === wanted.get("benchmark"))));
    for (const name of ["verdicts", "sort"]) if (form.elements[name].selectedIndex < 0) form.elements[name].value = "";
    choices(wanted);
  }
  function write() {
    apply();
    const state = new URLSearchParams();
    for (const field of fields) {
      if (field.type === "checkbox") { if (field.checked !== field.defaultChecked) state.set(field.name, field.checked ? "1" : "0"); }
      else if (field.name === "benchmark") { if (field.value !== "0") state.set("benchmark", current().judge.title); }
      else if (field.value && !field.parentElement.hidden && !(/seed|sample/.test(field.name) && field.selectedIndex === 0)) state.set(field.name, field.value);
    }
    history.replaceState(null, "", "#gallery" + (state.toString() ? `?${state}` : ""));
  }
  function step(by) {
    const all = Array.from(list.children), at = all.indexOf(document.activeElement && document.activeElement.closest(".case"));
    const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    if (next) { next.focus(); next.scrollIntoView({ block: "start" }); }
  }

  fill("benchmark", judges.map(({ judge }, i) => [String(i), judge.title]), "0");
  section.querySelector(".still").hidden = true;
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", write);
  section.querySelector(".more").addEventListener("click", () => { shown += PAGE; draw(); });
  addEventListener("hashchange", () => { if (location.hash.startsWith("#gallery")) { read(); apply(); } });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  });
  read();
  apply();
  if (location.hash.startsWith("#gallery?")) section.scrollIntoView();
})();
