// Nothing that a view has to show is lost: not while its part is being fetched, not while its stream
// is closed, and not when its files come slowly.

const DRIFT = "/page/drift";
/** Each view with a part that is drawn anew. */
const FOLLOWING = ["/", "/page/catalog", DRIFT, "/page/events", "/page/calls", "/page/callers"];

/** Tells a page that something has changed, as its stream does. */
const tell = (page, name) =>
  page.evaluate((name) => document.body.dispatchEvent(new Event(name, { bubbles: true })), name);

/** Keeps the next answer from a path back, after it was drawn, until it is released. */
const hold = async (page, path) => {
  const held = {};
  const released = new Promise((done) => (held.release = done));
  held.drawn = new Promise((drawn) => {
    held.passed = new Promise((passed) => {
      held.route = async (route) => {
        const response = await route.fetch();
        drawn();
        await released;
        // The page may have given it up.
        await route.fulfill({ response }).catch(() => {});
        passed();
      };
    });
  });
  await page.route((url) => url.pathname === path, held.route, { times: 1 });
  return held;
};

/** Hides a page, as when another tab is in front of it. */
const hide = (page, hidden) =>
  page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);

const isOf = (path) => (request) => new URL(request.url()).pathname === path;
const isStream = isOf("/page/stream");
const withoutStream = (page, options) => page.route("**/page/stream*", (route) => route.abort(), options);

/** What is told while a part is fetched is fetched after it, in every view. */
const whileFetching = async ({ open, check, base }) => {
  const page = await open();
  await withoutStream(page);
  for (const view of FOLLOWING) {
    await page.goto(base + view);
    const names = await page.evaluate(() => {
      const trigger = document.querySelector("#live").getAttribute("hx-trigger");
      return [...trigger.matchAll(/weir-\w+/g)].map(([name]) => name);
    });
    for (const name of names) {
      const held = await hold(page, view);
      await tell(page, name);
      await held.drawn;
      const again = page.waitForRequest(isOf(view)).then((request) => request.response()).catch(() => null);
      await tell(page, name);
      await tell(page, name);
      held.release();
      const answer = await again;
      check(`${view}: ${name} while it is fetched has it fetched once more`, answer?.status() === 200);
      await answer?.finished();
    }
    check(`${view} follows something`, names.length > 0);
  }
  await page.close();
};

/** What changes while a part is fetched is shown, although its answer says nothing of it. */
const changedMeanwhile = async ({ open, check, has, base, change }) => {
  const page = await open();
  await withoutStream(page);
  await page.goto(base + DRIFT);
  const held = await hold(page, DRIFT);
  await tell(page, "weir-state");
  await held.drawn;
  await change("Sends a mail while something is fetched.");
  await tell(page, "weir-state");
  held.release();
  check("what changes while a part is fetched is shown", await has(page, "while something is fetched"));
  await page.close();
};

/** The scripts of a page may come in any order and late. */
const slowFiles = async ({ open, check, has, base, change }) => {
  for (const late of ["htmx", "hx-sse"]) {
    const page = await open();
    await page.route(`**/${late}-*.js`, async (route) => {
      await new Promise((done) => setTimeout(done, 1_000));
      await route.continue();
    });
    await page.goto(base + DRIFT);
    await change(`Sends a mail after ${late}.`);
    check(`a page is followed whose ${late} came late`, await has(page, `Sends a mail after ${late}`));
    await page.close();
  }
};

/** A page that cannot be seen has no stream, and shows afterwards what has changed. */
const inBackground = async ({ open, check, has, base, change }) => {
  const page = await open();
  const opened = page.waitForResponse(isStream);
  await page.goto(base + DRIFT);
  await opened;
  const closed = Promise.race(["requestfinished", "requestfailed"].map((name) => page.waitForEvent(name, isStream)));
  await hide(page, true);
  await closed;
  await change("Sends a mail in the background.");
  await hide(page, false);
  check("what changes while a page cannot be seen is shown", await has(page, "in the background"));
  await page.close();
};

/** A page whose stream cannot be opened is slower, and tries again. */
const noStream = async ({ open, check, has, base, change }) => {
  const page = await open();
  await page.clock.install();
  await withoutStream(page);
  await page.goto(base + DRIFT);
  await change("Sends a mail without a stream.");
  await page.clock.fastForward(61_000);
  check("without a stream what changes is shown after a minute", await has(page, "without a stream"));
  await page.unrouteAll();
  const opened = page.waitForResponse(isStream).catch(() => null);
  await page.clock.fastForward(66_000);
  check("a stream that could not be opened is tried again", (await opened)?.status() === 200);
  await page.close();
};

/** What is looked for is shown, whatever else is fetched meanwhile. */
const searching = async ({ open, check, has, base }) => {
  const view = "/page/catalog";
  const page = await open();
  await withoutStream(page);
  const shown = () => page.locator("#live").innerText();
  const isFound = async () => (await has(page, "1 to 1 of 1")) && (await shown()).includes("brand_new");
  const settle = async (held) => {
    held.release();
    await held.passed;
    // A late answer would be drawn now.
    await page.waitForTimeout(300);
  };

  await page.goto(base + view);
  let held = await hold(page, view);
  await tell(page, "weir-catalog");
  await held.drawn;
  await page.fill("input[name=q]", "brand");
  const first = await isFound();
  await settle(held);
  check("an answer that is older than a search does not take its place", first && (await isFound()));

  await page.goto(base + view);
  held = await hold(page, view);
  await page.fill("input[name=q]", "brand");
  await held.drawn;
  await tell(page, "weir-catalog");
  await settle(held);
  check("nor one that was asked for meanwhile", await isFound());

  await page.goto(base + view);
  held = await hold(page, view);
  await page.fill("input[name=q]", "b");
  await held.drawn;
  for (const text of ["br", "brand"]) {
    await page.fill("input[name=q]", text);
    await page.waitForTimeout(400);
  }
  await settle(held);
  check("the last of several searches is shown", (await isFound()) && page.url().includes("q=brand"), page.url());
  await page.close();
};

/**
 * Checks it all. `open` opens a page, `change` changes the definition of a tool, and `has` waits for
 * a text. The catalog has a tool `brand_new`.
 */
export const follow = async (given) => {
  for (const part of [slowFiles, whileFetching, changedMeanwhile, inBackground, noStream, searching]) await part(given);
};

/** A page goes on with a weir that was started again, and shows what is different there. */
export const afterRestart = async ({ open, check, has, base }, restart) => {
  const page = await open();
  const opened = page.waitForResponse(isStream);
  await page.goto(base + DRIFT);
  await opened;
  await restart();
  check("what is different after a restart is shown", await has(page, "after a restart"));
  await page.close();
};
