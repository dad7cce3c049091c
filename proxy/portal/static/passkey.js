// Passkeys. A form with data-passkey="create" or "get" carries the options; the browser's answer goes into its hidden
// field, and the form is sent like any other. Everything that people read stands in the page, in their language.
const able = window.PublicKeyCredential && PublicKeyCredential.parseCreationOptionsFromJSON
  && PublicKeyCredential.prototype.toJSON;

async function ask(form) {
  const options = JSON.parse(form.dataset.options);
  const credential = form.dataset.passkey === "create"
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  return JSON.stringify(credential.toJSON());
}

function say(form, what) {
  for (const line of form.querySelectorAll("[data-say]")) line.hidden = line.dataset.say !== what;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const button = form.querySelector("button");
  button.hidden = !able;
  say(form, able ? "" : "unable");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!able || button.disabled) return;
    button.disabled = true;
    say(form, "waiting");
    try {
      form.elements.credential.value = await ask(form);
    } catch (error) {
      say(form, error.name === "InvalidStateError" ? "known" : error.name === "NotAllowedError" ? "stopped" : "failed");
      button.disabled = false;
      return;
    }
    form.submit(); // not requestSubmit: that would come back here
  });
}

// The page comes back from the browser's memory with the button still off.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
