// Copy buttons. data-copy is the id of what is copied: its text, or each <code> in it on a line of its own. That it was
// done stands in the [data-copied] beside the button, or else, for a moment, on the button (data-done). Without this
// script, or where the browser does not let it, there is no button: the text can be selected. data-print: the same for
// printing the page.
"use strict";

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  const before = button.textContent;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    const lines = [...source.querySelectorAll("code")].map((line) => line.textContent);
    try {
      await navigator.clipboard.writeText(lines.join("\n") || source.textContent.trim());
    } catch {
      getSelection().selectAllChildren(source);
      return;
    }
    const said = button.parentElement.querySelector("[data-copied]");
    if (said) {
      said.textContent = said.dataset.copied;
    } else {
      button.textContent = button.dataset.done;
      setTimeout(() => { button.textContent = before; }, 3000);
    }
  });
}

for (const button of document.querySelectorAll("button[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}
