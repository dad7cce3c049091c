// The authenticator on the phone. It has a key of its own for each account, made by the browser and never given out
// (WebCrypto, not extractable, in IndexedDB), signs everything it asks (proxy/domain/phones.py), and shows the pieces of
// pages that the portal answers with. Everything that people read stands in pages, in their language.
"use strict";

const page = document.querySelector("[data-phone], [data-phone-add]");
const { base, vapid } = page.dataset;
const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const able = Boolean(window.indexedDB && window.crypto && crypto.subtle);
let clockOff = 0;

// ---- keys ------------------------------------------------------------------------------------------

function store(mode, use) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("sidegate", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("phones", { keyPath: "account" });
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const asked = use(opening.result.transaction("phones", mode).objectStore("phones"));
      asked.onerror = () => reject(asked.error);
      asked.onsuccess = () => {
        opening.result.close();
        resolve(asked.result);
      };
    };
  });
}

const phones = () => store("readonly", (all) => all.getAll());

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

async function sign(key, ...lines) {
  const text = new TextEncoder().encode(["sidegate phone", ...lines].join("\n"));
  return base64url(await crypto.subtle.sign(ECDSA, key, text));
}

function post(path, body) {
  const headers = { "content-type": "application/json" };
  return fetch(base + path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function ask(phone, verb, parts = [], more = {}) {
  const time = String(Date.now() + clockOff);
  const lines = [verb, location.origin, String(phone.account), phone.id, time, ...parts];
  const signature = await sign(phone.key, ...lines);
  const answer = await post(`/phone/${verb}`, { account: phone.account, id: phone.id, time, signature, ...more });
  if (answer.status === 425 && !more.again) {
    clockOff = Number(answer.headers.get("sidegate-time")) - Date.now();
    return ask(phone, verb, parts, { ...more, again: true });
  }
  return answer;
}

// ---- being woken -----------------------------------------------------------------------------------

async function subscription() {
  if (!vapid || !("serviceWorker" in navigator)) return null;
  try {
    const worker = await navigator.serviceWorker.register(`${base}/phone/worker.js`, { scope: `${base}/phone` });
    if (!worker.pushManager || !window.Notification || Notification.permission !== "granted") return null;
    await ready(worker);
    const wanted = { userVisibleOnly: true, applicationServerKey: vapid };
    return (await worker.pushManager.subscribe(wanted)).toJSON();
  } catch {
    return null; // no push service: it works while the page is open
  }
}

function ready(registered) {
  const worker = registered.active || registered.waiting || registered.installing;
  if (registered.active) return Promise.resolve();
  return new Promise((resolve) => {
    worker.addEventListener("statechange", () => { if (worker.state === "activated") resolve(); });
  });
}

async function allow() {
  if (!window.Notification || Notification.permission !== "default") return;
  try {
    await Notification.requestPermission();
  } catch {
    // an old browser: as if it had said no
  }
}

async function subscribe(phone) {
  const fresh = await subscription();
  if (!fresh || fresh.endpoint === phone.endpoint) return;
  const answer = await ask(phone, "subscribe", [], { subscription: fresh });
  if (answer.ok) await store("readwrite", (all) => all.put({ ...phone, endpoint: fresh.endpoint }));
}

function say(what) {
  for (const line of page.querySelectorAll("[data-say]")) line.hidden = line.dataset.say !== what;
}

// ---- adding this phone -----------------------------------------------------------------------------

async function add() {
  const button = page.querySelector("[data-connect]");
  if (!button) {
    if (able && (await phones()).length) location.replace(`${base}/phone`); // an app that began with this link
    return;
  }
  const apple = /iPhone|iPad/.test(navigator.userAgent) && !navigator.standalone;
  say(able ? apple ? "apple" : "" : "unable");
  button.hidden = !able;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await allow(); // first: it must follow the tap
      await connect(page.dataset.phoneAdd);
      say("connected");
      button.hidden = true;
      page.querySelector("[data-next]").hidden = false;
    } catch {
      say("failed");
      button.disabled = false;
    }
  });
}

async function connect(token) {
  const pair = await crypto.subtle.generateKey(ECDSA, false, ["sign", "verify"]);
  const key = base64url(await crypto.subtle.exportKey("raw", pair.publicKey));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  const id = base64url(digest.slice(0, 16));
  const given = await subscription();
  const signature = await sign(pair.privateKey, "register", location.origin, "0", id, token);
  const answer = await post(`/phone/add/${token}`, { key, subscription: given, signature });
  if (!answer.ok) throw new Error(String(answer.status));
  const { account, address } = await answer.json();
  const endpoint = given ? given.endpoint : "";
  await store("readwrite", (all) => all.put({ account, address, id, key: pair.privateKey, endpoint }));
}

// ---- answering -------------------------------------------------------------------------------------

const asked = page.querySelector("[data-asked]");
// A number in the address counts only if our own page, which waits in this browser, led here: not if a mail did.
const handed = document.referrer.startsWith(`${location.origin}${base}/challenge`)
  ? (location.hash.match(/^#([0-9]{6})$/) || [])[1] : undefined;
let looking;

function part(phone) {
  const id = `account-${phone.account}`;
  const found = document.getElementById(id);
  if (found) return found;
  const made = document.createElement("div");
  made.id = id;
  asked.append(made);
  return made;
}

function show(phone, html) {
  const here = part(phone);
  here.innerHTML = html; // of our own making, escaped there
  for (const form of here.querySelectorAll("form")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      decide(phone, form, event.submitter.value);
    });
    const scan = form.querySelector("[data-scan]");
    if (scan) {
      scan.hidden = !("BarcodeDetector" in window);
      scan.addEventListener("click", () => scanInto(form.elements.number));
    }
    if (form.elements.number && handed) form.elements.number.value = handed;
  }
  const again = here.querySelector("[data-again]");
  if (again) again.addEventListener("click", () => { here.replaceChildren(); look(); });
  const back = here.querySelector("[data-back]");
  if (back) back.hidden = !handed;
}

async function decide(phone, form, decision) {
  const { challenge } = form.dataset;
  if (decision === "back") {
    part(phone).replaceChildren();
    return look();
  }
  if (decision === "suspect") return show(phone, await (await ask(phone, "suspect", [challenge], { challenge })).text());
  const number = decision === "confirm" ? form.elements.number.value.replace(/[^0-9]/g, "") : "";
  const cut = [...form.querySelectorAll("[name=cut]:checked")].map((box) => box.value);
  const more = { challenge, decision, number, cut };
  try {
    const answer = await ask(phone, "answer", [challenge, decision, number, cut.join(",")], more);
    show(phone, await answer.text());
    const wrong = part(phone).querySelector("[role=alert]") && part(phone).querySelector("[name=number]");
    if (wrong) wrong.focus();
  } catch {
    say("away");
  }
}

async function look() {
  clearTimeout(looking);
  const mine = await phones();
  let said = mine.length ? "" : "none";
  for (const phone of mine) {
    try {
      const answer = await ask(phone, "ask");
      if (answer.ok) {
        const html = await answer.text();
        const waiting = (html.match(/data-waiting="([^"]*)"/) || [])[1];
        const here = part(phone).querySelector("[data-waiting]");
        // What somebody types in, reads or has just been told stays until they are done with it.
        if (part(phone).childElementCount === 0 || (here && here.dataset.waiting !== waiting)) show(phone, html);
      } else {
        said = answer.status === 403 ? "stranger" : "away";
      }
    } catch {
      said = "away";
    }
  }
  say(said);
  if (mine.length && !document.hidden) looking = setTimeout(look, 3000);
}

async function scanInto(field) {
  const card = page.querySelector("[data-scanner]");
  const video = card.querySelector("[data-video]");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch(() => null);
  if (!stream) return;
  const detector = new BarcodeDetector({ formats: ["qr_code"] });
  let on = true;
  card.querySelector("[data-stop]").onclick = () => { on = false; };
  video.srcObject = stream;
  card.hidden = false;
  await video.play();
  while (on) {
    for (const { rawValue } of await detector.detect(video).catch(() => [])) {
      const found = rawValue.match(/^sidegate:([0-9]{6})$/);
      if (found) {
        field.value = found[1];
        on = false;
      }
    }
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
  for (const track of stream.getTracks()) track.stop();
  card.hidden = true;
  field.focus();
}

async function start() {
  if (!able) return;
  history.replaceState(null, "", location.pathname + location.search);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  if ("serviceWorker" in navigator) navigator.serviceWorker.addEventListener("message", look);
  await look();
  const mine = await phones();
  const wake = page.querySelector("[data-wake]");
  wake.hidden = !mine.length || !vapid || !window.Notification || Notification.permission !== "default";
  wake.querySelector("[data-allow]").addEventListener("click", async () => {
    await allow();
    wake.hidden = true;
    for (const phone of mine) await subscribe(phone);
  });
  for (const phone of mine) await subscribe(phone);
}

if (page.dataset.phoneAdd === undefined) start();
else add();
