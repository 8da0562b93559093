// The texts in a WebSocket connection between two other ends.
//
// Why it exists: a link sees bytes. It knows neither fragments nor extensions, because neither end here uses any, and
// checks nothing that the ends check.

const HEADER_END = '\r\n\r\n';

// RFC 6455 §5.2.
const OPCODE = 0x0f;
const TEXT = 0x1;
const MASKED = 0x80;
const LENGTH = 0x7f;
/** The length stands in the two bytes behind. */
const LENGTH_16 = 126;
/** It stands in the eight bytes behind, of which the lower six are as many as a number holds. */
const LENGTH_64 = 127;

/** One direction of a connection. Each text is given on as it passes. */
export class Texts {
  #bytes = Buffer.alloc(0);
  #upgraded = false;
  #give;

  constructor(give) {
    this.#give = give;
  }

  take(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    if (!this.#upgraded) this.#passHeader();
    while (this.#upgraded && this.#passFrame());
  }

  #passHeader() {
    const end = this.#bytes.indexOf(HEADER_END);
    if (end < 0) return;
    this.#bytes = this.#bytes.subarray(end + HEADER_END.length);
    this.#upgraded = true;
  }

  /** Whether there was a whole frame. */
  #passFrame() {
    const bytes = this.#bytes;
    const [start, length] = payloadOf(bytes);
    const behindMask = start + (bytes[1] & MASKED ? 4 : 0);
    const end = behindMask + length;
    if (bytes.length < end) return false;
    this.#bytes = bytes.subarray(end);
    const mask = bytes.subarray(start, behindMask);
    const payload = bytes.subarray(behindMask, end).map((byte, at) => byte ^ (mask[at % 4] ?? 0));
    if ((bytes[0] & OPCODE) === TEXT) this.#give(payload.toString());
    return true;
  }
}

/** Where the header ends but for its mask, and how long the payload is: without end as long as that is not there. */
function payloadOf(bytes) {
  const [start, width] = { [LENGTH_16]: [4, 2], [LENGTH_64]: [10, 6] }[bytes[1] & LENGTH] ?? [2, 0];
  if (bytes.length < start) return [start, Infinity];
  return [start, width === 0 ? bytes[1] & LENGTH : bytes.readUIntBE(start - width, width)];
}
