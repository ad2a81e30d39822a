// Finds and loads the addon: prebuilt for this machine, else compiled here. CommonJS without dependencies, because
// both the daemon and scripts/install-addon.mjs need it, the latter before anything is compiled.
'use strict';

const { existsSync } = require('node:fs');
const { join } = require('node:path');

const root = join(__dirname, '..');
const builtPath = join(root, 'build', 'Release', 'netlink.node');

/** Path of the prebuilt binary for this machine, or undefined. */
function findPrebuilt() {
  if (!existsSync(join(root, 'prebuilds'))) return undefined;
  // The report would otherwise look up the names of open connections, which can take seconds.
  process.report.excludeNetwork = true;
  const libc = process.report.getReport().header.glibcVersionRuntime === undefined ? '-musl' : '';
  const path = join(root, 'prebuilds', `linux-${process.arch}${libc}`, 'netlink.node');
  return existsSync(path) ? path : undefined;
}

/** The addon's exports. A prebuilt binary that this system cannot load gives way to one compiled here. */
function loadAddon() {
  const prebuiltPath = findPrebuilt();
  if (prebuiltPath !== undefined) {
    try {
      return require(prebuiltPath);
    } catch (error) {
      if (!existsSync(builtPath)) throw error;
    }
  }
  if (!existsSync(builtPath)) throw new Error(`no ${builtPath}`);
  return require(builtPath);
}

module.exports = { builtPath, findPrebuilt, loadAddon };
