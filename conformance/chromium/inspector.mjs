// MCP Inspector's page, both lines of it: connect, sign in through the real pages, list the tools, call one.
//
// `direct` is version 1 in the mode in which the browser itself talks to the server, so that every request is cross-origin:
// discovery, registration, token and MCP calls work only with the gateway's CORS headers. `current` is version 2, which can only
// talk through its own backend, in the newest era of the protocol.
//
// Usage: node chromium/inspector.mjs direct|current INSPECTOR_URL MCP_URL

import { check, launch } from './launch.mjs';

const [line, inspector, server] = process.argv.slice(2);
const gateway = new URL(server).origin;
const NEEDED = ['/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-authorization-server', '/register', '/token', '/mcp'];

const drivers = {
  direct: {
    async connect(page) {
      await page.addInitScript(() => localStorage.setItem('lastConnectionType', 'direct'));
      await page.goto(`${inspector}/?transport=streamable-http&serverUrl=${encodeURIComponent(server)}`);
      await page.getByRole('button', { name: 'Connect', exact: true }).click();
    },
    async call(page) {
      await page.getByRole('tab', { name: 'Tools', exact: true }).click();
      await page.getByRole('button', { name: 'List Tools' }).click();
      await page.getByText('whoami', { exact: true }).click();
      await page.getByRole('button', { name: 'Run Tool' }).click();
    },
    verify(asked) {
      for (const path of NEEDED) check(`the page itself asked for ${path}`, asked.has(path), [...asked].join(' '));
      return `cross-origin: ${[...asked].join(' ')}`;
    },
  },
  current: {
    async connect(page) {
      await page.goto(inspector);
      await page.getByRole('switch').first().dispatchEvent('click'); // its input is hidden under a drawn one
    },
    async call(page) {
      await page.getByText('Tools', { exact: true }).first().click();
      await page.getByText('whoami', { exact: true }).first().click();
      await page.getByRole('button', { name: /Execute|Run|Call/ }).first().click();
    },
    verify: () => 'through its own backend',
  },
};

const browser = await launch();
const page = await (await browser.newContext()).newPage();
page.setDefaultTimeout(15_000);

const said = [];
page.on('console', (message) => said.push(message.text()));
const asked = new Set(); // of the gateway, by script, with an answer that the page may read
page.on('response', (response) => {
  const { origin, pathname } = new URL(response.url());
  if (origin === gateway && response.request().resourceType() === 'fetch') asked.add(pathname);
});

try {
  await drivers[line].connect(page);
  await page.waitForURL(`${gateway}/authorize?**`);
  const consent = await page.locator('body').innerText();
  check('the consent page names the client', consent.includes('MCP Inspector'), consent);
  await page.locator('h1').hover();
  await page.locator('button[name=decision][value=approve]').click();
  await page.waitForURL(`${gateway}/callback?**`);
  await page.locator('h1').hover();
  await page.locator('button[name=decision][value=approve]').click();
  await page.waitForURL(`${inspector}/**`);
  await drivers[line].call(page);
  await page.getByText('alice@example.com').first().waitFor();
  console.log(`signed in, listed and called; ${drivers[line].verify(asked)}`);
} catch (error) {
  const shown = await page.locator('body').innerText().catch(() => '');
  console.error(`${error.message.split('Call log')[0]}\nat ${page.url()}\n${shown.slice(0, 1500)}\nconsole:\n${said.join('\n').slice(-1500)}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
