// Keeps the status page up to date: asks for its values every two seconds, one request at a time, and writes them into the
// elements that name them. Without it the page shows the values of the time when it was loaded.
'use strict';

const EVERY_MS = 2000;
// After a failure it asks less often, up to this.
const RETRY_MOST_MS = 10000;
const ANSWER_WITHIN_MS = 5000;
const SENTENCE_MOST = 300;

// The forms of `formats.rs`, character by character.
const tenths = (number) => (Math.floor(number * 10 + 0.5) / 10).toFixed(1);
const count = (number) => {
  const text = String(Math.round(Math.abs(number))).replace(/\B(?=(\d{3})+$)/g, ',');
  return Math.round(number) < 0 ? `−${text}` : text;
};
const rate = (perSecond) => {
  if (perSecond <= 0) return '0';
  if (perSecond < 0.1) return '< 0.1';
  return perSecond < 99.95 ? tenths(perSecond) : count(perSecond);
};
const about = (seconds) => {
  if (seconds < 59.5) return `${count(seconds)} s`;
  if (seconds < 3570) return `${count(seconds / 60)} min`;
  return seconds < 171000 ? `${count(seconds / 3600)} h` : `${count(seconds / 86400)} days`;
};
const wait = (seconds) => {
  const ms = seconds * 1000;
  if (ms < 9.95) return `${tenths(ms)} ms`;
  if (ms < 999.5) return `${count(ms)} ms`;
  if (seconds < 59.95) return `${tenths(seconds)} s`;
  return about(seconds);
};
const span = (given) => {
  const seconds = Math.max(0, Math.floor(given));
  const of = (unit, within) => count(Math.floor((seconds % within) / unit));
  if (seconds < 60) return `${count(seconds)} s`;
  if (seconds < 3600) return `${of(60, 3600)} min ${of(1, 60)} s`;
  if (seconds < 86400) return `${of(3600, 86400)} h ${of(60, 3600)} min`;
  return `${of(86400, Infinity)} d ${of(3600, 86400)} h`;
};
const bytes = (number) => {
  let size = number;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (size < 1023.95) return `${unit === 'B' ? count(size) : tenths(size)} ${unit}`;
    size /= 1024;
  }
  return `${tenths(size)} TiB`;
};
const clock = (ms) => {
  if (ms === 0) return 'the same';
  return ms > 0 ? `${count(ms)} ms ahead` : `${count(-ms)} ms behind`;
};
const forms = { text: (text) => text, count, rate, wait, about, span, bytes, clock };

const at = (values, path) => path.split('.').reduce((value, name) => value?.[name], values);
const isSomething = (value) => (Array.isArray(value) ? value.length > 0 : Boolean(value));
const all = (name) => document.querySelectorAll(`[data-${name}]`);

// Elements that do not change are not touched: a selection or a screen reader may be in them.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(values) {
  for (const element of all('value')) {
    const value = at(values, element.dataset.value);
    write(element, value === null || value === undefined ? '–' : forms[element.dataset.as](value));
  }
  for (const element of all('if')) element.hidden = !isSomething(at(values, element.dataset.if));
  for (const element of all('state-of')) element.dataset.state = at(values, element.dataset.stateOf) ?? '';
  for (const line of all('line')) line.setAttribute('points', points(line, at(values, line.dataset.line) ?? []));
  for (const list of all('list')) {
    const texts = at(values, list.dataset.list) ?? [];
    if (texts.join('\n') === [...list.children].map((item) => item.textContent).join('\n')) continue;
    list.replaceChildren(...texts.map((text) => Object.assign(document.createElement('li'), { textContent: text })));
  }
  document.title = `${values.node.word} · push-service`;
}

function points(line, numbers) {
  const { width } = line.ownerSVGElement.viewBox.baseVal;
  const height = 32;
  const highest = Math.max(0, ...numbers);
  const first = width + 1 - numbers.length;
  const drawn = numbers.map((number, index) => {
    const y = highest > 0 ? height * (1 - number / highest) : height;
    return `${first + index},${Math.floor(y * 10 + 0.5) / 10}`;
  });
  // An area ends on the ground.
  if (line.localName === 'polygon' && numbers.length > 0) drawn.push(`${width},${height}`, `${first},${height}`);
  return drawn.join(' ');
}

const live = document.getElementById('live');
const time = document.getElementById('at');
const trouble = document.getElementById('trouble');
const pause = document.getElementById('pause');
let isPaused = false;
let lastAnswer = null;
let failures = 0;
let isAsking = false;
let timer;

async function ask() {
  const answer = await fetch('overview', { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  if (answer.ok) return answer.json();
  // A node that starts has no figures yet, and says what it waits for.
  const said = await answer.json().catch(() => ({}));
  throw new Refused(String(said.error ?? `status ${answer.status}`).slice(0, SENTENCE_MOST));
}

// The service answers, but not with figures.
class Refused extends Error {}

async function poll() {
  clearTimeout(timer);
  if (isAsking) return;
  isAsking = true;
  const [values, error] = await ask().then((values) => [values], (error) => [undefined, error]);
  isAsking = false;
  if (isPaused) return;
  if (values) showAnswer(values);
  else showFailure(error);
  if (!document.hidden) timer = setTimeout(poll, Math.min(RETRY_MOST_MS, EVERY_MS * (1 + failures)));
}

function showAnswer(values) {
  show(values);
  lastAnswer = new Date();
  failures = 0;
  document.body.classList.remove('stale');
  write(live, 'Live, as of');
  write(time, lastAnswer.toLocaleTimeString());
  time.dateTime = values.at;
  // Another version has another page.
  const isOther = values.version !== document.body.dataset.version;
  tell(isOther ? `The service is now version ${values.version}. Reload this page.` : '');
}

function showFailure(error) {
  failures += 1;
  document.body.classList.add('stale');
  const since = lastAnswer ? lastAnswer.toLocaleTimeString() : 'this page was loaded';
  const isRefused = error instanceof Refused;
  const what = isRefused ? `The service gives no figures (${error.message})` : 'No answer from the service';
  tell(`${what} since ${since}. The figures below are from then. Asking again.`);
  write(live, 'No figures since');
  // It may have been ready then.
  const word = isRefused ? 'Not ready' : 'No answer';
  for (const element of document.querySelectorAll('[data-value="node.word"]')) write(element, word);
  for (const element of document.querySelectorAll('[data-state-of="node.state"]')) element.dataset.state = 'bad';
  document.title = `${word} · push-service`;
}

// Said once by a screen reader, and not again while it stays the same.
function tell(text) {
  write(trouble, text);
  trouble.hidden = text === '';
}

pause.hidden = false;
pause.addEventListener('click', () => {
  isPaused = !isPaused;
  pause.setAttribute('aria-pressed', String(isPaused));
  if (isPaused) {
    clearTimeout(timer);
    write(live, 'Paused, as of');
  } else {
    poll();
  }
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else if (!isPaused) poll();
});
poll();
