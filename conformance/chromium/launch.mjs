// Debian's Chromium, driven by playwright-core. It is told to keep off the network: whatever a page asks for is the page's doing.

import { chromium } from 'playwright-core';

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
  ],
});

export function check(what, holds, detail = '') {
  if (!holds) throw new Error(`${what}${detail === '' ? '' : `: ${detail}`}`);
}
