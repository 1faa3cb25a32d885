/* Filters of the gallery. They are kept in the address (#gallery?category=counting&verdicts=disagree&order=1), so that a view can be
   linked to. Without this script everything is shown. */
(function () {
  "use strict";
  const section = document.getElementById("gallery");
  if (!section) return;
  const form = section.querySelector("form"), cases = Array.from(section.querySelectorAll(".case"));
  const selects = Array.from(form.querySelectorAll("select")), boxes = Array.from(form.querySelectorAll("input"));

  function read() {
    const [place, query] = location.hash.split("?");
    const wanted = new URLSearchParams(place === "#gallery" ? query || "" : "");
    for (const select of selects) {
      const value = wanted.get(select.name) || "";
      select.value = Array.from(select.options).some((o) => o.value === value) ? value : "";
    }
    for (const box of boxes) box.checked = wanted.has(box.name) ? wanted.get(box.name) === "1" : box.defaultChecked;
  }

  function apply() {
    let shown = 0;
    for (const item of cases) {
      item.hidden = selects.some((s) => s.value && item.dataset[s.name] !== s.value);
      shown += item.hidden ? 0 : 1;
    }
    for (const box of boxes) {
      if (box.name === "evidence") section.querySelectorAll(".tile details").forEach((d) => { d.open = box.checked; });
      else section.classList.toggle("hide-" + box.name, !box.checked);
    }
    section.querySelector(".count").textContent = shown + " of " + cases.length + " prompts";
    section.querySelector(".empty").hidden = shown > 0;
  }

  function write() {
    const state = new URLSearchParams();
    for (const select of selects) if (select.value) state.set(select.name, select.value);
    for (const box of boxes) if (box.checked !== box.defaultChecked) state.set(box.name, box.checked ? "1" : "0");
    const query = state.toString();
    history.replaceState(null, "", "#gallery" + (query ? "?" + query : ""));
    apply();
  }

  function step(by) {
    const shown = cases.filter((item) => !item.hidden);
    const at = shown.indexOf(document.activeElement && document.activeElement.closest(".case"));
    const next = shown[Math.min(Math.max(at + by, 0), shown.length - 1)];
    if (next) { next.focus(); next.scrollIntoView({ block: "start" }); }
  }

  form.hidden = false;
  form.title = "j and k: next and previous prompt";
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", write);
  addEventListener("hashchange", () => { if (location.hash.startsWith("#gallery")) { read(); apply(); } });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  });
  read();
  apply();
  if (location.hash.startsWith("#gallery?")) section.scrollIntoView();
})();
