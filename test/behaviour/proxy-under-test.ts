// The real daemon on the node under test, which gets one cluster after the other.

import { ManifestDir } from '../support/manifests.ts';
import { Daemon, runKproxy } from '../support/netns/daemon.ts';
import type { Netns } from '../support/netns/netns.ts';
import { service } from './objects.ts';
import type { Cluster, ModeName } from './row.ts';

export class ProxyUnderTest {
  readonly #node: Netns;
  readonly #mode: ModeName;
  readonly #manifests = new ManifestDir();
  #daemon: Daemon | undefined;
  #flags = '';
  #shown = 0;

  constructor(node: Netns, mode: ModeName) {
    this.#node = node;
    this.#mode = mode;
  }

  /** Settles when the rules of the cluster are in force. The daemon is started anew when its flags differ. */
  async show({ objects, flags }: Cluster): Promise<void> {
    const from = this.#daemon?.log.length ?? 0;
    this.#manifests.put('cluster', ...objects, this.#change());
    if (this.#daemon !== undefined && this.#flags === flags.join(' ')) {
      await this.#daemon.waitForLog(({ msg, cause }) => msg === 'synced' && cause !== 'cleanup', { from });
      return;
    }
    await this.#daemon?.stop();
    this.#flags = flags.join(' ');
    this.#daemon = Daemon.start(this.#node, [
      `--source=${this.#manifests.path}`,
      `--proxy-mode=${this.#mode}`,
      ...flags,
      '-v=2',
    ]);
    await this.#daemon.rulesInForce();
  }

  /** Stops the daemon and removes what it wrote. */
  async forget(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
    const { status, stderr } = await runKproxy(this.#node, ['cleanup'], { timeoutMs: 10_000 });
    if (status !== 0) throw new Error(stderr);
  }

  /** A Service that is different each time, so that the daemon has something to write even where clusters are alike. */
  #change(): object {
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
    }
  }
}
