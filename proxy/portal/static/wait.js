// A page that waits for a phone: [data-wait] asks there every two seconds. Answered: the form is sent (data-submit), or
// the page is loaded again. Over: data-over, or again the page. Without this script the page looks again by itself.
"use strict";

for (const form of document.querySelectorAll("[data-wait]")) {
  form.hidden = false;
  const look = async () => {
    let state = "waiting";
    try {
      const answer = await fetch(form.dataset.wait, { headers: { accept: "application/json" } });
      if (answer.ok) state = (await answer.json()).state;
    } catch {
      // away for a moment: asked again
    }
    if (state === "waiting") {
      setTimeout(look, 2000);
    } else if (state === "answered" && "submit" in form.dataset) {
      form.submit();
    } else if (form.dataset.over) {
      location.assign(form.dataset.over);
    } else {
      location.reload();
    }
  };
  setTimeout(look, 1000);
}
