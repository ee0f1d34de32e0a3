// Deputy's own pages in Chromium, with script on and off. Every case has a browser context, and so a cookie jar, of its own.
//
// Usage: node chromium/pages.mjs GATEWAY IDP SCREENSHOTS

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { check, launch } from './launch.mjs';

const [gateway, idp, screenshots] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// A loopback site on another origin: the client's listener and the attacker's web site, in one.
const site = createServer((request, response) => {
  const html = new URL(request.url, 'http://site').searchParams.get('html');
  response.setHeader('content-type', 'text/html').end(html ?? 'landed');
}).listen(0, '127.0.0.1');
await once(site, 'listening');
const elsewhere = `http://127.0.0.1:${site.address().port}`;
const callback = `${elsewhere}/callback`;
const showing = (html) => `${elsewhere}/?html=${encodeURIComponent(html)}`;

async function register(metadata) {
  const body = JSON.stringify({ client_name: 'Page Test', redirect_uris: [callback], token_endpoint_auth_method: 'none', ...metadata });
  const response = await fetch(`${gateway}/register`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const told = await response.json();
  check('registered', response.status === 201, `${response.status} ${JSON.stringify(told)}`);
  return told.client_id;
}

/** The link to a consent page for a fresh client. */
async function link({ redirect = callback, state = 'page-test-state', ...metadata } = {}) {
  const url = new URL(`${gateway}/authorize`);
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: await register({ redirect_uris: [redirect], ...metadata }),
    redirect_uri: redirect,
    state,
    resource: `${gateway}/mcp`,
    code_challenge: createHash('sha256').update('v'.repeat(50)).digest('base64url'),
    code_challenge_method: 'S256',
  });
  return url.href;
}

const brokenLink = `${gateway}/authorize?response_type=code&client_id=nobody&redirect_uri=${encodeURIComponent(callback)}`;
/** Reads the page, then presses a button of it: the main one takes the pointer only after it has been over the page for a moment. */
async function decide(page, decision) {
  await page.locator('h1').hover();
  await page.locator(`button[name=decision][value=${decision}]`).click();
}
/** Approves, signs in and stops at the last page, which plain http on loopback has. */
async function approve(page) {
  await decide(page, 'approve');
  await page.waitForURL(`${gateway}/callback?**`);
}
/** All of it. */
async function allow(page) {
  await approve(page);
  await decide(page, 'approve');
}
const landed = (page) => page.waitForURL(`${callback}?**`).then(() => new URL(page.url()).searchParams);
const providerWasAsked = async () => (await (await fetch(`${idp}/test/count`)).json()).authorize;

async function approves({ page }) {
  await page.goto(await link());
  await allow(page);
  const answer = await landed(page);
  check('code, state and iss', answer.get('code') && answer.get('state') === 'page-test-state' && answer.get('iss') === gateway, String(answer));
}

// browsers hand a fragment on from redirect to redirect; it must end at our page.
async function dropsAFragment({ page }) {
  await page.goto(`${await link()}#planted`);
  await allow(page);
  await landed(page);
  check('no fragment at the client', !page.url().includes('#'), page.url());
}

async function denies({ page }) {
  const before = await providerWasAsked();
  await page.goto(await link());
  await decide(page, 'deny');
  const answer = await landed(page);
  check('access_denied', answer.get('error') === 'access_denied' && !answer.has('code'), String(answer));
  check('state and iss', answer.get('state') === 'page-test-state' && answer.get('iss') === gateway, String(answer));
  check('the provider was not asked', (await providerWasAsked()) === before);
}

// CSP `form-action` applies to the whole chain of redirects after the POST: the provider, and the application's own scheme.
async function returnsToAnApplication({ page, said }) {
  const redirect = 'cursor://anysphere.cursor-mcp/oauth/callback';
  await page.goto(await link({ redirect, client_name: 'Cursor' }));
  const answered = page.waitForResponse((response) => response.url() === `${gateway}/finish`);
  await allow(page);
  const location = (await (await answered).allHeaders()).location ?? '';
  check('sent back to the application', location.startsWith(`${redirect}?`) && location.includes('code='), location);
  check('nothing was refused by a policy', !said.some((line) => /Content Security Policy|form-action/.test(line)), said.join('\n'));
}

// the account is named before the code leaves, and "not me" is an answer.
async function namesTheAccount({ page }) {
  await page.goto(await link());
  await approve(page);
  const shown = await page.locator('main').innerText();
  for (const text of ['alice@example.com', 'Page Test', callback]) check(`the last page names ${text}`, shown.includes(text), shown);
  await decide(page, 'deny');
  const answer = await landed(page);
  check('access_denied', answer.get('error') === 'access_denied' && !answer.has('code'), String(answer));
}

/** Where a page's main button lies on a screen of this size. */
async function placeOfAllow(page) {
  await page.goto(await link());
  const box = await page.locator('button[value=approve]').boundingBox();
  return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)];
}

/** Nobody approved so far; somebody who stays with the page can. */
async function onlyAfterAMoment(page, press) {
  await page.waitForFunction(() => getComputedStyle(document.querySelector('button[value=approve]')).pointerEvents === 'auto');
  await press();
  await page.waitForURL(`${gateway}/callback?**`);
}

// A lure for a double click: the first click leads here, the second must not say yes.
async function survivesADoubleClick({ browser }) {
  for (const gap of [0, 80, 200, 400]) {
    const context = await browser.newContext({ viewport: { width: 1000, height: 1000 } });
    const page = await context.newPage();
    const [x, y] = await placeOfAllow(page);
    const before = await providerWasAsked();
    const there = (await link()).replaceAll('&', '&amp;');
    await page.goto(showing(`<a href="${there}" style="position:fixed;inset:0">Double-click here</a>`));
    await page.mouse.click(x, y);
    await page.waitForURL(`${gateway}/authorize?**`);
    await new Promise((passed) => setTimeout(passed, gap));
    await page.mouse.click(x, y);
    await onlyAfterAMoment(page, () => page.mouse.click(x, y));
    check(`only the last click counted, ${gap} ms`, (await providerWasAsked()) === before + 1);
    await context.close();
  }
}

// The other lure: our page waits below a window that closes at the first click.
async function survivesAWindowThatCloses({ browser }) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 1000 } });
  const page = await context.newPage();
  const [x, y] = await placeOfAllow(page);
  const before = await providerWasAsked();
  await page.mouse.click(x, y); // the pointer was elsewhere until now
  await onlyAfterAMoment(page, () => page.mouse.click(x, y));
  check('only the last click counted', (await providerWasAsked()) === before + 1);
  await context.close();
}

// A finger: the second tap of a double tap does nothing, a later one does.
async function survivesADoubleTap({ browser }) {
  const context = await browser.newContext({ viewport: { width: 360, height: 1200 }, hasTouch: true, isMobile: true });
  const page = await context.newPage();
  const [x, y] = await placeOfAllow(page);
  const before = await providerWasAsked();
  await page.goto(await link());
  await page.touchscreen.tap(x, y);
  await onlyAfterAMoment(page, () => page.touchscreen.tap(x, y));
  check('only the last tap counted', (await providerWasAsked()) === before + 1);
  await context.close();
}

// Whoever uses the keyboard waits for nothing.
async function takesTheKeyboardAtOnce({ page }) {
  await page.goto(await link());
  await page.locator('button[value=approve]').focus();
  await page.keyboard.press('Enter');
  await page.waitForURL(`${gateway}/callback?**`);
}

async function cannotBeFramed({ page }) {
  for (const framed of [await link(), brokenLink]) {
    const response = await fetch(framed);
    const policy = response.headers.get('content-security-policy') ?? '';
    check('frame-ancestors', /frame-ancestors 'none'/.test(policy), policy);
    check('X-Frame-Options', /deny/i.test(response.headers.get('x-frame-options') ?? ''), framed);
    await page.goto(showing(`<iframe src="${framed.replaceAll('&', '&amp;')}"></iframe>`));
    await page.waitForFunction(() => document.readyState === 'complete');
    const frame = page.frames()[1];
    check('the frame is empty', !/decision|ticket/.test(await frame.content()) && !frame.url().startsWith(gateway), frame.url());
  }
}

// what a client says about itself is text, and nothing that it names is loaded.
async function showsMarkupAsText({ page, requests, dialogs, said }) {
  const evil = 'https://evil.example';
  const suspects = page.locator('script, img, svg, b, style, iframe, object, [onmouseover], [onload], [onerror]');
  await page.goto(await link());
  const ours = await suspects.count();
  for (const payload of [
    '<script>alert(1)</script>',
    '<img src=https://evil.example/x onerror=alert(1)>',
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    '</title><style>*{display:none}</style>',
    '{{7*7}}${7*7}',
  ]) {
    const names = { client_uri: `${evil}/"><b>`, logo_uri: `${evil}/logo.png`, tos_uri: `${evil}/tos`, policy_uri: `${evil}/policy` };
    await page.goto(await link({ client_name: payload, ...names }));
    const text = await page.locator('body').innerText();
    check('the name is shown as it is', text.includes(payload), text);
    check('no foreign elements', (await suspects.count()) === ours);
    check('the form is still there', await page.locator('button[value=approve]').isVisible());
  }
  check('no script ran', dialogs.length === 0, dialogs.join());
  check('no policy had to save us', !said.some((line) => /Content Security Policy/.test(line)), said.join('\n'));
  const foreign = requests.filter((url) => !url.startsWith(`${gateway}/`) && !url.startsWith('data:'));
  check('nothing is loaded from elsewhere', foreign.length === 0, foreign.join(' '));
}

async function twoTabs({ page, context }) {
  const other = await context.newPage();
  await page.goto(await link({ client_name: 'First', state: 'first-tab' }));
  await other.goto(await link({ client_name: 'Second', state: 'second-tab' }));
  for (const [tab, state] of [[page, 'first-tab'], [other, 'second-tab']]) {
    await allow(tab);
    const answer = await landed(tab);
    check(`the ${state} has its code`, answer.has('code') && answer.get('state') === state, String(answer));
  }
}

// the same link in two tabs, or reloaded; the earlier page keeps working.
async function sameLinkTwice({ page, context }) {
  const url = await link();
  await page.goto(url);
  await (await context.newPage()).goto(url);
  await allow(page);
  check('the first page still works', (await landed(page)).has('code'));
}

// A-010 and the second half of GHSA-rww4-4w9c-7733: the attacker's own form, posted from the attacker's site by this browser.
async function refusesAForeignForm({ page, browser }) {
  const attacker = await (await browser.newContext()).newPage();
  await attacker.goto(await link());
  const ticket = await attacker.locator('input[name=ticket]').inputValue();
  await attacker.context().close();
  const before = await providerWasAsked();
  const fields = `<input name=ticket value="${ticket}"><input name=decision value=approve>`;
  await page.goto(showing(`<form method=post action="${gateway}/consent">${fields}<button>win</button></form>`));
  const answered = page.waitForResponse((response) => response.url().startsWith(`${gateway}/consent`));
  await page.locator('button').click();
  const status = (await answered).status();
  check('refused', status >= 400 && status < 500, status);
  check('the provider was not asked', (await providerWasAsked()) === before);
}

async function isAccessible({ page }) {
  for (const [name, url] of [['consent', await link()], ['error', brokenLink], ['last', await link()]]) {
    await page.goto(url);
    if (name === 'last') await approve(page);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const told = violations.map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map((node) => node.html).join(' ')}`);
    check(`axe on the ${name} page`, violations.length === 0, told.join('\n'));
    check(`the ${name} page has a title and a language`, (await page.title()) && (await page.locator('html').getAttribute('lang')));
  }
}

async function hasNoScript({ page }) {
  for (const url of [await link(), brokenLink]) {
    const response = await page.goto(url);
    const { 'content-security-policy': policy = '', 'cache-control': cache = '' } = await response.allHeaders();
    check('default-src none', /default-src 'none'/.test(policy) && !/script-src (?!'none')/.test(policy), policy);
    check('no-store', /no-store/.test(cache), cache);
    check('no script', (await page.locator('script').count()) === 0);
  }
}

async function looks({ browser }) {
  for (const [name, options] of Object.entries({
    light: { colorScheme: 'light', viewport: { width: 1000, height: 800 } },
    dark: { colorScheme: 'dark', viewport: { width: 1000, height: 800 } },
    phone: { colorScheme: 'light', viewport: { width: 360, height: 740 }, isMobile: true, deviceScaleFactor: 2 },
  })) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    for (const [kind, url] of [['consent', await link({ client_name: 'Claude Code' })], ['error', brokenLink]]) {
      await page.goto(url);
      await page.screenshot({ path: `${screenshots}/${kind}-${name}.png`, fullPage: true });
      const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
      check(`${kind} fits the width of ${name}`, wide <= room, `${wide} > ${room}`);
    }
    await page.goto(await link({ client_name: 'Claude Code' }));
    await approve(page);
    await page.screenshot({ path: `${screenshots}/last-${name}.png`, fullPage: true });
    await context.close();
  }
}

const ALWAYS = [approves, dropsAFragment, denies, namesTheAccount, returnsToAnApplication, cannotBeFramed, showsMarkupAsText, twoTabs, sameLinkTwice, refusesAForeignForm];
const ONCE = [survivesADoubleClick, survivesAWindowThatCloses, survivesADoubleTap, takesTheKeyboardAtOnce, isAccessible, hasNoScript, looks];
const cases = [
  ...ALWAYS.map((play) => [play, true]),
  ...ALWAYS.map((play) => [play, false]),
  ...ONCE.map((play) => [play, true]),
];

const browser = await launch();
const failures = [];
for (const [play, javaScriptEnabled] of cases) {
  const context = await browser.newContext({ javaScriptEnabled });
  context.setDefaultTimeout(10_000);
  const seen = { requests: [], dialogs: [], said: [] };
  context.on('request', (request) => seen.requests.push(request.url()));
  context.on('console', (message) => seen.said.push(message.text()));
  context.on('dialog', (dialog) => { seen.dialogs.push(dialog.message()); dialog.dismiss(); });
  const page = await context.newPage();
  try {
    await play({ browser, context, page, ...seen });
  } catch (error) {
    failures.push(`${play.name}, script ${javaScriptEnabled ? 'on' : 'off'}: ${error.message.split('Call log')[0].split('=====')[0].trim()}\n  at ${page.url().split('?')[0]}`);
  }
  await context.close();
}
await browser.close();
site.close();
site.closeAllConnections();
if (failures.length > 0) {
  console.error(`${failures.length} of ${cases.length} cases\n${failures.join('\n')}`);
  process.exit(1);
}
console.log(`${cases.length} cases, with script on and off; screenshots in conformance/out`);
