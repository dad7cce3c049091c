// A button with data-copy="ID" copies the text of that element. Without this script it stays hidden.
"use strict";

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    const lines = source.querySelectorAll("code");
    const text = lines.length ? [...lines].map((line) => line.textContent).join("\n") : source.textContent;
    await navigator.clipboard.writeText(text.trim());
    const said = button.parentElement.querySelector("[data-copied]");
    if (said) said.textContent = said.dataset.copied;
  });
}
