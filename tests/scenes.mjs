// The ways to reach a push service, each played from a service of its own to the end.
//
// Why it exists: whoever receives, a browser or our own user agent, has to do so in all of them.

import { Service, freePort } from './service.mjs';

const SCENES = {
  // Everything in clear on one port, as behind an ingress.
  http: async () => ({
    listeners: { http: ['127.0.0.1:0'], tls: [] },
    serverUrl: ({ http }) => `ws://${http}/`,
    secure: false,
  }),
  // The user agent in clear, the application servers over TLS.
  ws: async () => {
    const tls = `127.0.0.1:${await freePort()}`;
    return {
      listeners: { http: ['127.0.0.1:0'], tls: [tls], publicUrl: `https://${tls}` },
      serverUrl: ({ http }) => `ws://${http}/`,
      secure: true,
    };
  },
  // Everything over TLS, with the certificate that the service made for itself.
  wss: async () => ({
    listeners: { http: [], tls: ['127.0.0.1:0'] },
    serverUrl: ({ tls }) => `wss://${tls}/`,
    secure: true,
  }),
};

/**
 * Plays the scenes of these names, or all of them. `play` gets the scene's `name`, the `serverUrl` for user agents, and
 * whether application servers come by TLS (`secure`). `others` are scenes by name that bring their services themselves.
 */
export async function playScenes(who, chosen, binary, play, others = {}) {
  for (const name of chosen.length > 0 ? chosen : [...Object.keys(SCENES), ...Object.keys(others)]) {
    const started = performance.now();
    if (name in others) await others[name]();
    else await playScene(who, name, binary, play);
    console.log(`${who} over ${name}: passed in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
}

async function playScene(who, name, binary, play) {
  const { listeners, serverUrl, secure } = await SCENES[name]();
  const service = await Service.start(binary, listeners);
  try {
    await play({ name, serverUrl: serverUrl(service.addresses), secure });
  } catch (error) {
    console.error(`${who} over ${name}: FAILED; the service said:\n${service.log}`);
    throw error;
  } finally {
    await service.stop();
  }
}
