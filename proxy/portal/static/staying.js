// Says in time that the session is about to end, and lets the person stay. What is done in another window counts here
// too: the time of the end is kept where all of them see it, and the latest one holds.
const KEY = "sidegate-ends";
const SOON = 300; // seconds; WCAG 2.2.1 asks for 20
const box = document.querySelector("[data-left]");
let ends = 0;
let timer;

function say(what) {
  box.hidden = !what;
  for (const line of box.querySelectorAll("[data-say]")) line.hidden = line.dataset.say !== what;
}

function look() {
  clearTimeout(timer);
  const left = (ends - Date.now()) / 1000;
  say(left <= 0 ? "ended" : left <= SOON ? "soon" : "");
  if (left > 0) timer = setTimeout(look, Math.ceil(left > SOON ? left - SOON : left) * 1000);
}

function lasts(seconds) {
  ends = Date.now() + seconds * 1000;
  try { localStorage.setItem(KEY, ends); } catch { /* then each window is on its own */ }
  look();
}

addEventListener("storage", (event) => {
  if (event.key === KEY && Number(event.newValue) > ends) { ends = Number(event.newValue); look(); }
});
document.addEventListener("visibilitychange", look); // timers stand still in a window that is not seen
box.querySelector("button").addEventListener("click", async () => {
  try {
    const answer = await fetch(box.dataset.stay, { method: "POST", redirect: "manual" });
    lasts(answer.ok ? (await answer.json()).left : 0);
  } catch { /* no network now: the offer still stands there */ }
});
lasts(Number(box.dataset.left));
