/* Enlarges pictures with what is known of them, and figures, in a dialog; its texts can be copied. */
(function () {
  "use strict";
  const dialog = document.querySelector("dialog.large");
  if (!dialog || !dialog.showModal) return;
  const body = dialog.querySelector(".body");
  const element = (tag, text, name) => { const e = document.createElement(tag); e.textContent = text; e.className = name || ""; return e; };

  window.enlarge = function (picture, title, facts, lines, details) {
    body.replaceChildren(picture, element("p", title, "said"));
    for (const [name, text] of facts) {
      const line = element("p", `${name}: `), code = element("code", text), copy = element("button", "copy");
      copy.type = "button";
      copy.addEventListener("click", () => navigator.clipboard.writeText(text).then(() => { copy.textContent = "copied"; }));
      line.append(code, " ", copy);
      body.append(line);
    }
    for (const text of lines) body.append(element("p", text));
    if (details) { details.open = true; body.append(details); }
    dialog.showModal();
  };
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  for (const figure of document.querySelectorAll(".drawing")) {
    const button = element("button", "enlarge", "open");
    button.type = "button";
    const open = () => window.enlarge(figure.querySelector("svg").cloneNode(true), figure.querySelector("figcaption [id]").textContent, [], [], null);
    button.addEventListener("click", open);
    figure.querySelector("svg").addEventListener("click", open);
    figure.querySelector(".files").prepend(button);
  }
})();
