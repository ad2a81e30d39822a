// The real daemon on the node under test, which gets one cluster after the other.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { effectiveConfig } from '../../src/config/effective-config.ts';
import { CONFIG_FLAGS } from '../../src/config/settings.ts';
import { ManifestDir } from '../support/manifests.ts';
import { Daemon, runKproxy } from '../support/netns/daemon.ts';
import type { Netns } from '../support/netns/netns.ts';
import { service } from './objects.ts';
import type { Cluster, ModeName } from './row.ts';

export class ProxyUnderTest {
  readonly #node: Netns;
  readonly #mode: ModeName;
  readonly #manifests = new ManifestDir();
  readonly #folder = mkdtempSync(join(tmpdir(), 'kproxy-ts-packets-'));
  #daemon: Daemon | undefined;
  #flags = '';
  #shown = 0;

  constructor(node: Netns, mode: ModeName) {
    this.#node = node;
    this.#mode = mode;
  }

  /** Settles when the rules of the cluster are in force, as a node with these flags has them. */
  async show({ objects, flags }: Cluster): Promise<void> {
    const isRunning = this.#daemon !== undefined && (await this.#change(this.#daemon, flags));
    const from = this.#daemon?.log.length ?? 0;
    this.#manifests.put('cluster', ...objects, this.#novelty());
    if (isRunning)
      await this.#daemon!.waitForLog(({ msg, cause }) => msg === 'synced' && cause !== 'cleanup', { from });
    else await this.#start(flags);
  }

  async #start(flags: readonly string[]): Promise<void> {
    await this.#daemon?.stop();
    this.#configure(flags);
    this.#daemon = Daemon.start(this.#node, [`--config=${this.#configPath}`]);
    await this.#daemon.rulesInForce();
  }

  /** Gives a running daemon other flags; false when they take another daemon. */
  async #change(daemon: Daemon, flags: readonly string[]): Promise<boolean> {
    if (flags.join(' ') === this.#flags) return true;
    const from = daemon.log.length;
    this.#configure(flags);
    const { changed } = await daemon.waitForLog(({ msg }) => /^configuration (?:applied|refused)/.test(msg), {
      from,
    });
    if (!Array.isArray(changed)) return false;
    if (changed.length > 0) await daemon.waitForLog('rules in force', { from });
    return true;
  }

  get #configPath(): string {
    return join(this.#folder, 'config.json');
  }

  #configure(flags: readonly string[]): void {
    this.#flags = flags.join(' ');
    const all = [`--source=${this.#manifests.path}`, `--proxy-mode=${this.#mode}`, '--v=2', ...flags];
    const given = all.map((spelled) => {
      const [, name = '', text] = /^--(.*?)=(.*)$/.exec(spelled) ?? [];
      return { name, text, spelled: `--${name}` };
    });
    // Replaced as a whole, for the daemon reads it when it likes.
    writeFileSync(`${this.#configPath}.new`, JSON.stringify(effectiveConfig(CONFIG_FLAGS, given, undefined)));
    renameSync(`${this.#configPath}.new`, this.#configPath);
  }

  /** Stops the daemon and removes what it wrote. */
  async forget(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
    const { status, stderr } = await runKproxy(this.#node, ['cleanup'], { timeoutMs: 10_000 });
    if (status !== 0) throw new Error(stderr);
  }

  /** A Service that is different each time, so that the daemon has something to write even where clusters are alike. */
  #novelty(): object {
    const clusterIp = `10.97.0.${(this.#shown++ % 200) + 1}`;
    return service({
      name: 'change',
      families: [4],
      clusterIp: { 4: clusterIp, 6: '' },
    });
  }

  /** Leaves the node to the next mode. */
  async delete(): Promise<void> {
    try {
      await this.forget();
    } finally {
      this.#manifests.delete();
      rmSync(this.#folder, { recursive: true });
    }
  }
}
