// The authenticator's service worker: shows what the portal sends (proxy/notices/web_push.py), and opens the page.
"use strict";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  const { title, body, path, tag } = event.data.json();
  const icon = new URL("../static/phone-192.png", self.location.href).href;
  event.waitUntil(Promise.all([
    self.registration.showNotification(title, { body, tag, renotify: true, icon, data: { path } }),
    self.clients.matchAll({ type: "window" }).then((open) => open.forEach((page) => page.postMessage("look"))),
  ]));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const base = self.registration.scope.replace(/\/phone$/, "");
  const url = base + event.notification.data.path;
  event.waitUntil(self.clients.matchAll({ type: "window" }).then((open) => {
    const page = open.find((one) => one.url.split("#")[0] === url);
    return page ? page.focus() : self.clients.openWindow(url);
  }));
});
