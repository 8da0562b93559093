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

/** Scenes that are played at the same time. Chosen: a scene mostly waits for the programs that it starts. */
const AT_ONCE = 2;

/**
 * Plays the scenes of these names, or all of them. `play` gets the scene's `name`, the `serverUrl` for user agents, and
 * whether application servers come by TLS (`secure`). `others` are scenes by name that bring their services themselves.
 * When a scene fails, no other begins, and those that have begun are played to their end.
 */
export async function playScenes(who, chosen, binary, play, others = {}) {
  const names = chosen.length > 0 ? [...chosen] : [...Object.keys(SCENES), ...Object.keys(others)];
  const playOneByOne = async () => {
    while (names.length > 0) {
      const name = names.shift();
      const started = performance.now();
      try {
        if (name in others) await others[name]();
        else await playScene(who, name, binary, play);
      } catch (error) {
        names.length = 0;
        throw error;
      }
      console.log(`${who} over ${name}: passed in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, playOneByOne));
  const failures = ends.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  if (failures.length > 0) throw failures.length > 1 ? new AggregateError(failures) : failures[0];
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
