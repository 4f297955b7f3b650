// Waiting for what happens, never for time. LIMIT only ends a test that would wait for ever.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

export const LIMIT = 10_000;

/** The promise's value; a failure that says what was awaited when LIMIT has passed. */
export async function within(what, promise, limit = LIMIT) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `waited in vain: ${what}` })), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** For the few things that nobody announces: asks until `attempt` no longer throws, and returns its value. */
export async function eventually(what, attempt, limit = LIMIT) {
  const end = Date.now() + limit;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > end) throw new Error(`waited in vain: ${what}`, { cause: error });
      await sleep(20);
    }
  }
}

/**
 * What a client hears, in order. Tests take the items one by one, so an event too many or too few shows at once; that
 * something did not come is proved by a later event that does.
 */
export class Heard {
  #items = [];
  #wake = null;

  constructor(who) {
    this.who = who;
  }

  add(item) {
    this.#items.push(item);
    this.#wake?.();
  }

  /** Heard, but not taken yet. */
  get untaken() {
    return [...this.#items];
  }

  /** The next item, whatever it is. */
  async take(what = 'something', limit = LIMIT) {
    if (this.#items.length === 0) {
      await within(`${this.who} hears ${what}`, new Promise((resolve) => { this.#wake = resolve; }), limit);
      this.#wake = null;
    }
    return this.#items.shift();
  }

  /** The data of the next item, which must be this event. */
  async next(event) {
    const item = await this.take(event);
    assert.equal(item.event, event, `${this.who} hears ${event} next, not ${JSON.stringify(item)}`);
    return item.data;
  }

  /** The data of the next item that is this event; those before it are passed over. */
  async skipTo(event, limit = LIMIT) {
    for (;;) {
      const item = await this.take(event, limit);
      if (item.event === event) return item.data;
    }
  }
}
