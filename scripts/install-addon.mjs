// Compiles the native addon with node-gyp unless a usable binary is there: prebuilt, or built after its sources last
// changed, and loading in this Node. Needs nothing that npm does not bring; prints nothing when there is nothing to do.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const loader = join(root, 'native', 'load.cjs');
const { builtPath, findPrebuilt } = require(loader);

/** In a process of its own: a binary that was loaded once here would stay loaded after it is compiled anew. */
function tryLoad(expression) {
  return spawnSync(process.execPath, ['-e', expression], { encoding: 'utf8' });
}

function isUsable() {
  const prebuilt = findPrebuilt();
  if (prebuilt !== undefined && tryLoad(`require(${JSON.stringify(prebuilt)})`).status === 0) return true;
  if (!existsSync(builtPath)) return false;
  const builtMs = statSync(builtPath).mtimeMs;
  const sources = readdirSync(join(root, 'native')).filter((name) => /\.(cc|h)$/.test(name));
  const isFresh = ['binding.gyp', ...sources.map((name) => join('native', name))].every(
    (source) => statSync(join(root, source)).mtimeMs <= builtMs,
  );
  return isFresh && tryLoad(`require(${JSON.stringify(builtPath)})`).status === 0;
}

function missingTools() {
  const tools = [process.env.CXX ?? 'g++', 'make', process.env.npm_config_python ?? 'python3'];
  // CXX may carry flags or a wrapper: `ccache g++`.
  return tools.filter((tool) => spawnSync(tool.split(' ')[0], ['--version']).error !== undefined);
}

/** node-gyp of the project, of the running npm, or of the npm that was installed with this Node. */
function findNodeGyp() {
  const bundled = join('node_modules', 'node-gyp', 'bin', 'node-gyp.js');
  const npm = process.env.npm_execpath;
  return [
    join(root, bundled),
    process.env.npm_config_node_gyp,
    npm && join(dirname(dirname(npm)), bundled),
    join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', bundled),
  ].find((path) => path && existsSync(path));
}

/** Headers installed beside this Node spare the download of them; npm's own setting goes first. */
function headerOptions() {
  if (process.env.npm_config_nodedir) return [];
  const prefix = dirname(dirname(process.execPath));
  const header = join(prefix, 'include', 'node', 'node_version.h');
  const [major, minor, patch] = process.versions.node.split('.');
  if (!existsSync(header)) return [];
  const text = readFileSync(header, 'utf8');
  const isSame = Object.entries({ MAJOR: major, MINOR: minor, PATCH: patch }).every(([part, number]) =>
    new RegExp(`#define NODE_${part}_VERSION ${number}$`, 'm').test(text),
  );
  return isSame ? [`--nodedir=${prefix}`] : [];
}

function fail(message) {
  console.error(`kproxy-ts: ${message}`);
  process.exit(1);
}

if (!isUsable()) {
  const missing = missingTools();
  if (missing.length > 0) {
    fail(
      `the native addon must be compiled, and ${missing.join(', ')} cannot be run. ` +
        'On Debian and Ubuntu: apt-get install g++ make python3',
    );
  }
  const nodeGyp = findNodeGyp();
  if (nodeGyp === undefined)
    fail('the native addon must be compiled, and node-gyp was not found: install npm');
  console.error('kproxy-ts: compiling the native addon');
  const build = spawnSync(process.execPath, [nodeGyp, 'rebuild', ...headerOptions()], {
    cwd: root,
    encoding: 'utf8',
  });
  if (build.status !== 0) fail(`the native addon does not compile:\n${build.stdout}${build.stderr}`);
  const loaded = tryLoad(`require(${JSON.stringify(loader)}).loadAddon()`);
  if (loaded.status !== 0) fail(`the native addon was compiled, but does not load:\n${loaded.stderr}`);
}
