// The service worker under test: tells its site what arrived, in words the test can compare.

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('push', (event) => {
  event.waitUntil(report('message', event.data?.text() ?? ''));
});

// Firefox dispatches this when a subscription was lost: no test may ever see it.
self.addEventListener('pushsubscriptionchange', (event) => {
  event.waitUntil(report('subscription-lost', ''));
});

function report(event, text) {
  return fetch('/reports', { method: 'POST', body: JSON.stringify({ event, text }) });
}
